"""A checkpoint of a GPT model becomes one of the hybrid model with the same layers: other names, the same numbers.

Megatron-LM converts one while it loads it where all layers are alike. It does not where some have experts and some have
none, or where further tokens are predicted; Bridge does not at all.
Verify: megatron/core/dist_checkpointing/gpt_checkpoint_interop.py of 0.19.
"""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TextIO

from bridge_args.checkpoint import amend, contents, layout, pieces, unpickle
from bridge_args.checkpoint.contents import Contents
from bridge_args.checkpoint.layout import CheckpointError
from bridge_args.checkpoint.pieces import Pieces
from bridge_args.checkpoint.saved_args import Saved, SavedArgsError
from bridge_args.checkpoint.unpickle import Refused
from bridge_args.convert import output, renamed
from bridge_args.convert.adopt import into
from bridge_args.convert.progress import Progress
from bridge_args.convert.provenance import Provenance, hashes
from bridge_args.convert.renamed import Move, Renaming
from bridge_args.errors import UserError
from bridge_args.files import read_bytes
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm.programs import GPT, HYBRID
from bridge_args.modernize import hybrid, move
from bridge_args.records import Record
from bridge_args.source.read import from_argv
from bridge_args.steps import Asked, translate_saved, translated
from bridge_args.versions import PAIRS, number
from bridge_args.wording import counted
from bridge_args.words import as_words

_KIND: Final = "megatron-lm-torch_dist"
_OF_GPT: Final = ("embedding.", "decoder.layers.", "decoder.final_layernorm.", "mtp.layers.", "output_layer.")
_STACKED: Final = re.compile(r"(?P<head>(?:.*\.)?decoder\.layers\.)(?P<inside>(?!\d+\.).+)")
_SHARD: Final = re.compile(r"(?P<key>.+)/shard_(?P<offsets>\d+(?:\.\d+)*)_(?P<shape>\d+(?:\.\d+)*)")
# A hybrid model saves it, with nothing in it; a GPT model does not.
_EMPTY: Final = "output_layer._extra_state/shard_0_1"
_LARGEST: Final = 4 * unpickle.LARGEST  # bytes of the arguments and what is saved beside them


class Plan(Record):
    """What is to be done.

    Attributes:
        source: the checkpoint.
        pattern: of the hybrid model.
        name: of the folder of the iteration.
        values: arguments that get other values.
        renaming: of what lies in the index.
        common: ``common.pt`` with those values; None where the arguments lie among the tensors.
    """

    source: Contents
    pattern: str
    name: str
    values: Mapping[str, Any]
    renaming: Renaming
    common: bytes | None


class Done(Record):
    """What came of it.

    Attributes:
        tensors: how many the result has.
        rewritten, linked, copied: files.
        checked: what was looked at afterwards.
    """

    tensors: int
    rewritten: int
    linked: int
    copied: int
    checked: list[str]


def plan(path: Path, iteration: int | None, to: Path, megatron_lm: str | None = None) -> Plan:
    """Looks at everything that can be in the way.

    Args:
        path: the folder that a run saves to, or one checkpoint.
        iteration: which one; None: the one that the tracker names.
        to: the new folder.
        megatron_lm: version that has saved it; None: the one that its arguments look like.

    Raises:
        Refused: of ``convert.output``; every reason.
    """
    try:
        source = contents.look_into(layout.place_of(path, iteration))
    except (CheckpointError, SavedArgsError) as error:
        raise output.Refused([str(error)]) from None
    saved, folder = source.saved, source.place.folder
    reasons = list(_against(source))
    meant: tuple[str, Mapping[str, Any]] | None = None
    if saved is not None and not reasons:
        try:
            meant = _meaning(saved, megatron_lm)
        except (UserError, ValueError) as error:
            reasons.append(str(error))
    reasons += output.reasons_against(to, [path, folder], source.bytes + (1 << 20))
    if find_spec("torch") is None:
        reasons.append("renaming needs torch, which this Python does not have: pip install torch")
    if reasons or meant is None or saved is None:
        raise output.Refused(reasons)
    pattern, values = meant
    try:
        held = pieces.of_index(folder / layout.INDEX)
        renaming = _renaming(folder, held, values, saved.values["num_layers"])
        common = None
        if layout.COMMON_STATE not in held.objects:
            common = amend.amended(read_bytes(folder / layout.COMMON, _LARGEST), values, folder / layout.COMMON)
    except Refused as refusal:
        raise output.Refused([f"{folder}: {refusal}"]) from None
    except OSError as error:
        raise output.Refused([f"{error.filename or folder} cannot be read: {error.strerror or error}"]) from None
    name = "release" if folder.resolve().name == "release" else layout.folder_of(Path(), _step(source)).name
    return Plan(source, pattern, name, values, renaming, common)


def _step(source: Contents) -> int:
    assert source.saved is not None
    said = source.saved.iteration
    return said if said is not None else source.place.iteration or 0


def _against(source: Contents) -> Iterator[str]:
    kind, folder = source.place.kind, source.place.folder
    yield from source.problems
    if kind is None or kind.name != _KIND or source.format != "torch_dist":
        what = f"one of {kind.title}" if kind is not None else "no checkpoint that is known"
        yield f"{folder} is {what}; only a torch_dist checkpoint that Megatron-LM has saved can be renamed"
        return
    yield from (f"{file} was not looked at, and nobody knows whether it is whole" for file in source.unread)
    if source.saved is None:
        yield f"{folder} holds no arguments of Megatron-LM that can be read"
    elif pattern := next(
        filter(None, map(source.saved.values.get, ("hybrid_layer_pattern", "hybrid_override_pattern"))), None
    ):
        yield f"{folder} is one of a hybrid model already, whose layers are {str(pattern)[:200]}"
    elif other := next((one.name for one in source.of_model if not one.name.startswith(_OF_GPT)), None):
        yield f'{folder} is no GPT model: it has a tensor "{other[:80]}"'


def _meaning(saved: Saved, megatron_lm: str | None) -> tuple[str, dict[str, Any]]:
    """The pattern, and the arguments that the hybrid model has otherwise.

    Raises:
        UserError: no hybrid model is the same.
    """
    before = translate_saved(saved.values, megatron_lm)
    version = before.versions.megatron
    after = version if number(version) >= number(hybrid.SINCE) else _first()
    ranks = saved.values.get("world_size")
    asked = Asked(version, world_size=ranks if isinstance(ranks, int) else None, env=_ENVIRONMENT)
    source = from_argv([GPT, *before.words])
    moved = move.of_source(source, asked, after, to_hybrid=True)
    argv = as_words(moved.argv)
    now = translated(
        source._replace(command=source.command._replace(argv=argv), words=()),
        asked._replace(megatron_lm=after, program=HYBRID),
    )
    names = (hybrid.SAID | hybrid.FOLLOWS | hybrid.LISTS | hybrid.ALSO) & saved.values.keys()
    values = {name: _value(now, name) for name in sorted(names | {"hybrid_layer_pattern"})}
    pattern = values["hybrid_layer_pattern"]
    assert isinstance(pattern, str)
    return pattern, {name: value for name, value in values.items() if saved.values.get(name) != value}


_ENVIRONMENT: Final = {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}  # which parallelism may need, and no checkpoint says


def _first() -> str:
    """The first version that has such models."""
    known = {pair.versions.megatron for pair in PAIRS}
    return min((one for one in known if number(one) >= number(hybrid.SINCE)), key=number)


def _value(t: Translation, name: str) -> Any:
    return t.args["num_layers" if name in hybrid.ALSO else name]


# Names ----------------------------------------------------------------------------------------------------------------


def _renaming(folder: Path, held: Pieces, values: Mapping[str, Any], layers: Any) -> Renaming:
    moves: list[Move] = []
    parts = [*held.objects.values(), *(piece.part for one in held.tensors.values() for piece in one.pieces)]
    if other := next((part.file for part in parts if not part.file.endswith(".distcp")), None):
        raise Refused(f"its index has tensors in {other[:80]}, which is no file of tensors")
    for name, stored in held.tensors.items():
        stacked = _STACKED.fullmatch(name)
        if stacked and stored.shape[:1] != (layers,):
            raise Refused(f'"{name[:80]}" is not of {layers} layers, as the arguments say')
        each = [_of_layer(stacked, layer) for layer in range(stored.shape[0])] if stacked else None
        moves += renamed.moves_of(name, stored, each, hybrid.weight_of(name) if stacked is None else "")
    objects = {_object(name): part for name, part in held.objects.items()}
    new = {}
    if (common := objects.pop(layout.COMMON_STATE, None)) is not None:
        if common.length > _LARGEST:
            raise Refused(f"its arguments have {common.length} bytes")
        content = unpickle.part_of(folder / common.file, common.offset, common.length)
        new[layout.COMMON_STATE] = amend.amended(content, values, folder / common.file)
    if _EMPTY not in objects:
        new[_EMPTY] = _nothing()
    names = [(move.name, move.offsets) for move in moves]
    if len(set(names)) < len(names) or len(objects) < len(held.objects) - (common is not None):
        raise Refused("two of its tensors would have the same name")
    return Renaming(tuple(moves), objects, new)


def _of_layer(stacked: re.Match[str], layer: int) -> str:
    return hybrid.weight_of(f"{stacked['head']}{layer}.{stacked['inside']}")


def _object(name: str) -> str:
    """What is no tensor says in its name which of how many it is; of stacked layers, the first number is the layer.

    Verify: megatron/core/dist_checkpointing/mapping.py, ShardedObject.unique_key.
    """
    shard = _SHARD.fullmatch(name)
    if shard is None:
        if _STACKED.fullmatch(name):
            raise Refused(f'"{name[:80]}" does not say of which layer it is')
        return hybrid.weight_of(name)
    stacked = _STACKED.fullmatch(shard["key"])
    if stacked is None:
        return f"{hybrid.weight_of(shard['key'])}/shard_{shard['offsets']}_{shard['shape']}"
    layer, *offsets = shard["offsets"].split(".")
    _, *shape = shard["shape"].split(".")
    return f"{_of_layer(stacked, int(layer))}/shard_{'.'.join(offsets or '0')}_{'.'.join(shape or '1')}"


def _nothing() -> bytes:
    file = io.BytesIO()
    importlib.import_module("torch").save([None], file)
    return file.getvalue()


# Writing --------------------------------------------------------------------------------------------------------------


def carry_out(made: Plan, to: Path, provenance: Provenance, stream: TextIO | None, say: Callable[[str], None]) -> Done:
    """Writes the new folder; it is there when all of it is, and right.

    Raises:
        UserError: a piece of the checkpoint is not what its index says; or what was written is not right.
        OSError: the disk does not take it.
    """
    folder, renaming = made.source.place.folder, made.renaming
    size = 2 * sum(move.piece.part.length for move in renaming.moves)  # once written, once compared
    seen = output.Seen(folder)
    with output.new_folder(to) as unfinished, Progress("renaming", len(renaming.moves), size, stream, say) as progress:
        target = unfinished / made.name
        target.mkdir()
        try:
            linked, copied = renamed.carry_out(folder, target, renaming, lambda did: progress.did(did, 0))
            tensors = renamed.checked(folder, target, renaming, progress.did)
        except Refused as refusal:
            raise UserError(str(refusal)) from None
        if made.common is not None:
            into(target / layout.COMMON, made.common)
        into(target / "metadata.json", read_bytes(folder / "metadata.json", 1 << 20))
        tracked = made.name if made.name == "release" else str(_step(made.source))
        (unfinished / layout.MEGATRON_TRACKER).write_text(f"{tracked}\n")
        _looked_at(target, made)
        seen.unchanged()
        done = Done(
            tensors,
            len(renaming.rewritten),
            linked,
            copied,
            [
                f"{counted(tensors, 'tensor')}, every number as it was",
                f"its arguments say --hybrid-layer-pattern '{made.pattern}'",
            ],
        )
        provenance.input("checkpoint", folder, hashes(folder, largest=_LARGEST), iteration=made.source.place.iteration)
        provenance.tell(arguments=made.values, **done._asdict())
        links = {file.name: {"bytes": file.stat().st_size} for file in target.iterdir() if file.stat().st_nlink > 1}
        provenance.write(target, links)
    return done


def _looked_at(target: Path, made: Plan) -> None:
    """As whoever finds the folder sees it."""
    found = contents.look_into(target)
    problems = list(found.problems)
    if found.saved is None:
        problems.append("it has no arguments")
    else:
        wrong = [name for name, value in made.values.items() if found.saved.values.get(name) != value]
        problems += [f"its arguments have another {name}" for name in wrong]
    if problems:
        raise UserError(f"what was written is not right: {'; '.join(problems)}")
