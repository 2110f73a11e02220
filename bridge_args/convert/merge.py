"""The arithmetic of a merge, as PEFT does it: the same operations of torch's on numbers of the same kinds.

The base's weight is never whole in memory: it passes in pieces of some rows, small enough for a processor's cache, in
buffers that stay. PEFT multiplies the two matrices of a pair as wholes. A product of some rows has the same bits where
the library that multiplies adds up in the same order, which it chooses by shapes, never by numbers: that is tried once
for every shape. Where a bit is another, as with odd numbers of rows, the product of each pair is made whole, and a
merge needs the memory of one.

Verify: peft, tuners/lora/layer.py ``Linear.merge``, ``Embedding.merge`` and ``get_delta_weight``; tuners_utils.py
``cast_adapter_dtype``: an adapter of 16 bits is one of 32 before its matrices are multiplied.
"""

from __future__ import annotations

import importlib
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from bridge_args.convert import weights
from bridge_args.convert.lora import DTYPES, Change, Kind, Pair
from bridge_args.convert.weights import Entry
from bridge_args.errors import UserError
from bridge_args.records import Record

_ROWS: Final = 16  # at once, or a multiple: matrices begin where a processor likes them to

# Adds rows of a product to rows of a weight, from the first one on.
_Add = Callable[[int, Any], None]


class NotFinite(UserError):
    """A merged weight has a number that is none: an adapter that has diverged, or is too large for the dtype."""


class _Way(Record):
    """How a product is made and added: what its bits may depend on, beside the numbers.

    Attributes:
        kind: of the pair.
        b, a: shapes of the two matrices.
        dtype: of the weight.
        wide: of the sums.
        scaling: of the product.
        at_once: product, scaling and sum are one operation.
    """

    kind: Kind
    b: tuple[int, ...]
    a: tuple[int, ...]
    dtype: Any
    wide: Any
    scaling: float
    at_once: bool


class Merger:
    """Turns tensors of the base into merged ones.

    Several threads may change tensors of files that are ``by_rows``; a whole product has all processors, and what
    else multiplies meanwhile would have them, too.

    Args:
        adapter: whom a number that is none is blamed on.
        changes: name of a tensor of the base to what becomes of it.
    """

    def __init__(self, adapter: str, changes: Mapping[str, Change]) -> None:
        self._torch = importlib.import_module("torch")
        self._adapter = adapter
        self._changes = changes
        self._threads = self._torch.get_num_threads()
        self._of_thread = threading.local()
        self._ways: dict[tuple[Pair, str], _Way] = {}
        self._same: dict[_Way, bool] = {}

    def __enter__(self) -> Merger:
        # One for pieces: the others have work of their own, and threads that wait for one another cost more than that.
        self._torch.set_num_threads(1)
        return self

    def __exit__(self, *exception: object) -> None:
        self._torch.set_num_threads(self._threads)

    def by_rows(self, entries: Iterable[Entry]) -> bool:
        """Is no product for these tensors made whole? Each shape that is new is tried."""
        changed = [(entry.dtype, self._changes[entry.name]) for entry in entries if entry.name in self._changes]
        return all(self._is_same(self._way(pair, dtype)) for dtype, change in changed for pair in change.pairs)

    def begun(self, entry: Entry) -> tuple[int, weights.Change]:
        """What is done to one tensor, when its turn comes: bytes that a piece is a multiple of, and the change."""
        torch, change = self._torch, self._changes[entry.name]
        torch.set_num_threads(1)  # of this thread
        dtype, wide = self._types(entry.dtype)
        length = entry.shape[-1] if len(entry.shape) > 1 else 1
        row = length * dtype.itemsize
        put = None if change.put is None else _tensor(change.put).to(dtype).reshape(-1)
        adds = [self._add(pair, entry.dtype, f"product {number}") for number, pair in enumerate(change.pairs)]
        biases = [_tensor(one).to(wide) * scaling for one, scaling in change.bias]

        def apply(at: int, held: memoryview, new: memoryview) -> None:
            first, count = at // row, len(held) // row
            merged = torch.frombuffer(new, dtype=dtype)
            before = torch.frombuffer(held, dtype=dtype) if put is None else put[first * length :][: count * length]
            if not adds:
                merged.copy_(before)
            for add in adds:
                rows = self._room("rows", wide, count, length)
                rows.view(-1).copy_(before)
                add(first, rows)
                before = merged.copy_(rows.view(-1))
            for bias in biases:
                merged.add_(bias[first : first + count])
            if not self._is_finite(merged):
                self.look(entry, held)
                raise _not_finite(entry.name, f"once {self._adapter} is merged")

        return _ROWS * row, apply

    def look(self, entry: Entry, held: memoryview) -> None:
        """At a part of a tensor of the base.

        Raises:
            NotFinite: it has a number that is none.
        """
        if entry.dtype in DTYPES:
            numbers = self._torch.frombuffer(held, dtype=getattr(self._torch, DTYPES[entry.dtype]))
            if not self._is_finite(numbers):
                raise _not_finite(entry.name, "in the base")

    def new(self, name: str, values: Entry, like: Entry) -> weights.New:
        """A tensor of those values, of the type of another one."""

        def made() -> bytes | bytearray:
            numbers = _tensor(values).to(getattr(self._torch, DTYPES[like.dtype])).reshape(-1)
            if not self._is_finite(numbers):
                raise _not_finite(name, f"in {values.file}")
            return bytes(numbers.view(self._torch.uint8).numpy())

        return weights.New(name, like.dtype, like.shape, like.size, made)

    def _add(self, pair: Pair, dtype: str, room: str) -> _Add:
        """By rows where that is the same to the last bit, else whole."""
        way = self._way(pair, dtype)
        b, a = self._halves(pair, way.wide)
        return self._by_rows(way, b, a) if self._is_same(way) else self._whole(way, b, a, room)

    def _way(self, pair: Pair, dtype: str) -> _Way:
        found = self._ways.get((pair, dtype))
        if found is None:
            of_torch, wide = self._types(dtype)
            at_once = pair.kind == "linear" and _is_exact(*self._halves(pair, wide), pair.scaling)
            found = _Way(pair.kind, pair.b.shape, pair.a.shape, of_torch, wide, pair.scaling, at_once)
            self._ways[pair, dtype] = found
        return found

    def _types(self, dtype: str) -> tuple[Any, Any]:
        """Of a weight, and of the sums that it is made of."""
        of_torch = getattr(self._torch, DTYPES[dtype])
        return of_torch, self._torch.float64 if of_torch == self._torch.float64 else self._torch.float32

    @staticmethod
    def _halves(pair: Pair, wide: Any) -> tuple[Any, Any]:
        b, a = (_tensor(half).to(wide, copy=True) for half in (pair.b, pair.a))
        return b, a

    def _is_same(self, way: _Way) -> bool:
        found = self._same.get(way)
        if found is None:
            found = self._same[way] = self._tried(way)
        return found

    def _tried(self, way: _Way) -> bool:
        """With numbers that every sum rounds."""
        torch, wide = self._torch, way.wide
        random = torch.Generator().manual_seed(0)
        b, a = (torch.rand(shape, dtype=wide, generator=random) - 0.5 for shape in (way.b, way.a))
        rows, length = (way.b[0], way.a[1]) if way.kind == "linear" else (way.a[1], way.b[0])
        if not rows * length:
            return True
        piece = weights.piece_of(_ROWS * length * way.dtype.itemsize) // (length * way.dtype.itemsize)
        bits = torch.int64 if wide == torch.float64 else torch.int32
        ways = self._whole(way, b, a, "product 0"), self._by_rows(way, b, a)
        for first in range(0, rows, piece):
            tried = [self._room(f"tried {number}", wide, min(piece, rows - first), length) for number in range(2)]
            for add, numbers in zip(ways, tried, strict=True):
                add(first, numbers.fill_(0.7))
            if not torch.equal(*(numbers.view(bits) for numbers in tried)):
                return False
        return True

    def _whole(self, way: _Way, b: Any, a: Any, room: str) -> _Add:
        torch = self._torch
        torch.set_num_threads(self._threads)  # as many as everywhere
        product = torch.mm(b, a, out=self._room(room, b.dtype, b.shape[0], a.shape[1]))
        torch.set_num_threads(1)
        product = product if way.kind == "linear" else product.T
        return lambda first, rows: rows.add_(_scaled(product[first : first + len(rows)], way))

    def _by_rows(self, way: _Way, b: Any, a: Any) -> _Add:
        if way.at_once:
            b = b * way.scaling
            return lambda first, rows: rows.addmm_(b[first : first + len(rows)], a)

        def add(first: int, rows: Any) -> None:
            last = first + len(rows)
            of_b, of_a = (b[first:last], a) if way.kind == "linear" else (b, a[:, first:last])
            product = self._torch.mm(of_b, of_a, out=self._room("part", b.dtype, of_b.shape[0], of_a.shape[1]))
            rows.add_(_scaled(product if way.kind == "linear" else product.T, way))

        return add

    def _room(self, name: str, dtype: Any, rows: int, columns: int) -> Any:
        """Memory for a matrix, the same as the last time of that name where it is large enough."""
        size = rows * columns
        rooms = self._of_thread.__dict__  # memory that is new to a process costs more than a product
        room = rooms.get(name)
        if room is None or room.dtype != dtype or room.numel() < size:
            room = rooms[name] = None  # given back before there is a larger one
            room = rooms[name] = self._torch.empty(size, dtype=dtype)
        return room[:size].view(rows, columns)

    def _is_finite(self, numbers: Any) -> bool:
        """The smallest and the largest tell; of a number that is none they are none, too."""
        return not numbers.numel() or all(math.isfinite(one) for one in self._torch.aminmax(numbers))


def _scaled(product: Any, way: _Way) -> Any:
    """What is added to an embedding is rounded before."""
    product = product.mul_(way.scaling)
    return product.to(way.dtype) if way.kind == "embedding" else product


def _is_exact(b: Any, a: Any, scaling: float) -> bool:
    """Does it make no difference when the factor is applied? It is a power of two, and no number is near the limits."""
    if math.frexp(scaling)[0] != 0.5:
        return False
    if not (b.numel() and a.numel()):
        return False
    numbers = [half.abs() for half in (b, a)]
    largest = math.prod(float(half.max()) for half in numbers) * a.shape[0] * max(scaling, 1)
    smallest = math.prod(float(half.masked_fill_(half == 0, 1).min()) for half in numbers) * min(scaling, 1)
    # A sum of products of 24 bits each is a multiple of the smallest product, less 46 bits.
    return largest < 2.0**126 and smallest * 2.0**-46 > 2.0**-126


def _not_finite(name: str, whose: str) -> NotFinite:
    return NotFinite(f"{name} has numbers that are not finite {whose}; nothing was written")


def _tensor(entry: Entry) -> Any:
    torch = importlib.import_module("torch")
    if math.prod(entry.shape) == 0:
        return torch.empty(entry.shape, dtype=getattr(torch, DTYPES[entry.dtype]))
    return torch.frombuffer(weights.bytes_of(entry), dtype=getattr(torch, DTYPES[entry.dtype])).reshape(entry.shape)
