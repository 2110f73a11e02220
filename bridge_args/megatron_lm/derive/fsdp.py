"""Fully sharded data parallelism: PyTorch's (FSDP2) and Megatron's."""

from __future__ import annotations

from collections.abc import Mapping

from bridge_args.megatron_lm.derive.registry import VALIDATE_ARGS, Invalid, Problems, checks, computes, derives, flag


@computes(">=0.14", see=VALIDATE_ARGS)
def use_custom_fsdp(use_megatron_fsdp: bool | None) -> bool:
    """The old name of ``use_megatron_fsdp``."""
    return bool(use_megatron_fsdp)


@derives(see=VALIDATE_ARGS)
def high_priority_stream_groups(
    high_priority_stream_groups: list[str], use_torch_fsdp2: bool | None, expert_model_parallel_size: int
) -> list[str]:
    """With FSDP2 its communication goes first. What Megatron FSDP adds on Blackwell is not looked at."""
    groups = list(high_priority_stream_groups or [])
    if use_torch_fsdp2:
        wanted = ["dp_cp", "ep_dp"] if expert_model_parallel_size > 1 else ["dp_cp"]
        groups += [group for group in wanted if group not in groups]
    return groups


@derives(">=0.18", see=VALIDATE_ARGS, read=("0.18", "0.19", "0.20"))
def fsdp_manual_registration(
    fsdp_manual_registration: bool, use_megatron_fsdp: bool | None, nccl_ub: bool | None
) -> bool:
    """On where Megatron FSDP has buffers that NCCL registers."""
    return fsdp_manual_registration or bool(use_megatron_fsdp and nccl_ub)


@derives(">=0.19", see=VALIDATE_ARGS, read=("0.19", "0.20"))
def fsdp_double_buffer(
    fsdp_double_buffer: bool,
    use_megatron_fsdp: bool | None,
    nccl_ub: bool | None,
    megatron_fsdp_max_pool_double_buffer: bool | None,
) -> bool:
    """On with such buffers, and where a pool of them is asked for."""
    return fsdp_double_buffer or bool(use_megatron_fsdp and (nccl_ub or megatron_fsdp_max_pool_double_buffer))


@checks(see=VALIDATE_ARGS)
def torch_fsdp2(
    use_torch_fsdp2: bool | None,
    pipeline_model_parallel_size: int,
    expert_model_parallel_size: int,
    use_distributed_optimizer: bool,
    gradient_accumulation_fusion: bool,
    ckpt_format: str,
    untie_embeddings_and_output_weights: bool,
    fp16: bool,
) -> Problems:
    """What PyTorch's FSDP2 excludes."""
    if not use_torch_fsdp2:
        return
    for on, name, fact in (
        (pipeline_model_parallel_size > 1, "pipeline_model_parallel_size", "no pipeline parallelism"),
        (expert_model_parallel_size > 1, "expert_model_parallel_size", "no expert parallelism"),
        (use_distributed_optimizer, "use_distributed_optimizer", "no --use-distributed-optimizer"),
        (gradient_accumulation_fusion, "gradient_accumulation_fusion", "--no-gradient-accumulation-fusion"),
        (
            ckpt_format not in ("torch_dist", "torch_dcp"),
            "ckpt_format",
            f"--ckpt-format torch_dist or torch_dcp, not {ckpt_format}",
        ),
        (
            not untie_embeddings_and_output_weights,
            "untie_embeddings_and_output_weights",
            "--untie-embeddings-and-output-weights",
        ),
        (fp16, "fp16", "--bf16, not --fp16"),
    ):
        if on:
            yield Invalid(f"--use-torch-fsdp2 needs {fact}", arguments=("use_torch_fsdp2", name))


@checks(">=0.12", see=VALIDATE_ARGS)
def connections_of_torch_fsdp2(use_torch_fsdp2: bool | None, env: Mapping[str, str]) -> Problems:
    """More than one hardware queue."""
    if use_torch_fsdp2:
        yield from _connections("use_torch_fsdp2", env)


@checks(">=0.14", see=VALIDATE_ARGS)
def megatron_fsdp(
    use_megatron_fsdp: bool,
    ckpt_format: str,
    fsdp_manual_registration: bool | None,
    nccl_ub: bool | None,
    env: Mapping[str, str],
) -> Problems:
    """What Megatron FSDP needs."""
    if fsdp_manual_registration and not use_megatron_fsdp:
        yield Invalid("--fsdp-manual-registration needs --use-megatron-fsdp", arguments=("fsdp_manual_registration",))
    if fsdp_manual_registration and not nccl_ub:
        yield Invalid("--fsdp-manual-registration needs --use-nccl-ub", arguments=("fsdp_manual_registration",))
    if not use_megatron_fsdp:
        return
    if ckpt_format != "fsdp_dtensor":
        yield Invalid(
            f"--use-megatron-fsdp saves with --ckpt-format fsdp_dtensor, not {ckpt_format}",
            arguments=("use_megatron_fsdp", "ckpt_format"),
        )
    yield from _connections("use_megatron_fsdp", env)


@checks(">=0.18", see=VALIDATE_ARGS, read=("0.18", "0.19", "0.20"))
def megatron_fsdp_and_others(
    use_megatron_fsdp: bool,
    optimizer: str,
    init_model_with_meta_device: bool | None,
    data_parallel_sharding_strategy: str | None,
    megatron_fsdp_version: int | None,
    given: Mapping[str, object],
) -> Problems:
    """What Megatron FSDP excludes."""
    if not use_megatron_fsdp:
        return
    unsharded = init_model_with_meta_device and data_parallel_sharding_strategy == "no_shard"
    for name, on in (
        ("optimizer", optimizer not in ("sgd", "adam")),
        ("init_model_with_meta_device", unsharded),
        ("use_distributed_optimizer", megatron_fsdp_version == 2 and given.get("use_distributed_optimizer")),
    ):
        if on:
            yield Invalid(f"--use-megatron-fsdp cannot be combined with {flag(name)}", "", ("use_megatron_fsdp", name))


@checks(">=0.19", see=VALIDATE_ARGS, read=("0.19", "0.20"))
def megatron_fsdp_and_experts(
    use_megatron_fsdp: bool, moe_single_grouped_weight: bool | None, moe_single_grouped_bias: bool | None
) -> Problems:
    """Weights of experts that are one tensor."""
    for name, on in (
        ("moe_single_grouped_weight", moe_single_grouped_weight),
        ("moe_single_grouped_bias", moe_single_grouped_bias),
    ):
        if use_megatron_fsdp and on:
            yield Invalid(f"--use-megatron-fsdp cannot be combined with {flag(name)}", "", ("use_megatron_fsdp", name))


@derives(">=0.20", see=VALIDATE_ARGS, read=("0.20",))
def ddp_reduce_scatter_with_fp32_accumulation(
    ddp_reduce_scatter_with_fp32_accumulation: bool, accumulate_allreduce_grads_in_fp32: bool
) -> bool:
    """Nothing to do where gradients are reduced in fp32."""
    return ddp_reduce_scatter_with_fp32_accumulation and not accumulate_allreduce_grads_in_fp32


@derives(">=0.20", see=VALIDATE_ARGS, read=("0.20",))
def gtp_remat_reduce_scatter_with_fp32_accumulation(
    gtp_remat_reduce_scatter_with_fp32_accumulation: bool, accumulate_allreduce_grads_in_fp32: bool
) -> bool:
    """The same for shards of weights."""
    return gtp_remat_reduce_scatter_with_fp32_accumulation and not accumulate_allreduce_grads_in_fp32


def _connections(name: str, env: Mapping[str, str]) -> Problems:
    if env.get("CUDA_DEVICE_MAX_CONNECTIONS") == "1":
        yield Invalid(
            f"{flag(name)} does not work with CUDA_DEVICE_MAX_CONNECTIONS=1",
            "unset CUDA_DEVICE_MAX_CONNECTIONS, or set a larger number",
            (name,),
        )


@checks(see=VALIDATE_ARGS)
def formats_of_fsdp(
    ckpt_format: str,
    use_torch_fsdp2: bool | None,
    use_megatron_fsdp: bool | None,
    use_custom_fsdp: bool | None,
    tensor_model_parallel_size: int,
    pipeline_model_parallel_size: int,
) -> Problems:
    """Checkpoint formats that only sharded models have."""
    if ckpt_format == "torch_dcp":
        if not use_torch_fsdp2:
            yield Invalid("--ckpt-format torch_dcp needs --use-torch-fsdp2", "use torch_dist", ("ckpt_format",))
        for name, size in (
            ("tensor_model_parallel_size", tensor_model_parallel_size),
            ("pipeline_model_parallel_size", pipeline_model_parallel_size),
        ):
            if size > 1:
                yield Invalid(
                    f"--ckpt-format torch_dcp does not work with {flag(name)} {size}", arguments=("ckpt_format", name)
                )
    if ckpt_format == "fsdp_dtensor" and not (use_megatron_fsdp or use_custom_fsdp):
        yield Invalid("--ckpt-format fsdp_dtensor needs --use-megatron-fsdp", "use torch_dist", ("ckpt_format",))
