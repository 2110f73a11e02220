"""The arithmetic of a merge, as PEFT does it: the same operations of torch's on numbers of the same kinds.

The product of a pair is one matrix, as with PEFT. The base's weight is never whole in memory: it passes in pieces of
some rows, and what is added to an element does not depend on its neighbours. A merge needs the memory of one product.

Verify: peft, tuners/lora/layer.py ``Linear.merge``, ``Embedding.merge`` and ``get_delta_weight``; tuners_utils.py
``cast_adapter_dtype``: an adapter of 16 bits is one of 32 before its matrices are multiplied.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

from bridge_args.convert import weights
from bridge_args.convert.lora import DTYPES, Change, Pair
from bridge_args.convert.weights import Entry
from bridge_args.errors import UserError


class NotFinite(UserError):
    """A merged weight has a number that is none: an adapter that has diverged, or is too large for the dtype."""


class Merger:
    """Turns tensors of the base into merged ones, one after the other, in buffers that stay.

    Args:
        adapter: whom a number that is none is blamed on.
    """

    def __init__(self, adapter: str) -> None:
        self._torch = importlib.import_module("torch")
        self._adapter = adapter
        self._threads = self._torch.get_num_threads()
        self._rooms: list[Any] = []  # for products: memory that is new to a process costs more than a product

    def finished(self) -> None:
        self._torch.set_num_threads(self._threads)

    def change_of(self, change: Change) -> Callable[[Entry], tuple[int, weights.Change]]:
        """What is done to one tensor, when its turn comes."""
        return lambda entry: self._begin(change, entry)

    def _begin(self, change: Change, entry: Entry) -> tuple[int, weights.Change]:
        torch = self._torch
        dtype = getattr(torch, DTYPES[entry.dtype])
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        length = entry.shape[-1] if len(entry.shape) > 1 else 1
        row = length * dtype.itemsize
        put = None if change.put is None else _tensor(change.put).to(dtype).reshape(-1)
        torch.set_num_threads(self._threads)  # for a product as many as everywhere
        deltas = [(self._product(pair, wide, number), pair) for number, pair in enumerate(change.pairs)]
        # One for pieces: hashing has the other cores, and threads that wait for one another cost more than they do.
        torch.set_num_threads(1)
        biases = [_tensor(one).to(wide) * scaling for one, scaling in change.bias]

        def apply(at: int, held: memoryview, new: memoryview) -> None:
            first, count = at // row, len(held) // row
            merged = torch.frombuffer(new, dtype=dtype)
            if put is None:
                merged.copy_(torch.frombuffer(held, dtype=dtype))
            else:
                merged.copy_(put[first * length : (first + count) * length])
            for delta, pair in deltas:
                part = delta[first : first + count].mul_(pair.scaling)
                merged.view(count, length).add_(part.to(dtype) if pair.kind == "embedding" else part)
            for bias in biases:
                merged.add_(bias[first : first + count])
            if not self._is_finite(merged, wide):
                raise NotFinite(
                    f"{entry.name} has numbers that are not finite once {self._adapter} is merged; nothing was written"
                )

        return row, apply

    def _product(self, pair: Pair, wide: Any, number: int) -> Any:
        """Of the base's shape, not scaled yet."""
        b, a = _tensor(pair.b).to(wide), _tensor(pair.a).to(wide)
        size = b.shape[0] * a.shape[1]
        self._rooms += [None] * (number + 1 - len(self._rooms))
        room = self._rooms[number]
        if room is None or room.dtype != wide or room.numel() < size:
            room = self._rooms[number] = None  # given back before there is a larger one
            room = self._rooms[number] = self._torch.empty(size, dtype=wide)
        product = self._torch.mm(b, a, out=room[:size].view(b.shape[0], a.shape[1]))
        return product if pair.kind == "linear" else product.T

    def _is_finite(self, numbers: Any, wide: Any) -> bool:
        """A sum is finite only where all are; a sum of large ones may not be, so then each is looked at."""
        torch = self._torch
        return bool(torch.isfinite(numbers.sum(dtype=wide))) or bool(torch.isfinite(numbers).all())


def new(name: str, values: Entry, like: Entry) -> weights.New:
    """A tensor of those values, of the type of another one."""

    def made() -> bytes | bytearray:
        if values.dtype == like.dtype:
            return weights.bytes_of(values)
        torch = importlib.import_module("torch")
        numbers = _tensor(values).to(getattr(torch, DTYPES[like.dtype]))
        return bytes(numbers.contiguous().view(torch.uint8).numpy())

    return weights.New(name, like.dtype, like.shape, like.size, made)


def _tensor(entry: Entry) -> Any:
    torch = importlib.import_module("torch")
    if math.prod(entry.shape) == 0:
        return torch.empty(entry.shape, dtype=getattr(torch, DTYPES[entry.dtype]))
    return torch.frombuffer(weights.bytes_of(entry), dtype=getattr(torch, DTYPES[entry.dtype])).reshape(entry.shape)
