"""Every name of Bridge's, Megatron Core's and Megatron-LM's that running code of ours hooks, calls or asks.

A name may stand elsewhere from one version to the next: the alternatives are tried in their order. Nothing is imported
until it is asked for. ``tests/against/test_foreign.py`` looks for each of them in what is installed.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Final

from bridge_args.errors import UserError


class NotThere(UserError):
    """The installed version has no such name: what needs it cannot be done with it."""


class Foreign:
    """A name of somebody else's code.

    Args:
        alternatives: ``module:name`` or ``module:Class.name``, or several with blanks between, which are all the same
            function under the names by which it is looked up; of the alternatives the first that is there counts.
        takes: parameters that a function must have by these names.
        optional: some versions have no such thing, and need none.
    """

    def __init__(self, *alternatives: str, takes: str = "", optional: bool = False) -> None:
        self.alternatives = tuple(tuple(places.split()) for places in alternatives)
        self.takes = tuple(takes.split())
        self.optional = optional

    def places(self) -> list[tuple[Any, str]]:
        """Holder and name of each place of the first alternative that is there; empty where there is none."""
        for places in self.alternatives:
            if found := [place for place in map(_place, places) if place is not None]:
                return found
        return []

    def get(self) -> Any:
        """What the name stands for.

        Raises:
            NotThere: the installed version has no such name.
        """
        for holder, name in self._needed():
            return getattr(holder, name)

    def hook(self, wrap: Callable[[Any], Any]) -> None:
        """Puts ``wrap`` of what is there in every place.

        Raises:
            NotThere: the installed version has no such name, and it is not optional.
        """
        for holder, name in self.places() if self.optional else self._needed():
            static = isinstance(inspect.getattr_static(holder, name), staticmethod) and isinstance(holder, type)
            wrapped = wrap(getattr(holder, name))
            setattr(holder, name, staticmethod(wrapped) if static else wrapped)

    def put(self, value: object) -> None:
        """Puts a value in every place, whatever is there."""
        self.hook(lambda before: value)

    def _needed(self) -> list[tuple[Any, str]]:
        places = self.places()
        if not places:
            names = " or ".join(self.alternatives[0])
            raise NotThere(f"this cannot be done with the installed version: it has no {names.replace(':', '.')}")
        return places


def _place(text: str) -> tuple[Any, str] | None:
    module, _, name = text.partition(":")
    try:
        holder: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module + ".").startswith(error.name + "."):
            return None
        raise
    *classes, last = name.split(".")
    for part in classes:
        holder = getattr(holder, part, None)
    return (holder, last) if holder is not None and hasattr(holder, last) else None


def names() -> Iterator[tuple[str, Foreign]]:
    """Every one there is, under the name that it has here."""
    for name, value in globals().items():
        if isinstance(value, Foreign):
            yield name, value


_TRAINING: Final = "megatron.bridge.training"
_CORE: Final = "megatron.core"
_LM: Final = "megatron.training"
_STEP: Final = "loss_dict learning_rate loss_scale skipped_iter grad_norm"  # what both training_log are given

# ---------------------------------------------------------------- Bridge's training

PRETRAIN: Final = Foreign(f"{_TRAINING}.pretrain:pretrain", takes="config forward_step_func callbacks")
ATTEMPT: Final = Foreign(f"{_TRAINING}.pretrain:_pretrain", takes="state")
VALIDATE: Final = Foreign(f"{_TRAINING}.pretrain:runtime_config_update")
SETUP: Final = Foreign(f"{_TRAINING}.pretrain:setup")
TRAINING_LOG: Final = Foreign(f"{_TRAINING}.train:training_log", takes=f"config global_state {_STEP}")
EVALUATE: Final = Foreign(f"{_TRAINING}.eval:evaluate", takes="is_test")
MOE_METRICS: Final = Foreign(f"{_TRAINING}.utils.train_utils:track_moe_metrics", takes="writer")
MTP_METRICS: Final = Foreign(f"{_TRAINING}.utils.train_utils:MTPLossLoggingHelper.track_mtp_metrics", takes="writer")
CALLBACK: Final = Foreign(f"{_TRAINING}.callbacks:Callback")
FORWARD_STEP: Final = Foreign(
    f"{_TRAINING}.gpt_step:forward_step", takes="state data_iterator model return_schedule_plan"
)
GET_BATCH: Final = Foreign(f"{_TRAINING}.gpt_step:get_batch")
BATCH_SIZES: Final = Foreign(f"{_TRAINING}.initialize:init_num_microbatches_calculator")
NUMBERS_OF_SAMPLES: Final = Foreign("megatron.bridge.data.loaders:get_train_valid_test_num_samples")
# The loop of Bridge 0.3 looks a save up in its own modules; since 0.4 a manager does, in the module of checkpoints. Its
# official hook (checkpoint.custom_manager_class) would be written into the run config that a checkpoint keeps, and
# Bridge alone could not go on from it.
SAVE: Final = Foreign(
    f"{_TRAINING}.train:save_checkpoint {_TRAINING}.pretrain:save_checkpoint",
    f"{_TRAINING}.checkpointing:save_checkpoint",
    takes="state non_persistent_ckpt",
)
FINALIZE_SAVES: Final = Foreign(
    f"{_TRAINING}.train:maybe_finalize_async_save {_TRAINING}.pretrain:maybe_finalize_async_save",
    f"{_TRAINING}.checkpointing:maybe_finalize_async_save",
)
READ_TRAIN_STATE: Final = Foreign(f"{_TRAINING}.utils.checkpoint_utils:read_train_state")
READ_RUN_CONFIG: Final = Foreign(f"{_TRAINING}.utils.checkpoint_utils:read_run_config")

# ---------------------------------------------------------------- Bridge's conversion

AUTO_BRIDGE: Final = Foreign("megatron.bridge:AutoBridge")
ONE_PROCESS: Final = Foreign(f"{_TRAINING}.model_load_save:temporary_distributed_context", takes="backend")
LOAD_MODEL: Final = Foreign(f"{_TRAINING}.model_load_save:load_megatron_model", takes="checkpoint_path use_cpu_init")
SAVE_MODEL: Final = Foreign(f"{_TRAINING}.model_load_save:save_megatron_model", takes="model path")
LORA: Final = Foreign("megatron.bridge.peft.lora:LoRA")
ADAPTED: Final = Foreign("megatron.bridge.peft.adapter_wrapper:AdapterWrapper")  # a layer with an adapter beside it
MODEL_OF_CHECKPOINT: Final = Foreign(f"{_TRAINING}.model_load_save:load_model_config", takes="checkpoint_path")

# ---------------------------------------------------------------- Megatron Core

LOAD_SHARDED: Final = Foreign(f"{_CORE}.dist_checkpointing:load", takes="sharded_state_dict checkpoint_dir")
COMMON_STATE: Final = Foreign(f"{_CORE}.dist_checkpointing:load_common_state_dict", takes="checkpoint_dir")
CONTENT_METADATA: Final = Foreign(f"{_CORE}.dist_checkpointing:load_content_metadata", takes="preloaded_state_dict")
PARALLEL_STATE: Final = Foreign(f"{_CORE}:parallel_state")
WRITE_TENSORS: Final = Foreign(
    f"{_CORE}.dist_checkpointing.strategies.filesystem_async:FileSystemWriterAsync.write_preloaded_data",
    takes="local_proc_idx",
)
QUEUE_OF_SAVES: Final = Foreign(f"{_CORE}.dist_checkpointing.strategies.filesystem_async:_results_queue")
NEXT_BATCH: Final = Foreign(f"{_CORE}.rerun_state_machine:RerunDataIterator.__next__")
MAKE_DATASETS: Final = Foreign(
    f"{_CORE}.datasets.blended_megatron_dataset_builder:BlendedMegatronDatasetBuilder.__init__",
    takes="cls sizes is_built_on_rank config",
)
PARAMETER_GROUPS: Final = Foreign(f"{_CORE}.optimizer:_get_param_groups", optional=True)
STANDARD_OVERRIDES: Final = Foreign(f"{_CORE}.optimizer:get_standard_config_overrides")
BLOCK_SUBMODULES: Final = Foreign(f"{_CORE}.transformer.transformer_block:TransformerBlockSubmodules")
UNWRAP_MODEL: Final = Foreign(f"{_CORE}.utils:unwrap_model")
MODEL_CONFIG: Final = Foreign(f"{_CORE}.utils:get_model_config")
GLOBAL_BATCH_SIZE: Final = Foreign(f"{_CORE}.num_microbatches_calculator:get_current_global_batch_size")
MICRO_BATCH_SIZE: Final = Foreign(f"{_CORE}.num_microbatches_calculator:get_micro_batch_size")
MICROBATCHES: Final = Foreign(f"{_CORE}.num_microbatches_calculator:get_num_microbatches")
COMPILE_HELPERS: Final = Foreign(f"{_CORE}.datasets.utils:compile_helpers")

# ---------------------------------------------------------------- Megatron-LM's training

LM_TRAINING_LOG: Final = Foreign(f"{_LM}.training:training_log", takes=f"iteration {_STEP}")
LM_EVALUATE: Final = Foreign(f"{_LM}.training:evaluate")
LM_ANNOUNCE: Final = Foreign(f"{_LM}.training:evaluate_and_print_results")
LM_SETUP: Final = Foreign(f"{_LM}.training:setup_model_and_optimizer")
LM_ARGUMENTS: Final = Foreign(f"{_LM}.global_vars:get_args")
LM_MOE_METRICS: Final = Foreign(
    f"{_LM}.training:track_moe_metrics",
    f"{_CORE}.transformer.moe.moe_logging:MoEMetricsTracker.report",  # since 0.19
    takes="writer",
)
LM_MTP_METRICS: Final = Foreign(f"{_LM}.training:MTPLossLoggingHelper.track_mtp_metrics", takes="writer")
LM_KERNELS: Final = Foreign("megatron.legacy.fused_kernels:load", optional=True)  # gone since 0.18

# ---------------------------------------------------------------- NVIDIA's resiliency extension

# After a fault, since 0.6: the state of the GPU, of NVLink and of the network card that belong to a rank.
DEVICE_CHECKS: Final = Foreign(
    " ".join(
        f"nvidia_resiliency_ext.inprocess.health_check:Chained{device}HealthCheck.__call__"
        for device in ("GPU", "NVL", "Nic")
    ),
    optional=True,
)
