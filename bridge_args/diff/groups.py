"""What a setting changes in a run: the training numbers, speed and memory, logs and files, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, Literal

from bridge_args.mapping import table as tables
from bridge_args.mapping.rows import Row
from bridge_args.megatron_lm import readers
from bridge_args.versions import Versions, usual_for

Changes = Literal["numbers", "speed", "logs"]
Group = Changes | Literal["nothing"]

TITLES: Final[dict[Group, str]] = {
    "numbers": "Training numbers",
    "speed": "Speed and memory",
    "logs": "Logs and files",
    "nothing": "Read by neither run",
}
# What the rows of a table are about (`mappings/AREA.yaml`), where a row itself does not say it.
_OF_AREAS: Final[dict[str, Changes]] = {
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
_OF_SECTIONS: Final[dict[str, Changes]] = {
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
_OF_SETTINGS: Final[dict[str, Changes]] = {
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
            "model.cp_comm_type",
            "model.cuda_graph_modules",
            "model.cuda_graph_scope",
            "model.sequence_parallel",
            "train.manual_gc",
            "train.manual_gc_interval",
            "train.manual_gc_eval",
            "train.empty_unused_memory_level",
            "world_size",
        ),
        "speed",
    ),
    # What a checkpoint says of the model beside its layers.
    **dict.fromkeys(("model.generation_config", "model.hf_model_id", "model.inference_sampling_seed"), "logs"),
}


def group_of(path: str, bridge: str) -> Changes:
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


def read_by_neither(path: str, bridge: str, sides: Sequence[Mapping[str, Any]]) -> bool:
    """Does nothing read a setting in either run, as ``muon_momentum`` where both use Adam?

    Args:
        sides: the settings of each run, by their path.
    """
    section, _, name = path.partition(".")
    row = _rows(bridge).get(path)
    argument = row.argument if row is not None else name
    if argument not in readers.conditions_of():
        return False
    paths = _paths(bridge)

    def unread(values: Mapping[str, Any]) -> bool:
        def value_of(other: str) -> Any:
            return values.get(f"{section}.{other}", values.get(paths.get(other, "")))

        def there(other: str) -> bool:
            return f"{section}.{other}" in values or paths.get(other) in values

        return bool(readers.unmet(argument, value_of, there))

    return all(map(unread, sides))


@cache
def _paths(bridge: str) -> dict[str, str]:
    """Argument to the setting that has its value as it is."""
    return {row.argument: path for path, row in _rows(bridge).items() if not row.conversion and len(row.to) == 1}
