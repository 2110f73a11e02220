"""What settings of checkpoints do not go together, told from a configuration alone, before anything runs.

Bridge refuses most of it when it validates a configuration (``Broken.late`` is False), some when the first checkpoint
is written or read, and some of it never: the run starts from random weights.

Verify: megatron/bridge/training/config.py CheckpointConfig.finalize and ConfigContainer.validate; checkpointing.py
save_checkpoint, load_checkpoint and _resolve_checkpoint_iteration; setup.py.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

from bridge_args.bridge.schema import Schema
from bridge_args.records import Record
from bridge_args.versions import Versions, holds

# Megatron-LM, training/checkpointing.py get_checkpoint_name.
_ITERATION: Final = re.compile(r"(?:(?P<parent>.*)/)?iter_(?P<iteration>\d{7,})(?P<rank>/mp_rank_\w+)?/*")
# In the folder of one checkpoint, whatever it is called: the index of its tensors, and one of these.
_INDEX: Final = ".metadata"
_MARKS: Final = ("metadata.json", "run_config.yaml")
TAKES_AN_ITERATION: Final = "bridge >=0.4"  # utils/checkpoint_utils.py is_checkpoint_iteration_directory
TAKES_HUGGING_FACE: Final = "bridge >=0.6"  # utils/checkpoint_utils.py is_hf_checkpoint_dir, for a pretrained one
TRACKERS: Final = ("latest_train_state.pt", "latest_checkpointed_iteration.txt")


class Broken(Record):
    """One rule that a configuration breaks.

    Attributes:
        path: the setting it is told of, ``checkpoint.async_save``.
        message: a sentence without a full stop.
        remedy: what to write instead.
        kind: ``together``: settings that exclude each other, or need another; ``one-iteration``: a folder of one
            iteration where that of the checkpoints belongs, which most runs go on from, without its weights.
        late: Bridge's own validation lets it pass.
    """

    path: str
    message: str
    remedy: str
    kind: Literal["together", "one-iteration"] = "together"
    late: bool = False


class OneCheckpoint(Record):
    """The folder of one checkpoint, where that of the checkpoints belongs.

    Attributes:
        above: the folder that it is in.
        iteration: by its name; None where that does not say it.
        is_release: it is called as a checkpoint is that was converted.
        whole: all of it, not the part of one rank.
    """

    above: str
    iteration: int | None
    is_release: bool = False
    whole: bool = True


def one_checkpoint(folder: str, has: Callable[[str], bool]) -> OneCheckpoint | None:
    """By the folder's name, or by what is in it; None for every other folder, and where a tracker is in it.

    Args:
        has: is there a file of that path?
    """
    inside = folder.rstrip("/")
    if not inside or any(has(f"{inside}/{tracker}") for tracker in TRACKERS):
        return None
    if named := _ITERATION.fullmatch(folder):
        above = named["parent"] or ("/" if named["parent"] == "" else ".")
        return OneCheckpoint(above, int(named["iteration"]), whole=not named["rank"])
    if not (any(has(f"{inside}/{mark}") for mark in _MARKS) and has(f"{inside}/{_INDEX}")):
        return None
    above, slash, name = inside.rpartition("/")
    return OneCheckpoint(above or slash or ".", None, name == "release")


class Said:
    """Effective values of a configuration, as far as they are known.

    A section with ``_target_`` is whole: what it does not say is the default. Of one without, which is laid over
    another configuration, only what is said is known.
    """

    def __init__(self, config: Mapping[str, Any], schema: Schema) -> None:
        self._config, self._schema = config, schema
        self.versions = Versions("0", schema.version)

    def get(self, path: str) -> Any:
        """The value; ``Ellipsis`` where it is not known, or there is no such setting."""
        section, _, name = path.partition(".")
        body = self._config.get(section, ...)
        if not name:
            return None if body is ... and "_target_" in self._config else body
        if not isinstance(body, Mapping):
            return ...
        target = body.get("_target_")
        if target is not None and target not in self._schema.classes:
            return ...  # of the user's own
        field = self._schema.find(path, {section: target} if target else {})
        if field is None:
            return ...
        value = body.get(name, ... if target is None else field.default)
        return ... if isinstance(value, str) and "${" in value else value

    def on(self, path: str) -> bool:
        return (value := self.get(path)) is not ... and bool(value)

    def off(self, path: str) -> bool:
        return (value := self.get(path)) is not ... and not value

    def text(self, path: str) -> str:
        return value if isinstance(value := self.get(path), str) else ""

    def holds(self, condition: str) -> bool:
        return holds(condition, self.versions)


def broken(config: Mapping[str, Any], schema: Schema) -> Iterator[Broken]:
    """The rules that a configuration breaks, for the Bridge of a schema.

    Args:
        config: nested mapping, as ``ConfigContainer.to_yaml`` writes it, or a part of one. Of the folders that it names
            only those that are called like that of an iteration are looked at: with a tracker it is one of checkpoints.
    """
    said = Said(config, schema)
    for rule in RULES:
        yield from rule(said)


def _steps(said: Said) -> Iterator[Broken]:
    if said.get("checkpoint.ckpt_step") not in (None, ...) and said.get("checkpoint.load") is None:
        message = "checkpoint.ckpt_step is an iteration of checkpoint.load, which is not set"
        remedy = "set checkpoint.load to the folder of the checkpoints"
        if said.on("checkpoint.pretrained_checkpoint"):
            message += "; of checkpoint.pretrained_checkpoint the newest iteration is taken"
        yield Broken("checkpoint.ckpt_step", message, remedy)


def _asynchronous(said: Said) -> Iterator[Broken]:
    if not said.on("checkpoint.async_save"):
        return
    path = "checkpoint.async_save"
    if said.get("checkpoint.save") is None:
        yield Broken(path, f"{path} needs checkpoint.save, which is not set", f"set {path} to false")
    if said.off("checkpoint.use_persistent_ckpt_worker"):
        yield Broken(path, f"{path} needs checkpoint.use_persistent_ckpt_worker", "set that to true")
    if said.holds("bridge <0.5") and said.text("checkpoint.ckpt_format") == "fsdp_dtensor":
        message = f"{path} does not work with checkpoint.ckpt_format fsdp_dtensor in Bridge before 0.5"
        yield Broken(path, message, f"set {path} to false")


def _main_params(said: Said) -> Iterator[Broken]:
    path = "checkpoint.load_main_params_from_ckpt"
    if said.on(path) and said.on("checkpoint.load_optim"):
        yield Broken(path, f"{path} does not go with checkpoint.load_optim", "set checkpoint.load_optim to false")


def _resharding(said: Said) -> Iterator[Broken]:
    path = "checkpoint.distrib_optim_fully_reshardable_mem_efficient"
    if said.on(path) and said.on("checkpoint.dist_ckpt_optim_fully_reshardable"):
        message = f"Bridge refuses {path} together with checkpoint.dist_ckpt_optim_fully_reshardable"
        yield Broken(path, message, f"set {path} to false")


def _sharded(said: Said) -> Iterator[Broken]:
    """Megatron FSDP saves and loads fsdp_dtensor, and nothing else does."""
    megatron = said.on("ddp.use_megatron_fsdp") or said.on("dist.use_megatron_fsdp")
    torch = said.on("dist.use_torch_fsdp2")
    if megatron and torch:
        path = "ddp.use_megatron_fsdp" if said.on("ddp.use_megatron_fsdp") else "dist.use_megatron_fsdp"
        yield Broken(path, f"{path} and dist.use_torch_fsdp2 exclude each other", "set one of them to false")
        return
    if not said.on("checkpoint.save") and not said.on("checkpoint.load"):
        return
    path, kind = "checkpoint.ckpt_format", said.text("checkpoint.ckpt_format")
    if megatron and kind not in ("", "fsdp_dtensor"):
        message = f"Megatron FSDP saves and loads fsdp_dtensor only, and {path} is {kind}"
        yield Broken(path, message, f"set {path} to fsdp_dtensor")
    if not megatron and kind == "fsdp_dtensor" and (torch or said.off("ddp.use_megatron_fsdp")):
        remedy = f"set {path} to torch_dist, or ddp.use_megatron_fsdp to true"
        yield Broken(path, f"{path} fsdp_dtensor is for Megatron FSDP only, which is not used", remedy)


def _without_gloo(said: Said) -> Iterator[Broken]:
    path = "dist.use_gloo_process_groups"
    kinds = ("torch_dist",) if said.holds("bridge <0.5") else ("torch_dist", "fsdp_dtensor")
    kind = said.text("checkpoint.ckpt_format")
    if said.off(path) and said.on("optimizer.use_distributed_optimizer") and kind and kind not in kinds:
        message = f"the distributed optimizer is saved as {kind} only with {path}, which is false"
        yield Broken(path, message, f"set {path} to true")


def _adapters(said: Said) -> Iterator[Broken]:
    if isinstance(said.get("peft"), Mapping) and said.get("checkpoint.pretrained_checkpoint") is None:
        message = "peft trains an adapter of checkpoint.pretrained_checkpoint, which is not set"
        yield Broken("peft", message, "set it to the folder of the base model's checkpoints")


def _as_hugging_face(said: Said) -> Iterator[Broken]:
    path = "checkpoint.also_save_hf_checkpoint"
    if not said.on(path):
        return
    if said.text("checkpoint.ckpt_format") == "fsdp_dtensor":
        yield Broken(path, f"{path} does not work with checkpoint.ckpt_format fsdp_dtensor", f"set {path} to false")
    if said.text("checkpoint.non_persistent_ckpt_type") == "local":
        message = f"{path} does not work with checkpoint.non_persistent_ckpt_type local"
        yield Broken(path, message, f"set {path} to false")


def _ephemeral(said: Said) -> Iterator[Broken]:
    """Checkpoints between those that last. Bridge finds out when it writes or looks for one."""
    path, kind = "checkpoint.non_persistent_ckpt_type", said.get("checkpoint.non_persistent_ckpt_type")
    interval = "checkpoint.non_persistent_save_interval"
    if kind not in (..., None, "global", "local"):
        yield Broken(path, f"{path} is global or local, not {kind}", "use one of them", late=True)
    if kind is None and said.on(interval):
        message = f"{interval} needs {path}; the first of these checkpoints would stop the run"
        yield Broken(interval, message, f"set {path} to global or local", late=True)
    if kind == "local" and said.get("checkpoint.non_persistent_local_ckpt_dir") is None:
        message = f"{path} local needs checkpoint.non_persistent_local_ckpt_dir"
        yield Broken(path, message, "set it to a folder on every node", late=True)
    if kind == "local" and said.on("checkpoint.replication") and said.get("checkpoint.replication_jump") is None:
        message = "checkpoint.replication needs checkpoint.replication_jump"
        yield Broken("checkpoint.replication", message, "set it to the ranks of a node", late=True)


def _strictness(said: Said) -> Iterator[Broken]:
    """Two of the ways to load give the keys back beside the tensors, which no training loop expects.

    See megatron/core/dist_checkpointing/serialization.py load.
    """
    path = "checkpoint.dist_ckpt_strictness"
    value = said.text(path)
    if value.startswith("return_") and (said.on("checkpoint.load") or said.on("checkpoint.pretrained_checkpoint")):
        message = f"{path} {value} is for programs that want the keys; a run stops when it loads a checkpoint"
        yield Broken(path, message, f"set {path} to {value.replace('return', 'log')}", late=True)


def _one_iteration(said: Said) -> Iterator[Broken]:
    """The folder of one iteration where that of the checkpoints belongs."""
    for name, tell in (("load", _load), ("pretrained_checkpoint", _pretrained), ("save", _save)):
        path = f"checkpoint.{name}"
        value = said.text(path)
        one = one_checkpoint(value, os.path.exists)
        if one is None or not (told := tell(said, one)):
            continue
        message = f"{path} is {value}, the folder of one iteration, not the one of the checkpoints: {told}"
        yield Broken(path, message, _instead(path, one), "one-iteration", late=True)


def _instead(path: str, one: OneCheckpoint) -> str:
    if path == "checkpoint.save":
        return f"set {path} to {one.above}"
    if one.iteration is None and not one.is_release:
        return f"set {path} to the folder that has the tracker ({TRACKERS[0]}), and folders like iter_0000100 in it"
    if path == "checkpoint.load":
        return f"set {path} to {one.above}" + (
            "" if one.iteration is None else f" and checkpoint.ckpt_step to {one.iteration}"
        )
    return f"set {path} to {one.above}, of which the newest iteration is taken"


def _load(said: Said, one: OneCheckpoint) -> str:
    if said.holds(TAKES_AN_ITERATION) and one.whole:
        again = said.text("checkpoint.save").rstrip("/") == one.above
        return "a restart loads it again, not what is saved later" if again else ""
    version = said.versions.bridge
    if said.on("checkpoint.pretrained_checkpoint"):
        return f"Bridge {version} finds no checkpoint in it and starts from checkpoint.pretrained_checkpoint"
    return f"Bridge {version} finds no checkpoint in it and trains from random weights"


def _pretrained(said: Said, one: OneCheckpoint) -> str:
    if said.holds(TAKES_AN_ITERATION) and one.whole:
        return ""
    version = said.versions.bridge
    if isinstance(said.get("peft"), Mapping):
        return f"Bridge {version} finds no checkpoint in it and stops"
    return f"Bridge {version} finds no checkpoint in it and trains from random weights"


def _save(said: Said, one: OneCheckpoint) -> str:
    return "checkpoints are written to folders in it"


RULES: Final[tuple[Callable[[Said], Iterator[Broken]], ...]] = (
    _steps,
    _asynchronous,
    _main_params,
    _resharding,
    _sharded,
    _without_gloo,
    _adapters,
    _as_hugging_face,
    _ephemeral,
    _strictness,
    _one_iteration,
)
