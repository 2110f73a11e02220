"""What a run config must give up on a CPU, and what has to stand in for missing packages there.

Only what cannot run is changed, and each change is returned, so that the user is told. Numerically these are speed
settings, except fp8 and fp4: there the rehearsal computes in the 16-bit type instead.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bridge_args.bridge.schema import load
from bridge_args.mapping.goes_to import settings_of
from bridge_args.versions import PROVEN


@dataclass(frozen=True, slots=True)
class Change:
    """One setting of a run config that a rehearsal does not take as it is."""

    path: str
    before: Any
    after: Any
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {_short(self.before)} -> {_short(self.after)} ({self.why})"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class Editor:
    """A copy of a run config, changed one setting at a time; remembers what was changed.

    A setting is named by the argument that goes there (``eval_iters``), whatever it is called in that Bridge; one that
    no argument goes to by ``section.field``, and a section by its own name.
    """

    def __init__(self, run_config: Mapping[str, Any], bridge: str) -> None:
        self.config: dict[str, Any] = copy.deepcopy(dict(run_config))
        self.changes: list[Change] = []
        self._bridge = bridge

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a setting; ``default`` where section or field are absent or None."""
        for path in self._paths(name):
            section, _, field = path.partition(".")
            holder = self.config.get(section)
            if field:
                holder = holder.get(field) if isinstance(holder, dict) else None
            if holder is not None:
                return holder
        return default

    def set(self, name: str, value: Any, why: str) -> None:
        """Changes a setting, if its section has it and the value differs."""
        for path in self._paths(name):
            section, _, field = path.partition(".")
            holder = self.config if not field else self.config.get(section)
            key = field or section
            if isinstance(holder, dict) and key in holder and holder[key] != value:
                self.changes.append(Change(path, holder[key], value, why))
                holder[key] = value

    def _paths(self, name: str) -> tuple[str, ...]:
        return (name,) if "." in name or name in load(self._bridge).sections else settings_of(name, self._bridge)


@dataclass(frozen=True, slots=True)
class StandIns:
    """Packages the emulation must provide for a configuration (``cpu.install``)."""

    transformer_engine: bool
    apex_layer_norm: bool


# setting, the value that runs on a CPU, why; applied where another true value stands
_OFF: Final[tuple[tuple[str, Any, str], ...]] = (
    ("model.fp8", None, "no fp8 on a CPU"),
    ("model.fp8_param", False, "no fp8 on a CPU"),
    ("model.fp4", None, "no fp4 on a CPU"),
    ("fp4_param", False, "no fp4 on a CPU"),
    ("ddp.fp8_param_gather", False, "no fp8 on a CPU"),
    ("ddp.reuse_grad_buf_for_mxfp8_param_ag", False, "no fp8 on a CPU"),
    ("optimizer.reuse_grad_buf_for_mxfp8_param_ag", False, "no fp8 on a CPU"),
    ("cuda_graph_impl", "none", "no CUDA graphs on a CPU"),
    ("model.enable_cuda_graph", False, "no CUDA graphs on a CPU"),
    ("model.external_cuda_graph", False, "no CUDA graphs on a CPU"),
    ("model.use_te_rng_tracker", False, "Transformer Engine's random state lives on the GPU"),
    ("te_rng_tracker", False, "Transformer Engine's random state lives on the GPU"),
    ("comm_overlap.tp_comm_overlap", False, "user buffers need NVLink"),
    ("tp_comm_overlap", False, "user buffers need NVLink"),
    ("nccl_ub", False, "user buffers belong to NCCL"),
    ("model.cpu_offloading", False, "everything is on the CPU already"),
    ("fine_grained_activation_offloading", False, "everything is on the CPU already"),
    ("optimizer_cpu_offload", False, "everything is on the CPU already"),
    ("ddp.use_megatron_fsdp", False, "sharding by FSDP is not emulated"),
    ("dist.use_megatron_fsdp", False, "sharding by FSDP is not emulated"),
    ("use_torch_fsdp2", False, "sharding by FSDP is not emulated"),
    ("model.init_model_with_meta_device", False, "goes with sharding by FSDP"),
    ("moe_permute_fusion", False, "needs a fused kernel"),
    ("moe_router_fusion", False, "needs a fused kernel"),
    ("moe_enable_deepep", False, "DeepEP needs a GPU"),
    ("model.use_transformer_engine_op_fuser", False, "needs Transformer Engine's operator fusion"),
    ("model.batch_invariant_mode", False, "needs Triton kernels"),
    ("inprocess_restart", None, "watches GPU processes"),
    ("nvrx_straggler", None, "measures GPU kernels"),
    ("ft", None, "needs the launcher of the NVIDIA resiliency extension"),
    ("profiling.use_nsys_profiler", False, "profiles a GPU"),
    ("record_memory_history", False, "records GPU memory"),
)


def adapt(run_config: Mapping[str, Any], bridge: str = PROVEN.bridge) -> tuple[dict[str, Any], tuple[Change, ...]]:
    """The run config with everything switched off that cannot run on a CPU, and the list of that.

    Args:
        bridge: the version that the run config is for.
    """
    edit = Editor(run_config, bridge)
    for name, value, why in _OFF:
        if edit.get(name):
            edit.set(name, value, why)
    _mixed_precision(edit)
    _fusions(edit)
    if edit.get("moe_token_dispatcher_type") == "flex":
        edit.set("moe_token_dispatcher_type", "alltoall", "the flexible dispatcher needs a GPU")
    if edit.get("checkpoint.ckpt_format") == "fsdp_dtensor":
        edit.set("checkpoint.ckpt_format", "torch_dist", "sharding by FSDP is not emulated")
    return edit.config, tuple(edit.changes)


def _mixed_precision(edit: Editor) -> None:
    """fp8 and fp4 recipes become the 16-bit recipe they are built on."""
    recipe = edit.get("mixed_precision")
    if isinstance(recipe, str):
        if "fp8" in recipe or "fp4" in recipe:
            edit.set("mixed_precision", f"{recipe[:4]}_mixed", "no fp8 and no fp4 on a CPU")
    elif isinstance(recipe, dict):
        off: dict[str, bool | None] = {"fp8": None, "fp4": None}
        off |= dict.fromkeys(("fp8_param", "fp8_param_gather", "reuse_grad_buf_for_mxfp8_param_ag"), False)
        for name, value in off.items():
            if recipe.get(name):
                edit.set(f"mixed_precision.{name}", value, "no fp8 and no fp4 on a CPU")


def _fusions(edit: Editor) -> None:
    """Rotary embedding and cross entropy have a fused form in Transformer Engine, and an unfused one that works."""
    local = not stand_ins(edit.config).transformer_engine
    if edit.get("apply_rope_fusion") and (local or edit.get("multi_latent_attention")):
        edit.set("apply_rope_fusion", False, "needs a fused kernel")
    if edit.get("cross_entropy_fusion_impl") == "te" and local:
        edit.set("cross_entropy_fusion_impl", "native", "needs Transformer Engine")


def stand_ins(run_config: Mapping[str, Any]) -> StandIns:
    """Which packages a run of this configuration uses on a GPU machine, of those that can be stood in for.

    Transformer Engine: unless the layers are Megatron Core's local ones, and for the precision-aware optimizer. Apex:
    its layer norm, for what PyTorch's is refused by Megatron Core (``WrappedTorchNorm``): persistent kernels, sequence
    parallelism, zero-centred weights. Apex has no RMSNorm, and Megatron Core refuses these for RMSNorm there as well.
    """
    model, optimizer = run_config["model"], run_config.get("optimizer") or {}
    spec = model.get("transformer_layer_spec")
    said = spec if isinstance(spec, dict) else {"_target_": str(spec or "")}
    local = said.get("_target_", "").endswith("local_layer_spec") or said.get("use_transformer_engine") is False
    local = local and not model.get("mtp_num_layers")
    special = ("persist_layer_norm", "sequence_parallel", "layernorm_zero_centered_gamma")
    layer_norm = model.get("normalization", "LayerNorm") == "LayerNorm"
    return StandIns(
        transformer_engine=not local or optimizer.get("use_precision_aware_optimizer") is True,
        apex_layer_norm=local and layer_norm and any(model.get(option) for option in special),
    )
