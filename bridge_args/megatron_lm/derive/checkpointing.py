"""Saving and loading."""

from __future__ import annotations

from bridge_args.megatron_lm.derive.registry import VALIDATE_ARGS, Invalid, Problems, checks, computes, derives, flag


@computes(see="megatron/training/utils.py::update_use_dist_ckpt")
def use_dist_ckpt(ckpt_format: str | None) -> bool:
    """Is the format one of the distributed ones?"""
    return ckpt_format != "torch"


_INITIALIZE = "megatron/training/initialize.py::initialize_megatron"


@derives(">=0.16", see=VALIDATE_ARGS)
def async_save(async_save: bool | None, use_dist_ckpt: bool, use_persistent_ckpt_worker: bool | None) -> bool | None:
    """Needs the persistent worker; without it saving is synchronous."""
    if use_dist_ckpt and async_save and not use_persistent_ckpt_worker:
        return False
    return async_save


@derives(">=0.17", see=VALIDATE_ARGS, read=("0.17", "0.18", "0.19", "0.20"))
def async_strategy(async_strategy: str, async_save: bool | None) -> str:
    """Who saves in the background; where nobody does, the plain way."""
    return async_strategy if async_save else "mcore"


@derives(">=0.19", see=VALIDATE_ARGS, until="0.20", read=("0.19", "0.20"))
def stream_ckpt_dequant(stream_ckpt_dequant: bool, fp8: str | None, fp8_recipe: str | None) -> bool:
    """Off where a whole tensor has one scale in FP8."""
    return stream_ckpt_dequant and not (fp8 and fp8_recipe == "tensorwise")


@derives(">=0.17", see=VALIDATE_ARGS, read=("0.17", "0.18", "0.19", "0.20"))
def use_gloo_process_groups(use_gloo_process_groups: bool, fake_process_group: bool | None) -> bool:
    """There are no groups to a fake process group."""
    return use_gloo_process_groups and not fake_process_group


@derives(">=0.17", see=VALIDATE_ARGS, name="no_load_optim")
def no_load_optim_beside_rollouts(
    no_load_optim: bool | None, skip_train: bool | None, moe_use_upcycling: bool | None, perform_rl_step: bool | None
) -> bool | None:
    """The same; with rollouts the user says."""
    return True if skip_train and not perform_rl_step or moe_use_upcycling else no_load_optim


@derives(see=VALIDATE_ARGS, until="0.16", name="no_load_optim")
def no_load_optim_after_upcycling(no_load_optim: bool | None, moe_use_upcycling: bool | None) -> bool | None:
    """An upcycled model has no optimizer to go on from."""
    return True if moe_use_upcycling else no_load_optim


@derives(">=0.16", see=VALIDATE_ARGS, until="0.17")
def no_load_optim(no_load_optim: bool | None, skip_train: bool | None, moe_use_upcycling: bool | None) -> bool | None:
    """There is nothing to load for without training, or after upcycling."""
    return True if skip_train or moe_use_upcycling else no_load_optim


@derives(see=VALIDATE_ARGS)
def no_load_rng(no_load_rng: bool | None, moe_use_upcycling: bool | None) -> bool | None:
    """An upcycled model has no random state to go on from."""
    return True if moe_use_upcycling else no_load_rng


@derives(see=_INITIALIZE, until="0.18", read=("0.16", "0.17"))
@derives(">=0.18", see=VALIDATE_ARGS)
def exit_on_missing_checkpoint(exit_on_missing_checkpoint: bool, ckpt_convert_format: str | None) -> bool:
    """Conversion needs something to convert."""
    return exit_on_missing_checkpoint or ckpt_convert_format is not None


@derives(see=VALIDATE_ARGS)
def enable_gloo_process_groups(enable_gloo_process_groups: bool, fake_process_group: bool | None) -> bool:
    """There are no groups to a fake process group."""
    return enable_gloo_process_groups and not fake_process_group


@derives(see=VALIDATE_ARGS)
def replication_jump(replication_jump: int | None, replication: bool | None) -> int | None:
    """Without replication there is no distance of copies."""
    return None if replication_jump and not replication else replication_jump


@checks(see=VALIDATE_ARGS)
def saving(
    save: str | None,
    save_interval: int | None,
    save_retain_interval: int | None,
    log_memory_interval: int | None,
    log_interval: int,
) -> Problems:
    """How often to save, and which checkpoints to keep."""
    if log_memory_interval is not None and (log_interval < 1 or log_memory_interval % log_interval):
        yield Invalid(
            f"--log-memory-interval {log_memory_interval} is not a multiple of --log-interval {log_interval}",
            arguments=("log_memory_interval", "log_interval"),
        )
    if save is None:
        return
    if save_interval is None:
        yield Invalid("--save needs --save-interval", "give the iterations between checkpoints", ("save",))
        return
    if save_interval < 1:
        yield Invalid(f"--save-interval must be at least 1, not {save_interval}", arguments=("save_interval",))
    elif save_retain_interval is not None and (save_retain_interval < 1 or save_retain_interval % save_interval):
        yield Invalid(
            f"--save-retain-interval {save_retain_interval} is not a multiple of --save-interval {save_interval}",
            arguments=("save_retain_interval", "save_interval"),
        )


@checks(see=VALIDATE_ARGS)
def local_checkpoints(
    non_persistent_ckpt_type: str | None,
    non_persistent_local_ckpt_dir: str | None,
    replication: bool | None,
    replication_jump: int | None,
) -> Problems:
    """Checkpoints on the nodes themselves."""
    kind = non_persistent_ckpt_type
    if kind not in (None, "global", "local"):
        yield Invalid(
            f"--non-persistent-ckpt-type {kind} is not there yet", "use global or local", ("non_persistent_ckpt_type",)
        )
    if kind == "local" and non_persistent_local_ckpt_dir is None:
        yield Invalid(
            "--non-persistent-ckpt-type local needs --non-persistent-local-ckpt-dir",
            arguments=("non_persistent_ckpt_type",),
        )
    if replication and replication_jump is None:
        yield Invalid("--replication needs --replication-jump", arguments=("replication",))
    if replication and kind != "local":
        yield Invalid("--replication needs --non-persistent-ckpt-type local", arguments=("replication",))


@checks(see=VALIDATE_ARGS)
def optimizer_states(
    enable_gloo_process_groups: bool | None,
    use_gloo_process_groups: bool | None,
    use_distributed_optimizer: bool,
    use_dist_ckpt: bool,
    dist_ckpt_optim_fully_reshardable: bool | None,
    distrib_optim_fully_reshardable_mem_efficient: bool | None,
    load_main_params_from_ckpt: bool | None,
    no_load_optim: bool | None,
) -> Problems:
    """How optimizer states are saved and loaded."""
    gloo = "enable_gloo_process_groups" if use_gloo_process_groups is None else "use_gloo_process_groups"
    if False in (enable_gloo_process_groups, use_gloo_process_groups) and use_distributed_optimizer:
        if not use_dist_ckpt:
            yield Invalid(
                "--ckpt-format torch gathers the distributed optimizer with Gloo, which --disable-gloo-process-groups "
                "switches off",
                "use --ckpt-format torch_dist",
                (gloo, "ckpt_format"),
            )
        elif dist_ckpt_optim_fully_reshardable and distrib_optim_fully_reshardable_mem_efficient:
            yield Invalid(
                "--distrib-optim-fully-reshardable-mem-efficient needs Gloo",
                "leave out --disable-gloo-process-groups",
                ("distrib_optim_fully_reshardable_mem_efficient", gloo),
            )
    if load_main_params_from_ckpt and not no_load_optim:
        yield Invalid("--load-main-params-from-ckpt needs --no-load-optim", arguments=("load_main_params_from_ckpt",))


@checks(see=_INITIALIZE, until="0.18", read=("0.16", "0.17"))
@checks(
    ">=0.18",
    see=(VALIDATE_ARGS, "megatron/training/arguments.py::parse_and_validate_args"),
    read=("0.18", "0.19", "0.20"),
)
def sources_of_checkpoints(
    use_checkpoint_args: bool | None,
    load: str | None,
    pretrained_checkpoint: str | None,
    non_persistent_ckpt_type: str | None,
    ckpt_convert_format: str | None,
    ckpt_convert_save: str | None,
) -> Problems:
    """What reading a checkpoint's arguments, or converting it, needs."""
    if use_checkpoint_args and load is None and pretrained_checkpoint is None:
        yield Invalid("--use-checkpoint-args needs --load or --pretrained-checkpoint", "", ("use_checkpoint_args",))
    if use_checkpoint_args and non_persistent_ckpt_type == "local":
        yield Invalid(
            "--use-checkpoint-args does not work with --non-persistent-ckpt-type local",
            arguments=("use_checkpoint_args", "non_persistent_ckpt_type"),
        )
    if ckpt_convert_format is not None:
        missing = [name for name, value in (("load", load), ("ckpt_convert_save", ckpt_convert_save)) if value is None]
        if missing:
            yield Invalid(
                f"--ckpt-convert-format needs {' and '.join(map(flag, missing))}", arguments=("ckpt_convert_format",)
            )


@checks(">=0.18", see=VALIDATE_ARGS, read=("0.18", "0.19", "0.20"))
def saving_parameters(save: str | None, save_params_interval: int | None, overlap_param_gather: bool) -> Problems:
    """Parameters in files of their own."""
    if save is not None and save_params_interval is not None and overlap_param_gather:
        yield Invalid(
            "--save-params-interval does not work with --overlap-param-gather",
            arguments=("save_params_interval", "overlap_param_gather"),
        )


@checks(">=0.19", see=VALIDATE_ARGS, read=("0.19", "0.20"))
def logits_and_iterations(
    logits_save_dir: str | None,
    logits_save_top_k: int | None,
    async_save: bool | None,
    override_ckpt_iteration: int | None,
    finetune: bool | None,
) -> Problems:
    """Logits are saved in the background; a run that starts anew has no iteration to override."""
    if logits_save_dir is not None:
        if logits_save_top_k is None:
            yield Invalid("--logits-save-dir needs --logits-save-top-k", arguments=("logits_save_dir",))
        if not async_save:
            yield Invalid(
                "--logits-save-dir needs --async-save and --use-persistent-ckpt-worker", arguments=("logits_save_dir",)
            )
    if override_ckpt_iteration is not None and finetune:
        yield Invalid(
            "--override-ckpt-iteration and --finetune exclude each other",
            arguments=("override_ckpt_iteration", "finetune"),
        )


@checks(">=0.20", see=VALIDATE_ARGS, read=("0.20",))
def cache_of_groups(
    ckpt_pg_tensors_cache_path: str | None,
    ckpt_fully_parallel_save_process_group: str | None,
    ckpt_fully_parallel_load_process_group: str | None,
) -> Problems:
    """One cache for what is saved and what is loaded."""
    if ckpt_pg_tensors_cache_path is not None and (
        ckpt_fully_parallel_save_process_group != ckpt_fully_parallel_load_process_group
    ):
        yield Invalid(
            "--ckpt-pg-tensors-cache-path needs the same process group for saving and loading",
            arguments=("ckpt_fully_parallel_save_process_group", "ckpt_fully_parallel_load_process_group"),
        )
