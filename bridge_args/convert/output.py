"""A new folder that appears by one rename when all of it is there; until then nothing stands at its name.

What a process that was killed leaves is a folder beside it, ``.NAME.unfinished-xxxxxxxx``, which nobody takes for the
result. It is not removed by a later conversion: a job on another machine may be writing it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bridge_args.errors import UserError
from bridge_args.files import umask

ROOM: Final = 1.05  # of the bytes that are expected: headers, indexes, rounding up to blocks


class Refused(UserError):
    """A conversion that is not begun: the message has a line for every reason, all of them."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(dict.fromkeys(reasons))
        super().__init__("\n".join(self.reasons))


def reasons_against(path: Path, inputs: Sequence[Path], size: int = 0) -> list[str]:
    """Why nothing may be written there; empty where nothing speaks against it.

    Args:
        path: the folder to be made.
        inputs: files and folders that the conversion reads.
        size: bytes that the result is expected to have.
    """
    reasons = []
    real = Path(os.path.realpath(path))
    for one in inputs:
        source = Path(os.path.realpath(one))
        if real == source:
            reasons.append(f"{path} is the input itself; name another folder for the result")
        elif real.is_relative_to(source):
            reasons.append(f"{path} lies inside of the input {one}; name a folder outside of it")
        elif source.is_relative_to(real):
            reasons.append(f"the input {one} lies inside of {path}; name a folder of its own for the result")
    if not _is_text(real):
        reasons.append(f"{path} has bytes in its name that are no UTF-8, and files of the result name it; name another")
    if reasons:
        return reasons
    try:
        if real.is_dir():
            if next(real.iterdir(), None) is not None:
                reasons.append(f"{path} is not empty; name a new folder, or an empty one")
        elif os.path.lexists(real):
            reasons.append(f"{path} is no folder; name a new one")
        above = next(folder for folder in real.parents if os.path.lexists(folder))
        if not above.is_dir():
            reasons.append(f"{above} is no folder, and {path} would lie in it")
        elif not os.access(above, os.W_OK | os.X_OK):
            reasons.append(f"{above} cannot be written to")
        elif (free := shutil.disk_usage(above).free) < (needed := int(size * ROOM)):
            reasons.append(f"{above} has {free:,} bytes free, and the result needs {needed:,}")
    except OSError as error:
        reasons.append(f"{error.filename or path} cannot be looked at: {error.strerror or error}")
    return reasons


def _is_text(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def left_beside(path: Path) -> list[Path]:
    """What conversions to this folder have left that were killed, or that another process is writing now."""
    real = Path(os.path.realpath(path))
    before = _before(real)
    names = os.listdir(real.parent) if real.parent.is_dir() else []
    return sorted(real.parent / name for name in names if name.startswith(before))


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields a folder to fill; at the end it gets its name, at once. Whatever goes wrong before, there is none.

    The folders above are made where they are missing.

    Raises:
        OSError: the disk, or what stands at that name by then, does not allow it.
    """
    real = Path(os.path.realpath(path))
    made = _made(real.parent)
    unfinished: Path | None = None
    try:
        unfinished = Path(tempfile.mkdtemp(prefix=_before(real), dir=real.parent))
        os.chmod(unfinished, 0o777 & ~umask())
        yield unfinished
        on_disk(unfinished)
        os.rename(unfinished, real)  # onto nothing, or onto an empty folder
    except BaseException as error:
        if isinstance(error, OSError) and error.errno is not None:
            _called(error, unfinished, path)
        if unfinished is not None:
            shutil.rmtree(unfinished, ignore_errors=True)
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # somebody else uses it by now
                folder.rmdir()
        raise
    _flushed(real.parent)


class Seen:
    """What a conversion reads, as it is when it begins: a run may save, or delete, while it works.

    Args:
        paths: folders, of which every file counts, and single files.
    """

    def __init__(self, *paths: Path) -> None:
        self._before = {path: _stamps(path) for path in paths}

    def unchanged(self) -> None:
        """
        Raises:
            UserError: one is another by now, or there is one more or less.
        """
        for path, before in self._before.items():
            now = _stamps(path)
            if changed := sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name)):
                raise UserError(
                    f"{path / changed[0]} changed while it was read, so nothing was made; begin again when nothing "
                    "writes there"
                )


def _stamps(path: Path) -> dict[str, tuple[int, int, int]]:
    inside = [os.path.join(above, name) for above, _, names in os.walk(path) for name in names]
    found = {}
    for name in inside if path.is_dir() else [str(path)]:
        with contextlib.suppress(OSError):  # a link that leads nowhere, or what was deleted just now
            state = os.stat(name)
            found[os.path.relpath(name, path)] = (state.st_ino, state.st_size, state.st_mtime_ns)
    return found


def _called(error: OSError, unfinished: Path | None, path: Path) -> None:
    """By the name that the user knows; what stands in a folder that is gone has none."""
    name = error.filename
    if name is None or (unfinished is not None and Path(os.fsdecode(name)).is_relative_to(unfinished)):
        error.filename = str(path)


def on_disk(folder: Path) -> None:
    """Whoever throws the source away afterwards loses nothing when the power fails."""
    for above, _, names in os.walk(folder):
        for name in names:
            _flushed(Path(above, name))
        _flushed(Path(above))


def _before(real: Path) -> str:
    return f".{real.name[:200]}.unfinished-"


def _made(folder: Path) -> list[Path]:
    """Makes a folder and those above it that are missing; returns these, the outermost first."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()][::-1]
    for number, one in enumerate(missing):
        try:
            one.mkdir()
        except BaseException:
            for before in reversed(missing[:number]):
                before.rmdir()
            raise
    return missing


def _flushed(path: Path) -> None:
    if path.is_symlink():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
