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


@checks(see=VALIDATE_ARGS, until="0.16")
def format_of_groups(moe_grouped_gemm: bool, bf16: bool) -> Problems:
    """Experts multiplied in groups."""
    if moe_grouped_gemm and not bf16:
        yield Invalid("--moe-grouped-gemm needs --bf16", arguments=("moe_grouped_gemm", "bf16"))


@checks(see=TRANSFORMER_CONFIG, until="0.15")
def biases_of_no_experts(num_experts: int | None, add_bias_linear: bool) -> Problems:
    """Experts have no biases."""
    if num_experts is not None and add_bias_linear:
        yield Invalid("experts have no biases", "add --disable-bias-linear", ("num_experts",))


@checks(see=TRANSFORMER_CONFIG, until="0.16")
def padding_for_fp8(moe_router_padding_for_fp8: bool | None, fp8: str | None) -> Problems:
    """Padding is for FP8 alone."""
    if moe_router_padding_for_fp8 and fp8 is None:
        yield Invalid("--moe-router-padding-for-fp8 needs --fp8-format", arguments=("moe_router_padding_for_fp8",))


@checks(see=TRANSFORMER_CONFIG, until="0.18")
def width_of_experts(moe_ffn_hidden_size: int | None, num_experts: int | None) -> Problems:
    """Only experts have a width of experts."""
    if num_experts is None and moe_ffn_hidden_size is not None:
        yield Invalid(
            "--moe-ffn-hidden-size needs experts", "set their number with --num-experts", ("moe_ffn_hidden_size",)
        )


@checks(">=0.18", see=TRANSFORMER_CONFIG)
def width_of_experts_in_some_layers(
    moe_ffn_hidden_size: int | None, num_experts: int | None, moe_layer_freq: int | list[int] | None
) -> Problems:
    """The same, but where only some layers were to have experts: there the width is ignored."""
    some = 0 in moe_layer_freq if isinstance(moe_layer_freq, list) else (moe_layer_freq or 0) > 1
    if not some:
        yield from width_of_experts(moe_ffn_hidden_size, num_experts)


@checks(see=TRANSFORMER_CONFIG)
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
    if moe_router_enable_expert_bias and moe_router_score_function not in (None, *_WITH_BIAS):
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


_WITH_BIAS = ("sigmoid", "sqrtsoftplus")  # the latter since 0.18


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


@checks(">=0.18", see=TRANSFORMER_CONFIG, until="0.19")
def capacity_of_ranks_by_hybridep(
    moe_expert_rank_capacity_factor: float | None,
    moe_enable_deepep: bool | None,
    moe_flex_dispatcher_backend: str | None,
    use_transformer_engine_op_fuser: bool | None,
) -> Problems:
    """How many tokens the experts of a rank take."""
    if moe_expert_rank_capacity_factor is None:
        return
    if not use_transformer_engine_op_fuser:
        yield _without_fused_operations("hybridep")
    yield from _backends_with_capacity(moe_enable_deepep, moe_flex_dispatcher_backend, ("hybridep",))


@checks(">=0.19", see=TRANSFORMER_CONFIG)
def capacity_of_ranks(
    moe_expert_rank_capacity_factor: float | None,
    moe_enable_deepep: bool | None,
    moe_flex_dispatcher_backend: str | None,
    use_transformer_engine_op_fuser: bool | None,
    moe_use_grouped_tensor: bool | None,
) -> Problems:
    """The same with two backends; from 0.20 on experts whose weights are one tensor need no fused operations."""
    if moe_expert_rank_capacity_factor is None:
        return
    yield from _backends_with_capacity(moe_enable_deepep, moe_flex_dispatcher_backend, ("hybridep", "ncclep"))
    if moe_flex_dispatcher_backend == "hybridep" and not (use_transformer_engine_op_fuser or moe_use_grouped_tensor):
        yield _without_fused_operations("hybridep")


def _without_fused_operations(backend: str) -> Invalid:
    return Invalid(
        f"--moe-expert-rank-capacity-factor with {backend} needs --use-transformer-engine-op-fuser",
        arguments=("moe_expert_rank_capacity_factor",),
    )


def _backends_with_capacity(deepep: bool | None, backend: str | None, fitting: tuple[str, ...]) -> Problems:
    backend = "deepep" if deepep else backend
    if backend not in fitting:
        yield Invalid(
            f"--moe-expert-rank-capacity-factor needs --moe-flex-dispatcher-backend {' or '.join(fitting)}, "
            f"not {backend}",
            arguments=("moe_expert_rank_capacity_factor", "moe_flex_dispatcher_backend"),
        )


@checks(">=0.18", see=TRANSFORMER_CONFIG)
def stash_of_tokens(
    moe_paged_stash: bool | None,
    moe_expert_rank_capacity_factor: float | None,
    cpu_offloading: bool,
    offload_modules: list[str] | None,
) -> Problems:
    """Activations of experts kept in pages."""
    if not moe_paged_stash:
        return
    if moe_expert_rank_capacity_factor is None:
        yield Invalid("--moe-paged-stash needs --moe-expert-rank-capacity-factor", arguments=("moe_paged_stash",))
    if cpu_offloading:
        yield Invalid(
            "--moe-paged-stash does not work with --cpu-offloading-num-layers",
            arguments=("moe_paged_stash", "cpu_offloading_num_layers"),
        )
    if twice := sorted({"expert_fc1", "moe_act", "fused_group_mlp"} & set(offload_modules or ())):
        yield Invalid(
            f"--moe-paged-stash does not work with --offload-modules {' '.join(twice)}",
            arguments=("moe_paged_stash", "offload_modules"),
        )


@checks(">=0.18", see=TRANSFORMER_CONFIG)
def experts_in_one_tensor(
    moe_single_grouped_weight: bool | None,
    moe_single_grouped_bias: bool | None,
    moe_use_grouped_tensor: bool | None,
    moe_grouped_gemm: bool | None,
    add_bias_linear: bool,
    use_transformer_engine_op_fuser: bool | None,
) -> Problems:
    """Weights or biases of all experts as one tensor; from 0.20 on where groups are multiplied as one tensor."""
    for name, on in (
        ("moe_use_grouped_tensor", moe_use_grouped_tensor),
        ("moe_single_grouped_weight", moe_single_grouped_weight),
        ("moe_single_grouped_bias", moe_single_grouped_bias),
    ):
        if on and not moe_grouped_gemm:
            yield Invalid(f"{flag(name)} needs --moe-grouped-gemm", arguments=(name,))
    one_tensor = moe_use_grouped_tensor or use_transformer_engine_op_fuser and moe_grouped_gemm
    if moe_single_grouped_bias and not add_bias_linear:
        yield Invalid(
            "--moe-single-grouped-bias does not work with --disable-bias-linear", "", ("moe_single_grouped_bias",)
        )
    if moe_single_grouped_bias and moe_use_grouped_tensor is not None and not one_tensor:
        yield Invalid("--moe-single-grouped-bias needs --moe-use-grouped-tensor", "", ("moe_single_grouped_bias",))


@checks(">=0.18", see=TRANSFORMER_CONFIG, until="0.19")
def formats_in_one_tensor_of_mxfp8(
    moe_single_grouped_weight: bool | None, fp8: str | None, fp8_recipe: str | None, fp4: str | None
) -> Problems:
    """Weights of all experts as one tensor of MXFP8."""
    if moe_single_grouped_weight and (fp4 or not fp8 or fp8_recipe != "mxfp8"):
        yield Invalid(
            "--moe-single-grouped-weight needs --fp8-format and --fp8-recipe mxfp8",
            arguments=("moe_single_grouped_weight", "fp8_recipe"),
        )


@checks(">=0.19", see=TRANSFORMER_CONFIG)
def formats_in_one_tensor(
    moe_single_grouped_weight: bool | None,
    moe_grouped_gemm: bool | None,
    moe_use_grouped_tensor: bool | None,
    use_transformer_engine_op_fuser: bool | None,
    fp8: str | None,
    fp8_recipe: str | None,
    fp4: str | None,
    fp4_recipe: str | None,
    fp4_param_gather: bool | None,
) -> Problems:
    """Weights of all experts as one tensor of any format; what multiplies it has another name from 0.20 on."""
    if not moe_single_grouped_weight:
        return
    name = "use_transformer_engine_op_fuser" if moe_use_grouped_tensor is None else "moe_use_grouped_tensor"
    fused = use_transformer_engine_op_fuser and (moe_use_grouped_tensor is None or moe_grouped_gemm)
    for on, fact in (
        (fp8 and fp8_recipe != "mxfp8", "--fp8-recipe mxfp8"),
        (fp4 and fp4_recipe != "nvfp4", "--fp4-recipe nvfp4"),
        (fp4 and moe_use_grouped_tensor is not None and not fp4_param_gather, "--fp4-param-gather"),
        (not (fused or moe_use_grouped_tensor), flag(name)),
    ):
        if on:
            yield Invalid(f"--moe-single-grouped-weight needs {fact}", arguments=("moe_single_grouped_weight",))


@checks(">=0.19", see=TRANSFORMER_CONFIG)
def dispatcher_of_nccl(
    moe_token_dispatcher_type: str,
    moe_flex_dispatcher_backend: str | None,
    moe_enable_deepep: bool | None,
    moe_use_grouped_tensor: bool | None,
    use_transformer_engine_op_fuser: bool | None,
    moe_grouped_gemm: bool | None,
    moe_dispatch_fwd_dtype: str | None,
    moe_combine_bwd_dtype: str | None,
) -> Problems:
    """NCCL's way to send tokens; from 0.20 on in MXFP8 too."""
    nccl = moe_flex_dispatcher_backend == "ncclep" and not moe_enable_deepep
    flex = moe_token_dispatcher_type == "flex"
    if nccl and not flex:
        yield Invalid(
            f"--moe-flex-dispatcher-backend ncclep needs --moe-token-dispatcher-type flex, not "
            f"{moe_token_dispatcher_type}",
            arguments=("moe_flex_dispatcher_backend", "moe_token_dispatcher_type"),
        )
    if nccl and moe_use_grouped_tensor and not use_transformer_engine_op_fuser:
        yield Invalid(
            "--moe-flex-dispatcher-backend ncclep with --moe-use-grouped-tensor needs "
            "--use-transformer-engine-op-fuser",
            arguments=("moe_flex_dispatcher_backend", "moe_use_grouped_tensor"),
        )
    for name, dtype in (
        ("moe_dispatch_fwd_dtype", moe_dispatch_fwd_dtype),
        ("moe_combine_bwd_dtype", moe_combine_bwd_dtype),
    ):
        if dtype not in (None, "bf16") and not (nccl and flex and use_transformer_engine_op_fuser and moe_grouped_gemm):
            yield Invalid(
                f"{flag(name)} {dtype} needs --moe-token-dispatcher-type flex --moe-flex-dispatcher-backend ncclep, "
                "--use-transformer-engine-op-fuser and --moe-grouped-gemm",
                arguments=(name,),
            )


@checks(">=0.19", see=TRANSFORMER_CONFIG)
def multiprocessors(
    moe_deepep_num_sms: int | None, moe_hybridep_num_sms: int | None, moe_flex_dispatcher_num_sms: int | None
) -> Problems:
    """Two old ways to say one number."""
    old = {moe_deepep_num_sms, moe_hybridep_num_sms} - {None}
    if len(old) > 1 and moe_flex_dispatcher_num_sms is None:
        yield Invalid(
            f"--moe-deepep-num-sms {moe_deepep_num_sms} and --moe-hybridep-num-sms {moe_hybridep_num_sms} have become "
            "one number",
            "say it with --moe-flex-dispatcher-num-sms",
            ("moe_deepep_num_sms", "moe_hybridep_num_sms"),
        )


@checks(see=TRANSFORMER_CONFIG, until="0.18")
def overlap_of_shared_experts(
    moe_shared_expert_intermediate_size: int | None,
    moe_shared_expert_overlap: bool | None,
    moe_token_dispatcher_type: str,
) -> Problems:
    """Shared experts beside the dispatcher."""
    if moe_shared_expert_intermediate_size is not None and moe_shared_expert_overlap:
        yield from _dispatchers_beside(moe_token_dispatcher_type, ("alltoall",))


@checks(">=0.18", see=TRANSFORMER_CONFIG)
def overlap_of_shared_experts_with_flex(
    moe_shared_expert_intermediate_size: int | None,
    moe_shared_expert_overlap: bool | None,
    moe_token_dispatcher_type: str,
) -> Problems:
    """The same with two dispatchers."""
    if moe_shared_expert_intermediate_size is not None and moe_shared_expert_overlap:
        yield from _dispatchers_beside(moe_token_dispatcher_type, ("alltoall", "flex"))


def _dispatchers_beside(kind: str, fitting: tuple[str, ...]) -> Problems:
    if kind not in fitting:
        yield Invalid(
            f"--moe-shared-expert-overlap needs --moe-token-dispatcher-type {' or '.join(fitting)}, not {kind}",
            arguments=("moe_shared_expert_overlap", "moe_token_dispatcher_type"),
        )


@checks(see=TRANSFORMER_CONFIG)
def dispatcher(
    moe_token_dispatcher_type: str,
    moe_enable_deepep: bool | None,
    moe_flex_dispatcher_backend: str | None,
    moe_pad_expert_input_to_capacity: bool | None,
    moe_shared_expert_intermediate_size: int | None,
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
        if moe_enable_deepep or moe_flex_dispatcher_backend in (None, "deepep"):  # the only one before 0.16
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
    if moe_router_padding_for_fp8 or moe_router_padding_for_quantization:
        padding = "moe_router_padding_for_fp8" if moe_router_padding_for_fp8 else "moe_router_padding_for_quantization"
        if fp8 is None and fp4 is None:
            yield Invalid(f"{flag(padding)} needs --fp8-format or --fp4-format", arguments=(padding,))
        if kind in ("allgather", "alltoall_seq"):
            yield Invalid(
                f"{flag(padding)} does not work with --moe-token-dispatcher-type {kind}",
                arguments=(padding, "moe_token_dispatcher_type"),
            )


@checks(see=(TRANSFORMER_CONFIG, VALIDATE_ARGS))
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
    yield from _overlap_needs(
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
    )


def _overlap_needs(*facts: tuple[object, str, str]) -> Problems:
    for on, name, fact in facts:
        if on:
            yield Invalid(
                f"--overlap-moe-expert-parallel-comm needs {fact}",
                arguments=("overlap_moe_expert_parallel_comm", name),
            )


@checks(see=TRANSFORMER_CONFIG, until="0.19")
def predicted_layers_in_overlap(overlap_moe_expert_parallel_comm: bool | None, mtp_num_layers: int | None) -> Problems:
    """One layer of multi-token prediction."""
    if overlap_moe_expert_parallel_comm and mtp_num_layers not in (None, 1):
        yield from _overlap_needs((True, "mtp_num_layers", f"--mtp-num-layers 1 or none, not {mtp_num_layers}"))


@checks(">=0.19", see=TRANSFORMER_CONFIG)
def most_predicted_layers_in_overlap(
    overlap_moe_expert_parallel_comm: bool | None, mtp_num_layers: int | None
) -> Problems:
    """The same, where 0 is none."""
    yield from predicted_layers_in_overlap(overlap_moe_expert_parallel_comm, mtp_num_layers or None)


@checks(">=0.16", see=TRANSFORMER_CONFIG, until="0.18")
def graphs_in_overlap(
    overlap_moe_expert_parallel_comm: bool | None,
    cuda_graph_impl: str | None,
    cuda_graph_scope: list[str] | str | None,
    mtp_num_layers: int | None,
    pipeline_model_parallel_size: int,
) -> Problems:
    """Graphs of Transformer Engine, of other parts; and predicted tokens only in pipelines."""
    if not overlap_moe_expert_parallel_comm:
        return
    scopes = cuda_graph_scope or []
    graphs = cuda_graph_impl not in (None, "none") and (
        cuda_graph_impl != "transformer_engine" or "moe" in scopes or "mlp" in scopes
    )
    single = mtp_num_layers == 1 and pipeline_model_parallel_size == 1
    yield from _overlap_needs(
        (graphs, "cuda_graph_impl", "--cuda-graph-impl transformer_engine without the scopes moe and mlp, or none"),
        (single, "mtp_num_layers", "pipeline parallelism, where there is multi-token prediction"),
    )


@checks(">=0.18", see=TRANSFORMER_CONFIG)
def partial_graphs_in_overlap(
    overlap_moe_expert_parallel_comm: bool | None, cuda_graph_impl: str, cuda_graph_modules: list[str]
) -> Problems:
    """The same with graphs of others, and without pipelines."""
    if overlap_moe_expert_parallel_comm and cuda_graph_impl == "transformer_engine":
        named = sorted({"moe", "mlp"} & set(cuda_graph_modules))
        yield from _overlap_needs((named, "cuda_graph_modules", f"no --cuda-graph-modules {' '.join(named)}"))


@checks(">=0.17", see=TRANSFORMER_CONFIG)
def recomputation_in_overlap(
    overlap_moe_expert_parallel_comm: bool | None, recompute_modules: list[str] | None
) -> Problems:
    """Whole layers of experts are not computed again."""
    if overlap_moe_expert_parallel_comm and "moe" in (recompute_modules or ()):
        yield from _overlap_needs((True, "recompute_modules", "no --recompute-modules moe"))


@checks(">=0.18", see=TRANSFORMER_CONFIG)
def dispatch_behind_gradients(
    overlap_dispatch_backward_with_experts_wgrad: bool | None,
    overlap_moe_expert_parallel_comm: bool | None,
    delay_wgrad_compute: bool | None,
) -> Problems:
    """Tokens sent back behind the gradients of weights."""
    for name, on in (
        ("overlap_moe_expert_parallel_comm", overlap_moe_expert_parallel_comm),
        ("delay_wgrad_compute", delay_wgrad_compute),
    ):
        if overlap_dispatch_backward_with_experts_wgrad and on:
            yield Invalid(
                f"--overlap-dispatch-backward-with-experts-wgrad does not work with {flag(name)}",
                arguments=("overlap_dispatch_backward_with_experts_wgrad", name),
            )


@checks(">=0.19", see=TRANSFORMER_CONFIG)
def offloading_in_overlap(
    overlap_moe_expert_parallel_comm: bool | None,
    moe_token_dispatcher_type: str,
    moe_flex_dispatcher_backend: str | None,
    fine_grained_activation_offloading: bool | None,
    offload_modules: list[str] | None,
) -> Problems:
    """What experts read after NCCL has sent it."""
    nccl = moe_token_dispatcher_type == "flex" and moe_flex_dispatcher_backend == "ncclep"
    if overlap_moe_expert_parallel_comm and nccl and fine_grained_activation_offloading:
        yield from _overlap_needs(
            ("expert_fc1" in (offload_modules or ()), "offload_modules", "no --offload-modules expert_fc1 with ncclep")
        )


@checks(see=VALIDATE_ARGS)
def upcycling(moe_use_upcycling: bool | None, save: str | None) -> Problems:
    """A dense checkpoint made into experts."""
    if moe_use_upcycling and save is None:
        yield Invalid("--moe-use-upcycling needs --save", arguments=("moe_use_upcycling",))
