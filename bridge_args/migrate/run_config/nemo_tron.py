"""nemo.tron to Bridge 0.3.1, which came from it. The facts are rows of ``mappings/nemo/tron.yaml``."""

from __future__ import annotations

from typing import Any, Final

from bridge_args.bridge import schema as schemas
from bridge_args.bridge.schema import Schema
from bridge_args.mapping.rows import Row
from bridge_args.migrate.run_config import bridge
from bridge_args.migrate.run_config.allowed import named_in
from bridge_args.migrate.run_config.change import Change
from bridge_args.migrate.run_config.rows import rows_of
from bridge_args.migrate.run_config.state import State

TABLE: Final = "nemo/tron"
BRIDGE: Final = "0.3.1"  # the version that its rows lead to
_NEMO: Final = "nemo."

_ALWAYS: Final = ("normalization", "position_embedding_type")  # settings of every model

# Llama 3.1's scaling of the rotary embedding: what Megatron Core has in its code, and a file may not have otherwise.
_FIXED: Final = {"low_freq_factor": 1, "high_freq_factor": 4, "old_context_len": 8192}
# What the migration guide of nemo.tron sets, and what that does; offered, and done only on request.
DOCUMENTED: Final = {
    "checkpoint.save_rng": (False, "it says that the checkpoint has no state of the random numbers, where it may have"),
    "logger.logging_level": (20, "the guide sets it, whatever the run had"),
    "model.apply_rope_fusion": (True, "the guide sets it, whatever the run had"),
    "model.bias_dropout_fusion": (True, "the guide sets it, whatever the run had"),
    "model.masked_softmax_fusion": (False, "the guide sets it, whatever the run had"),
    "model.perform_initialization": (False, "the guide sets it: a model that is not loaded is then not initialised"),
}
# Its classes by name, as Bridge 0.3.1 has them.
DOCUMENTED_MODELS: Final = {
    "nemo.collections.llm.gpt.model.qwen2.Qwen2Config": "megatron.bridge.models.qwen.qwen_provider.Qwen2ModelProvider",
    "nemo.collections.llm.gpt.model.deepseek.DeepSeekV3Config": (
        "megatron.bridge.models.deepseek.deepseek_provider.DeepSeekV3ModelProvider"
    ),
}


def is_section(name: Any) -> bool:
    """Is it one of nemo.tron's sections?"""
    return name in rows_of(TABLE, BRIDGE) and "." not in name


def to_bridge(state: State, as_documented: bool = False) -> None:
    """What nemo.tron has written, as Bridge 0.3.1 reads it."""
    schema, rows, model = schemas.load(BRIDGE), rows_of(TABLE, BRIDGE), state.classes.get("model_config")
    for path in list(state.settings):
        _by_row(state, path, rows)
    for section in [*state.whole, *state.classes]:
        _section(state, section, rows, schema)
    for path, value in list(state.settings.items()):
        after = _renamed(value, rows)
        if after != value:
            state.put(path, after, "it has another name in Bridge")
    _whole(state, model)
    _without_functions_of_nemo(state)
    _rotary_scaling(state)
    _positions(state)
    _pipeline_dtype(state)
    state.container = schema.container
    bridge.settings(state, None, schema)
    bridge.sections(state, None, schema)
    if as_documented:
        _as_documented(state, model)


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
    module = rows.get(target.rpartition(".")[0]) if name == "model_config" and isinstance(target, str) else None
    if module is not None and module.to:
        return module.to[0]
    if isinstance(target, str) and target.startswith(_NEMO):
        state.refuse(f"{name}._target_", f"Bridge has no class that does what {target} of NeMo does")
        return None
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


def _whole(state: State, model: Any) -> None:
    """nemo.tron wrote every setting; of a file without some, only the class of NeMo's knows what they were."""
    missing = [name for name in _ALWAYS if f"model.{name}" not in state.settings]
    if missing and "model" in state.classes:
        reason = (
            f"the file has no {' and no '.join(missing)}; what this class of NeMo's sets for them is not known here"
        )
        made = state.classes["model"]
        state.changes.append(Change("lost", "model_config._target_", "model._target_", model, made, reason, "numbers"))


def _without_functions_of_nemo(state: State) -> None:
    """A function of NeMo's that Bridge has no other for: the layers of a model, most often."""
    for path, value in list(state.settings.items()):
        for named in named_in(value):
            if isinstance(named.target, str) and named.target.startswith(_NEMO):
                state.lose(path, f"Bridge has nothing that does what {named.target} of NeMo does", "model")
                break


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


def _positions(state: State) -> None:
    """How many positions a model has: of latent attention, those that its scaling of the rotary embedding starts from.

    See megatron/core/transformer/transformer_config.py MLATransformerConfig, which had this name for it.
    """
    path, to = "model.max_position_embeddings", "model.original_max_position_embeddings"
    if path not in state.settings:
        return
    if str(state.classes.get("model")).endswith("MLAModelProvider") and to not in state.settings:
        state.move(path, to)
    else:
        state.drop(path, "seq_length is what the model is built for, and nothing else reads it")


def _pipeline_dtype(state: State) -> None:
    path = "model.pipeline_dtype"
    dtype = state.settings.get("model.params_dtype")
    if path in state.settings and state.settings[path] is None and dtype is not None:
        state.put(path, dtype, "Bridge needs it for pipeline parallelism, and does not take it from params_dtype")


def _as_documented(state: State, model: Any) -> None:
    provider = DOCUMENTED_MODELS.get(model)
    if provider is not None:
        state.classes["model"] = provider
        told = "model_config._target_", "model._target_", model, provider
        state.changes.append(Change("changed", *told, "as documented: the guide has a class by name for this one"))
    for path, (value, why) in DOCUMENTED.items():
        if path in state.settings and state.settings[path] != value:
            state.put(path, value, f"as documented: {why}")


def dropped() -> list[str]:
    """Settings that Bridge does not need, whatever they say."""
    return [name for name, row in rows_of(TABLE, BRIDGE).items() if row.fate == "not_needed"]
