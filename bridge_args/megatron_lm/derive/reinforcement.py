"""Reinforcement learning."""

from __future__ import annotations

from bridge_args.megatron_lm.derive.registry import VALIDATE_ARGS, Invalid, Problems, checks, computes, flag


@computes(">=0.16", see=VALIDATE_ARGS)
def grpo_samples_per_iteration(
    perform_rl_step: bool | None, grpo_prompts_per_step: int | None, grpo_group_size: int | None
) -> int | None:
    """Samples generated at a time, None without --perform-rl-step."""
    if not perform_rl_step or grpo_prompts_per_step is None or grpo_group_size is None:
        return None
    return grpo_prompts_per_step * grpo_group_size


@checks(">=0.16", see=VALIDATE_ARGS)
def generation(
    grpo_samples_per_iteration: int | None,
    grpo_iterations: int,
    global_batch_size: int,
    exit_interval: int | None,
    save_interval: int | None,
    rl_use_sequence_packing: bool,
    micro_batch_size: int,
) -> Problems:
    """Batches of training in what is generated at a time."""
    if grpo_samples_per_iteration is None:
        return
    samples = grpo_samples_per_iteration * grpo_iterations
    if samples % global_batch_size:
        yield Invalid(
            f"--grpo-prompts-per-step x --grpo-group-size x --grpo-iterations = {samples} cannot be divided by "
            f"--global-batch-size {global_batch_size}",
            arguments=("grpo_prompts_per_step", "grpo_group_size", "grpo_iterations", "global_batch_size"),
        )
        return
    steps = samples // global_batch_size
    for name, interval in (("exit_interval", exit_interval), ("save_interval", save_interval)):
        if interval is not None and (steps < 1 or interval % steps):
            yield Invalid(
                f"{flag(name)} {interval} is not a multiple of {steps}, the steps between generations", "", (name,)
            )
    if rl_use_sequence_packing and micro_batch_size != 1:
        yield Invalid(
            f"--rl-use-sequence-packing needs --micro-batch-size 1, not {micro_batch_size}",
            arguments=("rl_use_sequence_packing", "micro_batch_size"),
        )


@checks(">=0.16, <0.17", see=VALIDATE_ARGS)
def memory_of_inference(
    perform_rl_step: bool,
    rl_remove_kv_cache_during_training: bool | None,
    rl_offload_kv_cache_during_training: bool | None,
    rl_partial_rollouts: bool | None,
    rl_offload_inference_model_weights_when_idle: bool | None,
    rl_inference_model_unified_memory_level: int | None,
    inference_dynamic_batching_unified_memory_level: int | None,
    rl_inference_expert_model_parallel_size: int | None,
    expert_model_parallel_size: int,
    moe_use_legacy_grouped_gemm: bool | None,
) -> Problems:
    """What happens to the inference side while training."""
    if rl_offload_kv_cache_during_training and inference_dynamic_batching_unified_memory_level:
        yield Invalid(
            "--rl-offload-kv-cache-during-training does not work with a cache in unified memory",
            "add --inference-dynamic-batching-unified-memory-level 0",
            ("rl_offload_kv_cache_during_training", "inference_dynamic_batching_unified_memory_level"),
        )
    if not perform_rl_step:
        return
    if rl_remove_kv_cache_during_training:
        for name, on in (
            ("rl_offload_kv_cache_during_training", rl_offload_kv_cache_during_training),
            ("rl_partial_rollouts", rl_partial_rollouts),
        ):
            if on:
                yield Invalid(
                    f"--rl-remove-kv-cache-during-training and {flag(name)} exclude each other",
                    arguments=("rl_remove_kv_cache_during_training", name),
                )
    if rl_offload_inference_model_weights_when_idle and rl_inference_model_unified_memory_level != 1:
        yield Invalid(
            "--rl-offload-inference-model-weights-when-idle needs --rl-inference-model-unified-memory-level 1",
            arguments=("rl_offload_inference_model_weights_when_idle",),
        )
    if moe_use_legacy_grouped_gemm and rl_inference_expert_model_parallel_size not in (
        None,
        expert_model_parallel_size,
    ):
        yield Invalid(
            "--moe-use-legacy-grouped-gemm does not work with another expert parallel size in inference",
            arguments=("moe_use_legacy_grouped_gemm", "rl_inference_expert_model_parallel_size"),
        )
