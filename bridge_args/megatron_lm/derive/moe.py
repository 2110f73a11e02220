"""Mixture of experts."""

from __future__ import annotations

from typing import TypeVar

from bridge_args.megatron_lm.derive.registry import (
    TRANSFORMER_CONFIG,
    VALIDATE_ARGS,
    Invalid,
    Problems,
    checks,
    derives,
    flag,
)

_T = TypeVar("_T")


@derives(see=VALIDATE_ARGS)
def num_experts(num_experts: int | None) -> int | None:
    """Experts of a layer; 0 means a dense model, None."""
    if num_experts is not None and num_experts < 0:
        raise Invalid(f"--num-experts must be at least 1, not {num_experts}", arguments=("num_experts",))
    return num_experts or None


@derives(see=VALIDATE_ARGS)
def moe_ffn_hidden_size(moe_ffn_hidden_size: int | None, num_experts: int | None, ffn_hidden_size: int) -> int | None:
    """Width of an expert; that of the feed-forward layer by default."""
    if moe_ffn_hidden_size is None and num_experts is not None:
        return ffn_hidden_size
    return moe_ffn_hidden_size


def _single(value: list[_T] | _T) -> list[_T] | _T:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


@derives(see=VALIDATE_ARGS)
def moe_router_load_balancing_type(moe_router_load_balancing_type: list[str] | str) -> list[str] | str:
    """A list of one kind is that kind."""
    return _single(moe_router_load_balancing_type)


@derives(see=VALIDATE_ARGS)
def moe_aux_loss_coeff(moe_aux_loss_coeff: list[float] | float) -> list[float] | float:
    """A list of one coefficient is that coefficient."""
    return _single(moe_aux_loss_coeff)


@checks(see=(VALIDATE_ARGS, TRANSFORMER_CONFIG))
def experts(
    num_experts: int | None,
    expert_model_parallel_size: int,
    moe_latent_size: int | None,
    moe_use_legacy_grouped_gemm: bool | None,
    moe_layer_freq: int | list[int] | None,
    num_layers: int,
    add_bias_linear: bool,
    expert_tensor_parallel_size: int | None,
) -> Problems:
    """Number and size of experts."""
    if num_experts is None:
        for name, on in (
            ("expert_model_parallel_size", expert_model_parallel_size > 1),
            ("moe_latent_size", moe_latent_size is not None),
        ):
            if on:
                yield Invalid(f"{flag(name)} needs experts", "set their number with --num-experts", (name,))
        return
    if expert_model_parallel_size > 1 and num_experts % expert_model_parallel_size:
        yield Invalid(
            f"--num-experts {num_experts} cannot be divided among expert parallel {expert_model_parallel_size}",
            f"use a multiple of {expert_model_parallel_size}",
            ("num_experts", "expert_model_parallel_size"),
        )
    if moe_latent_size is not None and moe_latent_size <= 0:
        yield Invalid(f"--moe-latent-size must be at least 1, not {moe_latent_size}", arguments=("moe_latent_size",))
    if moe_latent_size is not None and moe_use_legacy_grouped_gemm:
        yield Invalid(
            "--moe-latent-size cannot be combined with --moe-use-legacy-grouped-gemm",
            arguments=("moe_latent_size", "moe_use_legacy_grouped_gemm"),
        )
    if isinstance(moe_layer_freq, list) and len(moe_layer_freq) != num_layers:
        yield Invalid(
            f"--moe-layer-freq covers {len(moe_layer_freq)} layers; --num-layers is {num_layers}",
            arguments=("moe_layer_freq", "num_layers"),
        )
    if add_bias_linear and expert_tensor_parallel_size not in (None, 1):
        yield Invalid(
            f"experts have biases only with --expert-tensor-parallel-size 1, not {expert_tensor_parallel_size}",
            "add --disable-bias-linear",
            ("expert_tensor_parallel_size", "tensor_model_parallel_size"),
        )


@checks("<0.17", see=TRANSFORMER_CONFIG)
def width_of_experts(moe_ffn_hidden_size: int | None, num_experts: int | None) -> Problems:
    """Only experts have a width of experts."""
    if num_experts is None and moe_ffn_hidden_size is not None:
        yield Invalid(
            "--moe-ffn-hidden-size needs experts", "set their number with --num-experts", ("moe_ffn_hidden_size",)
        )


@checks("<0.17", see=TRANSFORMER_CONFIG)
def router(
    moe_router_load_balancing_type: list[str] | str,
    moe_aux_loss_coeff: list[float] | float,
    moe_router_topk: int,
    moe_router_score_function: str | None,
    moe_router_pre_softmax: bool | None,
    moe_router_enable_expert_bias: bool | None,
    moe_router_group_topk: int | None,
    moe_router_num_groups: int | None,
    num_experts: int | None,
) -> Problems:
    """How tokens find their experts."""
    kinds = moe_router_load_balancing_type
    if isinstance(kinds, list):
        given = len(moe_aux_loss_coeff) if isinstance(moe_aux_loss_coeff, list) else 1
        if given != len(kinds):
            yield Invalid(
                f"--moe-router-load-balancing-type has {len(kinds)} values, --moe-aux-loss-coeff {given}",
                "give a coefficient for each",
                ("moe_router_load_balancing_type", "moe_aux_loss_coeff"),
            )
    if moe_router_enable_expert_bias and moe_router_score_function not in (None, "sigmoid"):
        yield Invalid(
            f"--moe-router-enable-expert-bias works with sigmoid scores, not {moe_router_score_function}",
            "add --moe-router-score-function sigmoid",
            ("moe_router_enable_expert_bias",),
        )
    if (
        moe_router_topk == 1
        and moe_router_score_function in (None, "softmax")
        and not moe_router_pre_softmax
        and kinds != "sinkhorn"
    ):
        yield Invalid(
            "--moe-router-topk 1 gives no gradient when the softmax comes after the choice",
            "add --moe-router-pre-softmax",
            ("moe_router_topk",),
        )
    if not moe_router_group_topk:
        return
    if not moe_router_num_groups:
        yield Invalid(
            f"--moe-router-group-topk {moe_router_group_topk} needs --moe-router-num-groups",
            arguments=("moe_router_group_topk",),
        )
        return
    if (num_experts or 0) % moe_router_num_groups or num_experts is None:
        yield Invalid(
            f"--num-experts {num_experts} cannot be divided into --moe-router-num-groups {moe_router_num_groups}",
            arguments=("moe_router_num_groups", "num_experts"),
        )
    if moe_router_group_topk > moe_router_num_groups:
        yield Invalid(
            f"--moe-router-group-topk {moe_router_group_topk} is more than --moe-router-num-groups "
            f"{moe_router_num_groups}",
            arguments=("moe_router_group_topk", "moe_router_num_groups"),
        )


@checks(see=TRANSFORMER_CONFIG)
def capacity(
    moe_expert_capacity_factor: float | None,
    moe_pad_expert_input_to_capacity: bool | None,
    moe_router_load_balancing_type: list[str] | str,
) -> Problems:
    """How many tokens an expert takes; a negative factor means no limit."""
    kinds = moe_router_load_balancing_type
    if moe_expert_capacity_factor is not None:
        unfit = [kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if kind not in _WITH_CAPACITY]
        if unfit:
            yield Invalid(
                f"--moe-expert-capacity-factor does not work with --moe-router-load-balancing-type {' '.join(unfit)}",
                f"use one of {', '.join(_WITH_CAPACITY)}",
                ("moe_expert_capacity_factor", "moe_router_load_balancing_type"),
            )
    if moe_pad_expert_input_to_capacity and (moe_expert_capacity_factor is None or moe_expert_capacity_factor < 0):
        yield Invalid(
            "--moe-pad-expert-input-to-capacity needs --moe-expert-capacity-factor",
            arguments=("moe_pad_expert_input_to_capacity",),
        )


_WITH_CAPACITY = ("aux_loss", "seq_aux_loss", "global_aux_loss", "none")


@checks("<0.17", see=TRANSFORMER_CONFIG)
def dispatcher(
    moe_token_dispatcher_type: str,
    moe_enable_deepep: bool | None,
    moe_flex_dispatcher_backend: str | None,
    moe_pad_expert_input_to_capacity: bool | None,
    moe_shared_expert_intermediate_size: int | None,
    moe_shared_expert_overlap: bool | None,
    moe_router_padding_for_fp8: bool | None,
    moe_router_padding_for_quantization: bool | None,
    fp8: str | None,
    fp4: str | None,
) -> Problems:
    """How tokens travel to their experts."""
    kind = moe_token_dispatcher_type
    if moe_enable_deepep and kind != "flex":
        yield Invalid(
            f"--moe-enable-deepep needs --moe-token-dispatcher-type flex, not {kind}",
            arguments=("moe_enable_deepep", "moe_token_dispatcher_type"),
        )
    if moe_enable_deepep and moe_flex_dispatcher_backend == "hybridep":
        yield Invalid(
            "--moe-enable-deepep and --moe-flex-dispatcher-backend hybridep exclude each other",
            arguments=("moe_enable_deepep", "moe_flex_dispatcher_backend"),
        )
    if kind == "flex" and moe_pad_expert_input_to_capacity:
        if moe_enable_deepep or moe_flex_dispatcher_backend == "deepep":
            yield Invalid(
                "--moe-pad-expert-input-to-capacity does not work with DeepEP",
                arguments=("moe_pad_expert_input_to_capacity", "moe_flex_dispatcher_backend"),
            )
    if moe_shared_expert_intermediate_size is not None:
        if moe_shared_expert_intermediate_size <= 0:
            yield Invalid(
                f"--moe-shared-expert-intermediate-size must be at least 1, not {moe_shared_expert_intermediate_size}",
                arguments=("moe_shared_expert_intermediate_size",),
            )
        if moe_shared_expert_overlap and kind != "alltoall":
            yield Invalid(
                f"--moe-shared-expert-overlap needs --moe-token-dispatcher-type alltoall, not {kind}",
                arguments=("moe_shared_expert_overlap", "moe_token_dispatcher_type"),
            )
    if moe_router_padding_for_fp8 or moe_router_padding_for_quantization:
        padding = "moe_router_padding_for_fp8" if moe_router_padding_for_fp8 else "moe_router_padding_for_quantization"
        if fp8 is None and fp4 is None:
            yield Invalid(f"{flag(padding)} needs --fp8-format or --fp4-format", arguments=(padding,))
        if kind in ("allgather", "alltoall_seq"):
            yield Invalid(
                f"{flag(padding)} does not work with --moe-token-dispatcher-type {kind}",
                arguments=(padding, "moe_token_dispatcher_type"),
            )


@checks("<0.17", see=(TRANSFORMER_CONFIG, VALIDATE_ARGS))
def expert_overlap(
    overlap_moe_expert_parallel_comm: bool | None,
    delay_wgrad_compute: bool | None,
    ep_overlap_early_attn_memory_release: bool | None,
    pipeline_model_parallel_size: int,
    virtual_pipeline_model_parallel_size: int | None,
    expert_model_parallel_size: int,
    moe_token_dispatcher_type: str,
    recompute_granularity: str | None,
    recompute_method: str | None,
    recompute_num_layers: int | None,
    bf16: bool,
    fp16: bool,
    moe_shared_expert_overlap: bool | None,
    mtp_num_layers: int | None,
    cuda_graph_impl: str | None,
    cuda_graph_scope: list[str] | str | None,
    transformer_impl: str | None,
    moe_use_legacy_grouped_gemm: bool | None,
) -> Problems:
    """Experts' communication behind computation."""
    if delay_wgrad_compute and transformer_impl != "transformer_engine":
        yield Invalid(
            f"--delay-wgrad-compute needs Transformer Engine, not --transformer-impl {transformer_impl}",
            arguments=("delay_wgrad_compute", "transformer_impl"),
        )
    if delay_wgrad_compute and moe_use_legacy_grouped_gemm:
        yield Invalid(
            "--delay-wgrad-compute does not work with --moe-use-legacy-grouped-gemm",
            arguments=("delay_wgrad_compute", "moe_use_legacy_grouped_gemm"),
        )
    if not overlap_moe_expert_parallel_comm:
        for name, on in (
            ("delay_wgrad_compute", delay_wgrad_compute),
            ("ep_overlap_early_attn_memory_release", ep_overlap_early_attn_memory_release),
        ):
            if on:
                yield Invalid(f"{flag(name)} needs --overlap-moe-expert-parallel-comm", arguments=(name,))
        return
    single_mtp = mtp_num_layers == 1 and pipeline_model_parallel_size == 1
    scopes = cuda_graph_scope or []
    graphs = cuda_graph_impl not in (None, "none") and (
        cuda_graph_impl != "transformer_engine" or "moe" in scopes or "mlp" in scopes
    )
    for on, name, fact in (
        (
            pipeline_model_parallel_size > 1 and virtual_pipeline_model_parallel_size is None,
            "pipeline_model_parallel_size",
            "virtual stages, where there is pipeline parallelism",
        ),
        (expert_model_parallel_size <= 1, "expert_model_parallel_size", "--expert-model-parallel-size above 1"),
        (
            moe_token_dispatcher_type not in ("alltoall", "flex"),
            "moe_token_dispatcher_type",
            f"--moe-token-dispatcher-type alltoall or flex, not {moe_token_dispatcher_type}",
        ),
        (recompute_granularity == "full", "recompute_granularity", "selective recomputation or none, not full"),
        (recompute_method is not None, "recompute_method", "no --recompute-method"),
        (recompute_num_layers is not None, "recompute_num_layers", "no --recompute-num-layers"),
        (not (bf16 or fp16), "bf16", "--bf16 or --fp16"),
        (moe_shared_expert_overlap, "moe_shared_expert_overlap", "no --moe-shared-expert-overlap"),
        (mtp_num_layers not in (None, 1), "mtp_num_layers", f"--mtp-num-layers 1 or none, not {mtp_num_layers}"),
        (single_mtp, "mtp_num_layers", "pipeline parallelism, where there is multi-token prediction"),
        (graphs, "cuda_graph_impl", "--cuda-graph-impl transformer_engine without the scopes moe and mlp, or none"),
    ):
        if on:
            yield Invalid(
                f"--overlap-moe-expert-parallel-comm needs {fact}",
                arguments=("overlap_moe_expert_parallel_comm", name),
            )


@checks(see=VALIDATE_ARGS)
def upcycling(moe_use_upcycling: bool | None, save: str | None) -> Problems:
    """A dense checkpoint made into experts."""
    if moe_use_upcycling and save is None:
        yield Invalid("--moe-use-upcycling needs --save", arguments=("moe_use_upcycling",))
