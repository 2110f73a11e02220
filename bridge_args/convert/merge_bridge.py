"""``checkpoint merge-lora`` for adapters of Megatron Bridge's: a checkpoint with the adapter in its weights."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bridge_args.checkpoint import contents, tensors
from bridge_args.checkpoint.contents import Contents
from bridge_args.checkpoint.layout import INDEX, MEGATRON_TRACKER, RUN_CONFIG, CheckpointError
from bridge_args.checkpoint.saved_args import SavedArgsError
from bridge_args.children import ended_by_signals
from bridge_args.convert import auto_bridge, hugging_face, megatron, output, to_hugging_face
from bridge_args.convert.auto_bridge import Machine
from bridge_args.convert.lora_process import Plan, by_expert
from bridge_args.convert.megatron import Megatron
from bridge_args.convert.output import Refused, new_folder
from bridge_args.convert.provenance import Provenance, hashes
from bridge_args.convert.to_hugging_face import Done
from bridge_args.errors import UserError
from bridge_args.records import Record
from bridge_args.source.yaml import plain
from bridge_args.source.yaml.nodes import YamlProblem
from bridge_args.wording import counted

_LORA: Final = "megatron.bridge.peft.lora.LoRA"
_OTHERS: Final = {
    "DoRA": "DoRA scales the whole weight, and is not merged here",
    "CanonicalLoRA": "CanonicalLoRA has a pair for each of the matrices in one weight, and is not merged here",
    "VLMLoRA": "an adapter of a model that sees pictures is not merged here",
}
# What the object keeps for itself. Verify: megatron/bridge/peft/base.py, module_matcher.py.
_OWN: Final = ("params_to_save", "canonical_mapping")
_DTYPES: Final = ("bfloat16", "float16", "float32")
_WITHIN: Final = 0.05  # of the largest logit: what rounding the merged weights once may change


class Asked(Record):
    """What a user asks for.

    Attributes:
        adapter, base: the folder that a run saves to, or one checkpoint.
        to: a new folder.
        base_is: the name that the adapter has for its base, where the user says that this is it.
        smoke: run the model before and after.
        megatron_lm: version that has saved the base, where it is one of Megatron-LM's.
        words: the command, as it was typed.
        export: what becomes of the result afterwards; is looked at before.
    """

    adapter: Path
    base: Path
    to: Path
    base_is: str | None = None
    smoke: bool = True
    megatron_lm: str | None = None
    words: Sequence[str] = ()
    export: to_hugging_face.Asked | None = None


class Adapter(Record):
    """An adapter of Bridge's that can be read.

    Attributes:
        contents: of one iteration.
        settings: of its LoRA, as plain values.
        base: the checkpoint that it was trained on, as its run names it.
        notes: what is to be known of a merge.
    """

    contents: Contents
    settings: Mapping[str, Any]
    base: str
    notes: tuple[str, ...] = ()


def merged(asked: Asked, machine: Machine) -> Done:
    """Merges, looks at the result, and gives it its name.

    Raises:
        Refused: nothing is written; all reasons.
        NotRight: the result is not what it must be; there is none.
        UserError: Bridge stops, or the disk is full; there is none.
    """
    bridge = auto_bridge.needed()
    provenance = Provenance("checkpoint merge-lora", asked.words)
    adapter, base, same_by, reasons = _inputs(asked)
    if adapter is None or base is None or reasons:
        raise Refused(reasons)
    seen = output.Seen(base.contents.place.folder, adapter.contents.place.folder)
    run_config, stand_ins = auto_bridge.on_cpu(base.run_config, bridge)
    for name, folder in (("base", base.contents.place.folder), ("adapter", adapter.contents.place.folder)):
        more = {"base": adapter.base, "base_is_by": same_by} if name == "adapter" else {}
        provenance.input(name, folder, hashes(folder), **more)
    with tempfile.TemporaryDirectory(prefix="bridge-args-") as scratch:
        view = megatron.linked(base, run_config if machine.emulate else base.run_config, Path(scratch, "iter_0000000"))
        try:
            with ended_by_signals(), new_folder(asked.to) as unfinished:
                plan = Plan(
                    base=str(view),
                    adapter=os.path.realpath(adapter.contents.place.folder),
                    shapes={tensor.name: tensor.shape for tensor in adapter.contents.of_model},
                    settings=adapter.settings,
                    target=str(unfinished),
                    emulate=machine.emulate,
                    transformer_engine=stand_ins.transformer_engine,
                    apex_layer_norm=stand_ins.apex_layer_norm,
                    extra_states=bool(_extra_states(base.contents.place.folder)),
                    smoke=asked.smoke,
                )
                size = tensors.bytes_of(base.contents.of_model) or 0
                told = auto_bridge.run(plan, machine, "the merge", size, "bridge_args.convert.lora_process", unfinished)
                _with_the_base_s_settings(unfinished, base, asked.to)
                checked = _checked(unfinished, base, told)
                seen.unchanged()
                provenance.tell(backend="megatron_bridge", checked=checked, lora=dict(adapter.settings), **told)
                provenance.write(unfinished)
        except OSError as error:
            raise UserError(f"{error.filename or asked.to}: {error.strerror or error}; nothing was made") from error
    return Done(asked.to, checked, list(adapter.notes))


# Before ---------------------------------------------------------------------------------------------------------------


def _inputs(asked: Asked) -> tuple[Adapter | None, Megatron | None, str, list[str]]:
    adapter, reasons = read(asked.adapter)
    base, why_not = megatron.read(asked.base, None, asked.megatron_lm)
    reasons += why_not
    same_by = ""
    if adapter is not None:
        same_by, why_not = _is_its_base(adapter, asked, base)
        reasons += why_not
    size = tensors.bytes_of(base.contents.of_model) or base.contents.bytes if base is not None else 0
    inputs = [asked.adapter, asked.base]
    inputs += [found.contents.place.folder for found in (adapter, base) if found is not None]
    reasons += output.reasons_against(asked.to, inputs, size)
    if asked.export is not None:
        reasons += _against_export(asked.export, [*inputs, asked.to], size)
    return adapter, base, same_by, list(dict.fromkeys(reasons))


def _against_export(export: to_hugging_face.Asked, inputs: list[Path], size: int) -> list[str]:
    """What can be told of an export before there is anything to export."""
    reasons = output.reasons_against(export.output, inputs, 2 * size)
    if export.model is not None:
        model = auto_bridge.folder_of_model(export.model, weights=False)
        reasons += hugging_face.reasons_against_model(model, "if any")
    return reasons


def read(path: Path) -> tuple[Adapter | None, list[str]]:
    """The adapter, if it can be read, and why it may not be merged, as far as it can be told without the base."""
    try:
        found = contents.look_into(path)
    except (CheckpointError, SavedArgsError) as error:
        return None, [str(error)]
    kind, folder = found.place.kind, found.place.folder
    assert kind is not None
    if kind.name == "peft":
        return None, [f"{folder} is an adapter of PEFT's; give its model of Hugging Face's, with --base"]
    if kind.name not in ("bridge", "fsdp_dtensor", "torch-distributed", "megatron-lm-torch_dist"):
        return None, [f"{folder} is a checkpoint of {kind.title}, and no adapter of Megatron Bridge's"]
    if not (folder / RUN_CONFIG).is_file():
        return None, [
            f"{folder} has no {RUN_CONFIG}, which says the rank and the scale of the adapter; nothing else does, and "
            "Bridge would take its defaults"
        ]
    reasons = [*found.problems, *(f"{file} was not looked at" for file in found.unread)]
    if found.format != "torch_dist":
        reasons.append(f"{folder} is in the format {found.format}; only torch_dist is merged")
    config, wrong = _config(folder / RUN_CONFIG)
    peft = config.get("peft")
    if wrong:
        return None, [*reasons, *wrong]
    if not isinstance(peft, dict):
        return None, [*reasons, f"{folder / RUN_CONFIG} has no section peft: it is no adapter"]
    settings, wrong = _settings(folder / RUN_CONFIG, peft)
    reasons += wrong
    checkpoint = config.get("checkpoint")
    base = checkpoint.get("pretrained_checkpoint") if isinstance(checkpoint, dict) else None
    return Adapter(found, settings, str(base or ""), tuple(_notes(found, config.get("model")))), reasons


def _notes(found: Contents, model: object) -> Iterator[str]:
    """Bridge 0.3 saves the adapter of the first process's experts, and not those of the others."""
    parts = model.get("expert_model_parallel_size") if isinstance(model, dict) else None
    held = by_expert({tensor.name: tensor.shape for tensor in found.of_model})
    if isinstance(parts, int) and parts > 1 and held and not all(held):
        yield (
            f"{found.place.folder} was trained with experts in {parts} parts, each with an adapter of its own, and has "
            "only that of the first: it is merged into all experts, as Bridge itself would go on with it"
        )


def _config(file: Path) -> tuple[dict[str, Any], list[str]]:
    try:
        return plain.mapping_in(file), []
    except YamlProblem as problem:
        return {}, [str(problem)]


def _settings(file: Path, peft: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What the LoRA is built with; data only: of what the file names, nothing is called."""
    target = str(peft.get("_target_"))
    name = target.rpartition(".")[2]
    if target != _LORA:
        return {}, [f"{file}: peft is {target[:120]}: {_OTHERS.get(name, 'only LoRA is merged here')}"]
    reasons = []
    if peft.get("canonical_mapping"):
        reasons.append(f"{file}: peft.canonical_mapping is set, which LoRA does not have")
    settings = {
        key: value for key, value in peft.items() if not key.startswith("_") and key not in _OWN and key != "lora_dtype"
    }
    for key in ("dim", "alpha"):
        value = settings.get(key)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value <= 0:
            reasons.append(f"{file}: peft.{key} is {str(value)[:40]}, and no number above 0")
    for key in ("target_modules", "exclude_modules"):
        value = settings.get(key) or []
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            reasons.append(f"{file}: peft.{key} is no list of names")
    if odd := [key for key, value in settings.items() if isinstance(value, dict)]:
        reasons.append(f"{file}: peft.{odd[0]} is more than a plain value, and is not built")
    if (dtype := peft.get("lora_dtype")) is not None:
        said = str(dtype.get("_target_") if isinstance(dtype, dict) else dtype).removeprefix("torch.")
        if said not in _DTYPES:
            reasons.append(f"{file}: peft.lora_dtype is {said[:40]}, not {', '.join(_DTYPES)}")
        settings["lora_dtype"] = said
    return settings, reasons


def _is_its_base(adapter: Adapter, asked: Asked, base: Megatron | None) -> tuple[str, list[str]]:
    file = adapter.contents.place.folder / RUN_CONFIG
    name = adapter.base
    if asked.base_is is not None:
        if name and asked.base_is != name:
            return "", [f"--base-is says {asked.base_is}, and {file} names {name} as its base"]
        return "--base-is", []
    if not name:
        return "", [f"{file} names no base (checkpoint.pretrained_checkpoint); say which it was: --base-is NAME"]
    mine = {os.path.realpath(asked.base)}
    if base is not None:
        mine.add(os.path.realpath(base.contents.place.folder))
    theirs = {os.path.realpath(name), os.path.realpath(os.path.dirname(name.rstrip("/")))}
    if os.path.realpath(name) in mine or theirs & mine and os.path.basename(name.rstrip("/")).startswith("iter_"):
        return "path", []
    return "", [
        f"{asked.adapter} was trained on {name[:200]}, and nothing says that {asked.base} is that; if it is, add "
        f"--base-is {name[:200]}"
    ]


# Afterwards -----------------------------------------------------------------------------------------------------------


def _with_the_base_s_settings(unfinished: Path, base: Megatron, to: Path) -> None:
    """The run config of the base: what was switched off for want of a GPU is no setting of the result."""
    yaml = importlib.import_module("yaml")
    folder = _iteration(unfinished)
    said = dict(base.run_config)
    checkpoint = said.get("checkpoint")
    if isinstance(checkpoint, dict):
        said["checkpoint"] = {**checkpoint, "save": os.path.realpath(to), "load": None, "pretrained_checkpoint": None}
    (folder / RUN_CONFIG).write_text(yaml.safe_dump(said, default_flow_style=False), encoding="utf-8")
    words = base.contents.place.folder / "tokenizer"
    if words.is_dir() and not (folder / "tokenizer").exists():
        shutil.copytree(words, folder / "tokenizer")


def _iteration(unfinished: Path) -> Path:
    return contents.look_into(unfinished).place.folder


def _extra_states(folder: Path) -> set[str]:
    """Names of what layers keep beside their numbers."""
    return {name for name in tensors.of_index(folder / INDEX).others if "_extra_state" in name}


def _checked(unfinished: Path, base: Megatron, told: Mapping[str, Any]) -> list[str]:
    found = contents.look_into(unfinished)
    if found.problems or found.complete is None:
        raise hugging_face.NotRight("\n".join(found.problems) or f"{unfinished} was not looked at")
    if not (unfinished / MEGATRON_TRACKER).is_file():
        raise hugging_face.NotRight(f"{unfinished} has no {MEGATRON_TRACKER}")
    ours, theirs = ({tensor.name: tensor.shape for tensor in one.of_model} for one in (found, base.contents))
    if ours != theirs:
        other = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        raise hugging_face.NotRight(f"{unfinished} has other tensors than its base: {', '.join(other[:4])}")
    if _extra_states(found.place.folder) != _extra_states(base.contents.place.folder):
        raise hugging_face.NotRight(f"{unfinished} has other states of layers (_extra_state) than its base")
    checked = [
        f"{counted(told['merged'], 'layer')} merged, and every number is finite",
        f"{counted(len(ours), 'tensor')} of the names and shapes of the base, in files that are whole",
    ]
    if "logits_differ_by" in told:
        by, largest = told["logits_differ_by"], told["logits_are_up_to"]
        if by > _WITHIN * max(largest, 1e-6):
            raise hugging_face.NotRight(
                f"the merged model says something else than base and adapter: {by:.3g} of {largest:.3g}"
            )
        checked.append(f"its logits are those of base and adapter within {by:.2g} of {largest:.2g}")
    return checked
