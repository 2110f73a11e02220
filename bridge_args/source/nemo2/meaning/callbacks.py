"""Callbacks and plugins that are settings in Bridge."""

from __future__ import annotations

from typing import Any

from bridge_args.bridge.names import name_of
from bridge_args.source.nemo2.meaning.state import Meaning
from bridge_args.values import Built


def callbacks(m: Meaning) -> None:
    """Callbacks and plugins that are settings in Bridge."""
    if m.has("DeepEPCallback"):
        m.derive("model.moe_token_dispatcher_type", "flex", "DeepEPCallback._target_")
        m.derive("model.moe_enable_deepep", True, "DeepEPCallback._target_")
        m.derive("model.moe_shared_expert_overlap", False, "DeepEPCallback._target_")
        m.values |= {"model.moe_enable_deepep": True}
    if m.has("MegatronTokenDropCallback"):
        factor = m["MegatronTokenDropCallback.moe_expert_capacity_factor"]
        m.derive(
            "model.moe_expert_capacity_factor",
            factor if factor is not None and factor >= 0 else None,
            "MegatronTokenDropCallback.moe_expert_capacity_factor",
        )
        pad = bool(m["MegatronTokenDropCallback.moe_pad_expert_input_to_capacity"])
        m.derive(
            "model.moe_pad_expert_input_to_capacity", pad, "MegatronTokenDropCallback.moe_pad_expert_input_to_capacity"
        )
    if m.has("GarbageCollectionCallback"):
        train, val = m["GarbageCollectionCallback.gc_interval_train"], m["GarbageCollectionCallback.gc_interval_val"]
        m.derive("manual_gc", True, "GarbageCollectionCallback._target_")
        m.derive("manual_gc_eval", bool(val), "GarbageCollectionCallback.gc_interval_val")
        if val and val != train:
            m.lost("GarbageCollectionCallback.gc_interval_val", "Bridge collects once around a validation.", "speed")
    if m.has("MegatronEnableExperimentalCallback"):
        m.derive("experimental", True, "MegatronEnableExperimentalCallback._target_")
    for name in ("PreemptionCallback", "PreemptionPlugin"):
        if m.has(name):
            m.derive("exit_signal_handler", True, f"{name}._target_")
    if m["PreemptionCallback.sig"] is not None:
        m.derive("exit_signal", m["PreemptionCallback.sig"], "PreemptionCallback.sig")
    for name in ("NsysCallback", "NsysPlugin"):
        if m.has(name):
            m.derive("use_nsys_profiler", True, f"{name}._target_")
            _steps_of(m, name)
    if m.has("PytorchProfilerCallback"):
        m.derive("use_pytorch_profiler", True, "PytorchProfilerCallback._target_")
        _steps_of(m, "PytorchProfilerCallback")
        if m["PytorchProfilerCallback.trace_dir"]:
            m.derive(
                "tensorboard_dir", str(m["PytorchProfilerCallback.trace_dir"]), "PytorchProfilerCallback.trace_dir"
            )
    for name in ("MemoryProfileCallback", "MemoryProfilePlugin"):
        if m.has(name):
            m.derive("record_memory_history", True, f"{name}._target_")
            m.derive("memory_snapshot_path", f"{m[f'{name}.dir']}/snapshot.pickle", f"{name}.dir")
            if m[f"{name}.ranks"]:
                m.derive("profile_ranks", m[f"{name}.ranks"], f"{name}.ranks")
    if m.has("FaultTolerancePlugin"):
        m.derive("enable_ft_package", True, "FaultTolerancePlugin._target_")
    deferred = "MegatronCommOverlapCallback.defer_embedding_wgrad_compute"
    if m[deferred] and m["strategy.pipeline_model_parallel_size"] == 1:
        m.derive(deferred, False, "strategy.pipeline_model_parallel_size")
        message = (
            "deferring gradients of the embedding is for pipelines, and Megatron Core refuses it without; it is off"
        )
        m.tell("done-otherwise", deferred, message)
    overlap = m["MegatronCommOverlapCallback.tp_comm_overlap_cfg"]
    theirs = _buffers(m, overlap)
    if theirs is not None:
        m.derive("tp_comm_overlap_cfg", theirs, "MegatronCommOverlapCallback.tp_comm_overlap_cfg")
    elif overlap is not None:
        m.lost(
            "MegatronCommOverlapCallback.tp_comm_overlap_cfg",
            "name one of Bridge's userbuffers in comm_overlap.tp_comm_overlap_cfg.",
            "speed",
        )
    if m.has("WandbPlugin"):
        m.lost("WandbPlugin._target_", "set logger.wandb_project and logger.wandb_exp_name.", "logs")


def _steps_of(m: Meaning, name: str) -> None:
    for field, ours in (
        ("start_step", "profile_step_start"),
        ("end_step", "profile_step_end"),
        ("ranks", "profile_ranks"),
    ):
        if m[f"{name}.{field}"] is not None:
            m.derive(ours, m[f"{name}.{field}"], f"{name}.{field}")


def _buffers(m: Meaning, value: Any) -> Any:
    """The user buffers of each layer, whose classes Bridge has under the same names; None where it has not."""
    if not isinstance(value, Built):
        return None
    theirs = f"{name_of('overlap of layers', m.bridge).rpartition('.')[0]}.{value.path.rpartition('.')[2]}"
    if not value.path.startswith("nemo.") or theirs not in m.schema.classes:
        return None
    inside = {name: _buffers(m, one) if isinstance(one, Built) else one for name, one in value.kwargs.items()}
    return (
        None
        if any(isinstance(value.kwargs[name], Built) and one is None for name, one in inside.items())
        else Built(theirs, inside)
    )
