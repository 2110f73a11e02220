"""What optimizers, gradients, the pipeline schedule and checkpoints stop at when they are set up or first used.

``validate_args`` lets it pass. The facts are Megatron Core's, so Bridge stops at the same place.
"""

from __future__ import annotations

from bridge_args.megatron_lm.derive.optimizer import BY_ELEMENTS
from bridge_args.megatron_lm.derive.registry import Invalid, Problems, checks, flag, later
from bridge_args.megatron_lm.programs import HYBRID_MODELS

DISTRIBUTED = "distributed/distributed_data_parallel.py DistributedDataParallel.__init__"
SCHEDULE = "pipeline_parallel/schedules.py forward_backward_pipelining_with_interleaving"


@checks(see="megatron/core/optimizer/distrib_optimizer.py::DistributedOptimizer.__init__")
def sharded_states(
    optimizer: str, use_distributed_optimizer: bool, optimizer_cpu_offload: bool | None, skip_train: bool | None
) -> Problems:
    """Whose states can be divided among ranks."""
    if optimizer == "sgd" and use_distributed_optimizer and not optimizer_cpu_offload and not skip_train:
        yield later(
            "--use-distributed-optimizer divides the states of adam, not of sgd: the optimizer cannot be built",
            "leave out --use-distributed-optimizer, or use --optimizer adam",
            ("optimizer", "use_distributed_optimizer"),
            "optimizer/distrib_optimizer.py DistributedOptimizer.__init__",
        )


@checks(
    ">=0.16",
    see=(
        "megatron/core/optimizer/muon.py::get_megatron_muon_optimizer",
        "megatron/core/optimizer/muon.py::TensorParallelMuon.__init__",
    ),
    until="0.18",
    read=("0.16", "0.17"),
)
def muon_steps(optimizer: str, fp16: bool, muon_num_ns_steps: int, skip_train: bool | None) -> Problems:
    """What Muon computes with."""
    if "muon" in optimizer and not skip_train:
        yield from _without_halves(optimizer, fp16, "optimizer/muon.py get_megatron_muon_optimizer")
        yield from _steps(muon_num_ns_steps, "optimizer/muon.py TensorParallelMuon.__init__")


@checks(
    ">=0.18",
    see=(
        "megatron/core/optimizer/__init__.py::_get_megatron_emerging_optimizer",
        "megatron/core/optimizer/emerging_optimizers.py::TensorParallelMuon.__init__",
    ),
    read=("0.18", "0.19", "0.20"),
)
def emerging_optimizers(optimizer: str, fp16: bool, muon_num_ns_steps: int, skip_train: bool | None) -> Problems:
    """What Muon and the optimizers that came after it compute with."""
    if optimizer in BY_ELEMENTS or skip_train:
        return
    yield from _without_halves(optimizer, fp16, "optimizer/__init__.py _get_megatron_emerging_optimizer")
    if optimizer == "muon":
        yield from _steps(muon_num_ns_steps, "optimizer/emerging_optimizers.py TensorParallelMuon.__init__")


def _without_halves(optimizer: str, fp16: bool, see: str) -> Problems:
    if fp16:
        yield later(
            f"--optimizer {optimizer} does not work with --fp16: the optimizer cannot be built",
            "use --bf16",
            ("optimizer", "fp16"),
            see,
        )


def _steps(muon_num_ns_steps: int, see: str) -> Problems:
    if muon_num_ns_steps < 1:
        yield later(
            f"--muon-num-ns-steps must be at least 1, not {muon_num_ns_steps}",
            "leave it out for 5",
            ("muon_num_ns_steps",),
            see,
        )


@checks(
    see=(
        "megatron/core/optimizer/grad_scaler.py::MegatronGradScaler.__init__",
        "megatron/core/optimizer/grad_scaler.py::DynamicGradScaler.__init__",
    )
)
def scales_of_losses(
    fp16: bool,
    bf16: bool,
    loss_scale: float | None,
    initial_loss_scale: float | None,
    min_loss_scale: float | None,
    loss_scale_window: float | None,
    hysteresis: int | None,
    skip_train: bool | None,
) -> Problems:
    """Bounds of the loss scale."""
    if skip_train or not (fp16 or bf16):
        return
    see = "optimizer/grad_scaler.py"
    if loss_scale:
        if loss_scale < 0:
            yield later(f"--loss-scale must be above 0, not {loss_scale}", "", ("loss_scale",), see)
        return
    if not fp16:
        return
    for name, value in (
        ("initial_loss_scale", initial_loss_scale),
        ("min_loss_scale", min_loss_scale),
        ("loss_scale_window", loss_scale_window),
        ("hysteresis", hysteresis),
    ):
        if value is not None and value <= 0:
            yield later(f"{flag(name)} must be above 0, not {value}", "", (name,), see)
    if (min_loss_scale or 0) > (initial_loss_scale or 0) > 0:
        yield later(
            f"--min-loss-scale {min_loss_scale} is above --initial-loss-scale {initial_loss_scale}",
            "",
            ("min_loss_scale", "initial_loss_scale"),
            see,
        )


@checks(
    see=(
        "megatron/core/distributed/distributed_data_parallel.py::DistributedDataParallel.__init__",
        "megatron/core/distributed/param_and_grad_buffer.py::_ParamAndGradBucketGroup.__init__",
    )
)
def reduced_gradients(
    num_distributed_optimizer_instances: int | None,
    use_distributed_optimizer: bool,
    calculate_per_token_loss: bool,
    ddp_average_in_collective: bool | None,
    ddp_reduce_scatter_with_fp32_accumulation: bool | None,
    use_torch_fsdp2: bool | None,
    use_megatron_fsdp: bool | None,
) -> Problems:
    """How gradients are summed."""
    if use_torch_fsdp2 or use_megatron_fsdp:
        return
    several = (num_distributed_optimizer_instances or 1) > 1
    if several and not use_distributed_optimizer:
        yield later(
            f"--num-distributed-optimizer-instances {num_distributed_optimizer_instances} needs the distributed "
            "optimizer",
            "add --use-distributed-optimizer",
            ("num_distributed_optimizer_instances",),
            DISTRIBUTED,
        )
    if calculate_per_token_loss and ddp_average_in_collective:
        yield later(
            "--ddp-average-in-collective averages over ranks, --calculate-per-token-loss over tokens",
            "leave out --ddp-average-in-collective",
            ("ddp_average_in_collective", "calculate_per_token_loss"),
            DISTRIBUTED,
        )
    if several and use_distributed_optimizer and ddp_reduce_scatter_with_fp32_accumulation:
        yield later(
            "--ddp-reduce-scatter-with-fp32-accumulation works with one instance of the distributed optimizer, not "
            f"{num_distributed_optimizer_instances}",
            "leave out one of them",
            ("ddp_reduce_scatter_with_fp32_accumulation", "num_distributed_optimizer_instances"),
            "distributed/param_and_grad_buffer.py _ParamAndGradBucketGroup.__init__",
        )


@checks(see="megatron/core/pipeline_parallel/schedules.py::forward_backward_pipelining_with_interleaving")
def microbatches_of_virtual_stages(
    virtual_pipeline_model_parallel_size: int | None,
    pipeline_model_parallel_size: int,
    microbatch_group_size_per_vp_stage: int | None,
    micro_batch_size: int | None,
    global_batch_size: int | None,
    batch_size_steps: list[tuple[int, int]],
    data_parallel_size: int,
) -> Problems:
    """The interleaved schedule goes by groups."""
    if virtual_pipeline_model_parallel_size is None or pipeline_model_parallel_size < 2:
        return
    samples = batch_size_steps[0][1]
    if not global_batch_size or not micro_batch_size:
        return
    ranks = pipeline_model_parallel_size
    count = samples // (micro_batch_size * data_parallel_size)
    group = microbatch_group_size_per_vp_stage or ranks
    name = "microbatch_group_size_per_vp_stage" if microbatch_group_size_per_vp_stage else "global_batch_size"
    concerned = (name, "micro_batch_size", "pipeline_model_parallel_size", "num_layers_per_virtual_pipeline_stage")
    if group < ranks:
        yield later(
            f"--microbatch-group-size-per-virtual-pipeline-stage {group} is less than pipeline {ranks}: "
            "the first step stops",
            f"use {ranks} or more",
            concerned,
            SCHEDULE,
        )
    elif group > count:
        yield later(
            f"virtual stages take {group} micro-batches at a time, and a step has {count} = {samples} samples / "
            f"(micro-batch {micro_batch_size} x data parallel {data_parallel_size}): the first step stops",
            "use a larger --global-batch-size",
            concerned,
            SCHEDULE,
        )
    elif 0 < count % group < ranks:
        yield later(
            f"virtual stages take {group} micro-batches at a time, and the last {count % group} of the {count} of a "
            f"step are fewer than pipeline {ranks}: the first step stops",
            f"use a --global-batch-size that makes a multiple of {group} micro-batches",
            concerned,
            SCHEDULE,
        )


@checks(see="megatron/training/checkpointing.py::save_checkpoint", until="0.17", read=("0.16", "0.17"))
def saving_in_the_background(
    save: str | None, async_save: bool | None, use_persistent_ckpt_worker: bool | None, ckpt_format: str
) -> Problems:
    """Formats that are not saved in the background."""
    if save is not None and async_save and use_persistent_ckpt_worker and ckpt_format in ("fsdp_dtensor", "torch_dcp"):
        yield Invalid(
            f"--ckpt-format {ckpt_format} is not saved in the background: the first save stops "
            "(megatron/training/checkpointing.py save_checkpoint)",
            "leave out --async-save",
            ("async_save", "ckpt_format"),
            late=True,
        )


@checks(see="megatron/training/checkpointing.py::save_checkpoint", read=("0.16", "0.17", "0.18", "0.19", "0.20"))
def saving_in_between(
    save: str | None, non_persistent_save_interval: int | None, non_persistent_ckpt_type: str | None
) -> Problems:
    """Checkpoints that do not last are of a kind."""
    if save is not None and non_persistent_save_interval and non_persistent_ckpt_type is None:
        yield Invalid(
            "--non-persistent-save-interval needs --non-persistent-ckpt-type: the first of these saves stops "
            "(megatron/training/checkpointing.py save_checkpoint)",
            "add --non-persistent-ckpt-type global",
            ("non_persistent_save_interval", "non_persistent_ckpt_type"),
            late=True,
        )


@checks(
    see="megatron/training/checkpointing.py::_load_global_dist_base_checkpoint",
    read=("0.16", "0.17", "0.18", "0.19", "0.20"),
)
def loading_strictly(load: str | None, pretrained_checkpoint: str | None, dist_ckpt_strictness: str | None) -> Problems:
    """Two of the ways to load give the keys back beside the tensors, which the training loop does not expect."""
    wanted = dist_ckpt_strictness or ""
    if (load is not None or pretrained_checkpoint is not None) and wanted.startswith("return_"):
        yield Invalid(
            f"--dist-ckpt-strictness {wanted} is for programs that want the keys: the run stops when it "
            "loads a checkpoint (megatron/training/checkpointing.py _load_global_dist_base_checkpoint)",
            f"use {wanted.replace('return', 'log')}",
            ("dist_ckpt_strictness", "load"),
            late=True,
        )


@checks(see="megatron/training/initialize.py::_set_random_seed")
def seeds(seed: int) -> Problems:
    """Where random numbers begin."""
    if seed <= 0:
        yield Invalid(
            f"--seed must be above 0, not {seed} (megatron/training/initialize.py _set_random_seed)",
            "",
            ("seed",),
            late=True,
        )


@checks(
    see="megatron/core/ssm/mamba_block.py::MambaStack._select_layers_for_pipeline_parallel",
    until="0.17",
    read=("0.16", "0.17"),
)
def stages_of_hybrid_models(virtual_pipeline_model_parallel_size: int | None, program: str) -> Problems:
    """Hybrid models have no virtual stages."""
    if program in HYBRID_MODELS and virtual_pipeline_model_parallel_size is not None:
        yield later(
            "hybrid models have no virtual pipeline stages: the model cannot be built",
            "leave out --num-layers-per-virtual-pipeline-stage and --num-virtual-stages-per-pipeline-rank",
            ("num_layers_per_virtual_pipeline_stage", "num_virtual_stages_per_pipeline_rank"),
            "ssm/mamba_block.py MambaStack",
        )
