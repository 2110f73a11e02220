"""Where every piece of every tensor lies, by the index of ``torch.distributed.checkpoint``; without torch.

Verify: torch/distributed/checkpoint/metadata.py; filesystem.py, ``_StorageInfo``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

from bridge_args.checkpoint import tensors
from bridge_args.checkpoint.tensors import Part
from bridge_args.checkpoint.unpickle import Refused, load_index
from bridge_args.records import Record

_Places = dict[tuple[str, tuple[int, ...] | None], Part]  # name and offsets; None of what is no tensor
_LONGEST: Final = 1000  # characters of a name
_MOST: Final = 1_000_000  # pieces; of a model with 1,000 tensors on 1,000 ranks


class Piece(Record):
    """What one rank has saved of a tensor.

    Attributes:
        offsets: where it begins in the whole tensor, for each dimension.
        sizes: its shape.
        part: its bytes, a file of ``torch.save``.
    """

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    part: Part


class Stored(Record):
    """One tensor.

    Attributes:
        dtype: as torch calls it, without ``torch.``.
        shape: of the whole tensor.
        pieces: they cover it, without overlaps.
    """

    dtype: str
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]


class Pieces(Record):
    """All of a checkpoint.

    Attributes:
        tensors: by name, in the order of the index.
        objects: by name, what is no tensor.
    """

    tensors: dict[str, Stored]
    objects: dict[str, Part]


def of_index(file: Path) -> Pieces:
    """``.metadata``.

    Raises:
        Refused: it is none; or a piece is not where it should be, is compressed, or leaves a part of its tensor out.
        OSError: it cannot be read.
    """
    metadata = load_index(file)
    try:
        return _of(metadata)
    except Refused as refusal:
        raise Refused(f"{file}: {refusal}") from None


def _of(metadata: Any) -> Pieces:
    entries, places = (tensors.field(metadata, name) for name in ("state_dict_metadata", "storage_data"))
    if not isinstance(entries, dict) or not isinstance(places, dict):
        raise Refused("it is no index of torch.distributed.checkpoint")
    if tensors.field(metadata, "mcore_data"):
        raise Refused("its tensors are saved in other shapes than they have, as Megatron Core before 0.16 may do")
    if len(places) > _MOST:
        raise Refused(f"it has more than {_MOST} pieces")
    lying: _Places = {}
    for key, place in places.items():
        if tensors.field(place, "transform_descriptors"):
            raise Refused("its pieces are compressed")
        offset = tensors.field(key, "offset")
        offsets = None if offset is None else tensors.shape_of(offset)
        lying[_name(tensors.field(key, "fqn")), offsets] = tensors.part_of(place)
    found, objects = {}, {}
    for name, entry in entries.items():
        size = tensors.field(entry, "size")
        if size is None:
            objects[_name(name)] = _at(lying, name, None)
            continue
        shape = tensors.shape_of(size)
        chunks = tensors.field(entry, "chunks")
        pieces = tuple(_piece(lying, name, chunk) for chunk in (chunks if isinstance(chunks, list) else ()))
        if any({len(piece.offsets), len(piece.sizes)} != {len(shape)} for piece in pieces):
            raise Refused(f'a piece of "{name[:80]}" has other dimensions than the whole')
        if sum(math.prod(piece.sizes) for piece in pieces) != math.prod(shape) or any(
            at + length > whole
            for piece in pieces
            for at, length, whole in zip(piece.offsets, piece.sizes, shape, strict=True)
        ):
            raise Refused(f'the pieces of "{name[:80]}" are not the whole of it')
        found[_name(name)] = Stored(tensors.dtype_of(entry), shape, pieces)
    return Pieces(found, objects)


def _piece(lying: _Places, name: str, chunk: Any) -> Piece:
    offsets, sizes = (tensors.shape_of(tensors.field(chunk, which)) for which in ("offsets", "sizes"))
    return Piece(offsets, sizes, _at(lying, name, offsets))


def _at(lying: _Places, name: str, offsets: tuple[int, ...] | None) -> Part:
    part = lying.get((name, offsets))
    if part is None:
        raise Refused(f'it does not say where a piece of "{name[:80]}" lies')
    return part


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise Refused("a name in it is no text")
    if len(value) > _LONGEST:
        raise Refused("a name in it is longer than any")
    return value
