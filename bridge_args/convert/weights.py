"""Files of safetensors as bytes: where each tensor lies, and a copy of a file in which some of them are others."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO, Final

from bridge_args.checkpoint.tensors import LARGEST_HEADER, of_safetensors
from bridge_args.files import json_of, named, open_regular
from bridge_args.records import Record

PIECE: Final = 1 << 19  # bytes that are read, hashed and written at once: what a processor keeps in its own cache
_BUFFERS: Final = 8  # pieces that hashing may be behind
_UNFLUSHED: Final = 1 << 25  # bytes after which a disk is asked to begin, or it would stand still until a file is done
_MOST_AT_ONCE: Final = 8  # files: more than that no disk writes faster
_DONE: Final[Future[None]] = Future()
_DONE.set_result(None)


class Entry(Record):
    """One tensor in a file.

    Attributes:
        name: in the file.
        dtype: as safetensors calls it.
        shape: its own.
        begin, end: its bytes, counted from the start of the file.
        file: where it lies.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int
    file: Path

    @property
    def size(self) -> int:
        return self.end - self.begin


class Weights(Record):
    """A file of safetensors.

    Attributes:
        path: of the file.
        header: its first bytes, up to the first tensor.
        entries: in the order of their bytes.
    """

    path: Path
    header: bytes
    entries: list[Entry]

    @property
    def size(self) -> int:
        return self.entries[-1].end if self.entries else len(self.header)


def read(path: Path) -> Weights:
    """What the header of a file says.

    Raises:
        Refused: it is none, or is not whole.
        OSError: it cannot be read.
    """
    checked = {tensor.name: tensor.shape for tensor in of_safetensors(path)}
    with open_regular(path) as opened:
        length = int.from_bytes(opened.read(8), "little")
        assert length <= LARGEST_HEADER
        text = opened.read(length)
    said = json_of(text.decode("utf-8"))
    start = 8 + length
    entries = [
        Entry(
            name,
            str(entry["dtype"]),
            checked[name],
            start + entry["data_offsets"][0],
            start + entry["data_offsets"][1],
            path,
        )
        for name, entry in said.items()
        if name in checked
    ]
    entries.sort(key=lambda entry: (entry.begin, entry.end))
    return Weights(path, length.to_bytes(8, "little") + text, entries)


def bytes_of(entry: Entry) -> bytearray:
    """Those of one tensor.

    Raises:
        OSError: the file cannot be read, or has become shorter.
    """
    held = bytearray(entry.size)
    with open_regular(entry.file) as opened:
        opened.seek(entry.begin)
        filled(opened, memoryview(held))
    return held


def filled(opened: BinaryIO, held: memoryview) -> None:
    """Reads until so many bytes are there.

    Raises:
        OSError: the file ends before.
    """
    at = 0
    while at < len(held):
        with named(opened.name):
            count = opened.readinto(held[at:])  # type: ignore[attr-defined]
        if not count:
            raise OSError(f"{opened.name} has become shorter while it was read")
        at += count


# Changes one tensor: is given its bytes, piece by piece, and makes the new ones of them in the second buffer. Both are
# of one length.
Change = Callable[[int, memoryview, memoryview], None]


class New(Record):
    """A tensor that a file did not have.

    Attributes:
        name, dtype, shape: as the header is to say.
        size: in bytes.
        values: makes its bytes, when its turn comes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    values: Callable[[], bytes | bytearray]


class Copied(Record):
    """A file that was copied.

    Attributes:
        read: ``bytes`` and ``sha256`` of what was there.
        written: of what is there now.
    """

    read: dict[str, Any]
    written: dict[str, Any]


class Copier:
    """Copies files, hashing what is read and what is written while it passes; on disk when ``finished`` has ended.

    Args:
        apart: are there processors for hashing in threads of its own, one for what is read and one for what is
            written? Else a piece is hashed by whom it is changed by, while it is in his cache.
        stop: nothing more is copied once this is set.
    """

    def __init__(self, apart: Callable[[], bool] = lambda: True, stop: Event | None = None) -> None:
        self._read, self._written = (_Hashing(apart) for _ in range(2))
        self._flusher = ThreadPoolExecutor(1)
        self._flushed = [_DONE]
        self._unflushed = 0
        self._rings = [_Ring() for _ in range(2)]
        self._stop = stop or Event()

    def __enter__(self) -> Copier:
        return self

    def __exit__(self, *exception: object) -> None:
        for hashing in (self._read, self._written):
            hashing.pool.shutdown(cancel_futures=True)
        self._flusher.shutdown()  # whatever it was given it closes

    def finished(self) -> None:
        """Waits for the disk.

        Raises:
            OSError: it is full, or broken.
        """
        for one in self._flushed:
            one.result()
        self._flushed = [_DONE]

    def copy(self, source: Path, target: Path, did: Callable[[int], None] | None = None) -> Copied:
        """A file as it is."""
        with open_regular(source) as opened, _new(target) as made:
            sums = _Sums(self._read, self._written)
            self._same(opened, made, os.fstat(opened.fileno()).st_size, sums)
            if did is not None:
                did(opened.tell())
            self._flush(made)
            return sums.told()

    def weights(
        self,
        source: Weights,
        target: Path,
        changes: Mapping[str, Callable[[Entry], tuple[int, Change]]],
        did: Callable[[int], None],
        more: Sequence[New] = (),
        look: Callable[[Entry, memoryview], None] | None = None,
    ) -> Copied:
        """A file of safetensors with the same header, in which some tensors are others.

        Args:
            changes: by name; called when its turn comes: returns the bytes that a piece is a multiple
                of, and the change.
            did: is told of each tensor that is done, with its bytes.
            more: tensors that come after the others; the header has them too, then.
            look: is shown each piece of a tensor that stays as it is.
        """
        with open_regular(source.path) as opened, _new(target) as made:
            sums = _Sums(self._read, self._written)
            if more:
                self._other_header(opened, made, source, more, sums)
            else:
                self._same(opened, made, len(source.header), sums)
            for entry in source.entries:
                make = changes.get(entry.name)
                if make is None:
                    self._same(opened, made, entry.size, sums, partial(look, entry) if look is not None else None)
                else:
                    rows, change = make(entry)
                    self._changed(opened, made, entry.size, piece_of(rows), change, sums)
                did(entry.size)
            for new in more:
                held = memoryview(new.values())
                sums.more(held)
                self._put(made, held)
                did(len(held))
            self._flush(made)
            return sums.told()

    def _other_header(
        self, opened: BinaryIO, made: BinaryIO, source: Weights, more: Sequence[New], sums: _Sums
    ) -> None:
        old = memoryview(bytearray(len(source.header)))
        filled(opened, old)
        new = memoryview(_longer(source, more))
        sums.changed(old, new)
        self._put(made, new)

    def _same(
        self,
        opened: BinaryIO,
        made: BinaryIO,
        size: int,
        sums: _Sums,
        look: Callable[[memoryview], None] | None = None,
    ) -> None:
        for count in self._pieces(size, PIECE):
            slot, held = self._rings[0].next(count)
            filled(opened, held)
            if look is not None:
                look(held)
            slot.waits_for(*sums.same(held))
            self._put(made, held)

    def _changed(self, opened: BinaryIO, made: BinaryIO, size: int, piece: int, change: Change, sums: _Sums) -> None:
        at = 0
        for count in self._pieces(size, piece):
            slot, held = self._rings[0].next(count)
            other, new = self._rings[1].next(count)
            filled(opened, held)
            change(at, held, new)
            before, after = sums.changed(held, new)
            slot.waits_for(before)
            other.waits_for(after)
            self._put(made, new)
            at += count

    def _pieces(self, size: int, piece: int) -> Iterator[int]:
        for begin in range(0, size, piece):
            if self._stop.is_set():
                raise CancelledError  # another file has failed
            yield min(piece, size - begin)

    def _put(self, made: BinaryIO, held: memoryview) -> None:
        made.write(held)
        self._unflushed += len(held)
        if self._unflushed > _UNFLUSHED and self._flushed[-1].done():
            self._flushed.pop().result()
            self._flush(made)

    def _flush(self, made: BinaryIO) -> None:
        handle, self._unflushed = os.dup(made.fileno()), 0

        def flush() -> None:
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

        self._flushed.append(self._flusher.submit(flush))


def several(files: Sequence[Weights], copy: Callable[[Copier, Weights], None]) -> None:
    """Copies files, one for each processor at a time, the largest first; all of them are on disk when it ends.

    Raises:
        Exception: what the first raises that fails; the others stop then, as they do when a signal comes.
    """
    left = sorted(files, key=lambda one: one.size)
    processors = _processors()
    at_once = min(len(left), processors, _MOST_AT_ONCE)
    if not at_once:
        return
    stop = Event()
    busy = [None] * at_once

    def work() -> None:
        with Copier(lambda: 2 * len(busy) <= processors, stop) as copier:
            while not stop.is_set() and (one := _taken(left)) is not None:
                copy(copier, one)
            busy.pop()
            copier.finished()

    with ThreadPoolExecutor(at_once) as pool:
        try:
            for done in as_completed([pool.submit(work) for _ in range(at_once)]):
                done.result()
        except BaseException:
            stop.set()
            raise


def _processors() -> int:
    """Those that this process may use, where the system says it; macOS does not."""
    asked = getattr(os, "sched_getaffinity", None)
    return len(asked(0)) if asked is not None else os.cpu_count() or 1


def _taken(left: list[Weights]) -> Weights | None:
    """The last one; another thread may have been quicker."""
    try:
        return left.pop()
    except IndexError:
        return None


def _longer(source: Weights, more: Sequence[New]) -> bytes:
    """A header with further tensors; those that were there stay where they are, counted from its end."""
    said = json_of(source.header[8:].decode("utf-8"))
    end = source.size - len(source.header)
    for new in more:
        said[new.name] = {"dtype": new.dtype, "shape": list(new.shape), "data_offsets": [end, end + new.size]}
        end += new.size
    text = json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def piece_of(rows: int) -> int:
    """Bytes of a piece that is to be a multiple of some rows, in bytes."""
    return max(rows, PIECE // rows * rows)


@contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    with open(path, "xb", buffering=0) as made:
        yield _Whole(made)  # type: ignore[misc]


class _Whole:
    """Writes all of what it is given, or raises."""

    def __init__(self, made: Any) -> None:
        self._made = made
        self.fileno = made.fileno

    def write(self, held: memoryview) -> None:
        while held:
            held = held[self._made.write(held) :]


class _Hashing:
    """Hashes one piece after the other: in a thread of its own, or at once."""

    def __init__(self, apart: Callable[[], bool]) -> None:
        self.pool = ThreadPoolExecutor(1)
        self._apart = apart
        self._last: Future[None] | None = None

    def submit(self, update: Callable[[memoryview], None], held: memoryview) -> Future[None]:
        if self._apart():
            self._last = self.pool.submit(update, held)
        else:
            self.wait()
            update(held)
            self._last = _DONE
        return self._last

    def wait(self) -> None:
        if self._last is not None:
            self._last.result()


class _Slot:
    """One buffer, which is not written into before it was hashed."""

    def __init__(self) -> None:
        self.held = bytearray()
        self._readers: Sequence[Future[None]] = ()

    def waits_for(self, *readers: Future[None]) -> None:
        self._readers = readers

    def is_ready(self) -> bool:
        return all(one.done() for one in self._readers)

    def ready(self, size: int) -> memoryview:
        for one in self._readers:
            one.result()
        self._readers = ()
        if len(self.held) < size:
            self.held = bytearray(max(size, PIECE))
        return memoryview(self.held)[:size]


class _Ring:
    """The last buffer again where it was hashed, as a processor has that in its cache; else the oldest."""

    def __init__(self) -> None:
        self._slots = [_Slot() for _ in range(_BUFFERS)]

    def next(self, size: int) -> tuple[_Slot, memoryview]:
        slot = self._slots.pop(-1 if self._slots[-1].is_ready() else 0)
        self._slots.append(slot)
        return slot, slot.ready(size)


class _Sums:
    """What was read and what was written: one sum as long as both are the same."""

    def __init__(self, read: _Hashing, written: _Hashing) -> None:
        self._by = read, written
        self._read = hashlib.sha256()
        self._written: Any = None
        self._size = self._size_written = 0

    def same(self, held: memoryview) -> list[Future[None]]:
        if self._written is not None:
            return self.changed(held, held)
        self._size += len(held)
        self._size_written += len(held)
        return [self._by[0].submit(self._read.update, held)]

    def changed(self, held: memoryview, new: memoryview) -> list[Future[None]]:
        if self._written is None:
            self._by[0].wait()
            self._written = self._read.copy()
        self._size += len(held)
        self._size_written += len(new)
        return [self._by[0].submit(self._read.update, held), self._by[1].submit(self._written.update, new)]

    def more(self, new: memoryview) -> None:
        """What was written and not read."""
        self.changed(memoryview(b""), new)

    def told(self) -> Copied:
        for one in self._by:
            one.wait()
        read, written = (one.hexdigest() for one in (self._read, self._written or self._read))
        return Copied({"bytes": self._size, "sha256": read}, {"bytes": self._size_written, "sha256": written})
