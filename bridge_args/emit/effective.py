"""Every setting of a run by its path, whether said or Bridge's default, and whichever way it was said."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from bridge_args.bridge.schema import Schema
from bridge_args.emit.layout import class_of
from bridge_args.emit.run_config import plain_settings
from bridge_args.mapping.translation import Translation

TARGET: Final = "_target_"


# In this order. See megatron/core/transformer/transformer_config.py and model_parallel_config.py __post_init__, and
# megatron/bridge/training/config.py ConfigContainer._calculate_scheduler_steps.
_WORKED_OUT: Final[dict[str, Callable[[Mapping[str, Any]], Any]]] = {
    "model.ffn_hidden_size": lambda values: 4 * values["model.hidden_size"],
    "model.kv_channels": lambda values: values["model.hidden_size"] // values["model.num_attention_heads"],
    "model.num_query_groups": lambda values: values["model.num_attention_heads"],
    "model.moe_ffn_hidden_size": lambda values: (
        values["model.ffn_hidden_size"] if values["model.num_moe_experts"] is not None else None
    ),
    "model.expert_tensor_parallel_size": lambda values: values["model.tensor_model_parallel_size"],
    "scheduler.lr_decay_iters": lambda values: (
        values["train.train_iters"] if values["scheduler.lr_decay_samples"] is None else None
    ),
}


_LENGTHS: Final = ("dataset.sequence_length", "dataset.seq_length")


def effective(t: Translation) -> dict[str, Any]:
    """``section.setting`` to its plain value, defaults included; a section that is closed is there as None.

    A section that is written as one object, or as the name of a preset (``mixed_precision``), is taken apart. Of what
    is None until Bridge works it out from other settings, the value it works out.
    """
    return worked_out(as_said(t))


def as_said(t: Translation) -> dict[str, Any]:
    """The same, with None for what Bridge has yet to work out."""
    return dict(_flat(t))


def worked_out(said: Mapping[str, Any]) -> dict[str, Any]:
    """``effective`` of what ``as_said`` gives."""
    values = dict(said)
    for one, other in (_LENGTHS, _LENGTHS[::-1]):  # two names of one setting: GPTDatasetConfig.finalize
        if one in values and values[one] is None and other in values:
            values[one] = values[other]
    if _LENGTHS[0] in values:
        values.setdefault(_LENGTHS[1], values[_LENGTHS[0]])
    for path, work_out in _WORKED_OUT.items():
        if path in values and values[path] is None:
            try:
                values[path] = work_out(values)
            except (KeyError, TypeError, ArithmeticError):  # what it depends on is not said, or no number
                continue
    return values


def _flat(t: Translation) -> Iterator[tuple[str, Any]]:
    for name, section in plain_settings(t).items():
        if name == TARGET:
            continue
        if isinstance(section, str) and section in t.schema.presets and name == "mixed_precision":
            section = {TARGET: t.schema.sections[name].classes[0], **t.schema.presets[section]}
        if not isinstance(section, dict):
            yield name, section
            continue
        class_name = section.get(TARGET) or class_of(t, name)
        if class_name is not None:
            yield f"{name}.{TARGET}", class_name
        for key, value in {**_defaults(t.schema, class_name), **section}.items():
            if key != TARGET:
                yield f"{name}.{key}", value


def _defaults(schema: Schema, class_name: str | None) -> dict[str, Any]:
    if class_name not in schema.classes:
        return {}
    assert class_name is not None
    return {
        field.name: field.default
        for field in schema.classes[class_name].values()
        if field.init and field.declared and not field.required and not field.environment and field.name[0] != "_"
    }
