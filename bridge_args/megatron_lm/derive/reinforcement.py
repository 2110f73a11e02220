"""Reinforcement learning."""

from __future__ import annotations

from collections.abc import Mapping

from bridge_args.megatron_lm.derive.registry import VALIDATE_ARGS, Invalid, Problems, checks, computes, derives, flag


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


@checks(">=0.16", see=VALIDATE_ARGS, until="0.17")
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


@checks(">=0.17", see=VALIDATE_ARGS)
def graphs_and_memory(
    perform_rl_step: bool,
    rl_persist_cuda_graphs: bool,
    rl_training_cuda_graphs: bool,
    rl_kv_cache_management_mode: str,
    rl_offload_inference_model_weights_when_idle: bool,
    rl_inference_model_unified_memory_level: int,
    inference_dynamic_batching_unified_memory_level: int,
    cuda_graph_impl: str,
) -> Problems:
    """CUDA graphs, the cache and the weights of inference while training."""
    if not perform_rl_step:
        return
    for name, on in (
        ("rl_persist_cuda_graphs", rl_persist_cuda_graphs),
        ("rl_training_cuda_graphs", rl_training_cuda_graphs),
    ):
        if on and cuda_graph_impl == "none":
            yield Invalid(f"{flag(name)} needs --cuda-graph-impl", arguments=(name, "cuda_graph_impl"))
    mode, unified = "rl_kv_cache_management_mode", inference_dynamic_batching_unified_memory_level > 0
    if rl_kv_cache_management_mode == "offload" and not rl_persist_cuda_graphs:
        yield Invalid("--rl-kv-cache-management-mode offload needs --rl-persist-cuda-graphs", "", (mode,))
    if rl_kv_cache_management_mode == "offload" and unified:
        yield Invalid(
            "--rl-kv-cache-management-mode offload does not work with a cache in unified memory",
            "add --inference-dynamic-batching-unified-memory-level 0",
            (mode, "inference_dynamic_batching_unified_memory_level"),
        )
    if rl_persist_cuda_graphs and rl_kv_cache_management_mode != "persist" and not unified:
        yield _memory_saver(f"--rl-kv-cache-management-mode {rl_kv_cache_management_mode}", mode)
    if rl_offload_inference_model_weights_when_idle and rl_inference_model_unified_memory_level != 1:
        name = "rl_offload_inference_model_weights_when_idle"
        yield _memory_saver(f"{flag(name)} without --rl-inference-model-unified-memory-level 1", name)


def _memory_saver(said: str, name: str) -> Invalid:
    return Invalid(f"{said} needs the package torch_memory_saver", arguments=(name,), stops=False)


@checks(">=0.17", see=VALIDATE_ARGS)
def optimizer_of_no_training(
    perform_rl_step: bool, skip_train: bool, no_load_optim: bool | None, rl_offload_optimizer_during_inference: bool
) -> Problems:
    """An optimizer that is not there cannot be moved."""
    if perform_rl_step and skip_train and no_load_optim and rl_offload_optimizer_during_inference:
        yield Invalid(
            "--skip-train with --no-load-optim has no optimizer for --rl-offload-optimizer-during-inference",
            "leave it out",
            ("rl_offload_optimizer_during_inference",),
        )


# ----------------------------------------------------------------------------------- generation ahead of training


@derives(">=0.17", see=VALIDATE_ARGS, until="0.19")
def rl_num_parallel_generations(
    rl_num_parallel_generations: int | None,
    perform_rl_step: bool,
    grpo_group_size: int,
    given: Mapping[str, object],
) -> int | None:
    """Samples generated at a time; the old --rl-parallel-generation-tasks counts groups."""
    tasks = given.get("rl_parallel_generation_tasks")
    if not perform_rl_step or not isinstance(tasks, int):
        return rl_num_parallel_generations
    if rl_num_parallel_generations is not None:
        raise Invalid(
            "--rl-num-parallel-generations and --rl-parallel-generation-tasks exclude each other",
            "keep --rl-num-parallel-generations",
            ("rl_num_parallel_generations", "rl_parallel_generation_tasks"),
        )
    return tasks * grpo_group_size


@derives(">=0.17", see=VALIDATE_ARGS, until="0.19")
def rl_generation_batch_size(
    rl_generation_batch_size: int | None,
    perform_rl_step: bool,
    rl_num_parallel_generations: int | None,
    rl_num_parallel_generation_batches: int | None,
    grpo_prompts_per_step: int,
) -> int | None:
    """Groups that are handed over together: those of a step where whole batches are generated, else one."""
    if not perform_rl_step or rl_generation_batch_size is not None:
        return rl_generation_batch_size
    batches = rl_num_parallel_generations is None and rl_num_parallel_generation_batches is not None
    return grpo_prompts_per_step if batches else 1


@derives(">=0.17", see=VALIDATE_ARGS, until="0.19")
def rl_parallel_generation_tasks(
    rl_parallel_generation_tasks: int | None,
    perform_rl_step: bool,
    rl_num_parallel_generations: int | None,
    rl_num_parallel_generation_batches: int | None,
    rl_generation_batch_size: int | None,
    grpo_group_size: int,
) -> int | None:
    """Groups generated at a time."""
    if not perform_rl_step:
        return rl_parallel_generation_tasks
    if rl_num_parallel_generations is not None:
        return rl_num_parallel_generations // grpo_group_size
    if rl_num_parallel_generation_batches is not None:
        return rl_num_parallel_generation_batches * (rl_generation_batch_size or 0)
    return 512


@computes(">=0.17", see=VALIDATE_ARGS, until="0.19")
def rl_enforce_generation_order(perform_rl_step: bool, rl_generation_batch_size: int | None) -> bool | None:
    """Are groups handed over in order? None without --perform-rl-step."""
    return (rl_generation_batch_size or 0) > 1 if perform_rl_step else None


@checks(">=0.17", see=VALIDATE_ARGS, until="0.19")
def parallel_generation(
    perform_rl_step: bool,
    rl_num_parallel_generations: int | None,
    rl_num_parallel_generation_batches: int | None,
    rl_partial_rollouts: bool,
    grpo_group_size: int,
) -> Problems:
    """Generation beside training."""
    if not perform_rl_step:
        return
    counts = {
        "rl_num_parallel_generations": rl_num_parallel_generations,
        "rl_num_parallel_generation_batches": rl_num_parallel_generation_batches,
    }
    named = [name for name, count in counts.items() if count is not None]
    if len(named) > 1:
        yield Invalid(f"{' and '.join(map(flag, named))} exclude each other", "keep one of them", tuple(named))
    for name in named[:1]:
        if not rl_partial_rollouts:
            yield Invalid(f"{flag(name)} needs --rl-partial-rollouts", arguments=(name,))
    if rl_num_parallel_generations is not None and rl_num_parallel_generations % grpo_group_size:
        yield Invalid(
            f"--rl-num-parallel-generations {rl_num_parallel_generations} cannot be divided by --grpo-group-size "
            f"{grpo_group_size}",
            arguments=("rl_num_parallel_generations", "grpo_group_size"),
        )


@derives(">=0.20", see=VALIDATE_ARGS)
def rl_generation_lag(
    rl_generation_lag: float | None,
    perform_rl_step: bool,
    rl_max_inflight_requests: int | None,
    rl_partial_rollouts: bool,
    grpo_prompts_per_step: int,
    grpo_group_size: int,
) -> float | None:
    """Steps that generation may be ahead; from the requests that may be on their way, where they are given."""
    if not perform_rl_step:
        return rl_generation_lag
    if rl_max_inflight_requests is not None:
        if rl_generation_lag is not None:
            raise Invalid(
                "--rl-generation-lag and --rl-max-inflight-requests exclude each other",
                "keep one of them",
                ("rl_generation_lag", "rl_max_inflight_requests"),
            )
        return rl_max_inflight_requests / (grpo_prompts_per_step * grpo_group_size) - 1
    return 0 if rl_generation_lag is None and not rl_partial_rollouts else rl_generation_lag


@checks(">=0.20", see=VALIDATE_ARGS)
def requests_on_their_way(
    perform_rl_step: bool, rl_max_inflight_requests: int | None, rl_generation_lag: float | None
) -> Problems:
    """Bounds of what generation may be ahead."""
    if not perform_rl_step:
        return
    for name, count, least in (
        ("rl_max_inflight_requests", rl_max_inflight_requests, 1),
        ("rl_generation_lag", rl_generation_lag if rl_max_inflight_requests is None else None, -1),
    ):
        if count is not None and count < least:
            yield Invalid(f"{flag(name)} must be at least {least}, not {count}", arguments=(name,))


@checks(">=0.19", see=VALIDATE_ARGS)
def rollouts_ahead(
    perform_rl_step: bool,
    rl_generation_lag: float | None,
    rl_partial_rollouts: bool,
    rl_consumption_granularity: str,
    rl_submission_granularity: str,
) -> Problems:
    """How rollouts are handed in and taken out."""
    if not perform_rl_step:
        return
    if (rl_generation_lag or 0) > 0 and not rl_partial_rollouts:
        yield Invalid("generation ahead of training needs --rl-partial-rollouts", arguments=("rl_generation_lag",))
    if rl_consumption_granularity == "R":
        yield Invalid("--rl-consumption-granularity R is not there yet", arguments=("rl_consumption_granularity",))
    if (rl_submission_granularity, rl_consumption_granularity) == ("B", "G"):
        yield Invalid(
            "--rl-submission-granularity B does not work with --rl-consumption-granularity G",
            arguments=("rl_submission_granularity", "rl_consumption_granularity"),
        )


@checks(">=0.19", see=VALIDATE_ARGS, until="0.20")
def single_rollouts(perform_rl_step: bool, rl_submission_granularity: str, rl_partial_rollouts: bool) -> Problems:
    """Rollouts handed in one by one."""
    if perform_rl_step and rl_submission_granularity == "R":
        yield from _partial(rl_submission_granularity, rl_partial_rollouts)


@checks(">=0.20", see=VALIDATE_ARGS)
def parts_of_batches(perform_rl_step: bool, rl_submission_granularity: str, rl_partial_rollouts: bool) -> Problems:
    """The same of groups too."""
    if perform_rl_step and rl_submission_granularity != "B":
        yield from _partial(rl_submission_granularity, rl_partial_rollouts)


def _partial(granularity: str, rl_partial_rollouts: bool) -> Problems:
    if not rl_partial_rollouts:
        yield Invalid(
            f"--rl-submission-granularity {granularity} needs --rl-partial-rollouts",
            arguments=("rl_submission_granularity",),
        )
