"""Given arguments + defaults + derived values -> the effective arguments of Megatron-LM.

The order of derivations is never written down: a derivation's parameters are the arguments it reads, and
``graphlib`` puts them in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from graphlib import TopologicalSorter
from typing import Any, Final, Literal

from bridge_args.findings import Finding
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.derive import REGISTERED, Check, Derivation, Invalid
from bridge_args.megatron_lm.parse import Given, Typed

Source = Literal["given", "default", "derived"]

# What a derivation may read beside arguments: the names that were typed, the number of ranks, the run's
# environment variables, the program (pretrain_gpt.py or pretrain_mamba.py).
CONTEXT: Final = ("given", "world_size", "env", "program")


@dataclass(frozen=True, slots=True)
class Setting:
    """The effective value of one argument.

    Attributes:
        value: plain data; dtypes and functions as ``values.Symbol``; enum members by name.
        source: was it typed, is it the default, or was it derived.
        inputs: for a derived value, what it was derived from.
        typed: the flag as the user wrote it, where there is one (also when a derivation changed the value).
    """

    value: Any
    source: Source
    inputs: Mapping[str, Any] = field(default_factory=dict)
    typed: Typed | None = None


@dataclass(frozen=True, slots=True)
class MegatronArgs:
    """Every argument's effective value, plus what Megatron-LM computes from them under names of its own."""

    settings: Mapping[str, Setting]
    findings: tuple[Finding, ...]
    world_size: int

    def __getitem__(self, name: str) -> Any:
        return self.settings[name].value

    def __contains__(self, name: object) -> bool:
        return name in self.settings

    def __iter__(self) -> Iterator[str]:
        return iter(self.settings)


def resolve(
    given: Given, catalog: Catalog, *, world_size: int, env: Mapping[str, str], program: str = "pretrain_gpt.py"
) -> MegatronArgs:
    """What Megatron-LM would have in ``args`` after ``validate_args`` and the builders behind it.

    Args:
        world_size: number of ranks.
        env: the run's environment variables; the process environment is not read.

    A derivation or check that refuses the values becomes a finding of kind ``invalid-command-line``; what depends
    on a refused value is left as it was, so one mistake gives one finding.
    """
    settings: dict[str, Setting] = {}
    for name, default in catalog.defaults.items():
        typed = given.typed.get(name)
        settings[name] = Setting(given.values[name], "given", typed=typed) if typed else Setting(default, "default")
    for name, default in catalog.program_defaults.items():
        if name in settings and settings[name].value is None:
            settings[name] = Setting(default, "default")

    context = {"given": frozenset(given.typed), "world_size": world_size, "env": env, "program": program}
    values: dict[str, Any] = {name: setting.value for name, setting in settings.items()}
    values.update(context)
    findings: list[Finding] = []
    refused: set[str] = set()
    for step in plan(catalog.version):
        if refused and not refused.isdisjoint(step.reads):
            refused.update(step.sets)
            continue
        try:
            result = step.function(*[values.get(name) for name in step.reads])
        except Invalid as invalid:
            findings.append(_finding(invalid, step, settings, given))
            refused.update(step.sets)
            continue
        if isinstance(step, Check):
            continue
        before = settings.get(step.name)
        if before is not None and _same(before.value, result):
            continue
        inputs = {name: values[name] for name in step.reads if name not in CONTEXT and name != step.name}
        if "world_size" in step.reads:
            inputs["world_size"] = world_size
        settings[step.name] = Setting(result, "derived", inputs, before.typed if before else None)
        values[step.name] = result
    return MegatronArgs(settings, tuple(findings), world_size)


@lru_cache(maxsize=None)
def plan(version: str) -> tuple[Derivation | Check, ...]:
    """The derivations and checks that hold for a Megatron-LM version, in an order that respects what each reads."""
    chosen = [step for step in REGISTERED if step.holds(version)]
    by_name = {step.name: step for step in chosen if isinstance(step, Derivation)}
    graph: TopologicalSorter[str] = TopologicalSorter()
    keyed: dict[str, Derivation | Check] = {}
    for step in chosen:
        key = step.name if isinstance(step, Derivation) else f"check {step.name}"
        assert key not in keyed, f"two derivations of {key} hold for Megatron-LM {version}"
        keyed[key] = step
        graph.add(key, *(name for name in step.reads if name in by_name and name != key))
    return tuple(keyed[key] for key in graph.static_order())


def _finding(invalid: Invalid, step: Derivation | Check, settings: Mapping[str, Setting], given: Given) -> Finding:
    concerned = invalid.arguments or tuple(name for name in step.reads if name not in CONTEXT)
    shown = next((name for name in concerned if name in given.typed), "")
    return Finding(
        "invalid-command-line",
        str(invalid),
        remedy=invalid.remedy,
        arguments=concerned,
        place=given.place(shown),
        excerpt=given.excerpt(shown),
    )


def _same(before: Any, after: Any) -> bool:
    return type(before) is type(after) and bool(before == after)
