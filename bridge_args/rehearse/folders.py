"""Settings and arguments that name what a run writes; a rehearsal and a verification write to folders of their own.

One table for Bridge and one for Megatron-LM; ``tests/rehearse/test_folders.py`` goes over every setting and argument
that looks like a path, so that a new one is decided on.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs
from bridge_args.records import Record


class Own(Record):
    """What is written goes to ``leaf`` inside the own folder.

    Attributes:
        always: also where the run names no place, because then it writes beside its data or where it is started.
    """

    leaf: str
    always: bool = False


class Instead(Record):
    """The setting has this value: somebody else's service hears nothing, and what is not there yet is not wanted."""

    value: Any


Written = Mapping[str, Own | Instead]

# Bridge's settings. Verify: megatron/bridge/training/config.py; for the index of the data, megatron/core/datasets
# gpt_dataset.py, which writes beside the data where no path is given.
SETTINGS: Final[Written] = {
    "checkpoint.save": Own("checkpoints"),
    "checkpoint.ckpt_convert_save": Own("converted"),
    "checkpoint.non_persistent_global_ckpt_dir": Own("non_persistent"),
    "checkpoint.non_persistent_local_ckpt_dir": Own("non_persistent_local"),
    "dataset.path_to_cache": Own("index", always=True),
    "dataset.object_storage_cache_path": Own("object_storage"),
    "dataset.cache_dir": Own("data"),
    "dataset.hf_output_root": Own("data"),
    "dataset.dataloader_save": Own("dataloader"),
    "dataset.fast_cache_load": Instead(False),
    "dist.flight_recorder_dump_path": Own("flight_recorder"),
    "inprocess_restart.monitor_process_logdir": Own("monitor"),
    "logger.tensorboard_dir": Own("tensorboard"),
    "logger.save_config_filepath": Own("run_config.yaml"),
    "logger.moe_routing_trace_path": Own("moe_routing"),
    "logger.wandb_save_dir": Own("wandb"),
    "logger.wandb_project": Instead(None),
    "logger.wandb_exp_name": Instead(None),
    "logger.wandb_entity": Instead(None),
    "logger.mlflow_experiment": Instead(None),
    "logger.mlflow_run_name": Instead(None),
    "logger.mlflow_tracking_uri": Instead(None),
    "logger.comet_project": Instead(None),
    "logger.comet_experiment_name": Instead(None),
    "logger.comet_workspace": Instead(None),
    "model.config_logger_dir": Own("config_model"),
    "optimizer.config_logger_dir": Own("config_optimizer"),
    "profiling.memory_snapshot_path": Own("snapshot.pickle", always=True),
    "tensor_inspect.log_dir": Own("inspected", always=True),
}
# Read, and left as they are.
SETTINGS_READ: Final = frozenset(
    "checkpoint.hf_source_path checkpoint.load checkpoint.pretrained_checkpoint dataset.blend "
    "dataset.blend_per_split dataset.data_path dataset.dataloader_load dataset.dataset_root dataset.hf_data_files "
    "dataset.hf_dataset_path dataset.hf_model_path dataset.hf_processor_path dataset.hf_tokenizer_path "
    "dataset.image_folder dataset.path dataset.per_dataset_sequences_path dataset.processor_paths "
    "dataset.test_data_path dataset.tokenizer_path dataset.train_data_path dataset.valid_data_path "
    "dist.nccl_communicator_config_path model.tp_comm_overlap_cfg tensor_inspect.feature_dirs "
    "tensor_inspect.features tokenizer.chat_template_path tokenizer.merge_file tokenizer.metadata_path "
    "tokenizer.tokenizer_model tokenizer.vocab_file".split()
)

# Megatron-LM's arguments. Verify: megatron/training/arguments.py, and who reads them.
ARGUMENTS: Final[Written] = {
    "save": Own("checkpoints"),
    "ckpt_convert_save": Own("converted"),
    "ckpt_pg_tensors_cache_path": Own("process_groups"),
    "config_logger_dir": Own("config"),
    "data_cache_path": Own("index", always=True),
    "dataloader_fast_cache_load": Instead(False),
    "dump_param_to_param_group_map": Own("param_groups.json"),
    "flight_recorder_dump_path": Own("flight_recorder"),
    "logits_save_dir": Own("logits"),
    "memory_snapshot_path": Own("snapshot.pickle"),
    "moe_routing_trace_path": Own("moe_routing"),
    "non_persistent_global_ckpt_dir": Own("non_persistent"),
    "non_persistent_local_ckpt_dir": Own("non_persistent_local"),
    "object_storage_cache_path": Own("object_storage"),
    "s3_cache_path": Own("object_storage"),
    "result_rejected_tracker_filename": Own("rejected.txt"),
    "rl_profile_dir": Own("rl_profile"),
    "rl_rollout_bank_dir": Own("rollouts"),
    "tensorboard_dir": Instead(None),
    "wandb_save_dir": Instead(None),
    "wandb_project": Instead(None),
    "wandb_exp_name": Instead(None),
    "wandb_entity": Instead(None),
    "one_logger_project": Instead(None),
    "one_logger_run_name": Instead(None),
}
ARGUMENTS_READ: Final = frozenset(
    "bert_load block_data_path data_args_path data_path embedding_path evidence_data_path export_kd_cfg "
    "export_kd_teacher_load export_kd_teacher_model_config export_quant_cfg finetune_data_files "
    "heterogeneous_layers_config_path ict_load kitchen_config_file langrl_env_config load logits_load_dir merge_file "
    "metadata_path nccl_communicator_config_path per_dataset_sequences_path per_split_data_args_path "
    "pretrained_checkpoint retro_project_dir te_precision_config_file teacher_model_config test_data_path "
    "titles_data_path tokenizer_metadata tokenizer_model tp_comm_overlap_cfg train_data_path valid_data_path "
    "vocab_file yaml_cfg".split()
)


class Replaced(Record):
    """A place that the run would write to."""

    path: str
    place: str

    def __str__(self) -> str:
        return f"{self.place} ({self.path})"


def replaced(run_config: Mapping[str, Any]) -> tuple[Replaced, ...]:
    """The places that a run config names, which ``own`` puts others for; without Bridge's defaults."""
    found = []
    for path, instead in SETTINGS.items():
        value = _value(run_config, path)
        if value and not (isinstance(instead, Own) and value == instead.leaf):
            found.append(Replaced(path, str(value)))
    return tuple(found)


def replaced_arguments(args: MegatronArgs) -> tuple[Replaced, ...]:
    """The places that a command line names, which a verification puts others for."""
    named = ((name, args[name]) for name, instead in ARGUMENTS.items() if name in args and isinstance(instead, Own))
    return tuple(Replaced(name, str(value)) for name, value in named if value and value != ARGUMENTS[name][0])


def own(run_config: Mapping[str, Any], folder: Path, within: Path | None = None) -> dict[str, Any]:
    """The run config with everything that is written inside a folder.

    Args:
        folder: one that need not exist.
        within: places inside this one are left as they are.
    """
    kept = str((within or folder).resolve()) + "/"
    made: dict[str, Any] = copy.deepcopy(dict(run_config))
    for path, instead in SETTINGS.items():
        section, _, name = path.partition(".")
        holder = made.get(section)
        if not isinstance(holder, dict) or name not in holder:
            continue
        if isinstance(instead, Instead):
            if holder[name]:
                holder[name] = instead.value
        elif (holder[name] or instead.always) and not str(holder[name]).startswith(kept):
            holder[name] = str(folder.resolve() / instead.leaf)
    return made


def _value(run_config: Mapping[str, Any], path: str) -> Any:
    section, _, name = path.partition(".")
    holder = run_config.get(section)
    return holder.get(name) if isinstance(holder, dict) else None
