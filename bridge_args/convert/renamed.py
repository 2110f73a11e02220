"""A ``torch_dist`` checkpoint under other names of its tensors: the index is written anew, files stay where they can.

Megatron Core keeps layers that are alike as one tensor, whose first dimension counts them, and layers that are not as
a tensor each. Where a tensor comes apart, its pieces get a dimension less, so the files that they are in are written
anew, piece by piece; all others are hard links. A piece is at most what one rank had of one tensor.
Verify: megatron/core/dist_checkpointing/strategies/torch.py; torch/distributed/checkpoint/filesystem.py.
"""

from __future__ import annotations

import importlib
import io
import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from bridge_args.checkpoint import pieces
from bridge_args.checkpoint.layout import INDEX
from bridge_args.checkpoint.pieces import Piece, Pieces, Stored
from bridge_args.checkpoint.tensors import Part
from bridge_args.checkpoint.unpickle import Refused, part_of
from bridge_args.convert.adopt import into, linked_file
from bridge_args.errors import UserError
from bridge_args.files import open_regular
from bridge_args.records import Record

_AT_ONCE: Final = 8 << 20  # bytes that are copied at once


class Move(Record):
    """One piece of a tensor under another name.

    Attributes:
        name, shape, offsets: of the tensor that it is a piece of now, and where in it.
        piece: as it is stored.
        layer: which entry of its first dimension it is; None: all of it, as it is.
        dtype: as torch calls it.
    """

    name: str
    shape: tuple[int, ...]
    offsets: tuple[int, ...]
    piece: Piece
    layer: int | None
    dtype: str

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.piece.sizes if self.layer is None else self.piece.sizes[1:]


class Renaming(Record):
    """What becomes of a checkpoint.

    Attributes:
        moves: of all tensors.
        objects: name of what is no tensor to where it lies now.
        new: name of what is no tensor to the file of ``torch.save`` that it is.
    """

    moves: tuple[Move, ...]
    objects: Mapping[str, Part]
    new: Mapping[str, bytes]

    @property
    def rewritten(self) -> frozenset[str]:
        """Files that are not the same."""
        return frozenset(move.piece.part.file for move in self.moves if move.layer is not None)


def moves_of(name: str, stored: Stored, layer_names: Sequence[str] | None, new_name: str) -> Iterator[Move]:
    """The pieces of one tensor.

    Args:
        layer_names: of each entry of its first dimension; None: it stays one tensor, called ``new_name``.
    """
    for piece in stored.pieces:
        if layer_names is None:
            yield Move(new_name, stored.shape, piece.offsets, piece, None, stored.dtype)
            continue
        for layer in range(piece.sizes[0]):
            at = layer_names[piece.offsets[0] + layer]
            yield Move(at, stored.shape[1:], piece.offsets[1:], piece, layer, stored.dtype)


def carry_out(source: Path, target: Path, renaming: Renaming, did: Callable[[int], None]) -> tuple[int, int]:
    """Fills a folder with the checkpoint under its new names; the folder is there and empty.

    Args:
        source: the folder of one iteration.
        did: is told of bytes as they are done.

    Returns:
        How many files are links, and how many were copied since no link could be made.

    Raises:
        Refused: a piece is not what the index says.
        OSError: the disk does not take it.
    """
    torch = importlib.import_module("torch")
    rewritten, linked, copied = renaming.rewritten, 0, 0
    files = sorted({part.file for part in [*(move.piece.part for move in renaming.moves), *renaming.objects.values()]})
    for name in files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if name not in rewritten:
            is_copy = linked_file(Path(os.path.realpath(source / name)), target / name)
            linked, copied = linked + (not is_copy), copied + is_copy
            did(sum(move.piece.part.length for move in renaming.moves if move.piece.part.file == name))
    written = {name: _written(torch, source, target, name, renaming, did) for name in sorted(rewritten)}
    places: dict[tuple[str, tuple[int, ...] | None], Part] = {}
    for move in renaming.moves:
        old = move.piece.part
        found = written[old.file] if old.file in rewritten else {}
        places[move.name, move.offsets] = found.get((old.offset, move.layer), old)
    for name, old in renaming.objects.items():
        found = written[old.file] if old.file in rewritten else {}
        places[name, None] = found.get((old.offset, None), old)
    _new_objects(target, renaming, files, places)
    into(target / INDEX, _index(renaming, places))
    return linked, copied


def _new_objects(
    target: Path, renaming: Renaming, files: Sequence[str], places: dict[tuple[str, tuple[int, ...] | None], Part]
) -> None:
    if not renaming.new:
        return
    file = next(name for count in range(len(files) + 1) if (name := f"__0_{count}.distcp") not in files)
    at = 0
    with (target / file).open("xb") as out:
        for name, content in renaming.new.items():
            out.write(content)
            places[name, None] = Part(file, at, len(content))
            at += len(content)


Written = dict[tuple[int, int | None], Part]  # of a file: where something began, and its layer, to where it is now


def _written(
    torch: Any, source: Path, target: Path, name: str, renaming: Renaming, did: Callable[[int], None]
) -> Written:
    """One file anew, its parts in their order."""
    here: dict[Part, list[Move]] = {}
    for move in renaming.moves:
        if move.piece.part.file == name:
            here.setdefault(move.piece.part, []).append(move)
    parts = {part for part in renaming.objects.values() if part.file == name} | here.keys()
    found: Written = {}
    with open_regular(source / name) as held, (target / name).open("xb") as out:
        for part in sorted(parts, key=lambda part: part.offset):
            moves = [move for move in here.get(part, ()) if move.layer is not None]
            if not moves:
                found[part.offset, None] = Part(name, out.tell(), part.length)
                _copied(held, out, part)
            else:
                tensor = _tensor(torch, source / name, part, moves[0])
                for move in moves:
                    at = out.tell()
                    torch.save(tensor[move.layer].clone(), out)
                    found[part.offset, move.layer] = Part(name, at, out.tell() - at)
            did(part.length)
    return found


def _copied(held: BinaryIO, out: BinaryIO, part: Part) -> None:
    held.seek(part.offset)
    left = part.length
    while left:
        some = held.read(min(left, _AT_ONCE))
        if not some:
            raise Refused(f"{part.file} ends within the part of {part.length} bytes at {part.offset}")
        out.write(some)
        left -= len(some)


def _tensor(torch: Any, source: Path, part: Part, move: Move) -> Any:
    """A piece, which must be what the index says."""
    content = io.BytesIO(part_of(source, part.offset, part.length))
    try:
        tensor = torch.load(content, weights_only=True, map_location="cpu")
    except Exception as error:  # whatever bytes of a stranger make torch raise
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise Refused(f"{source}: the part at {part.offset} is no tensor: {said[:200]}") from None
    shape = tuple(getattr(tensor, "shape", ()))
    if shape != move.piece.sizes or str(getattr(tensor, "dtype", "")) != f"torch.{move.dtype}":
        raise Refused(f"{source}: the part at {part.offset} is not the piece of {move.name} that the index speaks of")
    return tensor


def _index(renaming: Renaming, places: Mapping[tuple[str, tuple[int, ...] | None], Part]) -> bytes:
    """``.metadata``, as torch writes it."""
    torch = importlib.import_module("torch")
    known = importlib.import_module("torch.distributed.checkpoint.metadata")
    info = importlib.import_module("torch.distributed.checkpoint.filesystem")._StorageInfo
    chunks: dict[str, list[Any]] = {}
    shapes: dict[str, Move] = {}
    for move in renaming.moves:
        shapes[move.name] = move
        chunk = known.ChunkStorageMetadata(offsets=torch.Size(move.offsets), sizes=torch.Size(move.sizes))
        chunks.setdefault(move.name, []).append(chunk)
    entries: dict[str, Any] = {
        name: known.TensorStorageMetadata(
            properties=known.TensorProperties(dtype=getattr(torch, move.dtype)),
            size=torch.Size(move.shape),
            chunks=chunks[name],
        )
        for name, move in shapes.items()
    }
    entries |= {name: known.BytesStorageMetadata() for name in (*renaming.objects, *renaming.new)}
    storage = {
        known.MetadataIndex(name, None if offsets is None else torch.Size(offsets)): info(
            part.file, part.offset, part.length
        )
        for (name, offsets), part in places.items()
    }
    return pickle.dumps(known.Metadata(state_dict_metadata=entries, storage_data=storage))


def checked(source: Path, target: Path, renaming: Renaming, did: Callable[[int], None]) -> int:
    """Reads the result back and compares every number of it with the source; returns how many tensors it has.

    Raises:
        UserError: something is not the same.
    """
    torch = importlib.import_module("torch")
    new = pieces.of_index(target / INDEX)
    if problem := _differs(renaming, new):
        raise UserError(f"what was written is not right: {problem}")
    lying = {(name, piece.offsets): piece for name, stored in new.tensors.items() for piece in stored.pieces}
    for move in renaming.moves:
        there = lying[move.name, move.offsets]
        old, now = source / move.piece.part.file, target / there.part.file
        if move.layer is None and (move.piece.part == there.part and os.path.samefile(old, now)):
            did(there.part.length)
            continue
        before = _tensor(torch, old, move.piece.part, move)
        after = _tensor(torch, now, there.part, move._replace(piece=there))
        before = before if move.layer is None else before[move.layer]
        if not torch.equal(*(one.reshape(-1).view(torch.uint8) for one in (before, after))):  # NaN is NaN
            raise UserError(f"what was written is not right: {move.name} has other numbers")
        did(there.part.length)
    return len(new.tensors)


def _differs(renaming: Renaming, new: Pieces) -> str:
    meant = {move.name: move.shape for move in renaming.moves}
    if meant != {name: stored.shape for name, stored in new.tensors.items()}:
        return "the index has other tensors"
    if {*renaming.objects, *renaming.new} != set(new.objects):
        return "the index has other objects"
    return ""
