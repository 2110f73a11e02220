"""What became of every setting of a run config: in words, and as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from bridge_args.migrate.run_config.change import FATES, Change, Fate
from bridge_args.migrate.run_config.files import File
from bridge_args.migrate.run_config.moving import Moved
from bridge_args.migrate.run_config.written_by import NEMO_TRON
from bridge_args.wording import counted

SCHEMA: Final = 1
_TITLES: Final[dict[Fate, str]] = {
    "refused": "Stops the migration",
    "lost": "Lost",
    "changed": "Another value, or written otherwise",
    "set": "Added",
    "dropped": "Left out, nothing is lost",
    "new": "New, with the value that it has anyway",
    "renamed": "Another name",
}


def summary(moved: Moved) -> str:
    """One line: from where to where, and how much of it."""
    counts = Counter(change.fate for change in moved.changes)
    lost = counts["lost"] + counts["refused"]
    share = 100 * (moved.stated - lost) / moved.stated if moved.stated else 100.0
    parts = [f"{counts[fate]} {word}" for fate, word in _COUNTED.items() if counts[fate]]
    more = f": {', '.join(parts)}" if parts else ""
    percent = "100" if not lost else f"{min(share, 99.9):.1f}"
    return (
        f"{origin(moved)} to Bridge {moved.bridge}: {percent}% of {counted(moved.stated, 'setting')} "
        f"{'is' if moved.stated == 1 else 'are'} kept or not needed{more}"
    )


_COUNTED: Final[dict[Fate, str]] = {
    "renamed": "with another name",
    "changed": "changed",
    "set": "added",
    "new": "new",
    "dropped": "left out",
    "lost": "lost",
    "refused": "that stop it",
}


def origin(moved: Moved) -> str:
    name = moved.writer.name
    return NEMO_TRON if name == NEMO_TRON else f"Bridge {name}"


def text(files: Iterable[File]) -> str:
    """Everything that became of the files."""
    lines: list[str] = []
    for file in files:
        lines += [f"{file.path}", f"  {summary(file.moved)}"]
        for fate, title in _TITLES.items():
            found = [change for change in file.moved.changes if change.fate == fate]
            if found:
                lines += ["", f"  {title}:"]
                lines += [f"    {line}" for line in _lines(fate, found)]
        lines.append("")
    return "\n".join(lines)


def _lines(fate: Fate, found: list[Change]) -> Iterable[str]:
    """One a change; settings of which there is nothing to say but their section in one line."""
    if fate not in ("renamed", "new"):
        yield from map(str, found)
        return
    groups: dict[tuple[str, str], list[str]] = {}
    for change in found:
        (old, _, before), (new, _, after) = change.old.partition("."), change.new.partition(".")
        if fate == "renamed" and before != after:
            yield str(change)
        else:
            groups.setdefault((old, new), []).append(after)
    for (old, new), names in groups.items():
        if fate == "new":
            yield f"{new}: {', '.join(names)}"
        else:
            yield f"{old} is {new} now" + (f", with {counted(len(names), 'setting')}" if names != [""] else "")


def data(files: Iterable[File]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "schema": SCHEMA,
        "fates": dict(FATES),
        "files": [
            {
                "file": str(file.path),
                "from": file.moved.writer.name,
                "to": file.moved.bridge,
                "settings": file.moved.stated,
                "unchanged": file.is_same,
                "changes": [_change(change) for change in file.moved.changes],
            }
            for file in files
        ],
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "fate": change.fate,
        "old": change.old or None,
        "new": change.new or None,
        "before": change.before,
        "after": change.after,
        "reason": change.reason,
        "changes": change.changes,
    }
