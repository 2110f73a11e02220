"""Change: what became of one setting that is not simply where it was."""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from bridge_args.findings import Changes, Finding
from bridge_args.records import Record

Fate = Literal["renamed", "changed", "set", "new", "dropped", "lost", "refused"]

FATES: Final[dict[Fate, str]] = {
    "renamed": "it has another name, and the same value",
    "changed": "its value is written otherwise, or is another one",
    "set": "it was not in the file; the value keeps the run what it was",
    "new": "the writer of the file did not have it; it has the value that it would have anyway",
    "dropped": "it is not in the new file, and nothing is lost",
    "lost": "it is not in the new file, and the run may differ",
    "refused": "it stops the migration",
}


class Change(Record):
    """What became of one setting.

    Attributes:
        fate: a key of ``FATES``.
        old: ``section.setting`` as the file has it; empty where it is not there.
        new: the same in the result.
        before, after: the values, as plain data; None also where there is none.
        reason: a sentence.
        changes: of a loss, what is another in the run.
    """

    fate: Fate
    old: str
    new: str
    before: Any
    after: Any
    reason: str
    changes: Changes | None = None

    @property
    def finding(self) -> Finding | None:
        """What a user is told without asking; None of what changes nothing in the run."""
        what = f"{self.old}: {shown(self.before)}"
        if self.fate == "refused":
            return Finding("bad-value", f"{self.old}: {self.reason}")
        if self.fate == "lost":
            return Finding("no-equivalent", f"{what} is lost: {self.reason}", changes=self.changes)
        return None

    def __str__(self) -> str:
        match self.fate:
            case "renamed":
                return f"{self.old} is {self.new} now"
            case "set":
                return f"{self.new}: {shown(self.after)} is added: {self.reason}"
            case "new":
                return f"{self.new}: {shown(self.after)}: {self.reason}"
            case "changed":
                to = f"{self.new}: " if self.new != self.old else ""
                return f"{self.old}: {shown(self.before)} becomes {to}{shown(self.after)}: {self.reason}"
            case "dropped":
                return f"{self.old}: {shown(self.before)} is left out: {self.reason}"
            case "lost":
                return f"{self.old}: {shown(self.before)} is lost: {self.reason}"
        return f"{self.old}: {self.reason}"


def shown(value: Any, longest: int = 100) -> str:
    """A value as a line of YAML would have it, roughly: objects by the name of what they are made from."""
    if isinstance(value, dict) and isinstance(value.get("_target_"), str):
        arguments = value.get("_args_")
        more = f"({', '.join(map(shown, arguments))})" if isinstance(arguments, list) and arguments else ""
        return f"{value['_target_']}{more}"
    text = value if isinstance(value, str) and value else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
