"""The report: every flag given, what became of it, and what the user should look at."""

from __future__ import annotations

import html
import json
import math
import re
import textwrap
from collections.abc import Iterator
from typing import Any, Final, Literal, get_args

from bridge_args.emit.layout import on_one_line, origin_of, visible, words_of
from bridge_args.findings import Finding
from bridge_args.mapping.convert import shown
from bridge_args.mapping.rows import Fate
from bridge_args.mapping.translation import Assignment, Translation
from bridge_args.values import to_plain

Format = Literal["text", "json", "markdown", "html"]
Group = Literal["error", "lost", "check", "note"]

_FATES: Final[dict[Fate, str]] = {
    "to": "as Bridge has it",
    "section": "as Bridge has it",
    "feeds": "used up",
    "launcher": "for the launcher",
    "not_needed": "not needed",
    "no_equivalent": "no equivalent",
    "not_yet": "not yet",
}

_TITLES: Final[dict[Group, tuple[str, str]]] = {
    "error": ("Errors", "Megatron-LM or Bridge would stop with this command line."),
    "lost": ("Lost", "Bridge will not do this; decide whether you can do without."),
    "check": ("Check", "This is not what the command line says at first sight."),
    "note": ("For your information", ""),
}


def report(t: Translation, format: Format = "text") -> str:
    """Every flag that was given and every fate that matters.

    Args:
        format: ``text``, ``json``, ``markdown``, or ``html`` (one page that needs no network).

    Raises:
        ValueError: for another format.

    The JSON has the keys

    * ``schema``: 1; a reader may rely on everything below while it is 1;
    * ``versions``: ``megatron_lm`` and ``bridge``; ``program``; ``world_size`` (ranks);
    * ``counts``: ``arguments`` (given), ``settings`` (written), ``errors``, ``lost``, ``check``, ``notes``;
    * ``findings``: list of ``group`` (``error``, ``lost``, ``check``, ``note``), ``kind``, ``message``, ``remedy``,
      ``arguments``, ``place`` (``source``, ``line``, ``column``, or null), ``excerpt`` (``text`` with the marked part
      from ``start`` to before ``end``, or null);
    * ``arguments``: for every argument given ``argument``, ``flag``, ``words``, ``value`` (effective), ``fate`` (a key
      of ``mapping.rows.FATES``), ``paths``, ``reason``, ``row`` (file and line of our table), in the order they were
      typed;
    * ``settings``: ``path``, ``value`` (as Bridge writes it in YAML; numbers that are not finite as text), ``shown``,
      ``from`` (a sentence), ``origin`` (``kind``, ``arguments``, ``text``, ``inputs``), ``row``, in Bridge's order;
    * ``environment`` and ``launcher``: names and values.
    """
    if format not in get_args(Format):
        raise ValueError(f"a report is made as {', '.join(get_args(Format))}, not as {format!r}")
    data = _data(t)
    if format == "json":
        return json.dumps(data, indent=2, ensure_ascii=True, allow_nan=False) + "\n"
    lines = {"text": _text, "markdown": _markdown, "html": _html}[format](data)
    return "\n".join(lines) + "\n"


# What there is to say -----------------------------------------------------------------------------------------------


def _data(t: Translation) -> dict[str, Any]:
    findings = [*(_finding(_group(finding), finding) for finding in t.findings), *_surprises(t), *_remarks(t)]
    arguments = _arguments(t)
    settings = [_setting(t, assignment) for assignment in t.assignments]
    count = {group: sum(finding["group"] == group for finding in findings) for group in _TITLES}
    return {
        "schema": 1,
        "versions": {"megatron_lm": t.versions.megatron, "bridge": t.versions.bridge},
        "program": t.program,
        "world_size": t.world_size,
        "counts": {
            "arguments": len(arguments),
            "settings": len(settings),
            "errors": count["error"],
            "lost": count["lost"],
            "check": count["check"],
            "notes": count["note"],
        },
        "findings": findings,
        "arguments": arguments,
        "settings": settings,
        "environment": dict(t.environment),
        "launcher": dict(t.launcher),
    }


def _group(finding: Finding) -> Group:
    if finding.kind in ("no-equivalent", "not-yet"):
        return "lost"
    groups: dict[str, Group] = {"error": "error", "warning": "check", "note": "note"}
    return groups[finding.level]


def _finding(group: Group, finding: Finding) -> dict[str, Any]:
    place, excerpt = finding.place, finding.excerpt
    return {
        "group": group,
        "kind": finding.kind,
        "message": finding.message,
        "remedy": finding.remedy,
        "arguments": list(finding.arguments),
        "place": {"source": place.source, "line": place.line, "column": place.column} if place else None,
        "excerpt": {"text": excerpt.text, "start": excerpt.start, "end": excerpt.end} if excerpt else None,
    }


def _said(group: Group, kind: str, message: str, arguments: tuple[str, ...]) -> dict[str, Any]:
    return {
        "group": group,
        "kind": kind,
        "message": message,
        "remedy": "",
        "arguments": list(arguments),
        "place": None,
        "excerpt": None,
    }


def _surprises(t: Translation) -> Iterator[dict[str, Any]]:
    """Values that were typed, and that Megatron-LM replaces by others."""
    for name, setting in t.args.settings.items():
        if setting.source == "derived" and setting.typed is not None:
            inputs = ", ".join(f"{key}={shown(value)}" for key, value in setting.inputs.items())
            because = f", because of {inputs}" if inputs else ""
            message = f"{words_of(t, name)} becomes {shown(setting.value)}{because}"
            yield _said("check", "derived", message, (name,))


def _remarks(t: Translation) -> Iterator[dict[str, Any]]:
    """Words for the launcher, words that are not needed, and what the tables say about the rest."""
    for name, outcome in t.outcomes.items():
        if not outcome.given:
            continue
        flag = _flag(t, name)
        if outcome.fate in ("launcher", "not_needed"):
            yield _said("note", outcome.fate.replace("_", "-"), f"{flag}: {outcome.reason}", (name,))
        elif outcome.row.note:
            yield _said("note", "remark", f"{flag}: {outcome.row.note}", (name,))


def _arguments(t: Translation) -> list[dict[str, Any]]:
    typed = [(setting.typed.index, name) for name, setting in t.args.settings.items() if setting.typed is not None]
    rows = []
    for _, name in sorted(typed):
        outcome = t.outcomes.get(name)
        rows.append(
            {
                "argument": name,
                "flag": _flag(t, name),
                "words": _words(t, name),
                "value": _json(t.args[name]),
                "fate": outcome.fate if outcome else None,
                "paths": _paths(t, name),
                "reason": _reason(t, name),
                "row": outcome.row.place if outcome else None,
            }
        )
    return rows


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
        return f"used for {', '.join(outcome.row.feeds)}"
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
        },
        "row": assignment.row.place,
    }


def _flag(t: Translation, name: str) -> str:
    setting = t.args.settings.get(name)
    return setting.typed.flag if setting is not None and setting.typed is not None else name


def _words(t: Translation, name: str) -> list[str]:
    typed = t.args.settings[name].typed
    if typed is None:
        return []
    return [t.words[index] for index in sorted({typed.index, *typed.values})]


def _json(value: Any) -> Any:
    plain = to_plain(value)
    match plain:
        case dict():
            return {str(key): _json(item) for key, item in plain.items()}
        case list() | tuple():
            return [_json(item) for item in plain]
        case float() if not math.isfinite(plain):
            return str(plain)
        case None | bool() | int() | float() | str():
            return plain
    return str(plain)


# Text ---------------------------------------------------------------------------------------------------------------


def _text(data: dict[str, Any]) -> Iterator[str]:
    for group, (title, about) in _TITLES.items():
        found = [finding for finding in data["findings"] if finding["group"] == group]
        if not found:
            continue
        yield f"{title} ({len(found)})" + (f": {about}" if about else "")
        for finding in found:
            yield from _wrapped(_sentence(finding))
            if finding["excerpt"]:
                excerpt = finding["excerpt"]
                yield "      " + visible(excerpt["text"])
                yield "      " + " " * excerpt["start"] + "^" * max(1, excerpt["end"] - excerpt["start"])
        yield ""
    rows = list(_table(data))
    if rows:
        widths = [min(48, max(len(visible(row[column])) for row in rows)) for column in (0, 1)]
        yield "What becomes of the arguments"
        for row in rows:
            left, middle, right = (on_one_line(column, 120) for column in row)
            yield f"  {left:<{widths[0]}}  {middle:<{widths[1]}}  {right}".rstrip()
        yield ""
    yield _last_line(data)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, 116, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False, break_long_words=False
    )


def _sentence(finding: dict[str, Any]) -> str:
    place = finding["place"]
    where = f"{place['source']}:{place['line']}: " if place else ""
    return visible(where + _message(finding))


def _message(finding: dict[str, Any]) -> str:
    message, remedy = finding["message"], finding["remedy"]
    return f"{message.removesuffix('.')}; {remedy}" if remedy else str(message)


def _table(data: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Words, settings with their values, origin: first what was typed, then what was not."""
    settings = {setting["path"]: setting for setting in data["settings"]}
    told: set[str] = set()
    for argument in data["arguments"]:
        words = " ".join(argument["words"])
        written = [path for path in argument["paths"] if path in settings]
        told.update(written)
        if argument["fate"] not in ("to", "section", "feeds") or not written:
            yield words, _fate(argument), argument["reason"] if argument["fate"] == "feeds" else ""
        else:
            for path in written:
                derived = settings[path]["origin"]["kind"] == "derived"
                yield words, f"{path} = {settings[path]['shown']}", "derived" if derived else ""
                words = ""
    for path, setting in settings.items():
        if path not in told:
            yield "", f"{path} = {setting['shown']}", setting["from"]


def _fate(argument: dict[str, Any]) -> str:
    if argument["fate"] is None:
        return "unknown"
    return _FATES[argument["fate"]]


def _last_line(data: dict[str, Any]) -> str:
    counts, versions = data["counts"], data["versions"]
    said = f"{_count(counts['arguments'], 'argument')} given, {_count(counts['settings'], 'setting')} written"
    found = f"{_count(counts['errors'], 'error')}, {counts['lost']} lost, {counts['check']} to check"
    pair = f"Megatron-LM {versions['megatron_lm']} to Megatron Bridge {versions['bridge']}"
    ranks = _count(data["world_size"], "GPU")
    return f"{said}; {found}, {_count(counts['notes'], 'note')} ({pair}, {data['program']}, {ranks})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


# Markdown -----------------------------------------------------------------------------------------------------------


def _markdown(data: dict[str, Any]) -> Iterator[str]:
    yield "# From Megatron-LM to Megatron Bridge"
    yield ""
    yield _prose(_last_line(data))
    for group, (title, about) in _TITLES.items():
        found = [finding for finding in data["findings"] if finding["group"] == group]
        if not found:
            continue
        yield from ("", f"## {title}", "")
        if about:
            yield from (about, "")
        yield from ("| what | where | your words |", "| --- | --- | --- |")
        for finding in found:
            place, excerpt = finding["place"], finding["excerpt"]
            where = _code(f"{place['source']}:{place['line']}") if place else ""
            marked = _code(excerpt["text"][excerpt["start"] : excerpt["end"]]) if excerpt else ""
            yield f"| {_prose(_message(finding))} | {where} | {marked} |"
    rows = list(_table(data))
    if rows:
        yield from ("", "## What becomes of the arguments", "")
        yield from ("| argument | setting | origin |", "| --- | --- | --- |")
        for words, setting, origin in rows:
            yield f"| {_code(words)} | {_code(setting)} | {_prose(origin)} |"


def _prose(text: str) -> str:
    text = re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", visible(text))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _code(text: str) -> str:
    text = visible(text)
    if not text.strip():
        return ""
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    space = " " if text[0] in "` " or text[-1] in "` " else ""
    return fence + space + text.replace("|", "\\|") + space + fence


# HTML ---------------------------------------------------------------------------------------------------------------

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:75em;padding:0 1em;color:#222;background:#fff}
code{font:13px ui-monospace,monospace;overflow-wrap:anywhere;white-space:pre-wrap}
table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid #ddd;padding:.3em .8em .3em 0;text-align:left;vertical-align:top}
h2{margin-top:1.6em}mark{background:#fd6}input{font:inherit;width:100%;padding:.4em;box-sizing:border-box}
.error h2{color:#a00}.lost h2{color:#850}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#444}mark{background:#860;color:#fff}}
"""

_SCRIPT: Final = """
document.getElementById("q").addEventListener("input", function () {
  var words = this.value.toLowerCase().split(/\\s+/);
  document.querySelectorAll("tbody tr").forEach(function (row) {
    var text = row.textContent.toLowerCase();
    row.hidden = !words.every(function (word) { return text.includes(word); });
  });
});
"""


def _html(data: dict[str, Any]) -> Iterator[str]:
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    yield f"<title>From Megatron-LM to Megatron Bridge</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>From Megatron-LM to Megatron Bridge</h1><p>{_e(_last_line(data))}</p>"
    yield '<p><input id="q" type="search" placeholder="Search" aria-label="Search"></p>'
    for group, (title, about) in _TITLES.items():
        found = [finding for finding in data["findings"] if finding["group"] == group]
        if not found:
            continue
        yield f'<section class="{group}"><h2>{title} ({len(found)})</h2><p>{_e(about)}</p><table><tbody>'
        for finding in found:
            yield f"<tr><td>{_e(_sentence(finding))}{_marked(finding['excerpt'])}</td></tr>"
        yield "</tbody></table></section>"
    rows = list(_table(data))
    if rows:
        yield "<section><h2>What becomes of the arguments</h2><table>"
        yield "<thead><tr><th>argument</th><th>setting</th><th>origin</th></tr></thead><tbody>"
        for words, setting, origin in rows:
            yield f"<tr><td><code>{_e(words)}</code></td><td><code>{_e(setting)}</code></td><td>{_e(origin)}</td></tr>"
        yield "</tbody></table></section>"
    yield f"<script>{_SCRIPT}</script></body></html>"


def _marked(excerpt: dict[str, Any] | None) -> str:
    if excerpt is None:
        return ""
    text, start, end = excerpt["text"], excerpt["start"], excerpt["end"]
    return f"<br><code>{_e(text[:start])}<mark>{_e(text[start:end])}</mark>{_e(text[end:])}</code>"


def _e(text: str) -> str:
    return html.escape(visible(text))
