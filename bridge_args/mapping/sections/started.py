"""What Bridge's training loop can do, and no setting of Bridge asks for: ``training/added.py`` does it at the start."""

from __future__ import annotations

from typing import Any, Final

from bridge_args.bridge.schema import Schema
from bridge_args.mapping.sections.registry import Lost, NeedsDropIn, builder


@builder()
def predicted_loss(mtp_num_layers: int | None, eod_mask_loss: bool) -> dict[str, Any]:
    """The loss of predicted tokens is masked as the main loss is, where the model is given the mask.

    See pretrain_gpt.py forward_step, megatron/bridge/training/gpt_step.py _forward_step_common and
    megatron/core/models/gpt/gpt_model.py GPTModel.
    """
    if not (mtp_num_layers and eod_mask_loss):
        return {}
    return {
        "eod_mask_loss": NeedsDropIn(
            "--eod-mask-loss does not reach the losses of --mtp-num-layers in Bridge's own script, which passes the "
            "model no mask, so every gradient differs"
        )
    }


_NORMS: Final = "scheduler.no_weight_decay_cond_type"


@builder(if_there=(_NORMS,), when="bridge <0.6")
def weight_decay_of_norms(
    apply_wd_to_qk_layernorm: bool, qk_layernorm: bool, normalization: str, schema: Schema
) -> dict[str, Any]:
    """Bridge decays the weights of these norms under the name of the model that introduced it, and no bias of theirs.

    Since 0.6 it asks Megatron Core, which reads optimizer.apply_wd_to_qk_layernorm.

    See megatron/core/optimizer/__init__.py get_standard_config_overrides, and
    megatron/bridge/training/config.py OptimizerConfigOverrideProvider.build_config_overrides.
    """
    if not apply_wd_to_qk_layernorm:
        return {}
    decided: dict[str, Any] = {}
    if schema.find(_NORMS) is not None:
        decided[_NORMS] = "qwen3_next"
    if qk_layernorm and normalization == "LayerNorm":  # the other norms have no bias
        decided["apply_wd_to_qk_layernorm"] = NeedsDropIn(
            "--apply-wd-to-qk-layernorm decays the biases of these norms too, and Bridge's own script decays no bias"
        )
    return decided


@builder()
def buckets(ddp_num_buckets: int | None, overlap_grad_reduce: bool) -> dict[str, Any]:
    """Buckets of gradients by their number, which is divided into the parameters that a rank turns out to have.

    Without overlap there is one bucket in both. See megatron/training/training.py get_model.
    """
    if ddp_num_buckets is None or not overlap_grad_reduce:
        return {}
    return {
        "ddp_num_buckets": NeedsDropIn(
            f"--ddp-num-buckets {ddp_num_buckets} is not divided into the parameters of a rank by Bridge's own script, "
            "which takes a size, so its buckets have another one",
            changes="speed",
        )
    }


@builder(
    writes=("optimizer.optimizer",),
    if_there=("optimizer.use_layer_wise_distributed_optimizer",),
    when="megatron >=0.18",
)
def layer_wise(
    optimizer: str, use_layer_wise_distributed_optimizer: bool, use_layer_wise_param_layout: bool, schema: Schema
) -> dict[str, Any]:
    """An optimizer that is divided by layers, which Bridge knows by its name; it has no layout of parameters for it.

    See megatron/bridge/training/optim.py setup_optimizer, and megatron/training/training.py get_model.
    """
    divided = use_layer_wise_distributed_optimizer
    by_name = divided and ("muon" in optimizer or "soap" in optimizer)
    decided: dict[str, Any] = {"optimizer.optimizer": f"dist_{optimizer}" if by_name else optimizer}
    if schema.find("optimizer.use_layer_wise_distributed_optimizer"):
        decided["optimizer.use_layer_wise_distributed_optimizer"] = divided
    if divided and use_layer_wise_param_layout:
        decided["use_layer_wise_param_layout"] = Lost(
            "Bridge does not lay parameters out by layers, so the sums of bf16 gradients are formed in another order; "
            "with --no-use-layer-wise-param-layout Megatron-LM does the same."
        )
    return decided
