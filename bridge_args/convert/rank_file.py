"""Tensors of one rank of Megatron-LM's, read without unpickling anything but names, sizes and places.

``torch.load`` would make objects of classes that the file names. Here the structure is read with stand-ins
(``checkpoint/unpickle.py``), and of the bytes only those that it says are a tensor of the model.
"""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, cast

from bridge_args.checkpoint import unpickle
from bridge_args.checkpoint.tensors import unwrapped
from bridge_args.checkpoint.unpickle import Refused, Thing
from bridge_args.checkpoint.unpickle import Tensor as Stored
from bridge_args.files import open_regular

_REBUILT: Final = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
_TYPES: Final = {
    f"torch.{kind}Storage": dtype
    for kind, dtype in {
        "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
        "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
    }.items()
}  # fmt: skip


def chunks_in(file: Path) -> list[str]:
    """``model``, or ``model0``, ``model1``, ... where a rank has several parts of the pipeline."""
    state = unpickle.load(file)
    names = [name for name in state if isinstance(name, str)] if isinstance(state, dict) else []
    return sorted(name for name in names if name == "model" or (name.startswith("model") and name[5:].isdigit()))


def tensors_of(file: Path, chunk: str) -> Iterator[tuple[str, Any]]:
    """Name and tensor of everything in a part of the model but the layers' extra states.

    Raises:
        Refused: the file is not what such a file is.
        OSError: it cannot be read.
    """
    state = unpickle.load(file)[chunk]
    if not isinstance(state, dict):
        raise Refused(f"{file} holds no tensors by name as {chunk}")
    with open_regular(file) as opened:
        if not zipfile.is_zipfile(opened):
            raise Refused(f"{file} is in the format before torch 1.6; load it with torch.load and save it again")
    with open_regular(file) as opened, zipfile.ZipFile(cast("IO[bytes]", opened)) as archive:
        members = {name.partition("/")[2]: name for name in archive.namelist()}
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise Refused(f"{file} is compressed, as torch never writes; a small file may become a very large one")
        order = archive.read(members["byteorder"]) if "byteorder" in members else b"little"
        if order != b"little":
            raise Refused(f"{file} was written by a machine with another order of bytes")
        for name, value in state.items():
            if isinstance(name, str) and not name.endswith("_extra_state"):
                yield name, _tensor(file, name, value, archive, members)


def _tensor(file: Path, name: str, value: Any, archive: zipfile.ZipFile, members: dict[str, str]) -> Any:
    torch = importlib.import_module("torch")
    value = unwrapped(value)
    if not isinstance(value, Thing) or value.path not in _REBUILT:
        raise Refused(f"{file}: {name[:80]} is no tensor")
    place, offset, size, stride = (*value.arguments, None, None, None, None)[:4]
    if not isinstance(place, Stored) or place.storage not in _TYPES or f"data/{place.key}" not in members:
        raise Refused(f"{file}: {name[:80]} has no bytes of a known type")
    if not (_counts((offset,)) and _counts(size) and _counts(stride) and len(size) == len(stride)):
        raise Refused(f"{file}: {name[:80]} has no sizes")
    held = torch.frombuffer(
        bytearray(archive.read(members[f"data/{place.key}"])), dtype=getattr(torch, _TYPES[place.storage])
    )
    end = offset + sum((one - 1) * step for one, step in zip(size, stride, strict=True)) if 0 not in size else 0
    if end >= held.numel() and 0 not in size:
        raise Refused(f"{file}: {name[:80]} is larger than its bytes")
    return torch.as_strided(held, size, stride, offset)


def _counts(values: Any) -> bool:
    return isinstance(values, tuple) and all(type(value) is int and 0 <= value < 1 << 48 for value in values)
