"""Megatron-LM's own configuration container (since 0.18) beside Bridge's of the same command line, field by field.

Its fields have the names of Bridge's. It is built when the arguments are validated; what Bridge works out when it
validates, Megatron-LM works out later or keeps elsewhere. Such differences are known, each with its cause
(``mappings/notes/container.yaml``), and hold only as far as the cause says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import yaml

from bridge_args.checkout.fields import UNKNOWN, encoded, fields_of
from bridge_args.errors import UserError
from bridge_args.findings import KINDS
from bridge_args.mapping.folder import mappings_folder
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm.resolvers import of_checkout
from bridge_args.records import Record
from bridge_args.secrets import Secret
from bridge_args.source.source import Source
from bridge_args.steps import Asked, run_of, translated
from bridge_args.training import container
from bridge_args.values import Built, Member, Partial, Symbol, filled
from bridge_args.versions import Versions, holds

NONE: Final = "no such setting"  # what Bridge has where it has not even the field
_ANY: Final = object()


class Cause(Record):
    """Why fields differ that mean the same, or whose difference is told.

    Attributes:
        fields: their paths.
        because: one sentence.
        see: where that can be read.
        when: a version condition; empty for all versions.
        megatron, bridge: the value that the side has there: ``value``, or the effective ``argument`` of this name.
        instead: the path under which Bridge has Megatron-LM's value.
        told: an argument for which the translation says that something is lost or done by the drop-in.
    """

    fields: tuple[str, ...]
    because: str
    see: tuple[str, ...]
    when: tuple[str, ...] = ()
    megatron: Mapping[str, Any] | None = None
    bridge: Mapping[str, Any] | None = None
    instead: str = ""
    told: str = ""


class Difference(Record):
    """A field that the two containers do not agree on.

    Attributes:
        megatron, bridge: the values, as ``checkout/fields.py`` writes them.
        cause: None where none is known.
    """

    path: str
    megatron: Any
    bridge: Any
    cause: Cause | None = None


class Comparison(Record):
    """Two containers of one command line.

    Attributes:
        versions: between which the translation stands.
        validated: Bridge's side is the container that Bridge has built and validated; else it is the settings that the
            translation decides, and nothing else was compared.
        compared: how many fields were.
        refused: what is said against the command line; then nothing was compared.
        why: why Bridge's own container could not be asked, where it could not.
    """

    versions: Versions
    validated: bool
    compared: int
    differences: tuple[Difference, ...]
    refused: tuple[str, ...] = ()
    why: str = ""
    secrets: tuple[Secret, ...] = ()

    @property
    def without_cause(self) -> tuple[Difference, ...]:
        return tuple(one for one in self.differences if one.cause is None)


def compare(source: Source, asked: Asked) -> Comparison:
    """A checkout's own container for a command, beside Bridge's for the translation of it.

    Args:
        asked: ``megatron_lm`` is the checkout.

    Raises:
        UserError: the checkout cannot be asked, or has no container.
    """
    t = translated(source, asked)
    errors = [str(finding) for finding in t.errors if finding.kind != "bridge-rejects"]
    if errors:
        return Comparison(t.versions, False, 0, (), tuple(errors))
    run, given, _ = run_of(source, asked)
    answer = of_checkout.answer_of(given, run, container=True)[0]
    if "error" in answer:
        return Comparison(t.versions, False, 0, (), (f"Megatron-LM stops: {answer['error']['message']}",))
    theirs = answer["container"]
    if theirs is None:
        raise UserError(f"{run.checkout} has no configuration container of its own; Megatron-LM has one since 0.18")
    ours, why = bridge_fields(t)
    if why:
        theirs = {path: value for path, value in theirs.items() if path in ours}
    compared = [path for path, value in theirs.items() if not is_unknown(value)]
    return Comparison(
        t.versions, not why, len(compared), tuple(differences(theirs, ours, t)), why=why, secrets=t.secrets
    )


def bridge_fields(t: Translation) -> tuple[dict[str, Any], str]:
    """Every field of the container that Bridge validates, and an empty text.

    Where the Bridge of the translation is not installed: the settings that the translation decides, and why.

    Raises:
        BridgeRejects: Bridge does not take the configuration.
    """
    try:
        return fields_of(container.to_container(t)), ""
    except container.BridgeMissing as missing:
        return decided_fields(t), str(missing)


def decided_fields(t: Translation) -> dict[str, Any]:
    """The settings that the translation decides, written as those of a container."""
    return {one.path: _named(filled(one.value, t.run_environment)) for one in t.assignments if "._" not in one.path}


def _named(value: Any) -> Any:
    """A value of a translation as ``encoded`` writes what Bridge makes of it."""
    match value:
        case Symbol(path):
            return path
        case Member(_, name, _):
            return name
        case Partial(path, kwargs):
            return {"$partial": path, "args": [], "kwargs": {key: _named(item) for key, item in kwargs.items()}}
        case Built(path, _):
            return {"$object": path}
        case list() | tuple():
            return [_named(item) for item in value]
        case dict():
            return {key: _named(item) for key, item in value.items()}
    return encoded(str(value) if isinstance(value, str) else value)


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any], t: Translation) -> Iterator[Difference]:
    """Each field of Megatron-LM's container that Bridge's has not, or with another value.

    Args:
        theirs, ours: as ``checkout/fields.py`` writes them.
        t: the translation that ``ours`` comes from.
    """
    for path, value in theirs.items():
        there = ours.get(path, NONE)
        if is_unknown(value) or alike(value, there):
            continue
        found = (cause for cause in causes(t.versions).get(path, ()) if _explains(cause, value, there, ours, t))
        yield Difference(path, value, there, next(found, None))


def alike(one: Any, other: Any) -> bool:
    """The same value: 1 is 1.0 and not True, and None is not False. Of objects only the class is compared."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(item, other[key]) for key, item in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def is_unknown(value: Any) -> bool:
    return isinstance(value, dict) and UNKNOWN in value


def _explains(cause: Cause, megatron: Any, bridge: Any, ours: Mapping[str, Any], t: Translation) -> bool:
    return (
        _is(cause.megatron, megatron, t)
        and _is(cause.bridge, bridge, t)
        and (not cause.instead or alike(megatron, ours.get(cause.instead, NONE)))
        and (not cause.told or _is_told(cause.told, t))
    )


def _is(expected: Mapping[str, Any] | None, value: Any, t: Translation) -> bool:
    if expected is None:
        return True
    if "argument" not in expected:
        return alike(expected["value"], value)
    return expected["argument"] in t.args and alike(encoded(t.args[expected["argument"]]), value)


def _is_told(argument: str, t: Translation) -> bool:
    return any(argument in finding.arguments for finding in t.findings if KINDS[finding.kind].lost)


@cache
def causes(versions: Versions) -> Mapping[str, Sequence[Cause]]:
    """What is known of a pair of versions, by field."""
    found: dict[str, list[Cause]] = {}
    for cause in all_causes():
        if all(holds(condition, versions) for condition in cause.when):
            for path in cause.fields:
                found.setdefault(path, []).append(cause)
    return found


@cache
def all_causes() -> tuple[Cause, ...]:
    """What is known of all versions, as ``mappings/notes/container.yaml`` has it."""
    file = mappings_folder() / "notes" / "container.yaml"
    told = yaml.safe_load(file.read_text(encoding="utf-8"))
    lists = ("fields", "see", "when")
    return tuple(Cause(**{**one, **{key: _listed(one[key]) for key in lists if key in one}}) for one in told)


def _listed(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
