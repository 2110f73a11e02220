"""Communication between ranks of the model."""

from __future__ import annotations

from typing import Any

from bridge_args.mapping.sections.registry import Rejected, builder
from bridge_args.megatron_lm.programs import HYBRID_MODELS


@builder(writes=("model.overlap_p2p_comm", "model.batch_p2p_comm"))
def pipeline_communication(overlap_p2p_comm: bool) -> dict[str, Any]:
    """What is not overlapped is batched. See megatron/training/arguments.py core_transformer_config_from_args."""
    return {"model.overlap_p2p_comm": overlap_p2p_comm, "model.batch_p2p_comm": not overlap_p2p_comm}


@builder(writes=("model.tp_comm_overlap_cfg",))
def tensor_overlap(tp_comm_overlap: bool, tp_comm_overlap_cfg: str | None, program: str) -> dict[str, Any]:
    """The file that says how each multiplication is overlapped; hybrid models have no setting for it.

    See megatron/bridge/training/initialize.py _initialize_tp_communicators.
    """
    if program in HYBRID_MODELS:
        if tp_comm_overlap:
            return {
                "tp_comm_overlap": Rejected(
                    "Bridge's hybrid model lacks a setting that its start-up reads for tensor-parallel overlap: "
                    "leave out --tp-comm-overlap."
                )
            }
        return {}
    return {"model.tp_comm_overlap_cfg": tp_comm_overlap_cfg}
