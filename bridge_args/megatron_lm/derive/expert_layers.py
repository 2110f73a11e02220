"""What the layers of experts stop at when they are built, or at the first step; ``validate_args`` lets it pass.

The facts are Megatron Core's, so Bridge stops at the same place.
"""

from __future__ import annotations

from typing import Literal

from bridge_args.megatron_lm.derive.registry import Problems, checks, flag, later
from bridge_args.megatron_lm.programs import HYBRID_MODELS

Experts = Literal["one by one", "grouped", "legacy grouped"]

EXPERTS, MOE_UTILS = "transformer/moe/experts.py", "transformer/moe/moe_utils.py"
NO_BIASES = "--disable-bias-linear"


def layers_with_experts(
    num_experts: int | None, moe_layer_freq: int | list[int] | None, pattern: str | None, program: str
) -> bool:
    """Has any layer experts?

    See get_moe_layer_pattern in megatron/core/models/gpt/experimental_attention_variant_module_specs.py, and the
    letter E of hybrid models.
    """
    if not num_experts:
        return False
    if program in HYBRID_MODELS:
        return "E" in (pattern or "")
    return any(moe_layer_freq) if isinstance(moe_layer_freq, list) else True


def class_of_experts(
    moe_grouped_gemm: bool | None,
    moe_use_legacy_grouped_gemm: bool | None,
    transformer_impl: str | None,
    program: str,
) -> Experts:
    """How experts multiply: SequentialMLP, TEGroupedMLP or GroupedMLP.

    See megatron/core/models/gpt/moe_module_specs.py, and mamba_stack_spec, whose experts are always grouped.
    """
    if program in HYBRID_MODELS:
        return "grouped"
    if not moe_grouped_gemm:
        return "one by one"
    return "legacy grouped" if moe_use_legacy_grouped_gemm or transformer_impl == "local" else "grouped"


@checks(
    see=(
        "megatron/core/transformer/moe/experts.py::TEGroupedMLP.__init__",
        "megatron/core/transformer/moe/experts.py::TEGroupedMLP.forward",
        "megatron/core/transformer/mlp.py::MLP.forward",
        "megatron/core/transformer/moe/shared_experts.py::SharedExpertMLP.__init__",
        "megatron/core/fusions/fused_bias_swiglu.py::weighted_bias_swiglu_impl",
    ),
)
def biases_of_experts(
    num_experts: int | None,
    moe_layer_freq: int | list[int] | None,
    hybrid_override_pattern: str | None,
    hybrid_layer_pattern: str | None,
    spec: list[str] | None,
    add_bias_linear: bool,
    swiglu: bool,
    quick_geglu: bool | None,
    squared_relu: bool | None,
    bias_gelu_fusion: bool,
    bias_swiglu_fusion: bool,
    bias_dropout_fusion: bool,
    use_fused_weighted_squared_relu: bool | None,
    moe_grouped_gemm: bool | None,
    moe_use_legacy_grouped_gemm: bool | None,
    moe_shared_expert_intermediate_size: int | None,
    use_transformer_engine_op_fuser: bool | None,
    transformer_impl: str | None,
    program: str,
) -> Problems:
    """Biases, and what is fused with them."""
    if not add_bias_linear or spec and program not in HYBRID_MODELS:
        return
    if not layers_with_experts(num_experts, moe_layer_freq, hybrid_layer_pattern or hybrid_override_pattern, program):
        return
    kind = class_of_experts(moe_grouped_gemm, moe_use_legacy_grouped_gemm, transformer_impl, program)
    if moe_shared_expert_intermediate_size is not None:
        yield later(
            "shared experts have no biases: the model cannot be built",
            f"add {NO_BIASES}",
            ("moe_shared_expert_intermediate_size",),
            "transformer/moe/shared_experts.py SharedExpertMLP.__init__",
        )
    if kind == "legacy grouped":
        return
    if kind == "grouped" and bias_dropout_fusion:
        yield later(
            "experts multiplied in groups do not add their biases together with dropout: the model cannot be built",
            f"add --no-bias-dropout-fusion, or {NO_BIASES}",
            ("moe_grouped_gemm", "num_experts"),
            f"{EXPERTS} TEGroupedMLP.__init__",
        )
    if kind == "grouped" and use_transformer_engine_op_fuser:  # one operation for all of it (0.18)
        return
    if kind == "one by one" and swiglu and bias_swiglu_fusion:
        yield later(
            "experts with biases and SwiGLU stop at the first step, because no fused function has both",
            f"add --no-bias-swiglu-fusion, or {NO_BIASES}",
            ("swiglu", "num_experts"),
            "fusions/fused_bias_swiglu.py weighted_bias_swiglu_impl",
        )
    if not swiglu and not quick_geglu and bias_gelu_fusion:
        yield later(
            "experts with biases and GELU stop at the first step, because no fused function has both",
            f"add --no-bias-gelu-fusion, or {NO_BIASES}",
            ("num_experts",),
            f"{EXPERTS} TEGroupedMLP.forward" if kind == "grouped" else "transformer/mlp.py MLP.forward",
        )
    if kind == "grouped" and squared_relu and use_fused_weighted_squared_relu:
        yield later(
            "--use-fused-weighted-squared-relu has no biases of experts: the first step stops",
            f"add {NO_BIASES}, or leave it out",
            ("use_fused_weighted_squared_relu",),
            f"{EXPERTS} TEGroupedMLP.forward",
        )


@checks(
    see=(
        "megatron/core/transformer/moe/moe_utils.py::topk_routing_with_score_function",
        "megatron/core/transformer/moe/moe_utils.py::group_limited_topk",
        "megatron/core/transformer/moe/router.py::TopKRouter.sinkhorn_load_balancing",
        "megatron/core/transformer/moe/experts.py::SequentialMLP.forward",
    ),
)
def choice_of_experts(
    num_experts: int | None,
    moe_layer_freq: int | list[int] | None,
    hybrid_override_pattern: str | None,
    hybrid_layer_pattern: str | None,
    moe_router_topk: int,
    moe_router_num_groups: int | None,
    moe_router_group_topk: int | None,
    moe_router_load_balancing_type: list[str] | str,
    moe_aux_loss_coeff: list[float] | float,
    moe_apply_probs_on_input: bool | None,
    program: str,
) -> Problems:
    """What the router cannot do."""
    if not layers_with_experts(num_experts, moe_layer_freq, hybrid_layer_pattern or hybrid_override_pattern, program):
        return
    assert num_experts
    if moe_router_topk > num_experts:
        yield later(
            f"a token cannot choose {moe_router_topk} of {num_experts} experts",
            f"use --moe-router-topk {num_experts} or less",
            ("moe_router_topk", "num_experts"),
            f"{MOE_UTILS} topk_routing_with_score_function",
        )
    elif moe_router_group_topk and moe_router_num_groups and num_experts % moe_router_num_groups == 0:
        reachable = moe_router_group_topk * (num_experts // moe_router_num_groups)
        if moe_router_topk > reachable and moe_router_load_balancing_type != "sinkhorn":
            yield later(
                f"a token cannot choose {moe_router_topk} experts from --moe-router-group-topk "
                f"{moe_router_group_topk} groups of {num_experts // moe_router_num_groups}",
                f"use --moe-router-topk {reachable} or less",
                ("moe_router_topk", "moe_router_group_topk", "moe_router_num_groups"),
                f"{MOE_UTILS} group_limited_topk",
            )
    if moe_router_load_balancing_type == "sinkhorn" and moe_aux_loss_coeff != 0:
        yield later(
            f"--moe-router-load-balancing-type sinkhorn has no auxiliary loss, and --moe-aux-loss-coeff is "
            f"{moe_aux_loss_coeff}: the first step stops",
            "leave out --moe-aux-loss-coeff",
            ("moe_aux_loss_coeff", "moe_router_load_balancing_type"),
            "transformer/moe/router.py TopKRouter.sinkhorn_load_balancing",
        )
    if moe_apply_probs_on_input and moe_router_topk != 1:
        yield later(
            f"--moe-apply-probs-on-input works with one expert a token, not {moe_router_topk}: the first step stops",
            "use --moe-router-topk 1, or leave it out",
            ("moe_apply_probs_on_input", "moe_router_topk"),
            f"{EXPERTS} SequentialMLP.forward",
        )


@checks(
    see=(
        "megatron/core/transformer/moe/experts.py::GroupedMLP.__init__",
        "megatron/core/transformer/moe/experts.py::GroupedMLP.forward",
    ),
    until="0.17",
    read=("0.16", "0.17"),
)
def legacy_groups(
    num_experts: int | None,
    moe_layer_freq: int | list[int] | None,
    spec: list[str] | None,
    moe_grouped_gemm: bool | None,
    moe_use_legacy_grouped_gemm: bool | None,
    transformer_impl: str | None,
    add_bias_linear: bool,
    bf16: bool,
    quick_geglu: bool | None,
    swiglu: bool,
    program: str,
) -> Problems:
    """What the old way to multiply experts in groups lacks."""
    if spec or not layers_with_experts(num_experts, moe_layer_freq, None, program):
        return
    kind = class_of_experts(moe_grouped_gemm, moe_use_legacy_grouped_gemm, transformer_impl, program)
    if kind != "legacy grouped":
        return
    concerned = ("moe_use_legacy_grouped_gemm", "moe_grouped_gemm")
    if add_bias_linear:
        yield later(
            "experts multiplied in groups by the old way have no biases: the model cannot be built",
            f"add {NO_BIASES}",
            (*concerned, "num_experts"),
            f"{EXPERTS} GroupedMLP.__init__",
        )
    if not bf16:
        yield later(
            "experts multiplied in groups by the old way need bf16: the first step stops",
            "add --bf16, or leave out --moe-grouped-gemm",
            concerned,
            f"{EXPERTS} GroupedMLP.forward",
        )
    if quick_geglu and not swiglu:
        yield later(
            "experts multiplied in groups by the old way do not have --quick-geglu: the model cannot be built",
            "leave out --moe-grouped-gemm, or use Transformer Engine",
            ("quick_geglu", *concerned),
            f"{EXPERTS} GroupedMLP.__init__",
        )


@checks(
    see=(
        "megatron/core/transformer/moe/moe_layer.py::MoELayer.forward",
        "megatron/core/transformer/moe/moe_layer.py::MoELayer.preprocess",
        "megatron/core/utils.py::divide",
    ),
)
def ranks_of_experts(
    num_experts: int | None,
    moe_layer_freq: int | list[int] | None,
    hybrid_override_pattern: str | None,
    hybrid_layer_pattern: str | None,
    tensor_model_parallel_size: int,
    expert_tensor_parallel_size: int,
    expert_model_parallel_size: int,
    sequence_parallel: bool,
    skip_train: bool | None,
    moe_ffn_hidden_size: int | None,
    moe_shared_expert_intermediate_size: int | None,
    moe_shared_expert_overlap: bool | None,
    moe_latent_size: int | None,
    program: str,
) -> Problems:
    """Experts among ranks."""
    if not layers_with_experts(num_experts, moe_layer_freq, hybrid_layer_pattern or hybrid_override_pattern, program):
        return
    if tensor_model_parallel_size > 1 and not sequence_parallel and not skip_train:
        yield later(
            "experts with tensor parallelism train only with sequence parallelism: the first step stops",
            "add --sequence-parallel",
            ("tensor_model_parallel_size", "num_experts"),
            "transformer/moe/moe_layer.py MoELayer.forward",
        )
    for name, size, ranks in (
        ("moe_ffn_hidden_size", moe_ffn_hidden_size, expert_tensor_parallel_size),
        ("moe_shared_expert_intermediate_size", moe_shared_expert_intermediate_size, tensor_model_parallel_size),
    ):
        if size is not None and ranks > 0 and size % ranks:
            yield later(
                f"{flag(name)} {size} cannot be divided among tensor {ranks}",
                f"use a multiple of {ranks}",
                (name, "tensor_model_parallel_size"),
                "utils.py divide",
            )
    if moe_latent_size is not None and moe_shared_expert_overlap and moe_shared_expert_intermediate_size is not None:
        yield later(
            "--moe-latent-size does not work with --moe-shared-expert-overlap: the first step stops",
            "leave out --moe-shared-expert-overlap",
            ("moe_latent_size", "moe_shared_expert_overlap"),
            "transformer/moe/moe_layer.py MoELayer.preprocess",
        )


_FLEX = "megatron/core/transformer/moe/token_dispatcher.py::MoEFlexTokenDispatcher.__init__"


@checks(see=_FLEX, until="0.17")
def ranks_to_send_to(
    num_experts: int | None,
    moe_layer_freq: int | list[int] | None,
    hybrid_override_pattern: str | None,
    expert_tensor_parallel_size: int,
    expert_model_parallel_size: int,
    moe_token_dispatcher_type: str,
    program: str,
) -> Problems:
    """The flexible dispatcher among ranks."""
    if layers_with_experts(num_experts, moe_layer_freq, hybrid_override_pattern, program):
        yield from _alone(expert_tensor_parallel_size * expert_model_parallel_size, moe_token_dispatcher_type)


@checks(">=0.17", see=_FLEX)
def ranks_to_send_to_by_backends(
    num_experts: int | None,
    moe_layer_freq: int | list[int] | None,
    hybrid_layer_pattern: str | None,
    expert_tensor_parallel_size: int,
    expert_model_parallel_size: int,
    moe_token_dispatcher_type: str,
    moe_flex_dispatcher_backend: str | None,
    program: str,
) -> Problems:
    """The same; one of its backends may be alone."""
    if moe_flex_dispatcher_backend != "hybridep":
        if layers_with_experts(num_experts, moe_layer_freq, hybrid_layer_pattern, program):
            yield from _alone(expert_tensor_parallel_size * expert_model_parallel_size, moe_token_dispatcher_type)


def _alone(ranks: int, moe_token_dispatcher_type: str) -> Problems:
    if moe_token_dispatcher_type == "flex" and ranks == 1:
        yield later(
            "--moe-token-dispatcher-type flex has no other rank to send tokens to: the model cannot be built",
            "use alltoall, or divide the experts with --expert-model-parallel-size",
            ("moe_token_dispatcher_type",),
            "transformer/moe/token_dispatcher.py MoEFlexTokenDispatcher.__init__",
        )


@checks(see="megatron/core/models/gpt/gpt_layer_specs.py::get_gpt_decoder_layer_specs")
def every_how_many_layers(num_experts: int | None, moe_layer_freq: int | list[int] | None, program: str) -> Problems:
    """Which layers have experts."""
    if num_experts and program not in HYBRID_MODELS:
        if isinstance(moe_layer_freq, int) and moe_layer_freq < 1:
            yield later(
                f"--moe-layer-freq must be at least 1, not {moe_layer_freq}",
                "use 1 for experts in every layer",
                ("moe_layer_freq",),
                "models/gpt/gpt_layer_specs.py get_gpt_decoder_layer_specs",
            )
        elif isinstance(moe_layer_freq, list) and set(moe_layer_freq) - {0, 1}:
            yield later(
                "--moe-layer-freq has other numbers than 0 and 1",
                "write 1 for a layer with experts, 0 for one without",
                ("moe_layer_freq",),
                "models/gpt/gpt_layer_specs.py get_gpt_decoder_layer_specs",
            )
