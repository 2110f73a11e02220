"""Checkpoints: the formats Bridge writes, and what it does not read back."""

from __future__ import annotations

from typing import Any, Final

from bridge_args.mapping.sections.registry import Lost, Rejected, builder

WRITTEN: Final = ("torch_dist", "fsdp_dtensor")  # megatron/bridge/training/checkpointing.py load_checkpoint


@builder(writes=("checkpoint.ckpt_format",))
def checkpoint_format(ckpt_format: str, load: str | None = None) -> dict[str, Any]:
    """Bridge writes and reads two of Megatron-LM's four formats; what is only written differs as a file."""
    if ckpt_format in WRITTEN:
        return {"checkpoint.ckpt_format": ckpt_format}
    return {
        "ckpt_format": Lost(
            "Bridge writes and reads torch_dist and fsdp_dtensor; torch_dist is used, and a checkpoint in the old "
            "format has to be converted first, with Megatron-LM's --ckpt-convert-format torch_dist, or, its weights "
            "alone, with `bridge-args checkpoint adopt`.",
            changes="logs" if load is None else "numbers",
        )
    }


@builder(when="bridge <0.5")
def async_format(async_save: bool | None, ckpt_format: str) -> dict[str, Any]:
    """Which checkpoints are saved while training goes on.

    See megatron/bridge/training/config.py ConfigContainer.validate.
    """
    if async_save and ckpt_format == "fsdp_dtensor":
        return {"async_save": Rejected("Bridge before 0.5 saves only torch_dist this way; leave out --async-save.")}
    return {}


@builder(absent={"use_persistent_ckpt_worker": True})  # of the oldest, for which Bridge's own default stays
def async_saving(async_save: bool | None, use_persistent_ckpt_worker: bool, save: str | None) -> dict[str, Any]:
    """What saving while training goes on needs; Megatron-LM before 0.16 saves without a persistent worker too.

    See megatron/bridge/training/config.py CheckpointConfig.finalize.
    """
    if async_save and save is None:
        return {"async_save": Rejected("Bridge refuses it where nothing is saved; leave out --async-save.")}
    if async_save and not use_persistent_ckpt_worker:
        return {"async_save": Rejected("Bridge needs a worker that stays for it; add --use-persistent-ckpt-worker.")}
    return {}


@builder()
def checkpoint_load(ckpt_step: int | None, load: str | None, ckpt_convert_format: str | None) -> dict[str, Any]:
    """What Megatron-LM does with a checkpoint, and Bridge does not.

    See megatron/bridge/training/initialize.py initialize_megatron, where it is left out.
    """
    decided: dict[str, Any] = {}
    if ckpt_step is not None and load is None:
        decided["ckpt_step"] = Rejected("Bridge takes a step only from checkpoint.load; give --load too.")
    if ckpt_convert_format is not None:
        decided["ckpt_convert_format"] = Lost(
            "Bridge would train instead of converting; convert the checkpoint with Megatron-LM."
        )
    return decided


@builder()
def resharding(
    dist_ckpt_optim_fully_reshardable: bool, distrib_optim_fully_reshardable_mem_efficient: bool
) -> dict[str, Any]:
    """See megatron/bridge/training/config.py CheckpointConfig.finalize."""
    if dist_ckpt_optim_fully_reshardable and distrib_optim_fully_reshardable_mem_efficient:
        return {
            "distrib_optim_fully_reshardable_mem_efficient": Rejected(
                "Bridge refuses it together with --dist-ckpt-optim-fully-reshardable; leave it out."
            )
        }
    return {}
