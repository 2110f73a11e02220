"""Finding: everything a user is told, as data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from bridge_args.records import Record
from bridge_args.secrets import Secret, masked, masked_at
from bridge_args.words import Place, Word

Level = Literal["error", "warning", "note"]

# What a loss changes, and how that is said.
Changes = Literal["model", "numbers", "speed", "logs"]
CHANGES: Final[dict[Changes, str]] = {
    "model": "which model is trained",
    "numbers": "the numbers or the course of the run",
    "speed": "speed or memory only",
    "logs": "logs and files only",
}

# What a finding asks of the user.
Group = Literal["fix", "decide", "check", "note"]


class Kind(Record):
    """What every finding of one kind has in common.

    Attributes:
        name: short slug; ``kind`` in JSON.
        group: what it asks of the user, by which reports are ordered.
        lost: something that the user asked for is not in the translation: an error under ``--strict`` where it
            changes the numbers.
        about: what the kind means.
    """

    name: str
    level: Level
    group: Group
    lost: bool
    about: str


# Every kind there is; each has an entry in docs/troubleshooting.md.
KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("unknown-argument", "error", "fix", False, "This Megatron-LM version has no such argument."),
        Kind("stray-word", "error", "fix", False, "A word that is neither a flag nor the value of one."),
        Kind("missing-value", "error", "fix", False, "A flag without the value that it takes."),
        Kind("bad-value", "error", "fix", False, "A value that the argument does not take."),
        Kind("conflicting-arguments", "error", "fix", False, "Arguments that exclude one another."),
        Kind("invalid-command-line", "error", "fix", False, "Megatron-LM would stop with these arguments."),
        Kind("bridge-rejects", "error", "fix", False, "Bridge's own validation stops with the translated values."),
        Kind("unreadable-source", "error", "fix", False, "The source cannot be read, or holds no such command."),
        Kind("other-model", "error", "fix", False, "A program that trains a kind of model that is not translated."),
        Kind("stops-later", "warning", "check", False, "Megatron-LM accepts the arguments and stops in its set-up."),
        Kind("one-iteration", "warning", "check", False, "The folder of one iteration, not that of checkpoints."),
        Kind("other-program", "warning", "check", False, "A program that may do more than the one it is taken for."),
        Kind("unresolved-variable", "warning", "check", False, "A variable that has no value here."),
        Kind("unproven-pair", "warning", "check", False, "Versions whose translation was not compared with them."),
        Kind("not-read", "warning", "check", False, "A part of a script, which may have set something."),
        Kind("lost-words", "warning", "check", False, "Words of a script that bash does not pass on."),
        Kind("no-equivalent", "warning", "decide", True, "Bridge has nothing that does this."),
        Kind("accepted-without-effect", "warning", "decide", True, "Bridge accepts it, and no code of it reads it."),
        Kind("not-yet", "warning", "decide", True, "It is not translated yet."),
        Kind("needs-drop-in", "warning", "decide", True, "No configuration does this; the drop-in and launch do."),
        Kind("no-row", "warning", "decide", True, "An argument of a fork that no mapping table has."),
        Kind("ignored-by-megatron", "warning", "check", False, "A value that the run does not use."),
        Kind("overrides-cannot-say", "warning", "check", False, "Hydra's overrides cannot hold this value."),
        Kind("assumed-world-size", "note", "check", False, "The number of GPUs, where nothing gives it."),
        Kind("assumed-version", "note", "check", False, "A version, where nothing gives it, or no data is of it."),
        Kind("assumed-value", "note", "check", False, "A value that the source does not state, and the run needs."),
        Kind("done-otherwise", "note", "check", False, "Bridge does it in another way than the source's program."),
        Kind("no-effect", "note", "note", False, "A value that no pretraining reads."),
        Kind("launcher", "note", "note", False, "What belongs to the launcher, not to the configuration."),
        Kind("environment", "note", "check", False, "An environment variable that this run reads."),
        Kind("file-read", "note", "note", False, "A file that was read for the translation."),
        Kind("not-needed", "note", "note", False, "Bridge needs no setting for it; in reports only."),
        Kind("remark", "note", "note", False, "What the mapping table adds about an argument; in reports only."),
    )
}


class Excerpt(Record):
    """The user's own words with a marked part: ``text[start:end]`` is what the finding is about."""

    text: str
    start: int
    end: int

    def lines(self) -> tuple[str, str]:
        """The words, and below them the marks."""
        return self.text, " " * self.start + "^" * max(1, self.end - self.start)


class Finding(Record):
    """One thing a user is told: where, what, and what to do.

    Attributes:
        kind: a key of ``KINDS``.
        message: what was found, one sentence, with the numbers it is about.
        remedy: what to write instead; empty where the message says it.
        arguments: names of the Megatron-LM arguments concerned, as Megatron-LM stores them.
        place: the user's file and line, where there is one.
        excerpt: the user's own words.
        changes: of a loss, what it changes in the run: a key of ``CHANGES``; None of everything else.
        about: of what is not known, how the source writes it: ``$DATA_DIR``, ``$(hostname)``.
        export: a variable of the environment that is missing, with its value: ``NCCL_ALGO=Ring``.
    """

    kind: str
    message: str
    remedy: str = ""
    arguments: tuple[str, ...] = ()
    place: Place | None = None
    excerpt: Excerpt | None = None
    changes: Changes | None = None
    about: str = ""
    export: str = ""

    @property
    def level(self) -> Level:
        """How serious it is: a loss that changes the model is an error, whatever its kind."""
        return "error" if self.changes == "model" else KINDS[self.kind].level

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
