"""A checkpoint of Megatron's that is to be read: which iteration, whether all of it is there, what its model is.

Bridge reads it through a folder of links with a run config of its own, so that nothing is written beside the source:
one that Megatron-LM has saved gets the run config that its arguments mean.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bridge_args.bridge import installed
from bridge_args.checkpoint import contents
from bridge_args.checkpoint.contents import Contents
from bridge_args.checkpoint.layout import COMMON, RUN_CONFIG, CheckpointError, place_of
from bridge_args.checkpoint.saved_args import SavedArgsError
from bridge_args.errors import WrongValue
from bridge_args.records import Record
from bridge_args.source.yaml import plain
from bridge_args.source.yaml.nodes import YamlProblem
from bridge_args.steps import translate_saved
from bridge_args.versions import PROVEN, Versions, holds

_KINDS: Final = ("bridge", "megatron-lm-torch_dist")
# What the configuration of a model is built of; Bridge runs what else a file names.
_TARGETS: Final = re.compile(
    r"megatron\.bridge\.models\.(?!conversion\.|hf_pretrained\.)[\w.]+|"
    r"megatron\.core\.(transformer|activations|fusions|models|extensions|inference|quantization)\.[\w.]+|"
    r"megatron\.training\.models\.[\w.]+|torch\.nn\.(functional|init)\.\w+|torch\._C\._nn\.gelu|"
    r"torch\.(bfloat16|float16|half|float32|float|float64)|functools\.partial"
)
# What training puts into the configuration of its model, and a save with it; no model is built of it.
# Verify: megatron/core/model_parallel_config.py; megatron/bridge/training/setup.py and train.py.
_OF_A_RUN: Final = (
    "finalize_model_grads_func grad_scale_func grad_sync_func no_sync_func param_sync_func timers".split()
)
_WORDS: Final = "embedding.word_embeddings.weight"


class Megatron(Record):
    """A checkpoint that can be read.

    Attributes:
        contents: of one iteration.
        run_config: what Bridge is to load it by: nested plain values; its own, or that of its arguments.
        from_arguments: it has none of its own.
    """

    contents: Contents
    run_config: Mapping[str, Any]
    from_arguments: bool

    @property
    def model(self) -> Mapping[str, Any]:
        return dict(self.run_config["model"])

    @property
    def rows(self) -> int | None:
        """Of the embedding, with its padding."""
        return next((tensor.shape[0] for tensor in self.contents.tensors if tensor.name.endswith(_WORDS)), None)


def read(path: Path, iteration: int | None, megatron_lm: str | None = None) -> tuple[Megatron | None, list[str]]:
    """The checkpoint of one iteration, or why it cannot be read: all reasons.

    Args:
        path: the folder that a run saves to, or one checkpoint.
        iteration: which one; None: the one that the tracker names.
        megatron_lm: version that has saved it, where it is one of Megatron-LM's.
    """
    try:
        found = contents.look_into(place_of(path, iteration))
    except (CheckpointError, SavedArgsError) as error:
        return None, [str(error)]
    kind = found.place.kind
    assert kind is not None
    if kind.name not in _KINDS or found.format != "torch_dist":
        return None, [f"{found.place.folder} is a checkpoint of {kind.title}, which Bridge does not convert"]
    reasons = list(found.problems)
    if why := of_newer_core(found.place.folder, installed.version() or PROVEN.bridge):
        reasons.append(f"{why}; it needs Megatron Bridge 0.6 or newer")
    reasons += [f"{file} was not looked at, and nobody knows whether it is whole" for file in found.unread]
    run_config, wrong = _run_config(found, megatron_lm)
    reasons += wrong
    if run_config is None or reasons:
        return None, reasons
    return Megatron(found, run_config, found.saved is not None and kind.name != "bridge"), []


def of_newer_core(folder: Path, bridge: str) -> str:
    """Why a Bridge does not find what a newer Megatron Core keeps among the tensors; empty where it does.

    Verify: megatron/core/dist_checkpointing/serialization.py load_common_state_dict, of 0.16 and of 0.19.
    """
    if (folder / COMMON).is_file() or holds("bridge >=0.6", Versions("0", bridge)):
        return ""
    return f"Megatron Bridge {bridge} looks for {folder / COMMON}, which Megatron Core since 0.19 does not write"


def _run_config(found: Contents, megatron_lm: str | None) -> tuple[Mapping[str, Any] | None, list[str]]:
    file = found.place.folder / RUN_CONFIG
    if file.is_file():
        return _read(file)
    if found.saved is None:
        return None, [f"{found.place.folder} has neither {RUN_CONFIG} nor the arguments of Megatron-LM"]
    from bridge_args.convert.as_saved import as_saved, rows_of
    from bridge_args.emit.run_config import to_run_config

    try:
        translation = as_saved(translate_saved(found.saved.values, megatron_lm, installed.version()), rows_of(found))
    except (WrongValue, ValueError) as error:
        return None, [str(error)]
    if translation.errors:
        return None, [finding.message for finding in translation.errors]
    return to_run_config(translation), []


def _read(file: Path) -> tuple[Mapping[str, Any] | None, list[str]]:
    try:
        said = plain.mapping_in(file)
    except YamlProblem as problem:
        return None, [str(problem)]
    model = said.get("model")
    if not isinstance(model, dict):
        return None, [f"{file} has no section model"]
    model |= {name: None for name in _OF_A_RUN if name in model}
    reasons = []
    if said.get("peft"):
        reasons.append(f"{file.parent} is an adapter (the section peft of {RUN_CONFIG}); merge it into its model first")
    for target in sorted(set(_targets(model, 0))):
        if not _TARGETS.fullmatch(target):
            reasons.append(f"{file} names {target[:120]}, which no model of Bridge's is built of; it is not run")
    return said, reasons


def _targets(value: Any, depth: int) -> Iterator[str]:
    """What Bridge would import and call."""
    if depth > 40:
        raise RecursionError
    if isinstance(value, dict):
        if "_target_" in value:
            yield str(value["_target_"])
        if "_builder_" in value:
            yield str(value["_builder_"])
        for one in value.values():
            yield from _targets(one, depth + 1)
    elif isinstance(value, list):
        for one in value:
            yield from _targets(one, depth + 1)


def linked(source: Megatron, run_config: Mapping[str, Any], folder: Path) -> Path:
    """A folder with links to all files of the checkpoint, and another run config; of that only the model."""
    yaml = importlib.import_module("yaml")
    of = source.contents.place.folder
    folder.mkdir()
    for entry in os.scandir(of):
        if entry.name != RUN_CONFIG:
            os.symlink(os.path.realpath(entry.path), folder / entry.name)
    held = {name: run_config[name] for name in ("_target_", "checkpoint", "model") if name in run_config}
    (folder / RUN_CONFIG).write_text(yaml.safe_dump(held, default_flow_style=False), encoding="utf-8")
    return folder
