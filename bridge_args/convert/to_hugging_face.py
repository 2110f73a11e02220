"""``checkpoint export``: a checkpoint of Megatron's becomes a folder of Hugging Face's."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bridge_args.checkpoint import tensors
from bridge_args.convert import auto_bridge, configuration, hugging_face, megatron, output
from bridge_args.convert.auto_bridge import Machine
from bridge_args.convert.megatron import Megatron
from bridge_args.convert.output import Refused, new_folder
from bridge_args.convert.process import Plan
from bridge_args.convert.provenance import Provenance, hashes
from bridge_args.errors import UserError
from bridge_args.records import Record

# What belongs to a model beside its weights: tokenizer, chat template, how it generates, how it sees pictures.
_BESIDE: Final = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken", "additional_chat_templates/*.jinja")
# Bytes of an input that are read only to be told: a checkpoint has its optimizer too, and may have terabytes.
_HASHED: Final = 64 << 20
_NOT: Final = ("config.json", "conversion.json")


class Asked(Record):
    """What the user says.

    Attributes:
        checkpoint: the folder that a run saves to, or one checkpoint.
        output: the folder to be made.
        model: folder or name of the model of Hugging Face's whose configuration and tokenizer it gets; None: the
            configuration is that of the checkpoint.
        tokenizer: folder with a tokenizer, where there is no model.
        iteration: None: that of the tracker.
        smoke: the result is loaded and run.
        trust_remote_code: code that comes with the model is run, and copied.
        megatron_lm: version that has saved the checkpoint, where it is one of Megatron-LM's.
        words: the command, as it was typed.
    """

    checkpoint: Path
    output: Path
    model: str | None = None
    tokenizer: Path | None = None
    iteration: int | None = None
    smoke: bool = True
    trust_remote_code: bool = False
    megatron_lm: str | None = None
    words: Sequence[str] = ()


class Done(Record):
    """A result.

    Attributes:
        folder: of it.
        checked: what was looked at, for people.
        notes: what there is to say of it.
    """

    folder: Path
    checked: list[str]
    notes: list[str]


def export(asked: Asked, machine: Machine) -> Done:
    """Converts, looks at the result, and gives it its name.

    Raises:
        Refused: nothing is written; all reasons.
        NotRight: the result is not what it must be; there is none.
        UserError: Bridge stops, or the disk is full; there is none.
    """
    bridge = auto_bridge.needed()
    emulate = machine.emulate
    provenance = Provenance("checkpoint export", asked.words)
    with tempfile.TemporaryDirectory(prefix="bridge-args-") as scratch:
        source, model, reasons = _inputs(asked, Path(scratch))
        if source is None or model is None or reasons:
            if model is not None and not hugging_face.reasons_against_model(model, "none", tokenizer=False):
                reasons += auto_bridge.unsupported(_asking(asked, model, scratch, emulate), machine)
            raise Refused(reasons)
        run_config, stand_ins = auto_bridge.on_cpu(source.run_config, bridge)
        view = megatron.linked(source, run_config if emulate else source.run_config, Path(scratch, "iter_0000000"))
        read = _read_from(asked, source, model)
        seen = output.Seen(*read.values())
        for name, folder in read.items():
            provenance.input(name, folder, hashes(folder, largest=_HASHED))
        try:
            with new_folder(asked.output) as unfinished:
                plan = replace(
                    _asking(asked, model, scratch, emulate),
                    checkpoint=str(view),
                    target=str(unfinished),
                    transformer_engine=stand_ins.transformer_engine,
                    apex_layer_norm=stand_ins.apex_layer_norm,
                    only_ask=False,
                )
                told = auto_bridge.run(plan, machine, "the export", _size(source), into=unfinished)
                notes = _beside(asked, model, unfinished) + _padding(told["rows_of_padding_left_out"])
                tokenizer = model if asked.model is not None else asked.tokenizer
                checked = hugging_face.checked(unfinished, tokenizer, asked.smoke, asked.trust_remote_code)
                seen.unchanged()
                provenance.tell(checked=checked, notes=notes, iteration=source.contents.place.iteration, **told)
                provenance.write(unfinished)
        except OSError as error:
            raise UserError(f"{error.filename or asked.output}: {error.strerror or error}; nothing was made") from error
    return Done(asked.output, checked, notes)


def _asking(asked: Asked, model: Path, scratch: str, emulate: bool) -> Plan:
    return Plan(
        action="export",
        model=os.path.realpath(model),
        checkpoint="",
        target="",
        scratch=scratch,
        tokenizer=os.path.realpath(model) if hugging_face.has_tokenizer(model) else None,
        emulate=emulate,
        trust_remote_code=asked.trust_remote_code,
        only_ask=True,
    )


def _inputs(asked: Asked, scratch: Path) -> tuple[Megatron | None, Path | None, list[str]]:
    """The checkpoint, the folder with the configuration, and all reasons against the conversion."""
    source, reasons = megatron.read(asked.checkpoint, asked.iteration, asked.megatron_lm)
    model: Path | None = None
    if asked.model is not None:
        try:
            model = auto_bridge.folder_of_model(asked.model, weights=False)
            reasons += hugging_face.reasons_against_model(model, "if any")
        except UserError as error:
            reasons.append(str(error))
    elif source is not None:
        tokens, wrong = _tokens(asked, source)
        reasons += wrong
        config, wrong = configuration.of_checkpoint(source, tokens)
        reasons += wrong
        if config is not None:
            model = scratch / "config"
            model.mkdir()
            (model / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if asked.tokenizer is not None:
        if asked.model is not None:
            reasons.append("the tokenizer is that of --hf-model; leave --tokenizer out")
        elif not asked.tokenizer.is_dir():
            reasons.append(f"{asked.tokenizer} is no folder")
        elif not hugging_face.has_tokenizer(asked.tokenizer):
            reasons.append(f"{asked.tokenizer} has no tokenizer")
        elif model is not None:
            _copy_beside(asked.tokenizer, model, asked.trust_remote_code)  # to be tried with this configuration
    if source is not None and model is not None and asked.model is not None and not reasons:
        reasons += _of_vocabulary(source, model) + _of_layers(source, model)
    inputs = [asked.checkpoint, *([source.contents.place.folder] if source else [])]
    inputs += [one for one in (model if asked.model else None, asked.tokenizer) if one is not None and one.exists()]
    reasons += output.reasons_against(asked.output, inputs, _size(source) if source else 0)
    return source, model, reasons


def _of_layers(source: Megatron, model: Path) -> list[str]:
    """Before a model is built of a configuration: one of another size may take all memory."""
    ours, theirs = source.model.get("num_layers"), hugging_face.layers_of(model)
    if type(ours) is int and theirs is not None and ours != theirs:
        return [f"the checkpoint has {ours} layers, and {model / 'config.json'} says {theirs}"]
    return []


def _of_vocabulary(source: Megatron, model: Path) -> list[str]:
    """Rows beyond the vocabulary are padding, and not many."""
    size, rows = hugging_face.vocabulary_of(model), source.rows
    if size is None or rows is None:
        return []
    if rows < size:
        return [f"the checkpoint has {rows} tokens, and {model / 'config.json'} says vocab_size {size}"]
    said = source.model.get("vocab_size")
    if isinstance(said, int) and source.model.get("should_pad_vocab") and said > size:
        return [f"the checkpoint has a vocabulary of {said}, and {model / 'config.json'} one of {size}"]
    if rows - size >= _most_padding(source):
        return [
            f"the checkpoint has {rows} tokens, and {model / 'config.json'} says vocab_size {size}: "
            f"{rows - size} are more than padding to a multiple of {_multiple(source)} needs"
        ]
    return []


def _tokens(asked: Asked, source: Megatron) -> tuple[int | None, list[str]]:
    """The vocabulary by the tokenizer, where the other rows can be padding of it; None: all rows are taken."""
    size = hugging_face.tokens_in(asked.tokenizer) if asked.tokenizer is not None else None
    if size is None or source.rows is None:
        return None, []
    if size > source.rows:
        return None, [f"the checkpoint has {source.rows} tokens, and {asked.tokenizer} {size}: it is another tokenizer"]
    said = source.model.get("vocab_size")
    if source.model.get("should_pad_vocab") and type(said) is int and size <= said <= source.rows:
        return said, []  # it knows which rows are padding; a model may have more of its own than its tokenizer
    return (size if source.rows - size < _most_padding(source) else None), []


def _multiple(source: Megatron) -> int:
    """What Megatron pads the vocabulary to a multiple of."""
    return int(source.model.get("make_vocab_size_divisible_by") or 128) * source.contents.parallel.get("tensor", 1)


def _most_padding(source: Megatron) -> int:
    """Rows; more are no padding."""
    return max(_multiple(source), 128)


def _size(source: Megatron) -> int:
    return tensors.bytes_of(source.contents.of_model) or source.contents.bytes


def _read_from(asked: Asked, source: Megatron, model: Path) -> Mapping[str, Path]:
    found = {"checkpoint": source.contents.place.folder}
    if asked.model is not None:
        found["hf_model"] = model
    if asked.tokenizer is not None:
        found["tokenizer"] = asked.tokenizer
    return found


def _beside(asked: Asked, model: Path, target: Path) -> list[str]:
    """What a model has beside its weights, byte for byte; its configuration where something in it is no longer so."""
    notes = []
    source = model if asked.model is not None else asked.tokenizer
    if source is not None:
        _copy_beside(source, target, asked.trust_remote_code)
    said = dict(hugging_face.config_of(model))
    changed = _as_it_is(said, target, asked.trust_remote_code)
    if changed:
        (target / "config.json").write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        notes += [f"config.json: {change}" for change in changed]
    else:
        shutil.copyfile(model / "config.json", target / "config.json")
    return notes


def _copy_beside(source: Path, target: Path, trust_remote_code: bool) -> None:
    patterns = [*_BESIDE, *(["*.py"] if trust_remote_code else [])]
    for file in sorted({file for pattern in patterns for file in source.glob(pattern)}):
        if file.is_file() and file.name not in _NOT and not file.name.endswith(".index.json"):
            place = target / file.relative_to(source)
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, place)


def _as_it_is(said: dict[str, Any], target: Path, trust_remote_code: bool) -> list[str]:
    """Makes a configuration that of these weights; returns what was changed."""
    numbers: Counter[str] = Counter()
    for file in sorted(target.glob("*.safetensors")):
        for tensor in tensors.of_safetensors(file):
            numbers[tensor.dtype] += tensor.numbers
    dtype = numbers.most_common(1)[0][0]
    name = "dtype" if "dtype" in said else "torch_dtype"
    changed = []
    if said.get(name) != dtype:
        changed.append(f"{name} is {dtype}, as the checkpoint has it, and not {said.get(name)}")
        said[name] = dtype
    if said.pop("quantization_config", None) is not None:
        changed.append("quantization_config was left out; the weights are not quantized")
    if not trust_remote_code and said.pop("auto_map", None) is not None:
        changed.append("auto_map was left out with the code that it names; --trust-remote-code keeps both")
    return changed


def _padding(cut: Mapping[str, int]) -> list[str]:
    return [f"{rows} rows of padding of {name} were left out" for name, rows in cut.items()]
