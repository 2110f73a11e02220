"""``checkpoint import``: a model of Hugging Face's becomes a checkpoint that Bridge loads, with its run config."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bridge_args.checkpoint import contents, tensors
from bridge_args.checkpoint.layout import MEGATRON_TRACKER, RUN_CONFIG, folder_of
from bridge_args.convert import auto_bridge, hugging_face, output
from bridge_args.convert.auto_bridge import Machine
from bridge_args.convert.hugging_face import NotRight
from bridge_args.convert.output import Refused, new_folder
from bridge_args.convert.process import Plan
from bridge_args.convert.provenance import Provenance, hashes
from bridge_args.convert.to_hugging_face import Done
from bridge_args.errors import UserError
from bridge_args.records import Record
from bridge_args.source.yaml import plain
from bridge_args.wording import counted

DTYPES: Final = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_BYTES: Final = {"bfloat16": 2, "float16": 2, "float32": 4}


class Asked(Record):
    """What the user says.

    Attributes:
        model: folder or name of a model of Hugging Face's.
        output: the folder to be made, which has the checkpoint as iteration 0.
        dtype: of ``DTYPES``; None: that of the model.
        trust_remote_code: code that comes with the model is run.
        words: the command, as it was typed.
    """

    model: str
    output: Path
    dtype: str | None = None
    trust_remote_code: bool = False
    words: Sequence[str] = ()


def import_(asked: Asked, machine: Machine) -> Done:
    """Converts, looks at the result, and gives it its name.

    Raises:
        Refused: nothing is written; all reasons.
        NotRight: the result is not what it must be; there is none.
        UserError: Bridge stops, or the disk is full; there is none.
    """
    auto_bridge.needed()
    provenance = Provenance("checkpoint import", asked.words)
    model, reasons = _inputs(asked)
    with tempfile.TemporaryDirectory(prefix="bridge-args-") as scratch:
        plan = Plan(
            action="import",
            model=os.path.realpath(model),
            checkpoint="",
            target="",
            scratch=scratch,
            tokenizer=os.path.realpath(model),
            dtype=DTYPES[asked.dtype] if asked.dtype is not None else None,
            emulate=machine.emulate,
            trust_remote_code=asked.trust_remote_code,
        )
        if reasons:
            if not hugging_face.reasons_against_model(model, "none", tokenizer=False):
                reasons += auto_bridge.unsupported(replace(plan, only_ask=True), machine)
            raise Refused(reasons)
        seen = output.Seen(model)
        provenance.input("hf_model", model, hashes(model))
        try:
            with new_folder(asked.output) as unfinished:
                told = auto_bridge.run(
                    replace(plan, checkpoint=str(unfinished)),
                    machine,
                    "the import",
                    _size(model, asked.dtype),
                    into=unfinished,
                )
                checked = _checked(unfinished, asked, model)
                checked += [told.pop("tokenizer")] if "tokenizer" in told else []
                seen.unchanged()
                provenance.tell(checked=checked, **told)
                provenance.write(unfinished)
        except OSError as error:
            raise UserError(f"{error.filename or asked.output}: {error.strerror or error}; nothing was made") from error
    return Done(asked.output, checked, [])


def _inputs(asked: Asked) -> tuple[Path, list[str]]:
    try:
        model = auto_bridge.folder_of_model(asked.model, weights=True)
    except UserError as error:
        return Path(asked.model), [str(error)]
    reasons = hugging_face.reasons_against_model(model)
    if not reasons and "quantization_config" in hugging_face.config_of(model):
        reasons.append(f"{model} is quantized (quantization_config); name the model that it was made of")
    size = 0 if reasons else _size(model, asked.dtype)
    inputs = [model] if model.exists() else []
    return model, reasons + output.reasons_against(asked.output, inputs, size)


def _size(model: Path, dtype: str | None) -> int:
    held = hugging_face.tensors_of(model)
    if dtype is not None:
        return sum(tensor.numbers for tensor in held) * _BYTES[DTYPES[dtype]]
    return tensors.bytes_of(held) or 0


def _checked(unfinished: Path, asked: Asked, model: Path) -> list[str]:
    """The result is whole, and says where it lies and not where it was made."""
    iteration = folder_of(unfinished, 0)
    _with_its_own_name(iteration / RUN_CONFIG, unfinished, asked, model)
    found = contents.look_into(unfinished)
    if found.problems or found.complete is None:
        raise NotRight("\n".join(found.problems) or f"{iteration} was not looked at")
    if not (unfinished / MEGATRON_TRACKER).is_file():
        raise NotRight(f"{unfinished} has no {MEGATRON_TRACKER}")
    return [
        f"{counted(len(hugging_face.tensors_of(model)), 'tensor')} come back from Megatron's model as they were",
        "every number of Megatron's model is finite, and comes from the model of Hugging Face's",
        f"{counted(len(found.of_model), 'tensor')} in the checkpoint, whose files are whole",
    ]


def _with_its_own_name(file: Path, unfinished: Path, asked: Asked, model: Path) -> None:
    yaml = importlib.import_module("yaml")
    said = plain.mapping_in(file)
    names = {str(unfinished): os.path.realpath(asked.output)}
    if not os.path.exists(asked.model):  # of a model of the hub's, not the copy in the cache
        names[os.path.realpath(model)] = asked.model
    file.write_text(yaml.safe_dump(_renamed(said, names), default_flow_style=False), encoding="utf-8")


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_renamed(one, names) for one in value]
    return names.get(value, value) if isinstance(value, str) else value
