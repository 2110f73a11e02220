"""The arguments a Megatron-LM run has saved in its checkpoint, read without running anything the file holds.

``torch_dist`` and ``zarr`` checkpoints keep them in ``iter_0000100/common.pt``, those of Megatron-LM 0.19 and later
among the tensors, legacy ones in every rank's ``iter_0000100/mp_rank_00/model_optim_rng.pt``.
Verify: megatron/training/checkpointing.py; megatron/core/dist_checkpointing/serialization.py, load_common_state_dict.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bridge_args.checkpoint import tensors
from bridge_args.checkpoint.layout import (
    COMMON,
    COMMON_STATE,
    INDEX,
    MEGATRON_TRACKER,
    OF_A_RANK,
    CheckpointError,
    folder_of,
    iteration_in,
)
from bridge_args.checkpoint.tensors import Part
from bridge_args.checkpoint.unpickle import Member, Named, Refused, load, load_part, plain
from bridge_args.errors import UserError
from bridge_args.megatron_lm.resolvers.overlay import Unread
from bridge_args.records import Record
from bridge_args.values import Symbol, is_dotted

# Members of Megatron-LM's enums by value, where a file says only the value: Python before 3.11 pickles them so.
# Verify: megatron/core/transformer/enums.py, megatron/core/enums.py; the order is that of the definition, from 1.
_MEMBERS: Final = {
    "AttnBackend": ("flash", "fused", "unfused", "local", "auto"),
    "ModelType": ("encoder_or_decoder",),
    "CudaGraphModule": ("attn", "mlp", "moe", "moe_router", "moe_preprocess", "mamba"),
    "CudaGraphScope": ("full_iteration", "attn", "mlp", "moe", "moe_router", "moe_preprocess", "mamba"),
}


class SavedArgsError(UserError, ValueError):
    """There is no checkpoint with arguments here, or its file is not one to trust; the message says which and why."""


class NoArguments(SavedArgsError):
    """A checkpoint that can be read, and that a run has saved without its arguments."""


class Saved(Record):
    """What a checkpoint says of its run.

    Attributes:
        values: name to effective value, as Megatron-LM had them; enum members by name.
        iteration: of the checkpoint; None for a release.
        format: ``torch_dist`` or ``legacy``.
        file: the file that was read, whole or a part of it.
        checkpoint_version: of Megatron-LM's own counting; 3.0 since 2021.
        operations: floating-point operations of the run so far; None where it does not say.
    """

    values: dict[str, Any]
    iteration: int | None
    format: str
    file: Path
    checkpoint_version: float | None
    operations: float | None = None


def is_checkpoint(path: str | Path) -> bool:
    """Does a folder look like a checkpoint of Megatron-LM, or the folder such checkpoints are saved to?"""
    folder = Path(path)
    return folder.is_dir() and ((folder / MEGATRON_TRACKER).is_file() or _file_in(folder) is not None)


def read(path: str | Path) -> Saved:
    """The arguments of a checkpoint.

    Args:
        path: the folder given to ``--save``, one iteration of it, or one file with arguments.

    Raises:
        SavedArgsError: there are none, or the file names something that no checkpoint needs.
    """
    folder_or_file = Path(path)
    file = _file(folder_or_file)
    if file is None:
        raise SavedArgsError(_none_in(folder_or_file))
    if file.name != INDEX:
        return _saved(file, _reading(file, lambda: load(file)))
    index = _reading(file, lambda: tensors.of_index(file))
    if COMMON_STATE not in index.places:
        raise SavedArgsError(_none_in(folder_or_file))
    return read_part(file.parent, index.places[COMMON_STATE])


def read_part(folder: Path, part: Part) -> Saved:
    """The arguments of a checkpoint that lie among its tensors.

    Args:
        part: where the index says that ``COMMON_STATE`` is.

    Raises:
        SavedArgsError: as ``read``.
    """
    file = folder / part.file
    content = _reading(file, lambda: load_part(file, part.offset, part.length))
    return _saved(file, content[0] if isinstance(content, list) and content else content)


def _reading(file: Path, reading: Callable[[], Any]) -> Any:
    try:
        return reading()
    except Refused as refusal:
        raise SavedArgsError(str(refusal)) from None
    except OSError as error:
        raise SavedArgsError(f"{file} cannot be read: {error.strerror or error}") from error


def _saved(file: Path, content: Any) -> Saved:
    state = content if isinstance(content, dict) else {}
    try:
        values = plain(state.get("args"))
    except Refused as refusal:
        raise SavedArgsError(f"{file}: {refusal}") from None
    if not isinstance(values, dict) or not values:
        names = [key[:40] if isinstance(key, str) else type(key).__name__ for key in list(state)[:6]]
        held = f"; it holds {', '.join(names)}" if state else ""
        raise NoArguments(f"{file} holds no arguments of Megatron-LM{held}")
    iteration, version = state.get("iteration"), state.get("checkpoint_version")
    operations = state.get("num_floating_point_operations_so_far")
    return Saved(
        {str(name): _value(name, value) for name, value in values.items()},
        iteration if isinstance(iteration, int) and 0 <= iteration < 1 << 63 else None,
        "legacy" if file.name in OF_A_RANK else "torch_dist",
        file,
        float(version) if isinstance(version, (int, float)) and abs(version) < 1 << 32 else None,
        float(operations) if isinstance(operations, (int, float)) and 0 <= operations < 1e300 else None,
    )


def _file(path: Path) -> Path | None:
    """The file with arguments, or an index of tensors among which they may lie."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise SavedArgsError(f"{path} does not exist" if not path.exists() else f"{path} is neither file nor folder")
    found = _file_in(path) or _index_in(path)
    tracker = path / MEGATRON_TRACKER
    if found is not None or not tracker.is_file():
        return found
    folder = _named_by(tracker)
    return _file_in(folder) or _index_in(folder)


def _named_by(tracker: Path) -> Path:
    try:
        iteration = iteration_in(tracker)
    except CheckpointError as error:
        raise SavedArgsError(str(error)) from None
    return tracker.parent / "release" if iteration is None else folder_of(tracker.parent, iteration)


def _none_in(path: Path) -> str:
    tracker = path / MEGATRON_TRACKER
    if tracker.is_file():
        return f"{tracker} names {_named_by(tracker).name}, which has no common.pt and no mp_rank_00 with arguments"
    return f"{path} is no checkpoint of Megatron-LM: it has no {MEGATRON_TRACKER}, common.pt or mp_rank_00"


def _file_in(folder: Path) -> Path | None:
    """The file with arguments of one iteration: of the first rank, where every rank has one."""
    common = folder / COMMON
    if common.is_file():
        return common
    ranks = sorted(folder.glob("mp_rank_00*"))
    files = [rank / name for rank in ranks for name in OF_A_RANK]
    return next((file for file in files if file.is_file()), None)


def _index_in(folder: Path) -> Path | None:
    """The index of a checkpoint of Megatron Core's: only there arguments may lie among the tensors."""
    index = folder / INDEX
    return index if index.is_file() and (folder / "metadata.json").is_file() else None


def _value(name: str, value: Any) -> Any:
    """As the resolvers have it."""
    if isinstance(value, Member):
        return _member(name, value)
    if isinstance(value, Named):
        known = value.path.startswith("torch.") and value.path != "torch.Tensor" and is_dotted(value.path)
        return Symbol(value.path) if known else Unread(value.path)
    if isinstance(value, list):
        return [_value(name, item) for item in value]
    if isinstance(value, tuple):
        return tuple(_value(name, item) for item in value)
    if isinstance(value, Mapping):
        return {key: _value(name, item) for key, item in value.items()}
    return value


def _member(name: str, member: Member) -> Any:
    if member.name is not None:
        return member.name
    short = member.enum.rpartition(".")[2]
    if short == "Signals" and isinstance(member.value, int):
        try:
            return signal.Signals(member.value).name
        except ValueError:
            return Unread(member.enum)
    if isinstance(member.value, str):
        return member.value
    names = _MEMBERS.get(short, ())
    if isinstance(member.value, int) and 0 < member.value <= len(names):
        return names[member.value - 1]
    return Unread(member.enum)
