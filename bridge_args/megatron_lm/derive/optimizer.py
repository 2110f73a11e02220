"""The optimizer, and the weights it decays."""

from __future__ import annotations

from collections.abc import Mapping

from bridge_args.megatron_lm.derive.precision import FP32
from bridge_args.megatron_lm.derive.registry import (
    VALIDATE_ARGS,
    Invalid,
    Problems,
    checks,
    computes,
    derives,
    flag,
    later,
)
from bridge_args.values import Symbol


@derives(see=VALIDATE_ARGS)
def apply_wd_to_qk_layernorm(apply_wd_to_qk_layernorm: bool, given: Mapping[str, object]) -> bool:
    """The old --no-weight-decay-cond-type means this."""
    return apply_wd_to_qk_layernorm or given.get("no_weight_decay_cond_type") == "apply_wd_to_qk_layernorm"


@derives(">=0.16", see=VALIDATE_ARGS)
def no_weight_decay_cond_type(no_weight_decay_cond_type: str | None) -> None:
    """Its one value has become ``apply_wd_to_qk_layernorm``."""


@derives(">=0.18", see=VALIDATE_ARGS, read=("0.18", "0.19", "0.20"))
def optimizer(optimizer: str) -> str:
    """The distributed Muon is Muon with --use-distributed-optimizer."""
    return "muon" if optimizer == "dist_muon" else optimizer


@derives(">=0.18", see=VALIDATE_ARGS, read=("0.18", "0.19", "0.20"))
def use_distributed_optimizer(
    use_distributed_optimizer: bool,
    optimizer: str,
    use_megatron_fsdp: bool | None,
    megatron_fsdp_version: int | None,
    freeze_all_layers: bool | None,
) -> bool:
    """Off with the optimizers that are divided by layers, and where nothing is trained; on with Megatron FSDP."""
    if optimizer not in BY_ELEMENTS or freeze_all_layers:
        return False
    return use_distributed_optimizer or bool(use_megatron_fsdp) and megatron_fsdp_version != 2


@computes(">=0.18", see=VALIDATE_ARGS, read=("0.18", "0.19", "0.20"))
def use_layer_wise_distributed_optimizer(optimizer: str, given: Mapping[str, object]) -> bool:
    """Is the optimizer divided by layers?"""
    if optimizer in BY_ELEMENTS:
        return False
    return bool(given.get("use_distributed_optimizer")) or given.get("optimizer") == "dist_muon"


BY_ELEMENTS = ("sgd", "adam")  # all others came later, and are divided by layers


_CONFIG = "megatron/core/optimizer/optimizer_config.py::OptimizerConfig.__post_init__"


@checks(see=_CONFIG)
def moments(
    optimizer: str,
    use_precision_aware_optimizer: bool | None,
    main_grads_dtype: Symbol | None,
    main_params_dtype: Symbol | None,
    exp_avg_dtype: Symbol | None,
    exp_avg_sq_dtype: Symbol | None,
) -> Problems:
    """Optimizer states in other formats than fp32."""
    if use_precision_aware_optimizer:
        if optimizer != "adam":
            yield Invalid(
                f"--use-precision-aware-optimizer works with adam, not {optimizer}",
                arguments=("use_precision_aware_optimizer", "optimizer"),
            )
        return
    for name, dtype in (
        ("main_grads_dtype", main_grads_dtype),
        ("main_params_dtype", main_params_dtype),
        ("exp_avg_dtype", exp_avg_dtype),
        ("exp_avg_sq_dtype", exp_avg_sq_dtype),
    ):
        if dtype not in (None, FP32):
            yield Invalid(
                f"{flag(name)} other than fp32 needs --use-precision-aware-optimizer",
                "add it, or leave out " + flag(name),
                (name,),
            )


@checks(see=_CONFIG, until="0.20")
def sharded_moments(use_precision_aware_optimizer: bool | None, use_distributed_optimizer: bool | None) -> Problems:
    """They are divided among ranks."""
    if use_precision_aware_optimizer and not use_distributed_optimizer:
        yield Invalid(
            "--use-precision-aware-optimizer needs --use-distributed-optimizer",
            arguments=("use_precision_aware_optimizer",),
        )


@checks(">=0.19", see=_CONFIG)
def parameters_gathered_in_buffers(
    reuse_grad_buf_for_mxfp8_param_ag: bool, overlap_param_gather_with_optimizer_step: bool
) -> Problems:
    """Buffers of gradients are still in use while the optimizer runs."""
    if reuse_grad_buf_for_mxfp8_param_ag and overlap_param_gather_with_optimizer_step:
        yield Invalid(
            "--reuse-grad-buf-for-mxfp8-param-ag does not work with --overlap-param-gather-with-optimizer-step"
        )


@checks(
    see=(
        "megatron/core/optimizer/clip_grads.py::clip_grad_by_total_norm_fp32",
        _CONFIG,
    )
)
def clipped_in_half_precision(
    fp16: bool,
    use_precision_aware_optimizer: bool | None,
    accumulate_allreduce_grads_in_fp32: bool,
    clip_grad: float,
    fp8_recipe: str | None,
    main_params_dtype: Symbol | None,
    optimizer_cpu_offload: bool | None,
    use_megatron_fsdp: bool | None,
) -> Problems:
    """Gradients that the precision-aware optimizer reads as they are summed, and that are clipped in fp32 or bf16."""
    as_they_are = fp8_recipe in (None, "delayed") or main_params_dtype not in (None, FP32) or optimizer_cpu_offload
    if not (use_precision_aware_optimizer and as_they_are) or use_megatron_fsdp:
        return
    if fp16 and clip_grad > 0 and not accumulate_allreduce_grads_in_fp32:
        yield later(
            "--use-precision-aware-optimizer leaves gradients in fp16 with --fp16, and clipping takes fp32 or bf16",
            "add --accumulate-allreduce-grads-in-fp32",
            ("use_precision_aware_optimizer", "fp16"),
            "optimizer/clip_grads.py clip_grad_by_total_norm_fp32",
        )


@checks(see=VALIDATE_ARGS)
def offloading(
    optimizer_cpu_offload: bool | None,
    use_precision_aware_optimizer: bool | None,
    fp8_param_gather: bool | None,
    fp8_recipe: str | None,
) -> Problems:
    """Optimizer states in host memory."""
    if not optimizer_cpu_offload:
        return
    if not use_precision_aware_optimizer:
        yield Invalid(
            "--optimizer-cpu-offload needs --use-precision-aware-optimizer", arguments=("optimizer_cpu_offload",)
        )
    if fp8_param_gather and fp8_recipe != "delayed":
        yield Invalid(
            f"--optimizer-cpu-offload with --fp8-param-gather needs --fp8-recipe delayed, not {fp8_recipe}",
            arguments=("optimizer_cpu_offload", "fp8_recipe"),
        )


def _excluded(optimizer: str, ckpt_format: str, **others: bool | None) -> Problems:
    """What an optimizer does not work with, of what is on, and the formats of checkpoints that do not take it."""
    for name, on in others.items():
        if on:
            yield Invalid(f"--optimizer {optimizer} does not work with {flag(name)}", "", ("optimizer", name))
    if ckpt_format not in ("torch", "torch_dist"):
        yield Invalid(
            f"--optimizer {optimizer} cannot be saved with --ckpt-format {ckpt_format}",
            "use torch_dist",
            ("optimizer", "ckpt_format"),
        )


@checks(">=0.16, <0.17", see=VALIDATE_ARGS)
def muon(
    optimizer: str,
    overlap_grad_reduce: bool,
    overlap_param_gather: bool,
    use_distributed_optimizer: bool,
    use_torch_fsdp2: bool,
    use_megatron_fsdp: bool,
    ckpt_format: str,
) -> Problems:
    """What Muon excludes."""
    if "muon" not in optimizer:
        return
    yield from _excluded(
        optimizer,
        ckpt_format,
        overlap_grad_reduce=overlap_grad_reduce,
        overlap_param_gather=overlap_param_gather,
        use_distributed_optimizer=use_distributed_optimizer,
        use_torch_fsdp2=use_torch_fsdp2,
        use_megatron_fsdp=use_megatron_fsdp,
    )


@checks(">=0.18", see=VALIDATE_ARGS, read=("0.18", "0.19", "0.20"))
def by_layers(
    optimizer: str, use_torch_fsdp2: bool | None, use_megatron_fsdp: bool | None, ckpt_format: str
) -> Problems:
    """What the optimizers that are divided by layers exclude."""
    if optimizer in BY_ELEMENTS:
        return
    yield from _excluded(
        optimizer,
        ckpt_format,
        use_torch_fsdp2=use_torch_fsdp2,
        use_megatron_fsdp=use_megatron_fsdp,
    )


@checks(">=0.17", see=VALIDATE_ARGS, until="0.18", read=("0.17", "0.18"))
def muon_by_layers(
    optimizer: str,
    overlap_grad_reduce: bool,
    overlap_param_gather: bool,
    use_distributed_optimizer: bool,
    use_torch_fsdp2: bool,
    use_megatron_fsdp: bool,
    ckpt_format: str,
) -> Problems:
    """What Muon excludes where dist_muon may overlap."""
    if "muon" not in optimizer:
        return
    yield from _excluded(
        optimizer,
        ckpt_format,
        overlap_grad_reduce=overlap_grad_reduce and optimizer == "muon",
        overlap_param_gather=overlap_param_gather and optimizer == "muon",
        use_distributed_optimizer=use_distributed_optimizer,
        use_torch_fsdp2=use_torch_fsdp2,
        use_megatron_fsdp=use_megatron_fsdp,
    )
