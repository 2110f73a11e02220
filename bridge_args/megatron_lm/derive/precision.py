"""Number formats of parameters, gradients and optimizer states, as ``Symbol("torch.bfloat16")`` and the like."""

from __future__ import annotations

from typing import Final

from bridge_args.megatron_lm.derive.registry import (
    TRANSFORMER_CONFIG,
    VALIDATE_ARGS,
    Invalid,
    Problems,
    checks,
    computes,
    derives,
    flag,
)
from bridge_args.values import Symbol

FP32: Final = Symbol("torch.float32")
_BRAIN: Final = Symbol("torch.bfloat16")
_HALF: Final = Symbol("torch.float16")
_FORMATS: Final[dict[str | None, Symbol | None]] = {
    None: None,
    "fp32": FP32,
    "bf16": _BRAIN,
    "fp16": _HALF,
    "fp8": Symbol("torch.uint8"),
    "auto": None,  # that of the model
}


@computes(see=VALIDATE_ARGS)
def params_dtype(fp16: bool, bf16: bool) -> Symbol:
    """Format of the parameters."""
    if fp16 and bf16:
        raise Invalid("--fp16 and --bf16 exclude each other", "keep one of them")
    return (_HALF if fp16 else _BRAIN) if fp16 or bf16 else FP32


@derives(see=VALIDATE_ARGS)
def main_grads_dtype(main_grads_dtype: str) -> Symbol | None:
    """Format of the gradients in the optimizer."""
    return _FORMATS[main_grads_dtype]


@derives(see=VALIDATE_ARGS)
def main_params_dtype(main_params_dtype: str) -> Symbol | None:
    """Format of the parameters in the optimizer."""
    return _FORMATS[main_params_dtype]


@derives(see=VALIDATE_ARGS)
def exp_avg_dtype(exp_avg_dtype: str) -> Symbol | None:
    """Format of Adam's first moment."""
    return _FORMATS[exp_avg_dtype]


@derives(see=VALIDATE_ARGS)
def exp_avg_sq_dtype(exp_avg_sq_dtype: str) -> Symbol | None:
    """Format of Adam's second moment."""
    return _FORMATS[exp_avg_sq_dtype]


@derives(">=0.17", see=VALIDATE_ARGS, read=("0.17", "0.18", "0.19", "0.20"))
def mamba_inference_conv_states_dtype(mamba_inference_conv_states_dtype: str) -> Symbol | None:
    """Format of what inference keeps of convolutions."""
    return _FORMATS[mamba_inference_conv_states_dtype]


@derives(">=0.17", see=VALIDATE_ARGS, read=("0.17", "0.18", "0.19", "0.20"))
def mamba_inference_ssm_states_dtype(mamba_inference_ssm_states_dtype: str) -> Symbol | None:
    """Format of what inference keeps of state spaces."""
    return _FORMATS[mamba_inference_ssm_states_dtype]


@derives(">=0.19", see=VALIDATE_ARGS, read=("0.19", "0.20"))
def mamba_training_ssm_states_dtype(mamba_training_ssm_states_dtype: str | None) -> Symbol | None:
    """Format of the states between the chunks of a Mamba layer."""
    return _FORMATS[mamba_training_ssm_states_dtype]


@derives(">=0.20", see=VALIDATE_ARGS, read=("0.20",))
def logit_dtype(logit_dtype: str | None) -> Symbol | None:
    """Format of the logits."""
    return _FORMATS[logit_dtype]


@derives(">=0.17", see=VALIDATE_ARGS, read=("0.17", "0.18", "0.19", "0.20"))
def megatron_fsdp_main_params_dtype(megatron_fsdp_main_params_dtype: str) -> Symbol | None:
    """Format of the weights that Megatron FSDP steps."""
    return _FORMATS[megatron_fsdp_main_params_dtype]


@derives(">=0.17", see=VALIDATE_ARGS, read=("0.17", "0.18", "0.19", "0.20"))
def megatron_fsdp_main_grads_dtype(megatron_fsdp_main_grads_dtype: str) -> Symbol | None:
    """Format of the gradients that Megatron FSDP sums."""
    return _FORMATS[megatron_fsdp_main_grads_dtype]


@derives(">=0.17", see=VALIDATE_ARGS, until="0.19", read=("0.17", "0.18", "0.19"))
def megatron_fsdp_grad_comm_dtype(
    megatron_fsdp_grad_comm_dtype: str, grad_reduce_in_bf16: bool | None
) -> Symbol | None:
    """Format of the gradients that Megatron FSDP sends."""
    return _BRAIN if grad_reduce_in_bf16 else _FORMATS[megatron_fsdp_grad_comm_dtype]


@derives(">=0.19", see=VALIDATE_ARGS, read=("0.19", "0.20"), name="megatron_fsdp_grad_comm_dtype")
def megatron_fsdp_grad_comm_dtype_itself(megatron_fsdp_grad_comm_dtype: str) -> Symbol | None:
    """The same, whatever --grad-reduce-in-bf16 says."""
    return _FORMATS[megatron_fsdp_grad_comm_dtype]


@derives(see=VALIDATE_ARGS)
def accumulate_allreduce_grads_in_fp32(
    accumulate_allreduce_grads_in_fp32: bool, bf16: bool, grad_reduce_in_bf16: bool | None, main_grads_dtype: Symbol
) -> bool:
    """On with bf16, unless gradients are reduced in bf16 or kept in another format."""
    if not bf16:
        return accumulate_allreduce_grads_in_fp32
    if accumulate_allreduce_grads_in_fp32 and main_grads_dtype != FP32:
        raise Invalid(
            f"--accumulate-allreduce-grads-in-fp32 keeps gradients in fp32, not in {main_grads_dtype}",
            "leave out --main-grads-dtype or --accumulate-allreduce-grads-in-fp32",
            ("accumulate_allreduce_grads_in_fp32", "main_grads_dtype"),
        )
    if grad_reduce_in_bf16:
        return False
    return accumulate_allreduce_grads_in_fp32 or main_grads_dtype == FP32


@derives(see=VALIDATE_ARGS)
def check_for_nan_in_loss_and_grad(
    check_for_nan_in_loss_and_grad: bool, fp16: bool, loss_scale: float | None, fake_process_group: bool | None
) -> bool:
    """Off with dynamic loss scaling, which needs NaNs to go on."""
    return check_for_nan_in_loss_and_grad and not (fp16 and not loss_scale) and not fake_process_group


@derives(see=VALIDATE_ARGS)
def fp8_param_gather(fp8_param_gather: bool, use_torch_fsdp2: bool | None) -> bool:
    """Torch FSDP2 gathers parameters in bf16."""
    return fp8_param_gather and not use_torch_fsdp2


@derives(see=VALIDATE_ARGS, until="0.18", read=("0.16", "0.17", "0.18"))
def reuse_grad_buf_for_mxfp8_param_ag(
    reuse_grad_buf_for_mxfp8_param_ag: bool, fsdp_manual_registration: bool | None, use_megatron_fsdp: bool | None
) -> bool:
    """Off where Megatron FSDP registers its buffers itself."""
    return reuse_grad_buf_for_mxfp8_param_ag and not (fsdp_manual_registration and use_megatron_fsdp)


@derives(">=0.18", see=VALIDATE_ARGS, read=("0.18", "0.19", "0.20"), name="reuse_grad_buf_for_mxfp8_param_ag")
def reuse_grad_buf_without_fsdp(reuse_grad_buf_for_mxfp8_param_ag: bool, use_megatron_fsdp: bool | None) -> bool:
    """Off with Megatron FSDP."""
    return reuse_grad_buf_for_mxfp8_param_ag and not use_megatron_fsdp


@checks(
    see=(
        VALIDATE_ARGS,
        TRANSFORMER_CONFIG,
        "megatron/core/distributed/distributed_data_parallel_config.py::DistributedDataParallelConfig.__post_init__",
    )
)
def low_precision(
    fp8: str | None,
    fp8_recipe: str | None,
    fp8_param_gather: bool | None,
    fp8_quantizer_factory: str | None,
    fp4: str | None,
    fp4_param: bool | None,
    fp4_param_gather: bool | None,
    fp4_recipe: str | None,
    fp4_quantizer_factory: str | None,
    use_distributed_optimizer: bool | None,
    use_torch_fsdp2: bool | None,
    use_megatron_fsdp: bool | None,
    reuse_grad_buf_for_mxfp8_param_ag: bool | None,
) -> Problems:
    """FP8 and FP4."""
    if fp8 and fp4:
        yield Invalid("--fp8-format and --fp4-format exclude each other", "keep one of them", ("fp8", "fp4"))
    if (fp4_param or fp4_param_gather) and not fp4:
        named = "fp4_param" if fp4_param else "fp4_param_gather"  # since 0.17
        yield Invalid("--fp4-param-gather needs --fp4-format", arguments=(named,))
    if fp8_param_gather and not fp8:
        yield Invalid("--fp8-param-gather needs --fp8-format", arguments=("fp8_param_gather",))
    if fp8_param_gather and not (use_distributed_optimizer or use_torch_fsdp2 or use_megatron_fsdp):
        yield Invalid(
            "--fp8-param-gather needs sharded parameters",
            "add --use-distributed-optimizer or --use-megatron-fsdp",
            ("fp8_param_gather",),
        )
    if reuse_grad_buf_for_mxfp8_param_ag and not fp8_param_gather:
        yield Invalid(
            "--reuse-grad-buf-for-mxfp8-param-ag needs --fp8-param-gather",
            arguments=("reuse_grad_buf_for_mxfp8_param_ag",),
        )
    for name, on, recipe, factory in (
        ("fp8", fp8, fp8_recipe, fp8_quantizer_factory),
        ("fp4", fp4, fp4_recipe, fp4_quantizer_factory),
    ):
        if on and recipe == "custom" and not factory:
            yield Invalid(
                f"--{name}-recipe custom needs --{name}-quantizer-factory",
                "give the function's import path, package.module.function",
                (f"{name}_recipe",),
            )


@checks(">=0.18", see=TRANSFORMER_CONFIG)
def output_in_fp8(fp8_output_proj: bool, fp8: str | None, fp8_recipe: str | None) -> Problems:
    """The output layer in FP8."""
    if fp8_output_proj and not fp8:
        yield Invalid("--fp8-output-proj needs --fp8-format", arguments=("fp8_output_proj",))
    if fp8_output_proj and fp8_recipe != "mxfp8":
        yield Invalid(
            f"--fp8-output-proj needs --fp8-recipe mxfp8, not {fp8_recipe}", "", ("fp8_output_proj", "fp8_recipe")
        )


@checks(see=TRANSFORMER_CONFIG)
def layers_in_bf16(
    fp8: str | None,
    fp8_recipe: str | None,
    first_last_layers_bf16: bool | None,
    num_layers_at_start_in_bf16: int | None,
    num_layers_at_end_in_bf16: int | None,
    num_layers: int,
    pipeline_model_parallel_size: int,
) -> Problems:
    """First and last layers outside FP8."""
    if not fp8 or not first_last_layers_bf16:
        return
    if fp8_recipe == "delayed":
        yield Invalid(
            "--first-last-layers-bf16 does not work with --fp8-recipe delayed",
            arguments=("first_last_layers_bf16", "fp8_recipe"),
        )
    most = num_layers // pipeline_model_parallel_size
    for name, layers in (
        ("num_layers_at_start_in_bf16", num_layers_at_start_in_bf16),
        ("num_layers_at_end_in_bf16", num_layers_at_end_in_bf16),
    ):
        if layers is not None and not 0 <= layers <= most:
            yield Invalid(f"{flag(name)} must be from 0 to {most}, the layers of a stage, not {layers}", "", (name,))


@checks(see=VALIDATE_ARGS)
def half_precision(
    fp16: bool, bf16: bool, fp16_lm_cross_entropy: bool | None, fp32_residual_connection: bool | None
) -> Problems:
    """What only makes sense in fp16 or bf16."""
    if fp16_lm_cross_entropy and not fp16:
        yield Invalid("--fp16-lm-cross-entropy needs --fp16", arguments=("fp16_lm_cross_entropy",))
    if fp32_residual_connection and not (fp16 or bf16):
        yield Invalid("--fp32-residual-connection needs --bf16 or --fp16", arguments=("fp32_residual_connection",))
