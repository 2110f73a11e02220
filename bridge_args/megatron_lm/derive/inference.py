"""Inference inside a training program."""

from __future__ import annotations

from bridge_args.megatron_lm.derive.registry import TRANSFORMER_CONFIG, VALIDATE_ARGS, Invalid, Problems, checks, flag


@checks(">=0.18", see=VALIDATE_ARGS, read=("0.18", "0.19", "0.20"))
def batching_in_pipelines(
    inference_batch_times_seqlen_threshold: int | None,
    pipeline_model_parallel_size: int,
    cuda_graph_impl: str | None,
) -> Problems:
    """Batches that are divided among pipeline stages."""
    yield from batching(
        inference_batch_times_seqlen_threshold, pipeline_model_parallel_size, cuda_graph_impl, None, None, None
    )


@checks(see=VALIDATE_ARGS, until="0.18", read=("0.16", "0.17", "0.18"))
def batching(
    inference_batch_times_seqlen_threshold: int | None,
    pipeline_model_parallel_size: int,
    cuda_graph_impl: str | None,
    inference_dynamic_batching: bool | None,
    inference_dynamic_batching_buffer_size_gb: float | None,
    inference_dynamic_batching_block_size: int | None,
) -> Problems:
    """How requests are batched."""
    threshold = inference_batch_times_seqlen_threshold
    if threshold is not None and threshold > -1:
        concerned = ("inference_batch_times_seqlen_threshold",)
        if pipeline_model_parallel_size == 1:
            yield Invalid(
                "--inference-batch-times-seqlen-threshold needs pipeline parallelism",
                arguments=(*concerned, "pipeline_model_parallel_size"),
            )
        if cuda_graph_impl not in (None, "none"):
            yield Invalid(
                "--inference-batch-times-seqlen-threshold does not work with CUDA graphs",
                arguments=(*concerned, "cuda_graph_impl"),
            )
    if inference_dynamic_batching:
        if inference_dynamic_batching_buffer_size_gb is None:
            yield Invalid("--inference-dynamic-batching needs --inference-dynamic-batching-buffer-size-gb")
        if inference_dynamic_batching_block_size is not None and inference_dynamic_batching_block_size % 256:
            yield Invalid(
                "--inference-dynamic-batching-block-size must be a multiple of 256, "
                f"not {inference_dynamic_batching_block_size}",
                arguments=("inference_dynamic_batching_block_size",),
            )


@checks(">=0.16", see=TRANSFORMER_CONFIG)
def optimized_for_inference(
    transformer_impl: str,
    normalization: str,
    layernorm_zero_centered_gamma: bool | None,
    add_bias_linear: bool,
    add_qkv_bias: bool,
    inference_fuse_tp_communication: bool | None,
    inference_disable_triton_nvls_kernels: bool | None,
) -> Problems:
    """What the inference_optimized layers exclude, and what they alone have."""
    if transformer_impl != "inference_optimized":
        for name, on in (
            ("inference_fuse_tp_communication", inference_fuse_tp_communication),
            ("inference_disable_triton_nvls_kernels", inference_disable_triton_nvls_kernels),
        ):
            if on:
                yield Invalid(f"{flag(name)} needs --transformer-impl inference_optimized", arguments=(name,))
        return
    yield from _optimized_needs(
        (normalization != "RMSNorm", "normalization", f"--normalization RMSNorm, not {normalization}"),
        (layernorm_zero_centered_gamma, "layernorm_zero_centered_gamma", "no --apply-layernorm-1p"),
        (add_bias_linear, "add_bias_linear", "--disable-bias-linear"),
        (add_qkv_bias and not add_bias_linear, "add_qkv_bias", "no --add-qkv-bias"),
    )


def _optimized_needs(*facts: tuple[object, str, str]) -> Problems:
    for on, name, fact in facts:
        if on:
            yield Invalid(f"--transformer-impl inference_optimized needs {fact}", "", ("transformer_impl", name))


@checks(">=0.16", see="gpt_builders.py::gpt_builder")
def layers_for_inference(transformer_impl: str, mtp_num_layers: int | None, program: str) -> Problems:
    """What there are no such layers of."""
    if transformer_impl == "inference_optimized" and program == "pretrain_gpt.py":
        yield from _optimized_needs((mtp_num_layers is not None, "mtp_num_layers", f"no {flag('mtp_num_layers')}"))


@checks(">=0.16", see="gpt_builders.py::gpt_builder", until="0.17")
def no_experts_for_inference(transformer_impl: str, num_experts: int | None) -> Problems:
    """The same of experts."""
    if transformer_impl == "inference_optimized":
        yield from _optimized_needs((num_experts is not None, "num_experts", f"no {flag('num_experts')}"))


@checks(">=0.17", see=TRANSFORMER_CONFIG)
def experts_for_inference(
    transformer_impl: str,
    num_experts: int | None,
    expert_tensor_parallel_size: int,
    moe_expert_capacity_factor: float | None,
    moe_router_padding_for_quantization: bool,
    moe_router_dtype: str | None,
    inference_fuse_tp_communication: bool,
) -> Problems:
    """Experts in such layers."""
    if transformer_impl != "inference_optimized" or num_experts is None:
        return
    padding = "moe_router_padding_for_quantization"
    yield from _optimized_needs(
        (expert_tensor_parallel_size > 1, "expert_tensor_parallel_size", "--expert-tensor-parallel-size 1"),
        (moe_expert_capacity_factor is not None, "moe_expert_capacity_factor", "no --moe-expert-capacity-factor"),
        (moe_router_padding_for_quantization, padding, f"no {flag(padding)}"),
        (moe_router_dtype != "fp32", "moe_router_dtype", "--moe-router-dtype fp32, with experts"),
        (
            inference_fuse_tp_communication,
            "inference_fuse_tp_communication",
            "no --inference-fuse-tp-communication, with experts",
        ),
    )


@checks(">=0.17", see=TRANSFORMER_CONFIG, until="0.18")
def graphs_of_experts_for_inference(
    transformer_impl: str,
    num_experts: int | None,
    swiglu: bool,
    quick_geglu: bool,
    cuda_graph_impl: str,
    inference_grouped_gemm_backend: str,
) -> Problems:
    """The same inside graphs."""
    if transformer_impl == "inference_optimized" and num_experts is not None and cuda_graph_impl == "local":
        yield from _optimized_needs(
            (swiglu or quick_geglu, "cuda_graph_impl", "no --cuda-graph-impl local, with gated units of experts"),
            (
                inference_grouped_gemm_backend == "te",
                "inference_grouped_gemm_backend",
                "--inference-grouped-gemm-backend auto or torch, with --cuda-graph-impl local",
            ),
        )


@checks(">=0.18", see=TRANSFORMER_CONFIG, until="0.20")
def gates_of_experts_for_inference(
    transformer_impl: str, num_experts: int | None, swiglu: bool, quick_geglu: bool
) -> Problems:
    """The same with gates."""
    if transformer_impl == "inference_optimized" and num_experts is not None:
        yield from _optimized_needs((swiglu or quick_geglu, "num_experts", "no gated units of experts"))


@checks(">=0.20", see=TRANSFORMER_CONFIG)
def kernels_of_experts_for_inference(
    transformer_impl: str,
    num_experts: int | None,
    swiglu: bool,
    quick_geglu: bool,
    inference_grouped_gemm_backend: str,
    batch_invariant_mode: bool,
    expert_model_parallel_size: int,
    inference_moe_token_dispatcher_type: str | None,
) -> Problems:
    """The same where kernels differ."""
    if transformer_impl != "inference_optimized" or num_experts is None:
        return
    kernels = inference_grouped_gemm_backend in ("torch", "vllm")
    wanted = "--inference-grouped-gemm-backend torch or vllm"
    nvls = inference_moe_token_dispatcher_type == "nvls"
    yield from _optimized_needs(
        ((swiglu or quick_geglu) and not kernels, "inference_grouped_gemm_backend", f"{wanted}, with gated units"),
        (
            batch_invariant_mode and not kernels,
            "inference_grouped_gemm_backend",
            f"{wanted}, with --batch-invariant-mode",
        ),
        (
            batch_invariant_mode and expert_model_parallel_size > 1 and not nvls,
            "inference_moe_token_dispatcher_type",
            "--inference-moe-token-dispatcher-type nvls, with --batch-invariant-mode",
        ),
    )


@checks(">=0.17", see=VALIDATE_ARGS)
def kernels_for_inference(transformer_impl: str, fp8_recipe: str | None) -> Problems:
    """What FlashInfer brings along."""
    if transformer_impl == "inference_optimized" and fp8_recipe == "mxfp8":
        yield Invalid(
            "--transformer-impl inference_optimized with --fp8-recipe mxfp8 needs the package FlashInfer 0.6.4",
            arguments=("transformer_impl", "fp8_recipe"),
            stops=False,
        )


@checks(">=0.18", see=VALIDATE_ARGS, until="0.19")
def sampling_for_inference(inference_dynamic_batching_sampling_backend: str | None) -> Problems:
    """The same for sampling."""
    if inference_dynamic_batching_sampling_backend == "flashinfer":
        yield Invalid(
            "--inference-dynamic-batching-sampling-backend flashinfer needs the package FlashInfer",
            arguments=("inference_dynamic_batching_sampling_backend",),
            stops=False,
        )
