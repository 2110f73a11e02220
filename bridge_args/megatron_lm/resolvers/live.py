"""What a checkout answers (``bridge_args/checkout``), as a catalog, as effective arguments, and as findings.

This module is handed the answers; it starts nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bridge_args.findings import Finding
from bridge_args.megatron_lm.catalog import Argument, Catalog
from bridge_args.megatron_lm.converters import converts
from bridge_args.megatron_lm.derive.registry import Derivation
from bridge_args.megatron_lm.parse import Given
from bridge_args.megatron_lm.resolvers import built_in
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs, Resolved
from bridge_args.megatron_lm.resolvers.overlay import Unread, alike, overlay
from bridge_args.megatron_lm.run import Run
from bridge_args.records import Record
from bridge_args.values import Symbol, is_dotted

_ACTIONS: Final = ("store", "append", "store_true", "store_false", "store_const", "BooleanOptionalAction")
_VARIABLE: Final = re.compile(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b")


class Disagreement(Record):
    """An argument of which the two resolvers say different things.

    Attributes:
        step: what of ours derives it, where it is derived.
        because_of: arguments it is derived from, of which they say different things too.
    """

    argument: str
    built_in: Any
    checkout: Any
    step: Derivation | None = None
    because_of: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.argument}: built-in {self.built_in!r}, checkout {self.checkout!r}"
        if self.because_of:
            return f"{text}; derived from {', '.join(self.because_of)}"
        return f"{text}; computed by {self.step.place}" if self.step else text


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


def disagreements(built_in: MegatronArgs, checkout: MegatronArgs) -> Iterator[Disagreement]:
    """Every argument whose effective value the two resolvers do not agree on."""
    theirs, ours = checkout.settings, built_in.settings
    differing = [name for name in theirs if name not in ours or not alike(ours[name].value, theirs[name].value)]
    for name in differing:
        other = ours.get(name)
        if other is None:
            yield Disagreement(name, None, theirs[name].value)
        else:
            causes = tuple(cause for cause in other.inputs if cause != name and cause in differing)
            yield Disagreement(name, other.value, theirs[name].value, other.step, causes)


def wants_variable(answer: Mapping[str, Any]) -> str | None:
    """The environment variable for want of which a checkout refuses a command line, if that is why."""
    if "error" not in answer or answer.get("stage") == "parse":
        return None
    error = answer["error"]
    found = _VARIABLE.findall(f"{error['message']} {(error.get('where') or ['', 0, '', ''])[3]}")
    return next((name for name in found if name.startswith(("CUDA_", "NCCL_", "NVTE_", "PYTORCH_"))), None)


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
