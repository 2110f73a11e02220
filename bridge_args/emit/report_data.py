"""What a report says, as plain data: the content of the JSON, from which the other formats are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bridge_args.emit.layout import origin_of
from bridge_args.findings import KINDS, Finding, Group
from bridge_args.mapping.convert import shown
from bridge_args.mapping.rows import Fate
from bridge_args.mapping.translation import Assignment, Outcome, Translation
from bridge_args.secrets import masked_values
from bridge_args.seen import visible
from bridge_args.values import finite, to_plain
from bridge_args.wording import counted
from bridge_args.words import Place

SCHEMA: Final = 1  # of the JSON: report_schema.json

# By what the user must do.
GROUPS: Final[dict[Group, tuple[str, str]]] = {
    "fix": ("Fix", "Megatron-LM or Bridge would stop with this command line."),
    "decide": ("Decide", "Bridge cannot do this; decide whether the run needs it."),
    "check": ("Check", "Takes effect differently than the flag suggests."),
    "note": ("For your information", ""),
}

FATES_IN_SHORT: Final[dict[Fate | None, str]] = {
    "to": "same as Bridge's default, not written",
    "section": "same as Bridge's default, not written",
    "feeds": "used only to compute another argument",
    "launcher": "for the launcher",
    "not_needed": "not needed",
    "no_equivalent": "no equivalent",
    "not_yet": "not yet",
    None: "unknown",
}

# Of arguments of which such a finding speaks.
KINDS_IN_SHORT: Final = {
    "no-equivalent": "no equivalent",
    "not-yet": "not yet",
    "accepted-without-effect": "accepted by Bridge, without effect",
    "needs-drop-in": "done by bridge-args launch and the drop-in",
    "bridge-rejects": "refused by Bridge",
}


def data_of(t: Translation) -> dict[str, Any]:
    """The report; ``report.report`` says what its keys mean."""
    findings = [*(finding_data(finding, t) for finding in t.findings), *_remarks(t)]
    arguments = _arguments(t)
    count = {group: sum(finding["group"] == group for finding in findings) for group in GROUPS}
    data: dict[str, Any] = {
        "schema": SCHEMA,
        "versions": {"megatron_lm": t.versions.megatron, "bridge": t.versions.bridge},
        "program": t.program,
        **({"made_from": t.made_from} if t.made_from else {}),
        "world_size": t.world_size,
        "counts": {"arguments": len(arguments), "settings": len(t.assignments), **count},
        "findings": findings,
        "arguments": arguments,
        "settings": [_setting(t, assignment) for assignment in t.assignments],
        "environment": dict(t.environment),
        "launcher": dict(t.launcher),
    }
    # The excerpts of findings are masked where they were made, with their marks.
    return {key: value if key == "findings" else masked_values(value, t.secrets) for key, value in data.items()}


def finding_data(finding: Finding, t: Translation | None) -> dict[str, Any]:
    """A finding as JSON has it.

    Args:
        t: the translation it is about; None where there is none.
    """
    excerpt = finding.excerpt
    return {
        **_said(t, finding.kind, finding.message, finding.arguments, finding.place),
        "remedy": finding.remedy,
        "excerpt": {"text": excerpt.text, "start": excerpt.start, "end": excerpt.end} if excerpt else None,
        "changes": finding.changes,
    }


def _said(
    t: Translation | None, kind: str, message: str, arguments: tuple[str, ...], place: Place | None = None
) -> dict[str, Any]:
    own = next((found for name in arguments if t and (found := place_of(t, name))), None)
    return {
        "group": KINDS[kind].group,
        "kind": kind,
        "message": message,
        "remedy": "",
        "arguments": list(arguments),
        "place": _place(place or own),
        "excerpt": None,
        "changes": None,
    }


def _spoken_of(t: Translation) -> set[str]:
    """The arguments of which a finding says that they have no effect, or another one."""
    kinds = ("ignored-by-megatron", "no-effect")
    return {name for finding in t.findings if finding.kind in kinds for name in finding.arguments}


def _remarks(t: Translation) -> Iterator[dict[str, Any]]:
    """Words for the launcher, words that are not needed, and what the tables say about the rest."""
    spoken_of = _spoken_of(t)
    for name, outcome in t.outcomes.items():
        if not outcome.given or name in spoken_of:
            continue
        flag = _flag(t, name)
        if outcome.fate in ("launcher", "not_needed"):
            yield _said(t, outcome.fate.replace("_", "-"), f"{flag}: {outcome.reason}", (name,))
        elif outcome.row.note:
            yield _said(t, "remark", f"{flag}: {outcome.row.note}", (name,))


def _arguments(t: Translation) -> list[dict[str, Any]]:
    kinds = {n: one.kind for one in t.findings if one.kind in KINDS_IN_SHORT for n in one.arguments}
    typed = [(setting.typed.index, name) for name, setting in t.args.settings.items() if setting.typed is not None]
    rows = []
    for _, name in sorted(typed):
        outcome = t.outcomes.get(name)
        rows.append(
            {
                "argument": name,
                "flag": _flag(t, name),
                "words": [t.words[index] for index in indices(t, name)],
                "place": _place(place_of(t, name)),
                "value": _json(t.args[name]),
                "fate": outcome.fate if outcome else None,
                "short": _short(t, name, outcome, kinds),
                "paths": _paths(t, name),
                "reason": _reason(t, name),
                "row": outcome.row.place if outcome else None,
            }
        )
    return rows


def _short(t: Translation, name: str, outcome: Outcome | None, kinds: Mapping[str, str]) -> str:
    if outcome is not None and outcome.fate in ("to", "section", "feeds"):
        made = {assignment.path for assignment in t.assignments}
        if made.intersection(_paths(t, name)):
            return ""
    return KINDS_IN_SHORT.get(kinds.get(name, "")) or FATES_IN_SHORT[outcome.fate if outcome else None]


def indices(t: Translation, name: str) -> list[int]:
    """Which of the words an argument and its values are; none where it was not typed."""
    setting = t.args.settings.get(name)
    if setting is None or setting.typed is None:
        return []
    return sorted({setting.typed.index, *setting.typed.values})


def place_of(t: Translation, name: str) -> Place | None:
    """Where the flag stands in the user's files."""
    found = indices(t, name)
    return t.places[found[0]] if found and found[0] < len(t.places) else None


def _place(place: Place | None) -> dict[str, Any] | None:
    return {"source": place.source, "line": place.line, "column": place.column} if place else None


def _paths(t: Translation, name: str) -> list[str]:
    """The settings an argument had a part in: those of its row, else those it was an input of."""
    outcome = t.outcomes.get(name)
    own = list(outcome.paths) if outcome else []
    return own or [a.path for a in t.assignments if name in a.origin.arguments or name in a.origin.inputs]


def _reason(t: Translation, name: str) -> str:
    outcome = t.outcomes.get(name)
    if outcome is None:
        return ""
    if outcome.fate == "feeds" and outcome.row.feeds:
        return f"used only to compute {', '.join(outcome.row.feeds)}"
    return outcome.reason


def _setting(t: Translation, assignment: Assignment) -> dict[str, Any]:
    origin = assignment.origin
    return {
        "path": assignment.path,
        "value": _json(to_plain(assignment.value)),
        "shown": shown(assignment.value),
        "from": origin_of(t, assignment),
        "origin": {
            "kind": origin.kind,
            "arguments": list(origin.arguments),
            "text": origin.text,
            "inputs": {name: _json(value) for name, value in origin.inputs.items()},
            "step": {"function": origin.step.place, "see": list(origin.step.see)} if origin.step else None,
        },
        "row": assignment.row.place,
    }


def _flag(t: Translation, name: str) -> str:
    setting = t.args.settings.get(name)
    return setting.typed.flag if setting is not None and setting.typed is not None else name


def _json(value: Any) -> Any:
    plain = to_plain(value)
    match plain:
        case dict():
            return {str(key): _json(item) for key, item in plain.items()}
        case list() | tuple():
            return [_json(item) for item in plain]
        case None | bool() | int() | float() | str():
            return finite(plain)
    return str(plain)


# Sentences that every format for people has ---------------------------------------------------------------------


def where(place: Mapping[str, Any] | None) -> str:
    """``train.sh:14``; empty for no place."""
    return f"{place['source']}:{place['line']}" if place else ""


def message_of(finding: Mapping[str, Any]) -> str:
    """What was found, and what to do about it."""
    message, remedy = finding["message"], finding["remedy"]
    return f"{message.removesuffix('.')}; {remedy}" if remedy else str(message)


def step_of(setting: Mapping[str, Any]) -> str:
    """Which function of ours derived a setting, and where Megatron-LM does it; empty where it is no one function."""
    step = setting["origin"]["step"]
    if not step:
        return ""
    return f"computed by {step['function']}" + (f"; Megatron-LM: {', '.join(step['see'])}" if step["see"] else "")


def table_of(data: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """For what was typed: place, words, settings with their values, and what is to be said of it."""
    settings = {setting["path"]: setting for setting in data["settings"]}
    for argument in data["arguments"]:
        place, words = where(argument["place"]), " ".join(argument["words"])
        written = [path for path in argument["paths"] if path in settings]
        if argument["fate"] not in ("to", "section", "feeds") or not written:
            reason = argument["reason"] if argument["fate"] == "feeds" else ""
            yield place, words, reason or argument["short"], ""
        else:
            for path in written:
                derived = settings[path]["origin"]["kind"] == "derived"
                yield place, words, f"{path} = {settings[path]['shown']}", "derived" if derived else ""
                place = words = ""


def untyped_of(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The settings that no word speaks of, with their values, and where they come from."""
    told = {path for argument in data["arguments"] for path in argument["paths"]}
    for setting in data["settings"]:
        if setting["path"] not in told:
            yield f"{setting['path']} = {setting['shown']}", setting["from"]


def untyped(data: Mapping[str, Any]) -> str:
    """The heading over settings that nobody has given."""
    return f"Set although not {'stated' if data.get('made_from') else 'on the command line'}: defaults differ"


def notes_left_out(number: int) -> str:
    """The line in place of notes."""
    return f"{counted(number, 'note')}: --verbose shows {'it' if number == 1 else 'them'}"


def summary_of(data: Mapping[str, Any]) -> str:
    """The counts and the versions, in one line."""
    counts, versions = data["counts"], data["versions"]
    said = f"{counted(counts['arguments'], 'argument')} given, {counted(counts['settings'], 'setting')} written"
    todo = f"{counts['fix']} to fix, {counts['decide']} to decide, {counts['check']} to check"
    source = data.get("made_from") or f"Megatron-LM {versions['megatron_lm']}"
    run = [f"{source} to Megatron Bridge {versions['bridge']}", data["program"], counted(data["world_size"], "GPU")]
    return visible(f"{said}; {todo}, {counted(counts['note'], 'note')} ({', '.join(filter(None, run))})")


def title_of(data: Mapping[str, Any]) -> str:
    """The heading of a report."""
    return f"From {data.get('made_from') or 'Megatron-LM'} to Megatron Bridge"
