"""Number formats: Bridge's ``mixed_precision``, and the same settings one by one for fp32."""

from __future__ import annotations

from typing import Any, Final

from bridge_args.bridge.names import name_of
from bridge_args.bridge.schema import Schema
from bridge_args.mapping.sections.registry import Rejected, builder
from bridge_args.values import Built, Symbol, to_plain

SECTIONS: Final = ("model", "optimizer", "ddp")  # what MixedPrecisionConfig.setup() writes to


# Fields that MixedPrecisionConfig keeps equal to those with ``_gather`` behind.
_FOLLOW: Final = ("fp8_param", "fp4_param")

# What MixedPrecisionConfig.setup() would write, which is written directly where the section stays closed.
_ITS_SETTINGS: Final = (
    *(
        f"ddp.{name}"
        for name in "grad_reduce_in_fp32 fp8_param_gather fp4_param_gather reuse_grad_buf_for_mxfp8_param_ag".split()
    ),
    *(
        f"model.{name}"
        for name in (
            "fp16 bf16 params_dtype pipeline_dtype first_last_layers_bf16 num_layers_at_start_in_bf16 "
            "num_layers_at_end_in_bf16 fp4 fp4_recipe fp4_param fp8 fp8_param fp8_recipe fp8_margin "
            "fp8_amax_history_len fp8_amax_compute_algo fp8_wgrad"
        ).split()
    ),
    *(
        f"optimizer.{name}"
        for name in (
            "fp16 bf16 params_dtype reuse_grad_buf_for_mxfp8_param_ag fp8_recipe hysteresis initial_loss_scale "
            "loss_scale loss_scale_window min_loss_scale"
        ).split()
    ),
)


@builder(
    writes=("mixed_precision",),
    if_there=_ITS_SETTINGS,
    absent={
        "fp8_recipe": "delayed",
        "fp4_recipe": "nvfp4",
        "fp4_param": False,
        "fp4_param_gather": False,
        "reuse_grad_buf_for_mxfp8_param_ag": False,
        "first_last_layers_bf16": False,
        "num_layers_at_start_in_bf16": 1,
        "num_layers_at_end_in_bf16": 1,
    },
)
def mixed_precision(
    bf16: bool,
    fp16: bool,
    params_dtype: Symbol,
    accumulate_allreduce_grads_in_fp32: bool,
    loss_scale: float | None,
    initial_loss_scale: float,
    min_loss_scale: float,
    loss_scale_window: float,
    hysteresis: int,
    fp8: str | None,
    fp8_recipe: str,
    fp8_margin: int,
    fp8_amax_history_len: int,
    fp8_amax_compute_algo: str,
    fp8_wgrad: bool,
    fp8_param_gather: bool,
    reuse_grad_buf_for_mxfp8_param_ag: bool,
    first_last_layers_bf16: bool,
    num_layers_at_start_in_bf16: int,
    num_layers_at_end_in_bf16: int,
    fp4: str | None,
    fp4_recipe: str,
    fp4_param: bool,
    fp4_param_gather: bool,
    schema: Schema,
) -> dict[str, Any]:
    """A preset's name where a preset says exactly this, else the fields that differ from the class's defaults.

    Bridge copies every field of the section over the field of the same name in model, optimizer and ddp, its own
    defaults included (megatron/bridge/training/mixed_precision.py MixedPrecisionConfig.setup). So whatever has a
    field there must be said there. For fp32 the section stays closed and the settings are written directly.
    """
    wanted: dict[str, Any] = {
        "fp16": fp16,
        "bf16": bf16,
        "params_dtype": params_dtype,
        "pipeline_dtype": params_dtype,
        "grad_reduce_in_fp32": accumulate_allreduce_grads_in_fp32,
        "fp8": fp8,
        "fp8_recipe": fp8_recipe,
        "fp8_margin": fp8_margin,
        "fp8_amax_history_len": fp8_amax_history_len,
        "fp8_amax_compute_algo": fp8_amax_compute_algo,
        "fp8_wgrad": fp8_wgrad,
        "fp8_param": fp8_param_gather,
        "fp8_param_gather": fp8_param_gather,
        "reuse_grad_buf_for_mxfp8_param_ag": reuse_grad_buf_for_mxfp8_param_ag,
        "first_last_layers_bf16": first_last_layers_bf16,
        "num_layers_at_start_in_bf16": num_layers_at_start_in_bf16,
        "num_layers_at_end_in_bf16": num_layers_at_end_in_bf16,
        "fp4": fp4,
        "fp4_recipe": fp4_recipe,
        "fp4_param": fp4_param or fp4_param_gather,
        "fp4_param_gather": fp4_param or fp4_param_gather,
        "loss_scale": loss_scale,
        "initial_loss_scale": initial_loss_scale,
        "min_loss_scale": min_loss_scale,
        "loss_scale_window": loss_scale_window,
        "hysteresis": hysteresis,
    }
    if not (bf16 or fp16):
        return _directly(wanted, schema)
    fields = schema.classes[name_of("mixed precision", schema.version)]
    for name in sorted(schema.presets):
        if all(to_plain(value) == schema.presets[name][field] for field, value in wanted.items() if field in fields):
            return {"mixed_precision": name}
    said = {
        name: wanted[name]
        for name, field in fields.items()
        if name in wanted and name not in _FOLLOW and to_plain(wanted[name]) != field.default
    }
    decided: dict[str, Any] = {"mixed_precision": Built(name_of("mixed precision", schema.version), said)}
    if fp8_param_gather and fp8_recipe == "mxfp8" and not reuse_grad_buf_for_mxfp8_param_ag:
        decided["fp8_param_gather"] = Rejected(
            "Bridge gathers mxfp8 parameters only in the gradient buffer: add --reuse-grad-buf-for-mxfp8-param-ag "
            "(megatron/bridge/training/mixed_precision.py MixedPrecisionConfig.finalize)."
        )
    return decided


def _directly(wanted: dict[str, Any], schema: Schema) -> dict[str, Any]:
    """Every setting of model, optimizer and ddp that has one of the names."""
    decided = {}
    for section in SECTIONS:
        entry = schema.sections[section]
        fields = schema.classes[entry.default_class or entry.classes[0]]
        decided.update({f"{section}.{name}": value for name, value in wanted.items() if name in fields})
    return decided


@builder(writes=("model.quant_recipe",))
def quantization(te_precision_config_file: str | None, schema: Schema) -> dict[str, Any]:
    """Precisions per module, read from the file when the configuration is loaded.

    See megatron/training/arguments.py core_transformer_config_from_args.
    """
    if not te_precision_config_file:
        return {}
    load = name_of("quantization recipe", schema.version)
    return {"model.quant_recipe": Built(load, {"recipe_path": te_precision_config_file})}
