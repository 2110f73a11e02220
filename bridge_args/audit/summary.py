"""Entries -> counts, and lines for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

from bridge_args.audit.examine import Entry
from bridge_args.emit.sarif import Result
from bridge_args.findings import CHANGES
from bridge_args.secrets import masked
from bridge_args.seen import visible
from bridge_args.wording import counted

_STATUSES: Final = ("ok", "losses", "errors", "not-megatron-lm")


def summary(entries: Iterable[Entry]) -> dict[str, Any]:
    """Counts.

    ``commands`` by status; ``lost``, ``no_row`` and ``unknown`` flags with the number of commands that have them (most
    frequent first); ``lost_numbers``, ``lost_speed`` and ``lost_logs``, the lost ones by what that changes;
    ``unproven`` pairs of versions; ``megatron_lm`` and ``bridge`` versions.
    """
    entries = list(entries)
    statuses = Counter(entry["status"] for entry in entries)
    return {
        "sources": len({entry["path"] for entry in entries}),
        "commands": {status: statuses[status] for status in _STATUSES},
        "lost": _flags(entries, lambda finding: finding["lost"]),
        **{f"lost_{changes}": _flags(entries, partial(_changes, changes)) for changes in CHANGES},
        "no_row": _flags(entries, lambda finding: finding["kind"] == "no-row"),
        "unknown": _flags(entries, lambda finding: finding["kind"] == "unknown-argument"),
        "unproven": _counted(
            f"{entry['megatron_lm']} to {entry['bridge']}"
            for entry in entries
            if any(finding["kind"] == "unproven-pair" for finding in entry["findings"])
        ),
        "megatron_lm": _counted(entry["megatron_lm"] for entry in entries if "megatron_lm" in entry),
        "bridge": _counted(entry["bridge"] for entry in entries if "bridge" in entry),
    }


def _changes(what: str, finding: dict[str, Any]) -> bool:
    return bool(finding["changes"] == what)


def _flags(entries: Iterable[Entry], counts: Callable[[dict[str, Any]], bool]) -> dict[str, int]:
    """In how many commands a flag has a finding that counts."""
    return _counted(
        flag
        for entry in entries
        for flag in {found["flag"] for found in entry["findings"] if found["flag"] and counts(found)}
    )


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def results_of(result: dict[str, Any]) -> Iterator[Result]:
    """Every finding on its line; notes are left out."""
    for entry in result["commands"]:
        for finding in entry["findings"]:
            if finding["level"] == "note" or entry["status"] == "not-megatron-lm":
                continue
            file, _, line = (finding["place"] or "").rpartition(":")
            remedy = f"; {finding['remedy']}" if finding["remedy"] else ""
            said = masked(f"{finding['message']}{remedy}")
            here = file and line.isdigit()
            yield Result(
                finding["kind"], finding["level"], said, file if here else entry["path"], int(line) if here else None
            )


def text_of(result: dict[str, Any]) -> str:
    """The result for a terminal: a line for each command, then what they have in common."""
    lines = [visible(masked(_line(entry))) for entry in result["commands"]]
    said = result["summary"]
    counts = said["commands"]
    total = sum(counts.values()) - counts["not-megatron-lm"]
    lines += [
        "",
        f"{counted(total, 'command')} in {counted(said['sources'], 'source')}: {counts['ok']} translated, "
        f"{counts['losses']} translated with losses, {counts['errors']} with errors; "
        f"{counted(counts['not-megatron-lm'], 'source')} without a Megatron-LM command",
    ]
    titles = (
        ("lost_numbers", "lost in translation"),
        ("lost_speed", "lost, which changes speed or memory only"),
        ("lost_logs", "lost, which changes logs and files only"),
        ("no_row", "without a row in the tables"),
        ("unknown", "unknown to Megatron-LM"),
        ("unproven", "for versions that are not proven together"),
        ("megatron_lm", "read as Megatron-LM"),
        ("bridge", "written for Megatron Bridge"),
    )
    for key, title in titles:
        if said[key]:
            lines.append(f"{title}: " + ", ".join(f"{name} ({count})" for name, count in said[key].items()))
    return "\n".join(map(visible, lines)) + "\n"


def _line(entry: Entry) -> str:
    name = entry["path"] + (f" (command {entry['command']})" if entry["command"] else "")
    findings = entry["findings"]
    errors = [finding for finding in findings if finding["level"] == "error"]
    lost = [finding for finding in findings if finding["lost"]]
    match entry["status"]:
        case "ok":
            taken = next((found["message"] for found in findings if found["kind"] == "other-program"), "")
            return f"ok          {name}" + (f": {taken.partition(';')[0]}" if taken else "")
        case "losses":
            flags = dict.fromkeys(finding["flag"] or finding["message"] for finding in lost)
            return f"losses {len(lost):<4} {name}: {', '.join(flags)}"
        case "errors":
            first = " ".join(errors[0]["message"].split("\n")[0].removeprefix(entry["path"]).lstrip(": ").split())
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            return f"errors {len(errors):<4} {name}: {first}{more}"
    why = next((finding["message"] for finding in findings if finding["kind"] == "other-model"), "")
    return f"-           {name}: {why or 'not a Megatron-LM command'}"


def has_problems(result: dict[str, Any], *, strict: bool, searched: bool = False) -> bool:
    """Is there an error, or nothing where something was promised?

    With ``strict``, or a loss that changes the numbers, or a pair of versions that is not proven.

    A folder that was ``searched`` may hold programs of others only; a file that is named is to be translated.
    """
    counts = result["summary"]["commands"]
    found = counts["ok"] + counts["losses"] + counts["errors"]
    nothing = not result["commands"] if searched else not found
    doubtful = result["summary"]["lost_numbers"] or result["summary"]["unproven"]
    return bool(counts["errors"] or nothing or (strict and doubtful))
