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


def change_of(change: Change, adapter: str, threads: int) -> Callable[[Entry], tuple[int, weights.Change]]:
    """What turns a tensor of the base into the merged one, when its turn comes.

    Args:
        adapter: whom a number that is none is blamed on.
        threads: of torch's, for the products.
    """

    def begin(entry: Entry) -> tuple[int, weights.Change]:
        torch = importlib.import_module("torch")
        torch.set_num_threads(threads)
        dtype = getattr(torch, DTYPES[entry.dtype])
        length = entry.shape[-1] if len(entry.shape) > 1 else 1
        row = length * dtype.itemsize
        put = None if change.put is None else _tensor(change.put).to(dtype).reshape(-1)
        deltas = [(_product(pair, dtype), pair) for pair in change.pairs]
        biases = [_tensor(one).to(_wide(torch, dtype)) * scaling for one, scaling in change.bias]

        # One thread for pieces: hashing has the other cores, and threads that wait for one another cost more than they
        # do on a busy machine. The product has as many as everywhere.
        torch.set_num_threads(1)

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
            if not _is_finite(torch, merged):
                raise NotFinite(
                    f"{entry.name} has numbers that are not finite once {adapter} is merged; nothing was written"
                )

        return row, apply

    return begin


def new(name: str, values: Entry, like: Entry) -> weights.New:
    """A tensor of those values, of the type of another one."""

    def made() -> bytes | bytearray:
        if values.dtype == like.dtype:
            return weights.bytes_of(values)
        torch = importlib.import_module("torch")
        numbers = _tensor(values).to(getattr(torch, DTYPES[like.dtype]))
        return bytes(numbers.contiguous().view(torch.uint8).numpy())

    return weights.New(name, like.dtype, like.shape, like.size, made)


def _product(pair: Pair, dtype: Any) -> Any:
    """Of the base's shape, not scaled yet."""
    torch = importlib.import_module("torch")
    wide = _wide(torch, dtype)
    product = _tensor(pair.b).to(wide) @ _tensor(pair.a).to(wide)
    return product if pair.kind == "linear" else product.T


def _wide(torch: Any, dtype: Any) -> Any:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _tensor(entry: Entry) -> Any:
    torch = importlib.import_module("torch")
    if math.prod(entry.shape) == 0:
        return torch.empty(entry.shape, dtype=getattr(torch, DTYPES[entry.dtype]))
    return torch.frombuffer(weights.bytes_of(entry), dtype=getattr(torch, DTYPES[entry.dtype])).reshape(entry.shape)


def _is_finite(torch: Any, numbers: Any) -> bool:
    """A sum is finite only where all are; a sum of large ones may not be, so then each is looked at."""
    total = numbers.sum(dtype=_wide(torch, numbers.dtype))
    return bool(torch.isfinite(total)) or bool(torch.isfinite(numbers).all())
