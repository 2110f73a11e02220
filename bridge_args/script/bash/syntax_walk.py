"""Questions to a piece of syntax as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bridge_args.records import names_of
from bridge_args.script.bash import syntax as s
from bridge_args.script.bash.names import is_name


def assigned(node: object) -> list[str]:
    """Names of the variables that commands may set, each once."""
    return list(dict.fromkeys(_assigned(node)))


def assigned_in_arithmetic(text: str) -> list[str]:
    """Names of the variables that an arithmetic expression sets."""
    found = re.findall(r"(?a)([A-Za-z_]\w*)\s*(?:[-+*/%]?=(?!=)|\+\+|--)|(?:\+\+|--)([A-Za-z_]\w*)", text)
    return [first or second for first, second in found]


def first_words(node: object) -> Iterator[str]:
    """The first word of every simple command: `:` where it only assigns, empty where the word is no plain text."""
    if isinstance(node, s.Simple):
        first = node.words[0] if node.words else None
        yield ":" if first is None else (first.literal or "") if isinstance(first, s.ShellWord) else ""
    for part in _parts(node):
        yield from first_words(part)


def _parts(node: object) -> Iterator[object]:
    if isinstance(node, tuple):
        yield from node
    elif type(node).__module__ == s.__name__:
        for name in names_of(node):
            yield getattr(node, name)


def _assigned(node: object) -> Iterator[str]:
    match node:
        case s.Assignment():
            yield node.name
        case s.For():
            yield node.name
        case s.ArithmeticCommand():
            yield from assigned_in_arithmetic(node.expression.written)
        case s.Arithmetic():
            yield from assigned_in_arithmetic(node.written)
        case s.Simple() if node.words and isinstance(node.words[0], s.ShellWord):
            if node.words[0].literal in ("read", "mapfile", "readarray", "getopts", "unset"):
                texts = [word.literal or "" for word in node.words[1:] if isinstance(word, s.ShellWord)]
                yield from (text for text in texts if is_name(text))
    for part in _parts(node):
        yield from _assigned(part)
