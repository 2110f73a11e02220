"""Settings -> values of arguments: rows backwards, and what a builder has made one setting of several arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from bridge_args.mapping.convert import INVERSES
from bridge_args.mapping.sections.registry import WRITES
from bridge_args.mapping.table import Table
from bridge_args.megatron_lm.catalog import Argument, Catalog
from bridge_args.megatron_lm.resolvers import saved
from bridge_args.values import Member, Symbol, from_plain

# What the versions that need --spec for hybrid models are given; see --help of pretrain_mamba.py.
_HYBRID_LAYERS: Final = ["megatron.core.models.mamba.mamba_layer_specs", "mamba_stack_spec"]

Settings = Mapping[str, Any]  # ``section.name`` to plain value
Values = dict[str, Any]  # argument to value

_DTYPES: Final = {"torch.float32": "fp32", "torch.bfloat16": "bf16", "torch.float16": "fp16"}


Enums = Mapping[str, Mapping[str, Any]]  # enum to its members


def values_for(wanted: Settings, table: Table, catalog: Catalog, enums: Enums) -> Values:
    """Values of arguments that lead to these settings, as far as rows tell; what they lead to is to be looked at."""
    arguments = {argument.dest: argument for argument in catalog.arguments}
    made: Values = {}
    for row in table.rows.values():
        argument = arguments.get(row.argument)
        if argument is None:
            continue
        for path in row.to or _of_builders(row.sections, row.argument):
            if path in wanted:
                made[row.argument] = _value(wanted[path], argument, row.conversion, enums)
                break
    for several in _SEVERAL:
        made.update({name: value for name, value in several(wanted).items() if name in arguments})
    return {
        name: value
        for name, value in made.items()
        if value is not None and not saved.wrong_values({name: value}, catalog)
    }


def candidates(argument: Argument, wanted: Any, now: Any, enums: Enums) -> list[Any]:
    """Values that an argument may have to have for a setting to be as wanted; None for no word at all."""
    if argument.action in ("store_true", "store_false", "BooleanOptionalAction"):
        return [not now]
    said = _value(wanted, argument, None, enums)
    found = [*(argument.choices or argument.members or ())]
    if said is not None and not isinstance(said, dict):
        found.insert(0, said)
        if isinstance(said, (int, float)) and not isinstance(said, bool):
            found += [-said, *((said - 1, said + 1) if isinstance(said, int) else ())]
    found.append(None)
    return [value for value in found if value != now or type(value) is not type(now)][:12]


def _value(plain: Any, argument: Argument, conversion: str | None, enums: Enums) -> Any:
    """What an argument holds where a setting has this value."""
    value = _plainer(from_plain(plain, lambda enum, number: _name_in(enums.get(enum, {}), number)), argument)
    if conversion:
        value = INVERSES[conversion](value)
    if argument.type == "int" and isinstance(value, list):
        value = [int(item) if str(item).isdecimal() else item for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and argument.type == "float":
        value = float(value)
    if argument.nargs not in (None, "?") and value is not None and not isinstance(value, list):
        value = [value]
    return value


def _plainer(value: Any, argument: Argument) -> Any:
    """Members of enums and number formats as words have them."""
    match value:
        case Member(_, name, _):
            return name
        case Symbol(path):
            return _DTYPES.get(path, path) if argument.choices else path
        case list():
            return [_plainer(item, argument) for item in value]
    return value


def _name_in(members: Mapping[str, Any], number: object) -> str | None:
    return next((name for name, value in members.items() if value == number), None)


def _of_builders(sections: tuple[str, ...], argument: str) -> list[str]:
    """The settings called like the argument that a builder which reads it may decide."""
    names = [path for section in sections for path in (*WRITES[section].always, *WRITES[section].if_there)]
    own = [path for path in names if path.rpartition(".")[2] == argument]
    if "mixed_precision" in names:
        own = [f"mixed_precision.{argument}", *own]
    return own


# Inverses of what builders make of several arguments ----------------------------------------------------------------


def _data(wanted: Settings) -> Values:
    """``dataset.blend`` -> ``--data-path``; see ``mapping/sections/data.py``."""
    if blend := wanted.get("dataset.blend"):
        return {"data_path": _words_of_blend(blend)}
    if splits := wanted.get("dataset.blend_per_split"):
        names = ("train_data_path", "valid_data_path", "test_data_path")
        return {name: _words_of_blend(one) for name, one in zip(names, splits, strict=False) if one}
    return {"mock_data": True}


def _words_of_blend(blend: Any) -> list[str] | None:
    prefixes, weights = (list(blend) + [None, None])[:2] if isinstance(blend, list) else (None, None)
    if not isinstance(prefixes, list):
        return None
    if isinstance(weights, list) and len(weights) == len(prefixes):
        return [str(item) for pair in zip(weights, prefixes, strict=True) for item in pair]
    return [str(prefix) for prefix in prefixes]


def _activation(wanted: Settings) -> Values:
    function = wanted.get("model.activation_func")
    name = str(function.get("_target_", "")) if isinstance(function, dict) else ""
    gated, fused = bool(wanted.get("model.gated_linear_unit")), bool(wanted.get("model.bias_activation_fusion"))
    made: Values = {
        "swiglu": gated and name.endswith("silu"),
        "squared_relu": name.endswith("squared_relu"),
        "quick_geglu": gated and name.endswith("quick_gelu"),
    }
    return {**made, "bias_swiglu_fusion": fused, "bias_gelu_fusion": fused}


def _model(wanted: Settings) -> Values:
    groups, heads = wanted.get("model.num_query_groups"), wanted.get("model.num_attention_heads")
    made: Values = {
        "multi_latent_attention": bool(wanted.get("model.multi_latent_attention"))
        or str(wanted.get("model._target_")).endswith("MLAModelProvider"),
        "group_query_attention": groups is not None and groups != heads,
        "max_position_embeddings": wanted.get("model.max_position_embeddings") or wanted.get("model.seq_length"),
        "num_virtual_stages_per_pipeline_rank": wanted.get("model.virtual_pipeline_model_parallel_size"),
    }
    if str(wanted.get("model._target_")).endswith(("MambaModelProvider", "HybridModelProvider")):
        made["spec"] = _HYBRID_LAYERS
    return made


def _precision(wanted: Settings) -> Values:
    in_section = "mixed_precision._target_" in wanted
    fp32 = wanted.get("mixed_precision.grad_reduce_in_fp32" if in_section else "ddp.grad_reduce_in_fp32")
    return {"accumulate_allreduce_grads_in_fp32": fp32, "bf16": _is_on(wanted, "bf16"), "fp16": _is_on(wanted, "fp16")}


def _is_on(wanted: Settings, name: str) -> bool:
    return bool(wanted.get(f"mixed_precision.{name}", wanted.get(f"model.{name}")))


def _steps(wanted: Settings) -> Values:
    """``--step-batch-size-schedule`` counts tokens, the setting samples; see ``mapping/sections/run_length.py``."""
    steps, length = wanted.get("train.step_batch_size_schedule"), wanted.get("model.seq_length")
    if not isinstance(steps, str) or not isinstance(length, int):
        return {}
    pairs = [step.partition(":") for step in steps.split()]
    if not all(samples.isdecimal() for samples, _, _ in pairs):
        return {}
    return {"step_batch_size_schedule": " ".join(f"{int(samples) * length}:{batch}" for samples, _, batch in pairs)}


def _tokenizer(wanted: Settings) -> Values:
    return {"vocab_size": wanted.get("tokenizer.vocab_size")}


_SEVERAL: Final[tuple[Callable[[Settings], Values], ...]] = (_data, _activation, _model, _precision, _steps, _tokenizer)
