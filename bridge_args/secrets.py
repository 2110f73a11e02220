"""Secrets in what users write: which texts are some, and the same text without them.

A secret is known by the name it is given to (``WANDB_API_KEY=…``, ``--wandb-api-key …``, ``"password": …``), by what
is done with it (``wandb login …``, ``Authorization: Bearer …``, ``https://user:…@host``), or by its own form
(``hf_…``). What has been found once is known everywhere: ``masked`` takes away every later occurrence as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from bridge_args.records import Record
from bridge_args.secret_names import SWITCHES, is_secret

if TYPE_CHECKING:
    from bridge_args.secret_places import Span

MASK: Final = "***"
_MOST: Final = 1000  # secrets of one source; more of them are no launch script's
_SHORTEST: Final = 4  # characters of a secret that is looked for elsewhere; shorter ones stand in too many words
_ANYWHERE: Final = 8  # characters of one that is looked for inside of words, too


class Secret(Record):
    """A text that is to be shown nowhere.

    Attributes:
        name: the variable it is the value of; empty where it is that of none.
        value: the text.
    """

    name: str
    value: str


# Values ---------------------------------------------------------------------------------------------------------------

# Nothing else can be a secret that is known by where it stands; most command lines end here. In small letters: so it is
# compiled and found in half the time.
_HINT: Final = re.compile(
    r"key|token(?!i[sz]|_?dispatcher|-dispatcher)|secret|passw|pass\b|passphrase|pwd|sshpass|cred|auth|bearer|cookie"
    r"|dsn|jwt|webhook|login|pat\b|pw\b|://[^\s/]*@|hooks|[?&;](?:sig|code|sign|x-)|\bx-|curl|wget|hf_|api_org_"
    r"|gh[opusr]_|github_pat|glpat-|\bsk-|nvapi-|xox|akia|aiza|pypi-|eyj|private"
)


def _may_state(text: str) -> bool:
    return _HINT.search(text.casefold()) is not None


def _stated(text: str) -> Iterator[Span]:
    """Every secret of a text that can be seen by where it stands, in no order."""
    if not _may_state(text):
        return
    from bridge_args.secret_places import stated

    yield from stated(text)


# What others use ------------------------------------------------------------------------------------------------------


def found_in(text: str) -> tuple[Secret, ...]:
    """The secrets that a text states: a script, a YAML file, words with spaces between."""
    found = dict.fromkeys(Secret(span.name, span.value) for span in _stated(text))
    return tuple(found)[:_MOST]


def found_in_words(words: Sequence[str]) -> tuple[Secret, ...]:
    """The secrets that the words of a command line state."""
    import shlex

    return found_in(shlex.join(words)) if any(map(_may_state, words)) else ()


def found_in_variables(variables: Mapping[str, str]) -> tuple[Secret, ...]:
    """The values of those variables whose names say that they are secrets, and what the other values state."""
    named = {name: value for name, value in variables.items() if is_secret(name)}
    found = []
    if named:
        from bridge_args.secret_places import is_given_away

        found = [Secret(name, value) for name, value in named.items() if is_given_away(value)]
    for name, value in variables.items():
        if name not in named:
            found += found_in(value)
    return tuple(dict.fromkeys(found))[:_MOST]


def holds_secret(text: str) -> bool:
    """Does a text state a secret? Such a file is for its owner only."""
    return next(_stated(text), None) is not None


def masked(text: str, known: Iterable[Secret] = ()) -> str:
    """The text with ``***`` in place of every secret that it states, and of every one that is known."""
    return masked_at(text, (), known)[0]


def masked_at(text: str, offsets: Sequence[int], known: Iterable[Secret] = ()) -> tuple[str, tuple[int, ...]]:
    """``masked``, and where in it the offsets of the text are; one inside of a secret is its mask's beginning."""
    pieces: list[str] = []
    moved = list(offsets)
    at = grown = 0
    for start, end in secret_parts(text, known):
        pieces += (text[at:start], MASK)
        at = end
        change = len(MASK) - (end - start)
        for index, offset in enumerate(offsets):
            if offset >= end:
                moved[index] += change
            elif offset > start:
                moved[index] = start + grown
        grown += change
    if not pieces:
        return text, tuple(offsets)
    return "".join([*pieces, text[at:]]), tuple(moved)


def secret_parts(text: str, known: Iterable[Secret] = ()) -> list[tuple[int, int]]:
    """From where to before where a text is secret, in order; no two touch."""
    found = [(span.start, span.end) for span in _stated(text)]
    pattern = _pattern_of(tuple(known))
    if pattern is not None:
        found += [match.span() for match in pattern.finditer(text)]
    parts: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if parts and start <= parts[-1][1]:
            parts[-1] = (parts[-1][0], max(end, parts[-1][1]))
        elif start < end:
            parts.append((start, end))
    return parts


def masked_values(value: object, known: Iterable[Secret]) -> object:
    """``masked`` for every text inside lists, tuples and mappings; what is no text stays as it is."""
    known = tuple(known)
    match value:
        case str():
            return masked(value, known)
        case list():
            return [masked_values(item, known) for item in value]
        case tuple():
            return tuple(masked_values(item, known) for item in value)
        case dict():
            return {
                masked(key, known) if isinstance(key, str) else key: (
                    MASK
                    if isinstance(key, str) and isinstance(item, str) and _is_kept_in(key, item)
                    else masked_values(item, known)
                )
                for key, item in value.items()
            }
    return value


def _is_kept_in(name: str, value: str) -> bool:
    return bool(found_in_variables({name: value})) if is_secret(name) else False


@lru_cache(maxsize=64)
def _pattern_of(known: tuple[Secret, ...]) -> re.Pattern[str] | None:
    """Finds the known secrets, as they are and as our formats write them."""
    values = [
        value
        for _, value in known[:_MOST]
        if len(value) >= _SHORTEST and value.lower() not in SWITCHES and value.strip("*")
    ]
    written = dict.fromkeys(form(value) for value in values for form in _forms())
    if not written:
        return None
    return re.compile("|".join(map(_looked_for, sorted(written, key=len, reverse=True))))


def _forms() -> tuple[Callable[[str], str], ...]:
    """How our formats write a text."""
    import html
    import json
    from urllib.parse import quote

    return (
        str,
        html.escape,
        lambda value: json.dumps(value)[1:-1],
        lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
        lambda value: repr(value)[1:-1],
        lambda value: value.replace("'", "'\"'\"'"),
        lambda value: re.sub(r'(["$`\\])', r"\\\1", value),
        lambda value: quote(value, safe="", errors="replace"),
    )


def _looked_for(value: str) -> str:
    pattern = re.escape(value)
    return pattern if len(value) >= _ANYWHERE else rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])"
