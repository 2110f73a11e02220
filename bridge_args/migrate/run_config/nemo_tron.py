"""nemo.tron to Bridge 0.3.1, which came from it. The facts are rows of ``mappings/nemo/tron.yaml``."""

from __future__ import annotations

from typing import Any, Final

from bridge_args.bridge import schema as schemas
from bridge_args.bridge.schema import Schema
from bridge_args.mapping.rows import Row
from bridge_args.migrate.run_config import bridge
from bridge_args.migrate.run_config.rows import rows_of
from bridge_args.migrate.run_config.state import State

TABLE: Final = "nemo/tron"
BRIDGE: Final = "0.3.1"  # the version that its rows lead to
_MODELS: Final = "nemo.collections.llm."

# Llama 3.1's scaling of the rotary embedding: what Megatron Core has in its code, and a file may not have otherwise.
_FIXED: Final = {"low_freq_factor": 1, "high_freq_factor": 4, "old_context_len": 8192}
# What the migration guide of nemo.tron sets, and what that does; offered, and done only on request.
DOCUMENTED: Final = {
    "checkpoint.save_rng": (False, "it says that the checkpoint has no state of the random numbers, where it may have"),
    "model.apply_rope_fusion": (True, "the guide sets it, whatever the run had"),
    "model.bias_dropout_fusion": (True, "the guide sets it, whatever the run had"),
    "model.masked_softmax_fusion": (False, "the guide sets it, whatever the run had"),
    "model.perform_initialization": (False, "the guide sets it: a model that is not loaded is then not initialised"),
}


def is_section(name: Any) -> bool:
    """Is it one of nemo.tron's sections?"""
    return name in rows_of(TABLE, BRIDGE) and "." not in name


def to_bridge(state: State, as_documented: bool = False) -> None:
    """What nemo.tron has written, as Bridge 0.3.1 reads it."""
    schema, rows = schemas.load(BRIDGE), rows_of(TABLE, BRIDGE)
    for path in list(state.settings):
        _by_row(state, path, rows)
    for section in [*state.whole, *state.classes]:
        _section(state, section, rows, schema)
    for path, value in list(state.settings.items()):
        after = _renamed(value, rows)
        if after != value:
            state.put(path, after, "it has another name in Bridge")
    _rotary_scaling(state)
    _pipeline_dtype(state)
    state.container = schema.container
    bridge.settings(state, None, schema)
    bridge.sections(state, None, schema)
    if as_documented:
        _as_documented(state)


def _by_row(state: State, path: str, rows: dict[str, Row]) -> None:
    row = rows.get(path)
    if row is None:
        return
    if row.fate == "to":
        section, _, name = row.to[0].partition(".")
        # The section gets its new name with all its settings, later.
        state.move(path, f"{path.partition('.')[0]}.{name}")
    elif row.fate == "not_needed":
        state.drop(path, row.reason)
    elif state.settings[path] in (None, False):
        state.drop(path, row.reason)
    else:
        state.lose(path, row.reason, row.changes)


def _section(state: State, name: str, rows: dict[str, Row], schema: Schema) -> None:
    row = rows.get(name)
    if row is None:
        (state.refuse if name in state.classes else state.drop)(name, "nemo.tron has no such section")
        return
    if row.fate != "to":
        if name in state.classes:
            for path in state.of(name):
                state.lose(path, row.reason, row.changes)
            del state.classes[name]
        else:
            state.drop(name, row.reason)
        return
    if name in state.classes:
        state.classes[name] = _class(state, name, rows)
    state.rename(name, row.to[0])


def _class(state: State, name: str, rows: dict[str, Row]) -> Any:
    target = state.classes[name]
    row = rows.get(target) if isinstance(target, str) else None
    if row is not None and row.to:
        return row.to[0]
    if name == "model_config" and isinstance(target, str) and target.startswith(_MODELS):
        return "megatron.bridge.models.gpt_provider.GPTModelProvider"
    return target


def _renamed(value: Any, rows: dict[str, Row]) -> Any:
    """A value with Bridge's names of classes and functions, and dtypes as objects."""
    if isinstance(value, dict):
        made = {key: _renamed(item, rows) for key, item in value.items()}
        target = made.get("_target_")
        row = rows.get(target) if isinstance(target, str) else None
        if row is not None and row.to:
            made["_target_"] = row.to[0]
        return made
    if isinstance(value, list):
        return [_renamed(item, rows) for item in value]
    return value


def _rotary_scaling(state: State) -> None:
    """Llama 3.1 scales its rotary embedding; Bridge has the factor, and Megatron Core the other numbers in its code."""
    for name, fixed in _FIXED.items():
        path = f"model.{name}"
        if path not in state.settings:
            continue
        if state.settings[path] in (None, fixed):
            state.drop(path, f"Megatron Core has {fixed} in its code")
        elif state.settings.get("model.rope_scaling_factor") is None:
            state.drop(path, "nothing is scaled: there is no scale_factor")
        else:
            reason = f"Megatron Core has {fixed} in its code, and Bridge no setting for it"
            state.lose(path, reason, "model")
    factor = "model.rope_scaling_factor"
    if factor not in state.settings:
        return
    if state.settings[factor] is None:
        state.drop(factor, "nothing is scaled")
    else:
        state.put("model.rope_scaling", True, "the model has a scale_factor, and so scales its rotary embedding")


def _pipeline_dtype(state: State) -> None:
    path = "model.pipeline_dtype"
    dtype = state.settings.get("model.params_dtype")
    if path in state.settings and state.settings[path] is None and dtype is not None:
        state.put(path, dtype, "Bridge needs it for pipeline parallelism, and does not take it from params_dtype")


def _as_documented(state: State) -> None:
    for path, (value, why) in DOCUMENTED.items():
        if path in state.settings and state.settings[path] != value:
            state.put(path, value, f"as documented: {why}")


def dropped() -> list[str]:
    """Settings that Bridge does not need, whatever they say."""
    return [name for name, row in rows_of(TABLE, BRIDGE).items() if row.fate == "not_needed"]
