"""What a setting changes in a run: the training numbers, speed and memory, or logs and files."""

from __future__ import annotations

from functools import cache
from typing import Final, Literal

from bridge_args.mapping import table as tables
from bridge_args.mapping.rows import Row
from bridge_args.versions import Versions, usual_for

Group = Literal["numbers", "speed", "logs"]

TITLES: Final[dict[Group, str]] = {
    "numbers": "Training numbers",
    "speed": "Speed and memory",
    "logs": "Logs and files",
}
# What the rows of a table are about (`mappings/AREA.yaml`), where a row itself does not say it.
_OF_AREAS: Final[dict[str, Group]] = {
    "checkpointing": "logs",
    "cuda_graphs": "speed",
    "distributed": "speed",
    "fusions": "speed",
    "inprocess_restart": "logs",
    "logging": "logs",
    "overlap": "speed",
    "profiling": "logs",
    "recompute": "speed",
}
# Sections of Bridge, for settings that no row leads to.
_OF_SECTIONS: Final[dict[str, Group]] = {
    "checkpoint": "logs",
    "comm_overlap": "speed",
    "ddp": "speed",
    "dist": "speed",
    "env_vars": "speed",
    "ft": "logs",
    "inprocess_restart": "logs",
    "logger": "logs",
    "nvrx_straggler": "logs",
    "profiling": "logs",
    "straggler": "logs",
    "tensor_inspect": "logs",
}
_OF_SETTINGS: Final[dict[str, Group]] = {
    # What a run begins from.
    **dict.fromkeys(
        (
            "checkpoint.ckpt_step",
            "checkpoint.finetune",
            "checkpoint.load",
            "checkpoint.load_optim",
            "checkpoint.load_rng",
            "checkpoint.pretrained_checkpoint",
        ),
        "numbers",
    ),
    # What is added up in which format, and what stops the run.
    **dict.fromkeys(
        (
            "ddp.average_in_collective",
            "ddp.check_for_nan_in_grad",
            "ddp.grad_reduce_in_fp32",
            "ddp.reduce_scatter_with_fp32_accumulation",
            "ddp.gradient_reduce_div_fusion",
        ),
        "numbers",
    ),
    **dict.fromkeys(
        (
            "dataset.data_sharding",
            "dataset.mmap_bin_files",
            "dataset.num_dataset_builder_threads",
            "dataset.num_workers",
            "dataset.path_to_cache",
            "dataset.persistent_workers",
            "dataset.pin_memory",
            "model.sequence_parallel",
            "train.manual_gc",
            "train.manual_gc_interval",
            "train.manual_gc_eval",
            "train.empty_unused_memory_level",
            "world_size",
        ),
        "speed",
    ),
}


def group_of(path: str, bridge: str) -> Group:
    """What another value of a setting changes."""
    if path in _OF_SETTINGS:
        return _OF_SETTINGS[path]
    row = _rows(bridge).get(path)
    if row is not None and row.changes in ("speed", "logs"):
        return "speed" if row.changes == "speed" else "logs"
    area = _OF_AREAS.get(row.area) if row is not None else None
    return area or _OF_SECTIONS.get(path.partition(".")[0], "numbers")


@cache
def _rows(bridge: str) -> dict[str, Row]:
    table = tables.load(Versions(usual_for(bridge), bridge))
    return {path: row for row in table.rows.values() for path in row.to}
