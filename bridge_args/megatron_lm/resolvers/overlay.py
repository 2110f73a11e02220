"""Effective values that are known, over what the built-in resolver finds: those of a checkout, or of a saved run.

What Megatron-LM keeps under no name of its own, and what it decides behind ``validate_args``, is derived from the
effective values as in ``derive/``; so are the reasons why a value is what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.derive.registry import PARALLEL_STATE, SCHEDULER, Check, Derivation, Invalid
from bridge_args.megatron_lm.parse import Given
from bridge_args.megatron_lm.resolvers import built_in
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs, Setting, finding_of, plan_of
from bridge_args.megatron_lm.run import Run
from bridge_args.records import Record

# Arguments that Megatron-LM settles behind validate_args, when it builds the model and the schedule.
BEHIND: Final = frozenset({"num_query_groups", "padded_vocab_size", "lr_decay_iters"})

# Where Megatron-LM refuses without a checkout being asked: there the data, the processes or the model are needed.
NOT_ASKED: Final = frozenset(
    {
        "gpt_builders.py::gpt_builder",
        "mamba_builders.py::mamba_builder",
        "megatron/core/datasets/blended_megatron_dataset_config.py::BlendedMegatronDatasetConfig.__post_init__",
        "megatron/core/distributed/distributed_data_parallel_config.py::DistributedDataParallelConfig.__post_init__",
        "megatron/core/num_microbatches_calculator.py::RampupBatchsizeNumMicroBatchesCalculator.update",
        "megatron/core/parallel_state.py::create_group",
        "megatron/core/transformer/transformer_block.py::get_num_layers_to_build",
        "megatron/training/global_vars.py::_set_wandb_writer",
        "megatron/training/initialize.py::initialize_megatron",
        "megatron/training/training.py::get_model",
        "megatron/training/training.py::get_train_valid_test_num_samples",
        PARALLEL_STATE,
        SCHEDULER,
    }
)


class Unread(Record):
    """An object of a class of Megatron-LM's; what it holds is not looked at."""

    type: str

    def __repr__(self) -> str:
        return f"an object of {self.type}"


def overlay(effective: Mapping[str, Any], given: Given, run: Run, accepted: bool = False) -> MegatronArgs:
    """Effective values that are known, with the sources that the built-in resolver finds for them.

    Args:
        effective: name to value, for the arguments Megatron-LM has after ``validate_args``.
        accepted: a run has been made with these values, so that nothing is left to be refused, and what is settled
            behind ``validate_args`` is among them.
    """
    catalog, environment_known = run.catalog, run.environment_known
    worked_out = built_in.resolve(given, run).args
    settings = dict(worked_out.settings)
    behind = {name for name in BEHIND if not accepted or name == "num_query_groups" or effective.get(name) is None}
    known = {*settings, *(step.name for step in plan_of(catalog) if isinstance(step, Derivation))}
    for name, value in effective.items():
        if name in behind or name not in known or isinstance(value, Unread):
            continue
        before = settings.get(name)
        if before is None or not alike(before.value, value):
            settings[name] = _setting(name, value, given, catalog)
    values: dict[str, Any] = {name: setting.value for name, setting in settings.items()}
    values |= {"given": given.values, **run.context}
    findings = [finding for finding in worked_out.findings if finding.level != "error" and not accepted]
    for step in plan_of(catalog):
        asked_about = isinstance(step, Check) and not NOT_ASKED.isdisjoint(step.authority.see) and not accepted
        wanted = isinstance(step, Derivation) and (step.name in behind or step.name not in effective)
        if not asked_about and not wanted:
            continue
        inputs = [values.get(name) for name in step.reads]
        try:
            if isinstance(step, Check):
                findings += [finding_of(problem, step, given, environment_known) for problem in step.function(*inputs)]
                continue
            result = step.function(*inputs)
        except Invalid as problem:
            if not accepted:
                findings.append(finding_of(problem, step, given, environment_known))
            continue
        except (TypeError, ArithmeticError, LookupError):  # a fork leaves something None that Megatron-LM does not
            continue
        if step.name not in settings or not alike(settings[step.name].value, result):
            settings[step.name] = _derived(step, result, values, settings.get(step.name))
            values[step.name] = result
    once = {(finding.kind, finding.message): finding for finding in findings}
    return MegatronArgs(settings, tuple(once.values()), run.world_size)


def alike(one: Any, other: Any) -> bool:
    """Equal, and of one type: 1 is not True; but a tuple is as good as a list, which a catalog has for both."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(alike, one, other))
    return type(one) is type(other) and bool(one == other)


def _setting(name: str, value: Any, given: Given, catalog: Catalog) -> Setting:
    typed = given.typed.get(name)
    if typed is not None and alike(given.values[name], value):
        return Setting(value, "given", typed=typed)
    if typed is None and alike(catalog.defaults.get(name), value):
        return Setting(value, "default")
    return Setting(value, "derived", typed=typed)


def _derived(step: Derivation, result: Any, values: Mapping[str, Any], before: Setting | None) -> Setting:
    inputs = {name: values[name] for name in step.reads if name in values and name not in ("given", "env", "program")}
    inputs.pop(step.name, None)
    return Setting(result, "derived", inputs, before.typed if before else None, step)
