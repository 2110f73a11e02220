"""What a folder of checkpoints is: of which kind, trackers, a folder for each iteration, when one is complete.

Nothing else in bridge_args knows a name of a file that marks a checkpoint.
"""

from __future__ import annotations

import importlib
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bridge_args.bridge.checkpoint_rules import TAKES_AN_ITERATION, TAKES_HUGGING_FACE, TRACKERS
from bridge_args.errors import UserError
from bridge_args.files import json_of, read_bytes
from bridge_args.records import Record
from bridge_args.versions import Versions, holds
from bridge_args.wording import listed

TRACKER, MEGATRON_TRACKER = TRACKERS
COMMON: Final = "common.pt"
COMMON_STATE: Final = "common_state/shard_0_1"  # its name among the tensors, where Megatron Core >= 0.19 has put it
INDEX: Final = ".metadata"  # of torch.distributed.checkpoint: every tensor, and where its bytes are
RUN_CONFIG: Final = "run_config.yaml"
OF_A_RANK: Final = ("model_optim_rng.pt", "model_rng.pt")  # in mp_rank_00 and the like, one of them


class CheckpointError(UserError, ValueError):
    """There is no checkpoint here, or its tracker names none; the message says which file."""


class Kind(Record):
    """A kind of checkpoint, by what is in the folder of one.

    Attributes:
        name: for programs.
        title: for people.
        marks: each is enough: patterns of names that are all there, with a text that the file must hold, if any.
        needs: files without which one is not complete; ``a|b``: one of them.
        weights: the folder with the tensors, below it.
    """

    name: str
    title: str
    marks: tuple[tuple[tuple[str, str], ...], ...]
    needs: tuple[str, ...]
    weights: str = "."


# The first whose marks are there is the kind. Verify: Bridge and Megatron-LM, training/checkpointing.py,
# save_checkpoint and _get_checkpoint_format; NeMo, nemo/lightning/pytorch/callbacks/model_checkpoint.py;
# peft, utils/constants.py.
KINDS: Final = (
    Kind(
        "peft",
        "PEFT adapter",
        ((("adapter_config.json", ""),),),
        ("adapter_config.json", "adapter_model.safetensors|adapter_model.bin"),
    ),
    Kind(
        "nemo2",
        "NeMo 2.0",
        ((("context", ""), ("weights", "")), (("context/io.json", ""),)),
        ("context/io.json", "weights/.metadata", "weights/metadata.json"),
        "weights",
    ),
    Kind(
        "nemo-tron",
        "nemo.tron",
        (((RUN_CONFIG, "_target_: nemo."),),),
        (INDEX, RUN_CONFIG, "train_state.pt"),
    ),
    Kind(
        "bridge",
        "Megatron Bridge",
        (((RUN_CONFIG, ""),), (("train_state.pt", ""),)),
        (INDEX, RUN_CONFIG, "train_state.pt"),
    ),
    Kind("megatron-lm-legacy", "Megatron-LM, a file for each rank", ((("mp_rank_*", ""),),), ()),
    Kind(
        "megatron-lm-zarr",
        "Megatron-LM, zarr",
        ((("metadata.json", '"zarr"'),),),
        (COMMON, "metadata.json"),
    ),
    Kind(
        "megatron-lm-torch_dist",
        "Megatron-LM, torch_dist",
        ((("metadata.json", "sharded_backend"),), (("metadata.json", ""), (INDEX, "")), ((COMMON, ""),)),
        (INDEX, "metadata.json"),
    ),
    Kind("fsdp_dtensor", "Megatron-LM, fsdp_dtensor or torch_dcp", (((INDEX, ""),),), (INDEX,)),
    Kind("torch-distributed", "torch.distributed.checkpoint", ((("*.distcp", ""),),), (INDEX,)),
    Kind(
        "hugging-face",
        "Hugging Face",
        (
            (("config.json", '"model_type"'),),
            (("config.json", '"architectures"'),),
            (("model.safetensors.index.json", ""),),
            (("*.safetensors", ""),),
        ),
        (
            "config.json",
            "model.safetensors|model.safetensors.index.json|pytorch_model.bin|pytorch_model.bin.index.json",
        ),
    ),
)
_OF_ONE: Final = (RUN_CONFIG, "train_state.pt", "metadata.json", INDEX)  # each marks the folder of one iteration
_SECTION: Final = re.compile(r"([A-Za-z_]\w*):")
_LARGEST: Final = 4 << 20  # bytes of a file in which a mark is looked for
_LISTED: Final = 5  # iterations


class Place(Record):
    """One checkpoint on disk.

    Attributes:
        folder: of this checkpoint.
        kind: of it; None where nothing marks one.
        tracker: the file that says which iteration is the last; None where the folder was named itself.
        iteration: by the tracker, or by the folder's name; None for a release, and for kinds that do not count.
    """

    folder: Path
    kind: Kind | None
    tracker: Path | None
    iteration: int | None


def place_of(path: Path, iteration: int | None = None) -> Place:
    """The checkpoint that a folder is, or that its tracker names.

    Args:
        path: the folder that a run saves to, or one checkpoint.
        iteration: the one that is meant; None: the tracker's.

    Raises:
        CheckpointError: it is no folder, or is one of several checkpoints and names none, or has no such iteration.
    """
    if iteration is not None and path.is_dir():
        return _of_iteration(path, iteration)
    if not path.is_dir():
        raise CheckpointError(f"{path} does not exist" if not path.exists() else f"{path} is no folder")
    for name, of_tracker in ((TRACKER, step_in), (MEGATRON_TRACKER, iteration_in)):
        tracker = path / name
        if tracker.is_file():
            iteration = of_tracker(tracker)
            folder = path / "release" if iteration is None else folder_of(path, iteration)
            if not folder.is_dir():
                raise CheckpointError(
                    f"{tracker} names {folder.name}, and there is no such folder beside it{_newest(path)}"
                )
            return Place(folder, kind_of(folder), tracker, iteration)
    if path.name in ("weights", "context") and (kind := kind_of(path.parent)) and kind.name == "nemo2":
        path = path.parent
    kind = kind_of(path)
    steps = steps_of(path)
    if kind is None and steps:
        raise CheckpointError(f"{path} has checkpoints up to {folder_of(path, steps[0]).name} and no tracker; name one")
    numbers = re.search(r"^(?:iter_|checkpoint-)(\d{1,12})$|[-_]step=(\d{1,12})(?!\d)", path.resolve().name)
    return Place(path, kind, None, int(numbers[1] or numbers[2]) if numbers else None)


def _of_iteration(path: Path, iteration: int) -> Place:
    folder = folder_of(path, iteration)
    if folder.is_dir():
        return Place(folder, kind_of(folder), None, iteration)
    steps = steps_of(path)
    if not steps and (here := place_of(path)).iteration == iteration:
        return here
    more = [f"{len(steps) - _LISTED} more"] if len(steps) > _LISTED else []
    has = f"it has {listed([*map(str, sorted(steps[:_LISTED])), *more])}" if steps else "it has none"
    raise CheckpointError(f"{path} has no checkpoint of iteration {iteration}; {has}")


def _newest(save: Path) -> str:
    steps = steps_of(save)
    return f"; {folder_of(save, steps[0])} is the newest that is there" if steps else ""


def kind_of(folder: Path, but: str = "") -> Kind | None:
    """By what is in it; None where no mark is.

    Args:
        but: the name of a kind that it is not taken for.
    """
    kinds = (kind for kind in KINDS if kind.name != but)
    return next(
        (kind for kind in kinds if any(all(_is_there(folder, *one) for one in mark) for mark in kind.marks)), None
    )


def _is_there(folder: Path, pattern: str, text: str) -> bool:
    if not text:
        return next(folder.glob(pattern), None) is not None
    try:
        return text.encode() in read_bytes(folder / pattern, _LARGEST)
    except OSError:
        return False


def step_in(tracker: Path) -> int:
    """The iteration that a tracker of Bridge's names.

    Raises:
        CheckpointError: it cannot be read, or names none.
    """
    from bridge_args.checkpoint import unpickle

    try:
        step = unpickle.whole_number(tracker, "step")
    except unpickle.Refused as refusal:
        raise CheckpointError(str(refusal)) from None
    except OSError as error:
        raise CheckpointError(f"{tracker} cannot be read: {error.strerror or error}") from error
    if step < 0:
        raise CheckpointError(f"{tracker} names iteration {step}")
    return step


def iteration_in(tracker: Path) -> int | None:
    """The iteration that a tracker of Megatron-LM's names; None for a release.

    Raises:
        CheckpointError: it cannot be read, or names none.
    """
    try:
        said = read_bytes(tracker, 1 << 20).decode("utf-8", "replace").strip()
    except OSError as error:
        raise CheckpointError(f"{tracker} cannot be read: {error.strerror or error}") from error
    if said != "release" and not re.fullmatch(r"[0-9]{1,12}", said):
        raise CheckpointError(f'{tracker} names no iteration: "{" ".join(said.split())[:40]}"')
    return None if said == "release" else int(said)


def has_tracker(folder: Path) -> bool:
    """Does Bridge find a checkpoint here? (training/utils/checkpoint_utils.py ``checkpoint_exists``)"""
    return any((folder / name).is_file() for name in (TRACKER, MEGATRON_TRACKER))


def is_found(folder: Path, bridge: str, pretrained: bool = False) -> bool:
    """Does a Bridge find a checkpoint here to start from? Since 0.4 also the folder of one iteration.

    See training/utils/checkpoint_utils.py ``is_checkpoint_iteration_directory`` and ``is_hf_checkpoint_dir``.

    Args:
        pretrained: is it the model to begin with? Since 0.6 that may be one of Hugging Face.
    """
    versions = Versions("0", bridge)
    if has_tracker(folder):
        return True
    if holds(TAKES_AN_ITERATION, versions) and any((folder / name).is_file() for name in _OF_ONE):
        return True
    if not pretrained or not holds(TAKES_HUGGING_FACE, versions) or not (folder / "config.json").is_file():
        return False
    return any(next(folder.glob(pattern), None) for pattern in ("model*.safetensors", "pytorch_model*.bin"))


def may_hold_arguments(names: Iterable[str]) -> bool:
    """Does a folder with these names hold what Megatron-LM saves?"""
    return not {MEGATRON_TRACKER, COMMON}.isdisjoint(names)


def folder_of(save: Path, step: int) -> Path:
    return save / f"iter_{step:07d}"


def is_complete(folder: Path) -> bool:
    """Was the save of this checkpoint finished?"""
    tensors = _is_mapping(folder / "metadata.json") if (folder / COMMON).exists() else (folder / INDEX).exists()
    return tensors and zipfile.is_zipfile(folder / "train_state.pt") and _is_run_config(folder / "run_config.yaml")


def is_whole(folder: Path) -> bool:
    """Is every file there that the checkpoint's own index names, as long as it must be?

    An index larger than any that is read here (a model of very many ranks) counts as one whose files are there.
    """
    from bridge_args.checkpoint import tensors, unpickle

    if not is_complete(folder):
        return False
    try:
        ends = tensors.of_index(folder / INDEX).ends
    except unpickle.TooLarge:
        return True
    except (unpickle.Refused, OSError):
        return False
    return all((folder / name).is_file() and (folder / name).stat().st_size >= end for name, end in ends.items())


def last_whole(save: Path) -> int | None:
    """The iteration of the newest checkpoint that can be loaded."""
    return next((step for step in steps_of(save) if is_whole(folder_of(save, step))), None)


def steps_of(save: Path) -> list[int]:
    """The iterations that have a folder, the newest first."""
    names = (re.fullmatch(r"iter_(\d{7,})", entry.name) for entry in save.iterdir()) if save.is_dir() else ()
    return sorted((int(name[1]) for name in names if name), reverse=True)


def is_megatron_lms(folder: Path) -> bool:
    """Has Megatron-LM written it? Then it is complete as far as can be told."""
    return _is_mapping(folder / "metadata.json") or any(folder.glob("mp_rank_*"))


def _is_mapping(file: Path) -> bool:
    try:
        return isinstance(json_of(read_bytes(file, _LARGEST).decode("utf-8")), dict)
    except (OSError, ValueError):
        return False


def _is_run_config(file: Path) -> bool:
    """A whole one; of a torn one the later sections are missing, which Bridge writes in alphabetical order.

    The parser's events are read in a loop: what composes them calls itself for every level.
    """
    yaml = importlib.import_module("yaml")
    try:
        text = read_bytes(file, _LARGEST).decode("utf-8")
        for _ in yaml.parse(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)):
            pass
    except (OSError, ValueError, yaml.YAMLError):
        return False
    sections = {found[1] for line in text.splitlines() if (found := _SECTION.match(line))}
    return text.endswith("\n") and {"checkpoint", "model", "train"} <= sections
