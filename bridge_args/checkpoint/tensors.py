"""Which tensors a checkpoint holds, by the index or the header of its files; no tensor is read, and no torch is needed.

Formats. Verify: torch/distributed/checkpoint/metadata.py for ``.metadata``; the README of safetensors for its header.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from bridge_args.checkpoint.unpickle import Refused, Thing, TooLarge, load, load_index
from bridge_args.checkpoint.unpickle import Tensor as Place
from bridge_args.files import json_of, open_regular, read_bytes, remember
from bridge_args.records import Record

LARGEST_HEADER: Final = 16 << 20  # bytes; a tensor takes 120, and a file of the largest models has some 10,000
_LARGEST_JSON: Final = 32 << 20  # bytes of an index or a config
_LARGEST_NUMBER: Final = 1 << 62  # of a dimension, an offset, a product of dimensions
_MOST_DIMENSIONS: Final = 64
_NAMES: Final = range(1, 256)  # bytes of one step of a path
_LONGEST: Final = 1000  # characters of a path
_SIZES: Final = {  # bytes of one number, by safetensors' names
    "float64": ("F64", 8), "float32": ("F32", 4), "float16": ("F16", 2), "bfloat16": ("BF16", 2),
    "float8_e4m3fn": ("F8_E4M3", 1), "float8_e5m2": ("F8_E5M2", 1), "float8_e8m0fnu": ("F8_E8M0", 1),
    "int64": ("I64", 8), "int32": ("I32", 4), "int16": ("I16", 2), "int8": ("I8", 1), "uint8": ("U8", 1),
    "uint64": ("U64", 8), "uint32": ("U32", 4), "uint16": ("U16", 2), "bool": ("BOOL", 1), "complex64": ("C64", 8),
}  # fmt: skip
_OF_STORAGES: Final = {  # by the class of the storage
    f"torch.{kind}Storage": name
    for kind, name in {
        "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
        "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
    }.items()
}  # fmt: skip
_POINTER: Final = b"version https://git-lfs.github.com/spec/"
_MODEL: Final = re.compile(r"model\d*")
_MOST_ENTRIES: Final = 200_000
_OF_SAFETENSORS: Final = {short: (name, size) for name, (short, size) in _SIZES.items()}


class Tensor(Record):
    """One tensor.

    Attributes:
        name: as the checkpoint calls it.
        dtype: as torch calls it, without ``torch.``.
        shape: of the whole tensor, not of one rank's part.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)


class Part(Record):
    """A part of a file, by its name in the folder."""

    file: str
    offset: int
    length: int


class Index(Record):
    """What an index of ``torch.distributed.checkpoint`` says.

    Attributes:
        tensors: in its order.
        others: names of what is no tensor: states of generators, layers' extra states, arguments.
        ends: file, by its name in the folder, to the bytes it must have at least.
        places: where those of ``others`` lie that lie in one piece.
    """

    tensors: list[Tensor]
    others: list[str]
    ends: dict[str, int]
    places: dict[str, Part]


def of_index(file: Path) -> Index:
    """``.metadata`` of ``torch.distributed.checkpoint``.

    Raises:
        Refused: it is none, or names a file outside of its folder.
        OSError: it cannot be read.
    """
    metadata = load_index(file)
    entries, places = field(metadata, "state_dict_metadata"), field(metadata, "storage_data")
    if not isinstance(entries, dict) or not isinstance(places, dict):
        raise Refused(f"{file} is no index of torch.distributed.checkpoint")
    try:
        tensors, others = [], []
        for name, entry in entries.items():
            size = field(entry, "size")
            if not isinstance(name, str):
                raise Refused("a name in it is no text")
            if size is None:
                others.append(name)
            else:
                tensors.append(Tensor(name, dtype_of(entry), shape_of(size)))
        ends: dict[str, int] = {}
        parts: dict[str, Part] = {}
        for key, place in places.items():
            part = part_of(place)
            ends[part.file] = max(ends.get(part.file, 0), part.offset + part.length)
            if isinstance(name := field(key, "fqn"), str) and not field(place, "transform_descriptors"):
                parts[name] = part
    except Refused as refusal:
        raise Refused(f"{file}: {refusal}") from None
    return Index(tensors, others, ends, {name: parts[name] for name in others if name in parts})


def of_safetensors(file: Path) -> list[Tensor]:
    """The header of a file, compared with its length.

    Raises:
        Refused: it is none, its header is larger than ``LARGEST_HEADER``, or bytes are missing.
        OSError: it cannot be read.
    """
    remember(file)
    with open_regular(file) as opened:
        start = opened.read(8)
        length = int.from_bytes(start, "little")
        if start == _POINTER[:8] and is_pointer(file):
            raise Refused(said_of_pointer(file))
        if len(start) < 8 or length > LARGEST_HEADER:
            what = f"its header would have {length} bytes" if len(start) == 8 else f"it has {len(start)} bytes"
            raise Refused(f"{file} is no file of safetensors: {what}")
        header = opened.read(length)
        held = opened.seek(0, 2) - 8 - length
    try:
        tensors, end = _of_header(_json(header))
    except Refused as refusal:
        raise Refused(f"{file} is no file of safetensors: {refusal}") from None
    if held != end:
        raise Refused(f"{file} is not whole: its tensors have {max(held, 0)} of {end} bytes")
    return tensors


def is_pointer(file: Path) -> bool:
    """Is it what Git LFS leaves in place of a file that was not fetched?"""
    with open_regular(file) as opened:
        return opened.read(len(_POINTER)) == _POINTER


def said_of_pointer(file: Path) -> str:
    return f"{file} is a pointer of Git LFS, not the file itself: git lfs pull fetches it"


def _of_header(header: Any) -> tuple[list[Tensor], int]:
    tensors, parts = [], []
    for name, entry in _mapping(header).items():
        if name == "__metadata__":
            continue
        said = _mapping(entry)
        dtype, size = _OF_SAFETENSORS.get(str(said.get("dtype")), (str(said.get("dtype"))[:40], None))
        tensor = Tensor(name, dtype, shape_of(said.get("shape")))
        offsets = said.get("data_offsets")
        if not isinstance(offsets, list) or len(offsets) != 2:
            raise Refused(f'"{name[:80]}" has no place')
        begin, end = map(_number, offsets)
        if end < begin or (size is not None and end - begin != size * tensor.numbers):
            raise Refused(f'"{name[:80]}" has {end - begin} bytes, which its shape does not need')
        tensors.append(tensor)
        parts.append((begin, end))
    reached = 0
    for begin, end in sorted(parts):
        if begin != reached:
            raise Refused("its tensors leave holes or overlap")
        reached = end
    return tensors, reached


def of_rank(file: Path) -> list[Tensor]:
    """A file of ``torch.save``: the model of one rank of Megatron-LM's, or tensors by name.

    Raises:
        Refused: it is none, or has more entries than are counted.
        OSError: it cannot be read.
    """
    content = load(file)
    state = content if isinstance(content, dict) else {}
    parts = {name: value for name, value in state.items() if isinstance(name, str) and _MODEL.fullmatch(name)} or state
    found, ahead, met = [], [("", parts)], 0
    while ahead:
        prefix, holder = ahead.pop()
        for name, value in holder.items():
            met += 1
            if met > _MOST_ENTRIES:
                raise TooLarge(f"{file} has more than {_MOST_ENTRIES} entries")
            whole = f"{prefix}{name}" if isinstance(name, str) else prefix
            if isinstance(value, dict) and prefix.count(".") < _MOST_DIMENSIONS:
                ahead.append((f"{whole}.", value))
            else:
                try:
                    found += _rebuilt(whole, value)
                except Refused as refusal:
                    raise Refused(f"{file}: {refusal}") from None
    return found


def _rebuilt(name: str, value: Any) -> list[Tensor]:
    """The tensor that a value stands for, if it is one."""
    value = unwrapped(value)
    if not isinstance(value, Thing) or not value.path.startswith("torch._utils._rebuild_tensor"):
        return []
    place, _, size = (*value.arguments, None, None, None)[:3]
    if not isinstance(place, Place) or place.storage not in _OF_STORAGES:
        return []
    return [Tensor(name, _OF_STORAGES[place.storage], shape_of(size))]


def unwrapped(value: Any) -> Any:
    """The call that makes a tensor, of a parameter or of a tensor with attributes of its own."""
    if isinstance(value, Thing) and value.path == "torch._utils._rebuild_parameter" and value.arguments:
        value = value.arguments[0]
    if isinstance(value, Thing) and value.path == "torch._tensor._rebuild_from_type_v2":
        function, _, given = (*value.arguments, None, None, None)[:3]
        if isinstance(function, type) and issubclass(function, Thing) and isinstance(given, tuple):
            return function(*given)
    return value


def files_of_index(file: Path) -> dict[str, str]:
    """``model.safetensors.index.json``: tensor to the name of its file.

    Raises:
        Refused: it is none, or names a file outside of its folder.
        OSError: it cannot be read.
    """
    placed = mapping_in(file).get("weight_map")
    try:
        return {name: _inside(where) for name, where in _mapping(placed).items()}
    except Refused as refusal:
        raise Refused(f"{file}: {refusal}") from None


def mapping_in(file: Path) -> Mapping[str, Any]:
    """What a file of JSON says.

    Raises:
        Refused: it is no JSON, or no mapping.
        OSError: it cannot be read, or is larger than any such file.
    """
    remember(file)
    content = read_bytes(file, _LARGEST_JSON)
    try:
        return _mapping(_json(content))
    except Refused as refusal:
        raise Refused(f"{file}: {refusal}") from None


def _json(content: bytes) -> Any:
    try:
        return json_of(content.decode("utf-8"))
    except (ValueError, MemoryError) as error:
        raise Refused(f"it is no JSON: {str(error)[:200] or 'it is too large'}") from None


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused("it holds no mapping where there must be one")
    return value


def part_of(place: Any) -> Part:
    """Where an index says that something lies."""
    return Part(
        _inside(field(place, "relative_path")), _number(field(place, "offset")), _number(field(place, "length"))
    )


def field(thing: Any, name: str) -> Any:
    """What an object has under a name; None where it has nothing of the kind."""
    return thing.state.get(name) if isinstance(thing, Thing) and isinstance(thing.state, dict) else None


def dtype_of(entry: Any) -> str:
    """Of a tensor's entry in an index, as torch calls it."""
    properties = field(entry, "properties")
    state = properties.state if isinstance(properties, Thing) else None
    dtype = state[0] if isinstance(state, tuple) and state else field(properties, "dtype")
    if not (isinstance(dtype, type) and issubclass(dtype, Thing)):
        raise Refused("a tensor in it has no dtype")
    return str(dtype.path).removeprefix("torch.")


def shape_of(sizes: Any) -> tuple[int, ...]:
    """A list of dimensions, or of where something begins in each; of ``torch.Size`` what it was made of."""
    if isinstance(sizes, Thing) and sizes.path == "torch.Size" and len(sizes.arguments) == 1:
        sizes = sizes.arguments[0]
    if not isinstance(sizes, (list, tuple)) or len(sizes) > _MOST_DIMENSIONS:
        raise Refused("a tensor in it has no shape")
    shape = tuple(map(_number, sizes))
    if math.prod(shape) > _LARGEST_NUMBER:
        raise Refused("a tensor in it is larger than any")
    return shape


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _LARGEST_NUMBER:
        raise Refused("a size in it is no whole number, or is larger than any")
    return value


def _inside(name: Any) -> str:
    """A name of a file in the same folder, or below."""
    if not isinstance(name, str) or not name.isprintable() or max(map(len, name.encode().split(b"/"))) not in _NAMES:
        raise Refused("a name of a file in it is none that a file can have")
    if len(name) > _LONGEST:
        raise Refused("a name of a file in it is longer than any")
    if name.startswith("/") or ".." in name.split("/"):
        raise Refused(f'it names "{name[:80]}", which is outside of the folder')
    return name


def bytes_of(tensors: Iterable[Tensor]) -> int | None:
    """What their numbers take; None where a dtype is not known."""
    sizes = [(_SIZES.get(tensor.dtype), tensor.numbers) for tensor in tensors]
    return None if any(size is None for size, _ in sizes) else sum(size[1] * numbers for size, numbers in sizes if size)
