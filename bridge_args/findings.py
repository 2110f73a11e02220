"""Finding: everything a user is told, as data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from bridge_args.secrets import Secret, masked, masked_at
from bridge_args.words import Place, Word

Level = Literal["error", "warning", "note"]

# What a loss changes, and how that is said.
Changes = Literal["numbers", "speed", "logs"]
CHANGES: Final[dict[Changes, str]] = {
    "numbers": "the numbers or the course of the run",
    "speed": "speed or memory only",
    "logs": "logs and files only",
}

# The level is a property of the kind, so that a kind never means two things.
LEVELS: Final[dict[str, Level]] = {
    "unknown-argument": "error",
    "stray-word": "error",
    "missing-value": "error",
    "bad-value": "error",
    "conflicting-arguments": "error",
    "invalid-command-line": "error",  # Megatron-LM would stop with these arguments
    "bridge-rejects": "error",  # Bridge's own validation stops with the translated values
    "unreadable-source": "error",
    "other-model": "error",  # a program that trains what we do not translate
    "stops-later": "warning",  # Megatron-LM accepts the arguments and stops in its set-up, or at the first step
    "other-program": "warning",  # it may do more than the one it is taken for
    "unresolved-variable": "warning",
    "not-read": "warning",  # a part of a script, which may have set something
    "lost-words": "warning",  # words of a script that bash does not pass on
    "no-equivalent": "warning",
    "not-yet": "warning",
    "needs-drop-in": "warning",  # no configuration of Bridge says it; the drop-in does it
    "ignored-by-megatron": "warning",  # a typed value that is not what the run has
    "no-row": "warning",  # an argument of a fork that our tables do not know
    "no-effect": "note",  # a typed value that no pretraining reads
    "assumed-world-size": "note",
    "assumed-version": "note",
    "launcher": "note",
    "overrides-cannot-say": "warning",
    "environment": "note",
    "file-read": "note",
}


class Excerpt(NamedTuple):
    """The user's own words with a marked part: ``text[start:end]`` is what the finding is about."""

    text: str
    start: int
    end: int

    def lines(self) -> tuple[str, str]:
        """The words, and below them the marks."""
        return self.text, " " * self.start + "^" * max(1, self.end - self.start)


class Finding(NamedTuple):
    """One thing a user is told: where, what, and what to do.

    Attributes:
        kind: short slug, a key of ``LEVELS``.
        message: what was found, one sentence, with the numbers it is about.
        remedy: what to write instead; empty where the message says it.
        arguments: names of the Megatron-LM arguments concerned, as Megatron-LM stores them.
        place: the user's file and line, where there is one.
        excerpt: the user's own words.
        changes: of a loss, what it changes in the run: a key of ``CHANGES``; None of everything else.
    """

    kind: str
    message: str
    remedy: str = ""
    arguments: tuple[str, ...] = ()
    place: Place | None = None
    excerpt: Excerpt | None = None
    changes: Changes | None = None

    @property
    def level(self) -> Level:
        return LEVELS[self.kind]

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        text = where + self.message + (f"; {self.remedy}" if self.remedy else "")
        if self.excerpt:
            words, marks = self.excerpt.lines()
            text += f"\n    {words}\n    {marks}"
        return text


def without_secrets(finding: Finding, known: Iterable[Secret] = ()) -> Finding:
    """The finding with ``***`` in place of secrets."""
    known = tuple(known)
    excerpt = finding.excerpt
    if excerpt is not None:
        text, (start, end) = masked_at(excerpt.text, (excerpt.start, excerpt.end), known)
        excerpt = Excerpt(text, start, end)
    return finding._replace(
        message=masked(finding.message, known), remedy=masked(finding.remedy, known), excerpt=excerpt
    )


LONGEST: Final = 2000  # characters of one word, or of a message, that are told; a machine made longer ones


def cut(text: str, longest: int = LONGEST) -> str:
    """The text; of a longer one the beginning and the end."""
    return text if len(text) <= longest else f"{text[: longest - 100]} ... {text[-90:]}"


def excerpt_of(words: Sequence[Word], first: int, last: int | None = None, *, around: int = 2) -> Excerpt:
    """The words ``first..last`` of a command line, marked, with a few neighbours."""
    last = first if last is None else last
    begin, end = max(0, first - around), min(len(words), last + 1 + around)
    text, start, stop = "", 0, 0
    for index in range(begin, end):
        if index > begin:
            text += " "
        if index == first:
            start = len(text)
        text += cut(words[index].text)
        if index == last:
            stop = len(text)
    return Excerpt(text, start, stop)
