"""Versions in play, and conditions on them: ``bridge >=0.4``, ``megatron <0.15``, ``bridge >=0.4, <0.6``."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from bridge_args.errors import WrongValue
from bridge_args.records import Record

_CONDITION = re.compile(r"^(bridge|megatron)\s+((?:(?:>=|<=|==|!=|>|<)\s*[\d.]+\s*,?\s*)+)$")
_BOUND = re.compile(r"(>=|<=|==|!=|>|<)\s*([\d.]+)")


# What the package of a version without a number calls itself.
NUMBERS: Final = {"main-2026-08-22": "0.20.0"}


class Versions(Record):
    """The pair a translation is made for; a checkout's version may carry letters (``main-2026-08-22``)."""

    megatron: str
    bridge: str


def number(version: str) -> tuple[int, ...]:
    """``0.16.1`` as a tuple that compares; a name that says no number is newer than every number."""
    match = re.match(r"\d+(?:\.\d+)*", NUMBERS.get(version, version))
    if not match:
        return (10**6,)
    parts = [int(part) for part in match.group().split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


@lru_cache(maxsize=None)
def holds(condition: str, versions: Versions) -> bool:
    """Is the condition true for this pair?

    Raises:
        ValueError: when the text is not a condition.
    """
    match = _CONDITION.match(condition.strip())
    if not match:
        raise WrongValue(f"not a version condition: {condition!r} (write for example 'bridge >=0.4')")
    actual = number(versions.bridge if match.group(1) == "bridge" else versions.megatron)
    for operator, text in _BOUND.findall(match.group(2)):
        bound = number(text)
        # "==0.16" speaks of the whole series 0.16.*
        cut = actual[: len(bound)]
        outcome = {
            ">=": actual >= bound,
            "<": actual < bound,
            ">": actual > bound and cut != bound,
            "<=": actual <= bound or cut == bound,
            "==": cut == bound,
            "!=": cut != bound,
        }[operator]
        if not outcome:
            return False
    return True


def is_condition(text: str) -> bool:
    """Does the text read as a version condition?"""
    return bool(_CONDITION.match(text.strip()))


def nearest(version: str, known: tuple[str, ...]) -> str:
    """The known version closest to one we may not have: the newest that is not newer, else the oldest."""
    older = [candidate for candidate in known if number(candidate) <= number(version)]
    same_series = [candidate for candidate in known if number(candidate)[:2] == number(version)[:2]]
    if version in known:
        return version
    return (same_series or older or list(known))[-1] if (same_series or older) else known[0]


class Pair(Record):
    """What is known of a pair: how far its translation has been compared with the two programs themselves.

    Attributes:
        versions: of a catalog and of a schema.
        status: a key of ``STATUSES``.
        evidence: what was done, in a sentence.
    """

    versions: Versions
    status: str
    evidence: str


STATUSES: Final = {
    "proven": "Parsers, rows, derived values, Bridge's own validation and recorded trainings were all asked.",
    "rows checked": "Every argument has a row; names, types, choices and defaults suit this Bridge.",
    "unknown": "Nobody has checked the rows for it.",
}
_CHECKED: Final = "`bridge-args check` finds nothing wrong."

# Best known first. A pair that is not here is unknown.
PAIRS: Final = (
    Pair(
        Versions("0.16.1", "0.3.1"),
        "proven",
        "All lines of Megatron-LM's functional tests come out as its own parser has them; recorded trainings are "
        "repeated bit for bit.",
    ),
    Pair(
        Versions("0.19.0", "0.6.2"),
        "proven",
        "All lines of Megatron-LM's functional tests come out as its own parser has them, and its own configuration "
        "container is compared with Bridge's field by field; 78 of 79 recorded trainings are repeated bit for bit, and "
        "of the other the translation says why not.",
    ),
    *(
        Pair(Versions(megatron, bridge), "rows checked", f"{_CHECKED} {trained}")
        for megatron, bridge, trained in (
            ("0.18.2", "0.5.1", "Three trainings were the same on both sides."),
            ("0.17.1", "0.4.2", "Three trainings were the same on both sides."),
            ("0.16.1", "0.6.2", "Three recorded trainings were repeated bit for bit."),
            ("main-2026-08-22", "0.6.2", "Two trainings were the same on both sides."),
        )
    ),
    *(
        Pair(Versions(megatron, bridge), "rows checked", _CHECKED)
        for megatron, bridges in (
            ("0.16.1", ("0.5.1", "0.4.2")),
            ("0.17.1", ("0.6.2", "0.5.1", "0.3.1")),
            ("0.18.2", ("0.6.2", "0.4.2", "0.3.1")),
            ("0.19.0", ("0.5.1", "0.4.2", "0.3.1")),
            ("main-2026-08-22", ("0.5.1", "0.4.2", "0.3.1")),
            *((megatron, ("0.3.1", "0.6.2")) for megatron in ("0.15.3", "0.14.0", "0.13.1", "0.12.3", "0.11.0")),
        )
        for bridge in bridges
    ),
)


def status_of(versions: Versions) -> str:
    """A key of ``STATUSES``."""
    return next((pair.status for pair in PAIRS if pair.versions == versions), "unknown")


def usual_for(bridge: str) -> str:
    """The Megatron-LM that is meant beside a Bridge where nothing says more: that of the best known pair with it."""
    series = number(bridge)[:2]
    found = (pair.versions.megatron for pair in PAIRS if number(pair.versions.bridge)[:2] == series)
    return next(found, PROVEN.megatron)


def proven_with(megatron: str) -> str:
    """The newest Bridge that is proven with a Megatron-LM; the newest proven one where none is."""
    found = [pair.versions.bridge for pair in PAIRS if pair.status == "proven" and pair.versions.megatron == megatron]
    return max(found, key=number, default=PROVEN.bridge)


# What is meant where nobody says or has anything else: the proven pair of the newest Bridge.
PROVEN: Final = max((pair.versions for pair in PAIRS if pair.status == "proven"), key=lambda one: number(one.bridge))

# The pair that is meant with each Bridge.
USUAL: Final = tuple(
    Versions(usual_for(bridge), bridge) for bridge in dict.fromkeys(pair.versions.bridge for pair in PAIRS)
)
