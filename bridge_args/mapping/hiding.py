"""A translation that gives no secret away: what is said of it is masked, and settings name the variable instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from bridge_args.findings import without_secrets
from bridge_args.mapping.translation import Translation
from bridge_args.secrets import Secret, found_in_variables, found_in_words
from bridge_args.values import Built, Partial, Referring

_SHORTEST: Final = 6  # characters of a value that a setting is searched for


def hiding(t: Translation, known: Iterable[Secret] = ()) -> Translation:
    """The translation with its secrets named, its findings masked, and its settings without their values.

    A setting that holds the value of a secret variable refers to the variable (``values.Referring``), which every
    format writes in its own way. What was typed as it is stays, for the run needs it.

    Args:
        known: secrets of the source that the words and the environment do not tell.
    """
    found = (*t.secrets, *known, *found_in_variables(t.environment), *found_in_words(t.words))
    secrets = tuple(dict.fromkeys(found))
    if not secrets:
        return t
    found_names = _names(secrets)
    assignments = t.assignments
    if found_names:
        pattern = _pattern(found_names)
        assignments = tuple(
            assignment._replace(value=_referring(assignment.value, pattern, found_names)) for assignment in assignments
        )
    return t._replace(
        secrets=secrets,
        assignments=assignments,
        findings=tuple(without_secrets(finding, secrets) for finding in t.findings),
    )


def with_references(text: str, secrets: Iterable[Secret]) -> str:
    """The text; ``values.Referring`` where it holds the value of a secret variable."""
    names = _names(secrets)
    made = _referring(text, _pattern(names), names) if names else text
    assert isinstance(made, str)
    return made


def _names(secrets: Iterable[Secret]) -> dict[str, str]:
    """Value to the variable that has it."""
    return {
        secret.value: secret.name
        for secret in reversed(tuple(secrets))
        if secret.name.isidentifier() and len(secret.value) >= _SHORTEST and "\0" not in secret.value
    }


def _pattern(names: Mapping[str, str]) -> re.Pattern[str]:
    return re.compile("|".join(map(_whole, sorted(names, key=len, reverse=True))))


def _whole(value: str) -> str:
    """Finds a value that is no part of a longer word."""
    return rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])" if len(value) < 8 else re.escape(value)


def _referring(value: object, pattern: re.Pattern[str], names: Mapping[str, str]) -> object:
    match value:
        case Referring():
            made = pattern.sub(lambda found: f"${{{names[found.group()]}}}", str(value))
            used = [names[found] for found in pattern.findall(str(value))]
            return Referring(made, (*value.names, *used)) if used else value
        case str():
            used = [names[found] for found in pattern.findall(value)]
            return Referring(pattern.sub(lambda found: f"${{{names[found.group()]}}}", value), used) if used else value
        case list():
            return [_referring(item, pattern, names) for item in value]
        case tuple():
            return tuple(_referring(item, pattern, names) for item in value)
        case dict():
            return {key: _referring(item, pattern, names) for key, item in value.items()}
        case Partial(path, kwargs):
            return Partial(path, {key: _referring(item, pattern, names) for key, item in kwargs.items()})
        case Built(path, kwargs):
            return Built(path, {key: _referring(item, pattern, names) for key, item in kwargs.items()})
    return value
