"""Looking at a run: log level, profilers, re-running of steps."""

from __future__ import annotations

from typing import Any

from bridge_args.mapping.sections.registry import Lost, Rejected, builder


@builder(writes=("logger.logging_level",))
def logging_level(logging_level: int | None) -> dict[str, Any]:
    """Bridge needs a number; without one its own stays.

    See megatron/bridge/training/utils/log_utils.py setup_logging.
    """
    return {} if logging_level is None else {"logger.logging_level": logging_level}


@builder(writes=("profiling.use_pytorch_profiler", "profiling.use_nsys_profiler", "profiling.record_shapes"))
def profiler(
    profile: bool, use_pytorch_profiler: bool, record_memory_history: bool, tensorboard_dir: str | None
) -> dict[str, Any]:
    """One of the two profilers, with the shapes of tensors, which Megatron-LM always records.

    See megatron/training/training.py train and megatron/bridge/training/profiling.py.
    """
    decided: dict[str, Any] = {}
    if profile:
        which = "use_pytorch_profiler" if use_pytorch_profiler else "use_nsys_profiler"
        decided = {f"profiling.{which}": True, "profiling.record_shapes": True}
    if record_memory_history and not tensorboard_dir:
        decided["record_memory_history"] = Rejected("Bridge writes memory snapshots only with --tensorboard-dir.")
    elif record_memory_history:
        decided["record_memory_history"] = Lost(
            "Bridge dumps the memory snapshot but never starts recording its history; call "
            "torch.cuda.memory._record_memory_history() before the loop.",
            changes="logs",
        )
    return decided


@builder(writes=("rerun_state_machine.rerun_mode",))
def rerun(rerun_mode: str) -> dict[str, Any]:
    """The choice that Megatron-LM calls report_stats has another name where both look it up.

    See megatron/core/rerun_state_machine.py RerunMode.
    """
    return {
        "rerun_state_machine.rerun_mode": "report_determinism_stats" if rerun_mode == "report_stats" else rerun_mode
    }
