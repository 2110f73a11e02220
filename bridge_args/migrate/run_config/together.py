"""Settings of which one version of Bridge has several where another has one: no row can say it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bridge_args.bridge.schema import Schema
from bridge_args.migrate.run_config.state import State

_SMS: Final = "model.moe_flex_dispatcher_num_sms"
_SCOPE: Final = "model.cuda_graph_scope"
_MODULES: Final = "model.cuda_graph_modules"
_SCOPES: Final = "megatron.core.transformer.enums.CudaGraphScope"
_MEMBERS: Final = "megatron.core.transformer.enums.CudaGraphModule"
_LAYOUT: Final = "model.pipeline_model_parallel_layout"


def multiprocessors(state: State, old: Schema, new: Schema) -> None:
    """How many the dispatcher of tokens takes: one setting for each backend, and since 0.6 one for all.

    See megatron/core/transformer/transformer_config.py ``__post_init__``, bridge/training/model_load_save.py.
    """
    hybrid = state.settings.get("model.moe_flex_dispatcher_backend") == "hybridep"
    used, other = (
        f"model.moe_{name}_num_sms" for name in (("hybridep", "deepep") if hybrid else ("deepep", "hybridep"))
    )
    was, is_now = (schema.class_with(_SMS) is not None for schema in (old, new))
    if is_now and not was and used in state.settings:
        if other in state.settings:
            state.drop(other, "it is for another moe_flex_dispatcher_backend")
        state.move(used, _SMS)
    elif was and not is_now and state.settings.get(_SMS) is not None:
        state.settings.pop(used, None)
        state.origins.pop(used, None)
        state.move(_SMS, used)


def parts_in_cuda_graphs(state: State, old: Schema, new: Schema) -> None:
    """Which parts of a layer are captured: ``cuda_graph_scope``, and since 0.5 ``cuda_graph_modules``.

    See megatron/core/transformer/transformer_config.py ``__post_init__``: nothing, or full, is the whole layer.
    """
    was, is_now = (schema.class_with(_MODULES) is not None for schema in (old, new))
    if was == is_now:
        return
    before, after = (_SCOPE, _MODULES) if is_now else (_MODULES, _SCOPE)
    enum, members = (_SCOPES, new.enums.get(_MEMBERS)) if is_now else (_MEMBERS, new.enums.get(_SCOPES))
    if before not in state.settings:
        return
    value = state.settings[before]
    names = _names(value, old.enums.get(enum, {}))
    if names is None or members is None or any(name not in members for name in names):
        return  # the new version has its own way to read the old setting
    stated = before in state.origins
    for path in {after} & state.settings.keys():
        state.settings.pop(path)
        state.origins.pop(path, None)
    state.move(before, after)
    if not stated:
        state.origins.pop(after, None)
    target = _MEMBERS if is_now else _SCOPES
    made = [{"_args_": [members[name]], "_call_": True, "_target_": target} for name in names]
    if stated:
        state.put(after, made, f"Bridge {new.version} has a list of parts; none is the whole layer")
    else:
        state.settings[after] = made


def _names(value: Any, members: dict[str, Any]) -> list[str] | None:
    """The parts of a layer that a value names; None where it is another value."""
    if value in (None, "", "full"):
        return []
    if isinstance(value, str):
        return value.split(",")
    names = []
    for item in value if isinstance(value, list) else [value]:
        number = (item.get("_args_") or [None])[0] if isinstance(item, dict) else None
        name = item if isinstance(item, str) else next((name for name, one in members.items() if one == number), None)
        if name is None:
            return None
        names.append(name)
    return [] if names == ["full"] else names


def layout_of_the_pipeline(state: State, old: Schema, new: Schema) -> None:
    """Bridge writes the object without what it was made from (utils/yaml_utils.py ``_safe_object_representer``)."""
    value = state.settings.get(_LAYOUT)
    if isinstance(value, dict) and set(value) <= {"_target_", "_call_"}:
        reason = "Bridge has written an object without what it was made from: set it to the text of the layout"
        state.lose(_LAYOUT, reason, "numbers")


def iterations_of_samples(state: State, old: Schema, new: Schema) -> None:
    """A run of so many samples; Bridge writes the iterations that it works out as well, and takes one of the two."""
    if state.settings.get("train.train_samples") is not None and "train.train_iters" in state.settings:
        state.drop("train.train_iters", "train_samples says it")


def batches_of_evaluation(state: State, old: Schema, new: Schema) -> None:
    """Bridge 0.5 and later write how many samples an evaluation takes at a time; it is what the training takes."""
    for name in ("micro_batch_size", "global_batch_size"):
        path = f"validation.eval_{name}"
        here = new.class_with(path) is not None
        if not here and path in state.origins and state.settings[path] == state.settings.get(f"train.{name}"):
            state.drop(path, f"Bridge {new.version} evaluates with train.{name} always")


def layers_of_a_hybrid_model(state: State, old: Schema, new: Schema) -> None:
    """Which layer is of which kind; before 0.4 the number of layers stands beside it, and nothing else is in it."""
    path, to = "model.hybrid_layer_pattern", "model.hybrid_override_pattern"
    if old.class_with(path) is None and new.class_with(path) is not None and state.settings.get(to) is not None:
        state.move(to, path)
    pattern = state.settings.get(path)
    if new.class_with(path) is not None or not isinstance(pattern, str) or path not in state.origins:
        return
    if set(pattern) & {"/", "|"}:
        return  # layers of multi-token prediction, stages of a pipeline: told as lost
    state.settings.pop(to, None)
    state.origins.pop(to, None)
    state.move(path, to)
    if state.settings.get("model.num_layers") != len(pattern):
        state.put("model.num_layers", len(pattern), f"{to} has so many")


def packing_of_sequences(state: State, old: Schema, new: Schema) -> None:
    """Sequences that are packed before the training: before 0.6 where there are specs, since then a switch says it.

    See megatron/bridge/data/builders/gpt_sft.py GPTSFTDatasetConfig.
    """
    specs, switch, packed = (
        f"dataset.{name}" for name in ("packed_sequence_specs", "enable_offline_packing", "offline_packing_specs")
    )
    was, is_now = (schema.class_with(switch) is not None for schema in (old, new))
    if is_now and not was and state.settings.get(specs) is not None:
        state.put(switch, True, f"{packed} is read where it is on")
    elif was and not is_now and switch in state.origins:
        if not state.settings[switch] and state.settings.get(packed) is not None:
            state.drop(packed, "enable_offline_packing is off")
        state.drop(switch, f"Bridge {new.version} packs where there are specs")


TOGETHER: Final[tuple[Callable[[State, Schema, Schema], None], ...]] = (
    multiprocessors,
    parts_in_cuda_graphs,
    layout_of_the_pipeline,
    iterations_of_samples,
    batches_of_evaluation,
    layers_of_a_hybrid_model,
    packing_of_sequences,
)
