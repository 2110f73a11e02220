"""Files: those that a command line names are read as text and never run; ours are written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO, Final

_LINKS: Final = 40  # symbolic links that lead to a file; the system allows no more either (path_resolution(7))
_DESCRIPTORS: Final = re.compile(r"/proc/(\d+)(?:/task/\d+)?/fd")

# Device and inode of every file that was read as a source: what a command reads it does not write over.
_sources: set[tuple[int, int]] = set()


LARGEST: Final = 64 << 20  # bytes of a file that a command line names; a blend of 100,000 data sets has 10 MB


# What stands in files as far as reading is concerned, by their real paths: a change is looked at before it is written.
_instead: ContextVar[Mapping[Path, str] | None] = ContextVar("_instead", default=None)


_read_too: ContextVar[dict[Path, None] | None] = ContextVar("_read_too", default=None)


@contextmanager
def read_instead(texts: Mapping[Path, str]) -> Iterator[Collection[Path]]:
    """Meanwhile scripts that a script reads have these texts, whatever is on the disk; gives those that were read."""
    asked: dict[Path, None] = {}
    tokens = _instead.set(texts), _read_too.set(asked)
    try:
        yield asked.keys()
    finally:
        _instead.reset(tokens[0])
        _read_too.reset(tokens[1])


def text_instead(path: Path) -> str | None:
    """The text that a file has meanwhile; None: what is on the disk."""
    if (asked := _read_too.get()) is not None:
        asked[path] = None
    return (_instead.get() or {}).get(path)


def read_nothing(name: str) -> str:
    """In place of ``read_file`` where no file may be read.

    Raises:
        OSError: always.
    """
    raise OSError(f"{name} was not read")


def read_file(name: str) -> str:
    """The text of a regular file of at most ``LARGEST`` bytes; pipes, devices and folders are none.

    Raises:
        OSError: when it cannot be read as UTF-8 text.
    """
    remember(name)
    try:
        return read_bytes(name, LARGEST).decode("utf-8")
    except UnicodeDecodeError as error:
        raise OSError(errno.EILSEQ, f"it is no text: byte {error.start} is not UTF-8", name) from error


def reader(folders: Sequence[str | os.PathLike[str]] = (), within: Sequence[str] = ()) -> Callable[[str], str]:
    """``read_file`` for names that a source holds.

    Args:
        folders: where a relative name is looked for, in this order; where it is in none, in the current folder.
        within: what is read lies below one of these folders, wherever links lead; nothing: anywhere.
    """

    def read(name: str) -> str:
        places = [os.path.join(folder, name) for folder in folders]
        path = next((place for place in places if "\0" not in place and os.path.exists(place)), name)
        if within and not _is_within(_real(path), within):
            raise OSError(errno.EACCES, "it lies outside of the folders that may be read", name)
        return read_file(path)

    return read


def _real(path: str) -> str:
    try:
        return os.path.realpath(path)
    except ValueError as error:  # a NUL in it, or letters that the locale's file names do not have
        raise OSError(errno.EINVAL, "no file can have such a name", repr(path)) from error


def finder(folders: Sequence[str | os.PathLike[str]] = (), within: Sequence[str] = ()) -> Callable[[str], Path | None]:
    """Where folders lie that a source names; None for one that does not exist, or may not be looked at.

    Args:
        folders, within: as for ``reader``.
    """

    def find(name: str) -> Path | None:
        if "\0" in name or "://" in name:
            return None
        places = [*(os.path.join(folder, name) for folder in folders), name]
        path = next((place for place in places if os.path.isdir(place)), None)
        if path is None or (within and not _is_within(os.path.realpath(path), within)):
            return None
        return Path(path)

    return find


def _is_within(real: str, folders: Sequence[str]) -> bool:
    return any(os.path.commonpath([real, os.path.realpath(folder)]) == os.path.realpath(folder) for folder in folders)


def json_of(text: str) -> Any:
    """``json.loads`` for a text of a stranger's.

    Raises:
        ValueError: it is no JSON, is nested too deep, or has a number that is too long.
    """
    import json

    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested deeper than any such file") from error


def read_bytes(path: str | os.PathLike[str], largest: int) -> bytes:
    """The content of a regular file; nothing else is waited for, or read without end.

    Raises:
        OSError: it cannot be read, is no regular file, or has more than so many bytes.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(largest + 1) if size <= largest else b""
    if size > largest or len(content) > largest:
        raise OSError(errno.EFBIG, f"it has more than {largest} bytes", str(path))
    return content


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file opened for reading.

    Raises:
        OSError: it cannot be opened, or is a folder, a pipe, a device or a socket.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, "no file can have such a name", repr(os.fspath(path))) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return open(path, "rb", opener=lambda name, flags: handle)  # and has its name


@contextmanager
def named(path: str | os.PathLike[str]) -> Iterator[None]:
    """An error of the system has this name within, where it has none, as those of write(2), read(2) and fsync(2)."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = os.fspath(path)
        raise


def remember(path: str | os.PathLike[str]) -> None:
    """From now on ``write_whole`` refuses to write over this file, by whatever name it is called."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return
    if stat.S_ISREG(status.st_mode):
        _sources.add((status.st_dev, status.st_ino))


# Writing ------------------------------------------------------------------------------------------------------------


def write_whole(path: Path, content: str | bytes, over_source: bool = False) -> None:
    """Writes a file; whatever goes wrong, a regular file stays as it was.

    A regular file is replaced by another with the same permissions and owner, and a symbolic link stays one: what it
    leads to is written. A pipe, a terminal, ``/dev/null``, ``/dev/stdout``, a process substitution are written through.

    Args:
        content: text is written as UTF-8.
        over_source: the file is the run's own, which is read to be written anew.

    Raises:
        OSError: the folder, its disk or the file does not take it; or this command has read the file as a source.
    """
    data = content.encode() if isinstance(content, str) else content
    with named(path):
        _write(path, data, over_source)


def write_new(path: Path, content: bytes) -> None:
    """Writes a file that is not there yet; it appears whole, and what is there is never written over.

    Raises:
        OSError: the folder or its disk does not take it; or there is something of that name.
    """
    target = os.path.join(os.path.realpath(path.parent), path.name)
    with named(path):
        temporary = _beside(target, content, 0o666 & ~umask(), None)
    try:
        try:
            os.link(temporary, target)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            if os.path.lexists(target):  # a disk without hard links
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from error
            os.rename(temporary, target)
            temporary = ""
    finally:
        if temporary:
            os.unlink(temporary)


def _write(path: Path, data: bytes, over_source: bool) -> None:
    target = _target_of(path)
    if isinstance(target, int):
        return _through(os.dup(target), data)
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return _new(target, data)
    if (status.st_dev, status.st_ino) in _sources and not over_source:
        raise OSError(errno.EPERM, "this command reads it, and does not write over what it reads", str(path))
    if stat.S_ISREG(status.st_mode):
        return _replaced(target, status, data)
    if stat.S_ISDIR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.ENOTSUP
        what = "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is a disk"
        raise OSError(number, what, str(path))
    _through(os.open(target, os.O_WRONLY | os.O_NOCTTY), data)


def _target_of(path: Path) -> str | int:
    """Where writing to a path arrives: the file behind symbolic links, or a descriptor of this process."""
    place = os.fspath(path)
    for _ in range(_LINKS):
        folder, name = os.path.split(place)
        folder = os.path.realpath(folder)
        place = os.path.join(folder, name)
        of_process = _DESCRIPTORS.fullmatch(folder)
        if of_process is not None and name.isdigit():
            # Following such a link would open the file anew, at its beginning, and cut off what is there.
            return int(name) if int(of_process[1]) == os.getpid() else place
        if not os.path.islink(place):
            return place
        place = os.path.join(folder, os.readlink(place))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _replaced(target: str, status: os.stat_result, data: bytes) -> None:
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), target)
    try:
        temporary = _beside(target, data, stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid))
        _moved(temporary, target)
    except OSError as error:
        # The folder takes no new file, the owner cannot be kept, or the file is mounted by itself, as into a container.
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY):
            raise
        _in_place(target, data)


def _new(target: str, data: bytes) -> None:
    _moved(_beside(target, data, 0o666 & ~umask(), None), target)


def _beside(target: str, data: bytes, mode: int, owner: tuple[int, int] | None) -> str:
    """A new file in the same folder, on disk; nothing is left of it where that does not work."""
    import tempfile

    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target) or ".", prefix=".bridge-args-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            made = os.fstat(stream.fileno())
            if owner is not None and owner != (made.st_uid, made.st_gid):
                os.fchown(stream.fileno(), *owner)
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary


def _moved(temporary: str, target: str) -> None:
    try:
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _in_place(target: str, data: bytes) -> None:
    """Written over; where that does not work, what was there is put back."""
    with open(target, "r+b") as stream:
        before = stream.read()
        try:
            _over(stream.fileno(), data)
        except BaseException:
            _over(stream.fileno(), before)
            raise


def _over(descriptor: int, data: bytes) -> None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    _all(descriptor, data)
    os.ftruncate(descriptor, len(data))
    os.fsync(descriptor)


def _through(descriptor: int, data: bytes) -> None:
    try:
        _all(descriptor, data)
    finally:
        os.close(descriptor)


def _all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def umask() -> int:
    """The bits that a new file or folder of this process does not get (umask(2))."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
