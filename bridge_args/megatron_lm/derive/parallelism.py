"""How ranks are divided: tensor, context, expert and data parallelism. Pipelines have a module of their own."""

from __future__ import annotations

from collections.abc import Mapping
from math import lcm, prod

from bridge_args.megatron_lm.derive.registry import (
    PARALLEL_STATE,
    TRANSFORMER_CONFIG,
    VALIDATE_ARGS,
    Invalid,
    Problems,
    checks,
    computes,
    derives,
    flag,
)

_SHARDS = (VALIDATE_ARGS, "megatron/core/model_parallel_config.py::resolve_tensor_parallel_weight_shards")


def _size(name: str, size: int) -> int:
    if size < 1:
        raise Invalid(f"{flag(name)} must be at least 1, not {size}", arguments=(name,))
    return size


def fewest_ranks(tensor: int, pipeline: int, context: int, expert: int, expert_tensor: int) -> int:
    """The smallest number of ranks that can be divided so, for attention and for experts.

    See megatron/core/parallel_state.py initialize_model_parallel.
    """
    return lcm(tensor * pipeline * context, expert_tensor * pipeline * expert)


@derives(see=PARALLEL_STATE)
def tensor_model_parallel_size(tensor_model_parallel_size: int) -> int:
    """Ranks that share a layer's tensors."""
    return _size("tensor_model_parallel_size", tensor_model_parallel_size)


@derives(see=PARALLEL_STATE)
def pipeline_model_parallel_size(pipeline_model_parallel_size: int) -> int:
    """Ranks that layers are divided among."""
    return _size("pipeline_model_parallel_size", pipeline_model_parallel_size)


@derives(see=PARALLEL_STATE)
def context_parallel_size(context_parallel_size: int) -> int:
    """Ranks that a sequence is divided among."""
    return _size("context_parallel_size", context_parallel_size)


@derives(see=PARALLEL_STATE)
def expert_model_parallel_size(expert_model_parallel_size: int) -> int:
    """Ranks that experts are divided among."""
    return _size("expert_model_parallel_size", expert_model_parallel_size)


@derives(">=0.19", see=_SHARDS, read=("0.19", "0.20"))
def tensor_parallel_num_weight_shards(
    tensor_parallel_num_weight_shards: int | None, tensor_model_parallel_size: int
) -> int:
    """Into how many shards a weight is divided; by default as many as ranks share a tensor."""
    return _shards("tensor_parallel_num_weight_shards", tensor_parallel_num_weight_shards, tensor_model_parallel_size)


@computes(">=0.19", see=_SHARDS, read=("0.19", "0.20"))
def gtp_weight_remat_size(tensor_parallel_num_weight_shards: int, tensor_model_parallel_size: int) -> int:
    """Ranks that hold one shard of a tensor-parallel weight each, and gather it to compute."""
    return tensor_parallel_num_weight_shards // tensor_model_parallel_size


@derives(">=0.19", see=_SHARDS, read=("0.19", "0.20"))
def expert_tensor_parallel_num_weight_shards(
    expert_tensor_parallel_num_weight_shards: int | None, expert_tensor_parallel_size: int
) -> int:
    """The same for experts."""
    name = "expert_tensor_parallel_num_weight_shards"
    return _shards(name, expert_tensor_parallel_num_weight_shards, expert_tensor_parallel_size)


@computes(">=0.19", see=_SHARDS, read=("0.19", "0.20"))
def expert_gtp_weight_remat_size(
    expert_tensor_parallel_num_weight_shards: int, expert_tensor_parallel_size: int
) -> int:
    """The same for experts."""
    return expert_tensor_parallel_num_weight_shards // expert_tensor_parallel_size


def _shards(name: str, shards: int | None, ranks: int) -> int:
    if shards is None:
        return ranks
    if shards < ranks or shards % ranks:
        raise Invalid(f"{flag(name)} {shards} is no multiple of tensor {ranks}", f"use a multiple of {ranks}", (name,))
    return shards


@computes(see=VALIDATE_ARGS)
def data_parallel_size(
    world_size: int,
    tensor_model_parallel_size: int,
    pipeline_model_parallel_size: int,
    context_parallel_size: int,
    gtp_weight_remat_size: int | None,
) -> int:
    """Number of copies of the model."""
    ranks = tensor_model_parallel_size * pipeline_model_parallel_size * context_parallel_size
    said = (
        f"tensor {tensor_model_parallel_size} x pipeline {pipeline_model_parallel_size} "
        f"x context {context_parallel_size}"
    )
    if gtp_weight_remat_size is not None and gtp_weight_remat_size > 1:
        ranks *= gtp_weight_remat_size
        said += f" x weight shards {gtp_weight_remat_size}"
    said += f" = {ranks}"
    if world_size % ranks:
        raise Invalid(
            f"{world_size} GPUs cannot be divided: {said}",
            f"use a multiple of {ranks} GPUs, or parallel sizes whose product divides {world_size}",
        )
    return world_size // ranks


@derives(see=VALIDATE_ARGS)
def expert_tensor_parallel_size(expert_tensor_parallel_size: int | None, tensor_model_parallel_size: int) -> int:
    """Ranks that share one expert's tensors; those of the rest of the model by default."""
    if expert_tensor_parallel_size is None:
        return tensor_model_parallel_size
    return _size("expert_tensor_parallel_size", expert_tensor_parallel_size)


@computes(see=PARALLEL_STATE)
def expert_data_parallel_size(
    data_parallel_size: int,
    tensor_model_parallel_size: int,
    context_parallel_size: int,
    expert_tensor_parallel_size: int | None,
    expert_model_parallel_size: int,
    gtp_weight_remat_size: int | None,
    expert_gtp_weight_remat_size: int | None,
) -> int:
    """Number of copies of each expert."""
    shards, expert_shards = gtp_weight_remat_size or 1, expert_gtp_weight_remat_size or 1
    stage = data_parallel_size * tensor_model_parallel_size * context_parallel_size * shards
    tensor = expert_tensor_parallel_size or tensor_model_parallel_size
    ranks = tensor * expert_model_parallel_size * expert_shards
    if stage % ranks:
        raise Invalid(
            f"the {stage} GPUs of a pipeline stage cannot be divided among experts: expert tensor {tensor} x expert "
            f"{expert_model_parallel_size} = {ranks}",
            "use more GPUs, or a smaller --expert-model-parallel-size or --expert-tensor-parallel-size",
            ("expert_model_parallel_size", "expert_tensor_parallel_size"),
        )
    return stage // ranks


@derives(see=VALIDATE_ARGS)
def sequence_parallel(sequence_parallel: bool, tensor_model_parallel_size: int) -> bool:
    """Off without tensor parallelism, where it would only change the numerics."""
    return sequence_parallel and tensor_model_parallel_size > 1


@derives(see="megatron/training/arguments.py::_add_inprocess_restart_args")
def inprocess_active_world_size(inprocess_active_world_size: int, given: Mapping[str, object], world_size: int) -> int:
    """All ranks by default: the default is WORLD_SIZE."""
    return inprocess_active_world_size if "inprocess_active_world_size" in given else world_size


@checks(see=PARALLEL_STATE)
def rank_order(
    use_tp_pp_dp_mapping: bool,
    pipeline_model_parallel_size: int,
    data_parallel_size: int,
    expert_data_parallel_size: int,
) -> Problems:
    """Pipelines before data in the rank order."""
    if use_tp_pp_dp_mapping and pipeline_model_parallel_size > 1 and data_parallel_size != expert_data_parallel_size:
        yield Invalid(
            f"--use-tp-pp-dp-mapping needs as many copies of the experts as of the rest of the model, "
            f"not {expert_data_parallel_size} and {data_parallel_size}",
            "leave out --use-tp-pp-dp-mapping, or choose expert parallel sizes whose product is "
            "tensor x context parallel size",
            ("use_tp_pp_dp_mapping", "expert_model_parallel_size", "expert_tensor_parallel_size"),
        )


@checks(see=(VALIDATE_ARGS, TRANSFORMER_CONFIG))
def context_parallelism(
    context_parallel_size: int,
    hierarchical_context_parallel_sizes: list[int] | None,
    cp_comm_type: list[str] | None,
    seq_length: int,
    num_layers: int,
    use_legacy_models: bool | None,
) -> Problems:
    """Division of the sequence."""
    sizes = hierarchical_context_parallel_sizes
    if sizes and prod(sizes) != context_parallel_size:
        yield Invalid(
            f"--hierarchical-context-parallel-sizes {' '.join(map(str, sizes))} multiply to {prod(sizes)}, "
            f"but --context-parallel-size is {context_parallel_size}",
            arguments=("hierarchical_context_parallel_sizes", "context_parallel_size"),
        )
    if cp_comm_type and "a2a+p2p" in cp_comm_type and sizes is None:
        yield Invalid(
            "--cp-comm-type a2a+p2p needs --hierarchical-context-parallel-sizes",
            f"give two sizes whose product is {context_parallel_size}",
            ("cp_comm_type",),
        )
    if context_parallel_size <= 1:
        return
    if seq_length % (2 * context_parallel_size):
        yield Invalid(
            f"--seq-length {seq_length} is not a multiple of 2 x context parallel {context_parallel_size} = "
            f"{2 * context_parallel_size}",
            arguments=("seq_length", "context_parallel_size"),
        )
    if cp_comm_type and len(cp_comm_type) not in (1, num_layers):
        yield Invalid(
            f"--cp-comm-type has {len(cp_comm_type)} values for {num_layers} layers",
            "give one value, or one for each layer",
            ("cp_comm_type",),
        )
    if use_legacy_models:
        yield Invalid(
            "context parallelism is not there for legacy models",
            arguments=("context_parallel_size", "use_legacy_models"),
        )


@checks(">=0.16", see=(VALIDATE_ARGS, PARALLEL_STATE))
def hybrid_context_parallelism(
    hybrid_context_parallel: bool,
    pipeline_model_parallel_size: int,
    enable_cuda_graph: bool | None,
    use_megatron_fsdp: bool,
    dataloader_type: str,
    calculate_per_token_loss: bool,
    data_parallel_size: int,
    context_parallel_size: int,
) -> Problems:
    """What hybrid context parallelism excludes."""
    if not hybrid_context_parallel:
        return
    for excluded, name, remedy in (
        (pipeline_model_parallel_size > 1, "pipeline_model_parallel_size", "pipeline parallelism"),
        (enable_cuda_graph, "enable_cuda_graph", "CUDA graphs"),
        (use_megatron_fsdp, "use_megatron_fsdp", "Megatron FSDP"),
        (dataloader_type != "single", "dataloader_type", f"--dataloader-type {dataloader_type}"),
    ):
        if excluded:
            yield Invalid(
                f"--hybrid-context-parallel cannot be combined with {remedy}",
                arguments=("hybrid_context_parallel", name),
            )
    if not calculate_per_token_loss:
        yield Invalid(
            "--hybrid-context-parallel needs --calculate-per-token-loss", arguments=("hybrid_context_parallel",)
        )
    ranks = data_parallel_size * context_parallel_size
    if ranks % 2:
        yield Invalid(
            f"--hybrid-context-parallel needs an even number of data x context parallel ranks, not {ranks}",
            arguments=("hybrid_context_parallel", "context_parallel_size"),
        )


@checks(see=PARALLEL_STATE)
def distributed_optimizer_instances(
    num_distributed_optimizer_instances: int | None,
    data_parallel_size: int,
    context_parallel_size: int,
    expert_data_parallel_size: int,
) -> Problems:
    """Data-parallel ranks per instance."""
    instances = num_distributed_optimizer_instances or 1
    ranks = data_parallel_size * context_parallel_size
    if instances > 0 and ranks % instances == 0 and expert_data_parallel_size % instances:
        yield Invalid(
            f"{expert_data_parallel_size} copies of the experts cannot be divided among "
            f"--num-distributed-optimizer-instances {instances}",
            "use more GPUs, or a smaller --expert-model-parallel-size",
            ("num_distributed_optimizer_instances", "expert_model_parallel_size"),
        )
    if instances < 1 or ranks % instances:
        yield Invalid(
            f"{ranks} data-parallel ranks cannot be divided among --num-distributed-optimizer-instances {instances}",
            arguments=("num_distributed_optimizer_instances",),
        )


@checks(">=0.19", see=PARALLEL_STATE)
def instances_and_shards(
    num_distributed_optimizer_instances: int, gtp_weight_remat_size: int, expert_gtp_weight_remat_size: int
) -> Problems:
    """Instances of the optimizer, where weights are in more shards than tensors."""
    if num_distributed_optimizer_instances > 1 and max(gtp_weight_remat_size, expert_gtp_weight_remat_size) > 1:
        yield Invalid(
            f"--num-distributed-optimizer-instances {num_distributed_optimizer_instances} does not work with weights "
            "in more shards than tensors",
            "leave out --tensor-parallel-num-weight-shards and --expert-tensor-parallel-num-weight-shards",
            ("num_distributed_optimizer_instances", "tensor_parallel_num_weight_shards"),
        )


@checks(see="megatron/core/parallel_state.py::create_group")
def backend_of_pipelines(pipeline_model_parallel_comm_backend: str | None, env: Mapping[str, str]) -> Problems:
    """UCC needs more than one hardware queue."""
    if pipeline_model_parallel_comm_backend == "ucc" and env.get("CUDA_DEVICE_MAX_CONNECTIONS") == "1":
        yield Invalid(
            "--pipeline-model-parallel-comm-backend ucc does not work with CUDA_DEVICE_MAX_CONNECTIONS=1",
            "unset CUDA_DEVICE_MAX_CONNECTIONS, or set a larger number",
            ("pipeline_model_parallel_comm_backend",),
        )


@checks(see=PARALLEL_STATE)
def sharp(
    use_sharp: bool | None, sharp_enabled_group: str | None, num_distributed_optimizer_instances: int | None
) -> Problems:
    """Which group SHARP works for."""
    if sharp_enabled_group is not None and not use_sharp:
        yield Invalid("--sharp-enabled-group needs --use-sharp", arguments=("sharp_enabled_group",))
    elif sharp_enabled_group == "dp_replica" and (num_distributed_optimizer_instances or 1) < 2:
        yield Invalid(
            "--sharp-enabled-group dp_replica needs --num-distributed-optimizer-instances of 2 or more",
            arguments=("sharp_enabled_group", "num_distributed_optimizer_instances"),
        )


@checks(">=0.16", see=VALIDATE_ARGS)
def fake_process_group(fake_process_group: bool, moe_token_dispatcher_type: str) -> Problems:
    """A single process that plays many ranks."""
    if fake_process_group and moe_token_dispatcher_type == "flex":
        yield Invalid(
            "--fake-process-group cannot be combined with --moe-token-dispatcher-type flex",
            arguments=("fake_process_group", "moe_token_dispatcher_type"),
        )


@checks(see=VALIDATE_ARGS, until="0.12")
def connections_of_reductions(
    sequence_parallel: bool, async_tensor_model_parallel_allreduce: bool | None, env: Mapping[str, str]
) -> Problems:
    """One hardware queue for whatever is reduced while something else is computed."""
    if env.get("CUDA_DEVICE_MAX_CONNECTIONS") != "1" and (sequence_parallel or async_tensor_model_parallel_allreduce):
        name = "sequence_parallel" if sequence_parallel else "async_tensor_model_parallel_allreduce"
        yield Invalid(
            "Megatron-LM requires CUDA_DEVICE_MAX_CONNECTIONS=1 in the environment"
            + ("" if sequence_parallel else ", unless --no-async-tensor-model-parallel-allreduce is given"),
            "",
            (name,),
            variable="" if "CUDA_DEVICE_MAX_CONNECTIONS" in env else "CUDA_DEVICE_MAX_CONNECTIONS",
            export="CUDA_DEVICE_MAX_CONNECTIONS=1",
        )


@checks(">=0.12", see=VALIDATE_ARGS)
def device_connections(
    tensor_model_parallel_size: int,
    context_parallel_size: int,
    use_torch_fsdp2: bool | None,
    use_megatron_fsdp: bool | None,
    overlap_moe_expert_parallel_comm: bool | None,
    env: Mapping[str, str],
) -> Problems:
    """One hardware queue on Hopper and before, so that communication starts first."""
    if tensor_model_parallel_size == 1 and context_parallel_size == 1:
        return
    if use_torch_fsdp2 or use_megatron_fsdp or overlap_moe_expert_parallel_comm:
        return
    value = env.get("CUDA_DEVICE_MAX_CONNECTIONS")
    concerned = tuple(
        name
        for name, size in (
            ("tensor_model_parallel_size", tensor_model_parallel_size),
            ("context_parallel_size", context_parallel_size),
        )
        if size > 1
    )
    if value is None:
        yield Invalid(
            "with tensor or context parallelism Megatron-LM requires CUDA_DEVICE_MAX_CONNECTIONS=1 in the environment",
            "",
            concerned,
            variable="CUDA_DEVICE_MAX_CONNECTIONS",
            export="CUDA_DEVICE_MAX_CONNECTIONS=1",
        )
    elif value != "1":
        yield Invalid(
            f"with tensor or context parallelism and CUDA_DEVICE_MAX_CONNECTIONS={value} Megatron-LM stops on GPUs "
            "older than Blackwell",
            "there, export CUDA_DEVICE_MAX_CONNECTIONS=1",
            concerned,
            stops=False,
        )


@checks(">=0.19", see=VALIDATE_ARGS)
def shards_of_weights(
    gtp_weight_remat_size: int,
    expert_gtp_weight_remat_size: int,
    fp4: str | None,
    fp4_param_gather: bool,
    fp8_recipe: str | None,
    fp8_param_gather: bool,
    reuse_grad_buf_for_mxfp8_param_ag: bool,
    ddp_average_in_collective: bool,
    ckpt_format: str,
    dist_ckpt_optim_fully_reshardable: bool,
    distrib_optim_fully_reshardable_mem_efficient: bool,
    gtp_remat_nccl_ub: bool | None,
    gtp_expert_remat_nccl_ub: bool | None,
    disable_symmetric_registration: bool,
) -> Problems:
    """What weights in more shards than tensors have need."""
    if gtp_weight_remat_size <= 1 and expert_gtp_weight_remat_size <= 1:
        return
    shards = "tensor_parallel_num_weight_shards"
    shards = shards if gtp_weight_remat_size > 1 else f"expert_{shards}"
    mxfp8 = fp8_recipe == "mxfp8"
    sparing = dist_ckpt_optim_fully_reshardable and distrib_optim_fully_reshardable_mem_efficient
    buffers = (gtp_remat_nccl_ub or gtp_expert_remat_nccl_ub) and disable_symmetric_registration
    for on, name, fact in (
        (fp4 and not fp4_param_gather, "fp4_param_gather", "--fp4-param-gather, with --fp4-format"),
        (ddp_average_in_collective, "ddp_average_in_collective", "no --ddp-average-in-collective"),
        (
            ckpt_format not in ("torch", "torch_dist"),
            "ckpt_format",
            f"--ckpt-format torch_dist or torch, not {ckpt_format}",
        ),
        (
            sparing,
            "distrib_optim_fully_reshardable_mem_efficient",
            "no --distrib-optim-fully-reshardable-mem-efficient",
        ),
        (mxfp8 and not fp8_param_gather, "fp8_recipe", "--fp8-param-gather, with --fp8-recipe mxfp8"),
        (
            mxfp8 and not reuse_grad_buf_for_mxfp8_param_ag,
            "fp8_recipe",
            "--reuse-grad-buf-for-mxfp8-param-ag, with --fp8-recipe mxfp8",
        ),
        (buffers, "disable_symmetric_registration", "no --disable-symmetric-registration, with buffers of NCCL"),
    ):
        if on:
            yield Invalid(f"{flag(shards)} above tensor parallelism needs {fact}", "", (shards, name))


@checks(">=0.20", see=TRANSFORMER_CONFIG)
def modules_in_shards(gtp_remat_opt_in_modules: list[str]) -> Problems:
    """Modules whose weights are in shards only where they are named."""
    if unknown := [name for name in gtp_remat_opt_in_modules if name != "moe_latent_proj"]:
        yield Invalid(f"--gtp-remat-opt-in-modules does not know {', '.join(unknown)}", "it knows moe_latent_proj")
