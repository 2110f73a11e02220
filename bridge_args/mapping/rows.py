"""Row: what becomes of one Megatron-LM argument, with the place in our tables where it says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from bridge_args.errors import UserError
from bridge_args.findings import Changes
from bridge_args.records import Record

Fate = Literal["to", "section", "feeds", "launcher", "not_needed", "no_equivalent", "not_yet"]

FATES: Final[dict[Fate, str]] = {
    "to": "the value goes to a Bridge setting",
    "section": "combined with related arguments by a section builder",
    "feeds": "used only to compute another value",
    "launcher": "belongs to how processes are started, not to the config",
    "not_needed": "nothing is lost: Bridge already behaves so, or a pretraining run never reads it",
    "no_equivalent": "Bridge cannot; a value other than the default changes the run",
    "not_yet": "not translated yet",
}


def file_of(area: str) -> str:
    """The file of a table."""
    return area if area.endswith((".yaml", ".yml")) else f"mappings/{area}.yaml"


class TableError(UserError, ValueError):
    """A table that does not follow the grammar; the message starts with file and line."""


class Row(Record):
    """One row of one table, for one pair of versions.

    Attributes:
        argument: the argument's name as Megatron-LM stores it, or the name of a derived value.
        fate: one of ``FATES``.
        to: the settings the value goes to (fate ``to``).
        conversion: name of a conversion in ``convert.py`` (``as:`` in the table).
        sections: names of the builders in ``sections/`` that read it (fate ``section``, or beside ``to``).
        feeds: names of the derived values that use this one up (fate ``feeds``).
        reason: why, for the fates that need a reason.
        note: shown in the report when the row fires.
        see: where in either code base this can be verified.
        derived: the row speaks of a derived value, not of an argument.
        changes: what is another in the run where the argument is lost: the model (its layers or their sizes, which is
            an error), the numbers (what is computed, or how far the run goes), speed or memory, or logs and files
            (fates ``no_equivalent`` and ``not_yet``; ``to``, where a version of Bridge has no such setting or value).
        tell: whether a user is told that a typed value has no effect: as a note, or as a warning where it should have
            had one (fate ``not_needed``).
        unless: arguments with which it is needed after all: where one of them is on, it is lost with that one (fate
            ``not_needed``).
        takes: values that Bridge takes although the type of the setting does not list them (fate ``to``); as texts.
        if_listed: values that only some versions of Bridge take; where the type of the setting does not list one, it is
            lost (fate ``to``); as texts.
        unlike: settings that are called like the argument, and that do not do in Bridge what it does.
        unread: what a user is told where this version of Bridge accepts the settings and no code of it reads them: that
            the argument is ``lost``, a ``note`` where nothing of Megatron-LM reads it either, or nothing more where a
            builder has ``told`` it (fate ``to``).
        area: the table's file name without ``.yaml``; of a user's own table its path.
    """

    argument: str
    fate: Fate
    to: tuple[str, ...] = ()
    conversion: str | None = None
    sections: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()
    reason: str = ""
    note: str = ""
    see: tuple[str, ...] = ()
    derived: bool = False
    area: str = ""
    line: int = 0
    changes: Changes = "numbers"
    tell: Literal["", "note", "warning"] = ""
    takes: tuple[str, ...] = ()
    if_listed: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    unread: Literal["", "lost", "note", "told"] = ""

    def is_called_like(self, path: str) -> bool:
        """Is a setting called like the argument, or like it without the beginning of its section's name?"""
        section, _, name = path.rpartition(".")
        prefix = self.argument.removesuffix(f"_{name}" if name != "enabled" else "")
        return name == self.argument or (prefix != self.argument or name == "enabled") and section.startswith(prefix)

    def needed_for(self, is_on: Callable[[str], bool]) -> str:
        """The argument with which this one is lost in a run; empty where it is not needed."""
        return next(filter(is_on, self.unless), "")

    @property
    def place(self) -> str:
        """``mappings/moe.yaml:41``; a user's own table under the path it was given by."""
        return f"{file_of(self.area)}:{self.line}"


class Area(Record):
    """One table file: its title and what it is about."""

    name: str
    title: str
    about: str


class OptionalSection(Record):
    """A section that is None in Bridge until an argument is on."""

    name: str
    opened_by: str
    area: str
    line: int
