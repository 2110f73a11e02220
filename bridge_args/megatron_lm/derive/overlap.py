"""Communication of gradients and parameters behind computation, and its buckets."""

from __future__ import annotations

from collections.abc import Mapping

from bridge_args.megatron_lm.derive.registry import VALIDATE_ARGS, Invalid, Problems, checks

_CONFIG = "megatron/core/distributed/distributed_data_parallel_config.py::DistributedDataParallelConfig.__post_init__"


@checks(">=0.17", see=VALIDATE_ARGS, read=("0.17", "0.18", "0.19", "0.20"))
def param_gather_by_layers(
    overlap_param_gather: bool,
    overlap_grad_reduce: bool,
    use_distributed_optimizer: bool,
    use_megatron_fsdp: bool | None,
    given: Mapping[str, object],
) -> Problems:
    """Parameters gathered while the forward pass runs, where optimizers may be divided by layers."""
    if not overlap_param_gather:
        return
    typed = given.get("use_distributed_optimizer") or given.get("optimizer") == "dist_muon"
    if not (use_distributed_optimizer or use_megatron_fsdp or typed):
        yield Invalid(
            "--overlap-param-gather needs --use-distributed-optimizer or --use-megatron-fsdp",
            arguments=("overlap_param_gather",),
        )
    if not overlap_grad_reduce:
        yield Invalid("--overlap-param-gather needs --overlap-grad-reduce", arguments=("overlap_param_gather",))


@checks(see=VALIDATE_ARGS, until="0.17", read=("0.16", "0.17"))
def param_gather(
    overlap_param_gather: bool,
    overlap_grad_reduce: bool,
    use_distributed_optimizer: bool,
    use_megatron_fsdp: bool | None,
    use_custom_fsdp: bool | None,
) -> Problems:
    """Parameters gathered while the forward pass runs."""
    if not overlap_param_gather:
        return
    if not (use_distributed_optimizer or use_megatron_fsdp or use_custom_fsdp):
        yield Invalid(
            "--overlap-param-gather needs --use-distributed-optimizer or --use-megatron-fsdp",
            arguments=("overlap_param_gather",),
        )
    if not overlap_grad_reduce:
        yield Invalid("--overlap-param-gather needs --overlap-grad-reduce", arguments=("overlap_param_gather",))


@checks(see=VALIDATE_ARGS)
def param_gather_with_step(
    overlap_param_gather_with_optimizer_step: bool | None,
    use_distributed_optimizer: bool,
    overlap_param_gather: bool,
    virtual_pipeline_model_parallel_size: int | None,
    use_dist_ckpt: bool,
) -> Problems:
    """Parameters gathered while the optimizer runs."""
    if not overlap_param_gather_with_optimizer_step:
        return
    for on, fact in (
        (not use_distributed_optimizer, "--use-distributed-optimizer"),
        (not overlap_param_gather, "--overlap-param-gather"),
        (virtual_pipeline_model_parallel_size is None, "virtual pipeline stages"),
        (use_dist_ckpt, "--ckpt-format torch"),
    ):
        if on:
            yield Invalid(
                f"--overlap-param-gather-with-optimizer-step needs {fact}",
                arguments=("overlap_param_gather_with_optimizer_step",),
            )


@checks(see=VALIDATE_ARGS)
def tensor_parallel_overlap(tp_comm_overlap: bool | None, sequence_parallel: bool) -> Problems:
    """Tensor-parallel communication behind matrix products."""
    if tp_comm_overlap and not sequence_parallel:
        yield Invalid(
            "--tp-comm-overlap needs --sequence-parallel and tensor parallelism",
            arguments=("tp_comm_overlap", "sequence_parallel"),
        )


@checks(see="megatron/training/training.py::get_model", until="0.18", read=("0.16", "0.17"))
@checks(">=0.18", see=_CONFIG, read=("0.18", "0.19", "0.20"))
def buckets(
    ddp_num_buckets: int | None,
    ddp_bucket_size: int | None,
    skip_train: bool | None,
    use_torch_fsdp2: bool | None,
) -> Problems:
    """Gradients in buckets, by number or by size."""
    if ddp_num_buckets is None or skip_train or use_torch_fsdp2:
        return
    if ddp_bucket_size is not None:
        yield Invalid(
            f"--ddp-num-buckets {ddp_num_buckets} and --ddp-bucket-size {ddp_bucket_size} exclude each other",
            "keep one of them",
            ("ddp_num_buckets", "ddp_bucket_size"),
        )
    if ddp_num_buckets <= 0:
        yield Invalid(f"--ddp-num-buckets must be at least 1, not {ddp_num_buckets}", arguments=("ddp_num_buckets",))


@checks(">=0.17", see=_CONFIG)
def sums_in_fp32(
    ddp_param_name_patterns_for_fp32_local_accumulation: list[str], accumulate_allreduce_grads_in_fp32: bool
) -> Problems:
    """Parameters whose gradients are summed in fp32, where not all are."""
    if ddp_param_name_patterns_for_fp32_local_accumulation and accumulate_allreduce_grads_in_fp32:
        yield Invalid(
            "--ddp-param-name-patterns-for-fp32-local-accumulation names some, and all gradients are summed in fp32",
            "leave it out, or add --grad-reduce-in-bf16",
            ("ddp_param_name_patterns_for_fp32_local_accumulation",),
        )


@checks(">=0.18", see=_CONFIG)
def user_buffers_and_segments(nccl_ub: bool, env: Mapping[str, str]) -> Problems:
    """Buffers that NCCL knows; PyTorch 2.11 lets them grow."""
    for problem in user_buffers(nccl_ub, env):
        problem.stops = False
        yield problem


@checks(see=_CONFIG, until="0.18")
def user_buffers(nccl_ub: bool | None, env: Mapping[str, str]) -> Problems:
    """Buffers that NCCL knows."""
    if nccl_ub and "expandable_segments:True" in env.get("PYTORCH_CUDA_ALLOC_CONF", "").split(","):
        yield Invalid(
            "--use-nccl-ub does not work with PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
            "unset PYTORCH_CUDA_ALLOC_CONF",
            ("nccl_ub",),
        )


@checks(see=VALIDATE_ARGS)
def weight_hashes(
    check_weight_hash_across_dp_replicas_interval: int | None,
    use_megatron_fsdp: bool | None,
    data_parallel_sharding_strategy: str | None,
) -> Problems:
    """Copies of weights can be compared where there are copies."""
    if (
        use_megatron_fsdp
        and data_parallel_sharding_strategy == "optim_grads_params"
        and check_weight_hash_across_dp_replicas_interval is not None
    ):
        yield Invalid(
            "--check-weight-hash-across-dp-replicas-interval needs whole weights on every rank, not "
            "--data-parallel-sharding-strategy optim_grads_params",
            arguments=("check_weight_hash_across_dp_replicas_interval", "data_parallel_sharding_strategy"),
        )
