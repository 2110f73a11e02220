"""Given arguments + defaults + derived values -> the effective arguments of Megatron-LM.

The order of derivations is never written down: a derivation's parameters are the arguments it reads, and
``graphlib`` puts them in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from graphlib import TopologicalSorter
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from bridge_args.findings import Finding, cut
from bridge_args.megatron_lm.catalog import Catalog, load
from bridge_args.megatron_lm.derive.registry import CONTEXT, REGISTERED, Check, Derivation, Invalid
from bridge_args.megatron_lm.parse import Given, Typed
from bridge_args.megatron_lm.run import Run
from bridge_args.records import Record

Source = Literal["given", "default", "derived", "checkpoint"]


class Setting(Record):
    """The effective value of one argument.

    Attributes:
        value: plain data; dtypes and functions as ``values.Symbol``; enum members by name.
        source: was it typed, is it the default, was it derived, or taken from a checkpoint (``--use-checkpoint-args``).
        inputs: for a derived value, what it was derived from.
        where: for a value from a checkpoint, which one.
        typed: the flag as the user wrote it, where there is one (also when a derivation changed the value).
        step: what of ours derived the value; None where Megatron-LM itself was asked, and where nothing is derived.
    """

    value: Any
    source: Source
    inputs: Mapping[str, Any] = MappingProxyType({})
    typed: Typed | None = None
    step: Derivation | None = None
    where: str = ""


class MegatronArgs:
    """Every argument's effective value, plus what Megatron-LM computes from them under names of its own."""

    __slots__ = ("findings", "settings", "world_size")

    def __init__(self, settings: Mapping[str, Setting], findings: tuple[Finding, ...], world_size: int) -> None:
        self.settings = settings
        self.findings = findings
        self.world_size = world_size

    def __getitem__(self, name: str) -> Any:
        return self.settings[name].value

    def __contains__(self, name: object) -> bool:
        return name in self.settings

    def __iter__(self) -> Iterator[str]:
        return iter(self.settings)

    def is_on(self, name: str) -> bool:
        """Is there such an argument, with a value other than None, False, 0 or nothing?"""
        return name in self.settings and bool(self.settings[name].value)


class Resolved(Record):
    """What every resolver gives: what was typed, with the values it has, and the effective arguments."""

    given: Given
    args: MegatronArgs


Resolver: TypeAlias = "Callable[[Given, Run], Resolved]"


def resolve(given: Given, run: Run) -> Resolved:
    """What Megatron-LM would have in ``args`` after ``validate_args`` and the builders behind it.

    A derivation or check that refuses the values becomes a finding of kind ``invalid-command-line``. What depends on
    a refused value, or on one that the parser could not read, is left as it was: one mistake gives one finding.
    """
    settings = dict(_defaults(run.catalog))
    for name, typed in given.typed.items():
        settings[name] = Setting(given.values[name], "given", typed=typed)
    for name, taken in run.taken.items():
        settings[name] = Setting(taken.value, "checkpoint", where=taken.where)

    values: dict[str, Any] = {name: setting.value for name, setting in settings.items()}
    values |= {"given": given.values, **run.context}
    environment_known = run.environment_known
    refused = {name for finding in given.findings if finding.level == "error" for name in finding.arguments}
    findings: list[Finding] = [*_too_large(given)]
    refused.update(name for finding in findings for name in finding.arguments)
    for name in refused & given.values.keys():
        if findings and isinstance(settings[name].value, int) and settings[name].value.bit_length() > _WIDEST:
            del values[name]
            settings[name] = settings[name]._replace(value=None)
    for step in plan_of(run.catalog):
        if refused and not refused.isdisjoint(step.reads):
            refused.update(step.sets)
            continue
        inputs = [values.get(name) for name in step.reads]
        if isinstance(step, Check):
            try:
                for problem in step.function(*inputs):
                    findings.append(finding_of(problem, step, given, environment_known))
            except Invalid as problem:  # of a value that nothing else has read
                findings.append(finding_of(problem, step, given, environment_known))
            except _TOO_MUCH as error:
                findings.append(finding_of(_too_much(error), step, given, environment_known))
            continue
        try:
            try:
                result = step.function(*inputs)
            except _TOO_MUCH as error:
                raise _too_much(error) from error
        except Invalid as problem:
            findings.append(finding_of(problem, step, given, environment_known))
            refused.add(step.name)
            continue
        before = settings.get(step.name)
        if before is not None and _same(before.value, result):
            continue
        settings[step.name] = Setting(
            result,
            "derived",
            {name: values[name] for name in step.reads if name in values and name not in _UNSAID and name != step.name},
            before.typed if before else None,
            step,
        )
        values[step.name] = result
    return Resolved(given, MegatronArgs(settings, tuple(findings), run.world_size))


# Numbers that are too large for what is computed with them, texts that are too long.
_TOO_MUCH = (ArithmeticError, ValueError, MemoryError, RecursionError)
_WIDEST = 1000  # bits of a number; larger ones are no float any more


def _too_much(error: Exception) -> Invalid:
    return Invalid(f"nothing can be computed with such values ({type(error).__name__}: {str(error)[:200]})")


def _too_large(given: Given) -> Iterator[Finding]:
    """Whole numbers that nobody can compute with."""
    for name, value in given.values.items():
        numbers = value if isinstance(value, (list, tuple)) else (value,)
        if any(isinstance(number, int) and number.bit_length() > _WIDEST for number in numbers):
            message = (
                f"{given.typed[name].flag if name in given.typed else name} is a larger number than anything holds"
            )
            yield Finding("invalid-command-line", message, "", (name,), given.place(name), given.excerpt(name))


def plan(version: str) -> tuple[Derivation | Check, ...]:
    """The derivations and checks for a Megatron-LM version, in an order that respects what each reads.

    Raises:
        ValueError: when there is no catalog of that version.
    """
    return plan_of(load(version))


# What is not worth saying when a derived value is explained.
_UNSAID = frozenset(CONTEXT) - {"world_size"}


@lru_cache(maxsize=None)
def _defaults(catalog: Catalog) -> Mapping[str, Setting]:
    """Every argument's setting for an empty command line; made once, because it is most of the work."""
    settings = {name: Setting(value, "default") for name, value in catalog.defaults.items()}
    for name, value in catalog.program_defaults.items():
        if name in settings and settings[name].value is None:
            settings[name] = Setting(value, "default")
    return settings


@lru_cache(maxsize=None)
def plan_of(catalog: Catalog) -> tuple[Derivation | Check, ...]:
    """The derivations and checks for a catalog, which may be a checkout's own."""
    keyed: dict[str, Derivation | Check] = {}
    for step in REGISTERED:
        if not step.holds(catalog.version):
            continue
        if isinstance(step, Derivation) and step.argument and step.name not in catalog.defaults:
            continue
        key = step.name if isinstance(step, Derivation) else f"check {step.name}"
        assert key not in keyed, f"two derivations of {key} hold for Megatron-LM {catalog.version}"
        keyed[key] = step
    graph: TopologicalSorter[str] = TopologicalSorter()
    for key, step in keyed.items():
        graph.add(key, *(name for name in step.reads if name in keyed and name != key))
    return tuple(keyed[key] for key in graph.static_order())


def finding_of(problem: Invalid, step: Derivation | Check, given: Given, environment_known: bool) -> Finding:
    """What a user is told of a refusal, with the words it is about."""
    concerned = problem.arguments or tuple(name for name in step.reads if name not in CONTEXT)
    shown = next((name for name in concerned if name in given.typed), "")
    stops = problem.stops and (environment_known or not problem.variable)
    return Finding(
        "environment" if not stops else "stops-later" if problem.late else "invalid-command-line",
        cut(str(problem)),
        remedy=problem.remedy,
        arguments=concerned,
        place=given.place(shown),
        excerpt=given.excerpt(shown),
        export=problem.export,
    )


def _same(before: Any, after: Any) -> bool:
    return type(before) is type(after) and bool(before == after)
