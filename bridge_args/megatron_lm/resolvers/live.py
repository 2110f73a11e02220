"""The other resolver: effective arguments that a real Megatron-LM computed, as ``MegatronArgs``.

They come from a checkout that was asked (``bridge_args/checkout``), or from a checkpoint a run has saved. This module
is handed the answers; it starts nothing. What Megatron-LM keeps under no name of its own, and what it decides behind
``validate_args``, is derived from the effective values as in ``derive/``; so are the reasons why a value is what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from bridge_args.findings import Finding
from bridge_args.megatron_lm.catalog import Argument, Catalog
from bridge_args.megatron_lm.converters import converts
from bridge_args.megatron_lm.derive.registry import PARALLEL_STATE, SCHEDULER, Check, Derivation, Invalid
from bridge_args.megatron_lm.parse import Given
from bridge_args.megatron_lm.resolvers import built_in
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs, Resolved, Setting, finding_of, plan_of
from bridge_args.megatron_lm.run import Run
from bridge_args.values import Symbol, is_dotted

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
_ACTIONS: Final = ("store", "append", "store_true", "store_false", "store_const", "BooleanOptionalAction")
_VARIABLE: Final = re.compile(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b")


class Disagreement(NamedTuple):
    """An argument of which the two resolvers say different things."""

    argument: str
    built_in: Any
    checkout: Any

    def __str__(self) -> str:
        return f"{self.argument}: built-in {self.built_in!r}, checkout {self.checkout!r}"


def catalog_from(answer: Mapping[str, Any], version: str, ref: str = "", commit: str = "") -> Catalog:
    """A catalog from what a checkout says of its parser; its version need not be one we have a catalog of.

    What a converter of the checkout's own makes of a word is not known here: such values stay text until the
    checkout has parsed them.
    """
    arguments = []
    for entry in answer["arguments"]:
        told = {name: decoded(value) for name, value in entry.items() if value is not None and name in Argument._fields}
        for name in ("flags", "choices", "members"):
            if name in told:
                told[name] = tuple(told[name])
        argument = Argument(**told)
        if argument.action not in _ACTIONS:
            argument = argument._replace(action="store_true" if argument.nargs == 0 else "store")
        if not converts(argument):
            argument = argument._replace(type=None, choices=None)
        arguments.append(argument)
    defaults = {name: decoded(value) for name, value in answer["program_defaults"].items()}
    return Catalog(version, ref, commit, defaults, tuple(arguments))


def decoded(value: Any) -> Any:
    """A value of an answer; see ``written`` in ``checkout/child.py``. Enum members by name."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((kind, inside),) = value.items()
        if kind == "$member":
            return inside
        if kind in ("$symbol", "$object") and not isinstance(inside, str):
            raise TypeError(f"a name, not {inside!r}")
        if kind == "$symbol":
            return Symbol(inside) if is_dotted(inside) else Unread(inside)  # a lambda has no name
        if kind == "$tuple":
            return tuple(decoded(item) for item in inside)
        if kind == "$set":
            return {decoded(item) for item in inside}
        if kind == "$object":
            return Unread(inside)
    return {key: decoded(item) for key, item in value.items()}


class Unread(NamedTuple):
    """An object of a class of Megatron-LM's; what it holds is not looked at."""

    type: str


def resolve_answer(answer: Mapping[str, Any], given: Given, run: Run) -> Resolved:
    """What a checkout made of a command line.

    Args:
        answer: of ``checkout.ask.effective``, for the same words, world size and environment.
        given: the words, parsed with the checkout's catalog.

    Returns:
        What was typed, with the values the checkout's own converters made, and the effective arguments. Where the
        checkout refuses the command line there is a finding of level error, and the values are the built-in ones.
    """
    if "parsed" in answer:
        parsed = {name: decoded(answer["parsed"][name]) for name in given.values if name in answer["parsed"]}
        accepted = tuple(finding for finding in given.findings if finding.level != "error")
        given = given._replace(values={**given.values, **parsed}, findings=accepted)
    if "error" not in answer:
        effective = {name: decoded(value) for name, value in answer["args"].items()}
        return Resolved(given, overlay(effective, given, run))
    args = built_in.resolve(given, run).args
    known = [finding for finding in (*given.findings, *args.findings) if finding.level == "error"]
    findings = args.findings if known else (*args.findings, _refusal(answer, given, run.catalog))
    return Resolved(given, MegatronArgs(args.settings, findings, run.world_size))


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


def disagreements(built_in: MegatronArgs, checkout: MegatronArgs) -> Iterator[Disagreement]:
    """Every argument whose effective value the two resolvers do not agree on."""
    for name, setting in checkout.settings.items():
        other = built_in.settings.get(name)
        if other is None or not alike(other.value, setting.value):
            yield Disagreement(name, other.value if other else None, setting.value)


def wants_variable(answer: Mapping[str, Any]) -> str | None:
    """The environment variable for want of which a checkout refuses a command line, if that is why."""
    if "error" not in answer or answer.get("stage") == "parse":
        return None
    error = answer["error"]
    found = _VARIABLE.findall(f"{error['message']} {(error.get('where') or ['', 0, '', ''])[3]}")
    return next((name for name in found if name.startswith(("CUDA_", "NCCL_", "NVTE_", "PYTORCH_"))), None)


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


def _refusal(answer: Mapping[str, Any], given: Given, catalog: Catalog) -> Finding:
    """The checkout's own words, and the user's words they are about."""
    error = answer["error"]
    where = error.get("where")
    statement = where[3] if where else ""
    message = " ".join(error["message"].split()) or statement or error["type"]
    place = f" ({where[0]}:{where[1]})" if where else ""
    named = tuple(_named(f"{message} {statement}", given, catalog))
    shown = next((name for name in named if name in given.typed), "")
    return Finding(
        "invalid-command-line",
        f"Megatron-LM stops: {message}{place}",
        arguments=named,
        place=given.place(shown),
        excerpt=given.excerpt(shown),
    )


def _named(text: str, given: Given, catalog: Catalog) -> Iterator[str]:
    """The arguments a message speaks of, by flag or by name, those that were typed first."""
    words = {word.strip("-").replace("-", "_") for word in re.findall(r"[\w-]+", text)}
    known = [name for name in catalog.defaults if name in words and "_" in name]
    known += [name for name in catalog.defaults if name in words and "_" not in name and f"args.{name}" in text]
    yield from sorted(known, key=lambda name: name not in given.typed)
