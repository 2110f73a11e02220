"""Values of environment variables, changed where the user set them.

``export NAME=1``, ``NAME=1 torchrun``, ``env NAME=1``, ``--export=ALL,NAME=1``, ``${NAME:-1}``, ``NAME: 1`` of YAML:
each place that looks like one is changed, and the source is read again. It is the right one if the commands then have
exactly the variables that they are to have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from bridge_args.modernize.edit import Edited, NotDone
from bridge_args.modernize.items import Item
from bridge_args.words import Place

# The files by their names -> the variables of each of their commands; None where anything else has changed.
Read = Callable[[Mapping[str, str]], Sequence[Mapping[str, str]] | None]

_MOST: Final = 20  # places that are tried for one variable


def edited(done: Edited, items: Sequence[Item], wanted: Sequence[Mapping[str, str]], read: Read) -> Edited:
    """The files with the variables changed.

    Args:
        done: the files by now, and what was left to the user.
        items: variables as words ``NAME=value``; those that were not there have none.
        wanted: the variables that each command is to have.
        read: reads the variables of the commands from such files.
    """
    texts, missing = done.texts, list(done.not_done)
    for item in items:
        name, _, value = item.words[0].partition("=")
        for candidate in _candidates(texts, item, name, value):
            if (found := read(candidate)) is not None and _are(name, found, wanted):
                texts = candidate
                break
        else:
            missing.append(NotDone(item, _place(texts, name)))
    return Edited(texts, tuple(missing))


def _are(name: str, found: Sequence[Mapping[str, str]], wanted: Sequence[Mapping[str, str]]) -> bool:
    return len(found) == len(wanted) and all(
        one.get(name) == other.get(name) for one, other in zip(found, wanted, strict=True)
    )


def _candidates(texts: Mapping[str, str], item: Item, name: str, value: str) -> Iterator[Mapping[str, str]]:
    if item.was:
        old = item.was[0].partition("=")[2]
        yield from _replaced(texts, _ways_to_set(name, old), lambda found: value, "value")
        return
    for anchor in item.beside:
        said = f"{name}={value}"
        for pattern, way in (
            (rf"^(?P<set>[ \t]*)(?P<rest>{anchor}:.*)$", rf"\g<0>\n\g<set>{name}: {value}"),
            (rf"(?P<set>{anchor}=(?:'[^'\n]*'|\"[^\"\n]*\"|[^\s,;'\"]*))", rf"\g<0> {said}"),
            (rf"(?P<set>{anchor}=(?:'[^'\n]*'|\"[^\"\n]*\"|[^\s,;'\"]*))", rf"\g<0>,{said}"),
            (rf"^(?P<set>[ \t]*)(?P<rest>(?:export[ \t]+)?{anchor}=.*)$", rf"\g<0>\n\g<set>export {said}"),
        ):
            yield from _replaced(texts, (pattern,), lambda found, way=way: found.expand(way), 0)  # type: ignore[misc]


def _ways_to_set(name: str, old: str) -> tuple[str, ...]:
    value = rf"(?P<value>{re.escape(old)})"
    return (
        rf"(?<![\w$]){name}=(?P<quote>[\"']?){value}(?P=quote)(?![\w.:])",
        rf"(?<![\w$]){name}=(?P<quote>[\"']?)\$\{{{name}:?[-=]{value}\}}",
        rf"(?<![\w$])[\"']?{name}[\"']?[ \t]*:[ \t]*(?P<quote>[\"']?){value}(?P=quote)(?![\w.:])",
        rf"name:[ \t]*[\"']?{name}[\"']?[ \t]*\r?\n[ \t]*value:[ \t]*(?P<quote>[\"']?){value}(?P=quote)(?![\w.:])",
        rf"(?<![\w$]){name}[ \t]+(?P<quote>[\"']?){value}(?P=quote)(?![\w.:])",
    )


def _replaced(
    texts: Mapping[str, str], patterns: Sequence[str], made: Callable[[re.Match[str]], str], group: str | int
) -> Iterator[Mapping[str, str]]:
    """Each place by itself, the last first; then all of them, which may be alternatives."""
    for pattern in patterns:
        for file, text in texts.items():
            found = [*re.finditer(pattern, text, re.MULTILINE)][-_MOST:]
            ways = [[one] for one in reversed(found)]
            for places in (*ways, found) if len(found) > 1 else ways:
                changed = text
                for one in reversed(places):
                    changed = changed[: one.start(group)] + made(one) + changed[one.end(group) :]
                yield {**texts, file: changed}


def _place(texts: Mapping[str, str], name: str) -> Place | None:
    """The last line that names it."""
    for file, text in texts.items():
        for number, line in reversed([*enumerate(text.splitlines(), 1)]):
            if re.search(rf"(?<![\w$]){name}\b", line):
                return Place(file, number)
    return None
