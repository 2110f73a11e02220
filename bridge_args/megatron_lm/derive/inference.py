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


@checks(">=0.16, <0.17", see=(TRANSFORMER_CONFIG, "gpt_builders.py::gpt_builder"))
def optimized_for_inference(
    transformer_impl: str,
    normalization: str,
    layernorm_zero_centered_gamma: bool | None,
    add_bias_linear: bool,
    add_qkv_bias: bool,
    inference_fuse_tp_communication: bool | None,
    num_experts: int | None,
    mtp_num_layers: int | None,
) -> Problems:
    """What the inference_optimized layers exclude."""
    if transformer_impl != "inference_optimized":
        if inference_fuse_tp_communication:
            yield Invalid(
                "--inference-fuse-tp-communication needs --transformer-impl inference_optimized",
                arguments=("inference_fuse_tp_communication",),
            )
        return
    for on, name, fact in (
        (normalization != "RMSNorm", "normalization", f"--normalization RMSNorm, not {normalization}"),
        (layernorm_zero_centered_gamma, "layernorm_zero_centered_gamma", "no --apply-layernorm-1p"),
        (add_bias_linear, "add_bias_linear", "--disable-bias-linear"),
        (add_qkv_bias and not add_bias_linear, "add_qkv_bias", "no --add-qkv-bias"),
        (num_experts is not None, "num_experts", f"no {flag('num_experts')}"),
        (mtp_num_layers is not None, "mtp_num_layers", f"no {flag('mtp_num_layers')}"),
    ):
        if on:
            yield Invalid(f"--transformer-impl inference_optimized needs {fact}", "", ("transformer_impl", name))
