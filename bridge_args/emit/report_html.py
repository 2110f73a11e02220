"""A report as one page: the user's script on the left, Bridge's configuration on the right.

The page needs no network. Without JavaScript it can be read, and its links lead from a flag to what it became and
back; with it, what belongs together lights up, and the page can be searched. Everything that a user typed is escaped,
and the page's own policy forbids every script but its own.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any, Final

from bridge_args.emit.config_yaml import yaml_lines
from bridge_args.emit.report_data import (
    GROUPS,
    indices,
    message_of,
    place_of,
    step_of,
    summary_of,
    title_of,
    where,
)
from bridge_args.mapping.translation import Assignment, Translation
from bridge_args.records import Record
from bridge_args.secrets import MASK, masked, secret_parts
from bridge_args.seen import visible

_FOLDER: Final = Path(__file__).parent
_HELP: Final = (
    "Point at a flag to see what it becomes, or at a setting to see where it comes from. "
    "A click keeps it lit, Esc lets go; Tab goes from flag to flag. A flag on a coloured ground has a finding."
)


class _Found(Record):
    """Part of a line that a finding is about, from column ``start`` to before ``end``, counted from 0."""

    start: int
    end: int
    group: str
    message: str


class _Mark(Record):
    """Part of a line that belongs to an argument, from column ``start`` to before ``end``, counted from 0."""

    start: int
    end: int
    argument: str
    is_flag: bool


def html(t: Translation, data: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[str]:
    """The lines of the page; ``sources`` are texts of files by the names that places have."""
    style = (_FOLDER / "report.css").read_text(encoding="utf-8")
    script = "\n" + (_FOLDER / "report.js").read_text(encoding="utf-8")
    policy = f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    shown = {name: text for name in _names(t, data) if (text := sources.get(name)) is not None}
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_e(policy)}">'
    yield f"<title>{_e(title_of(data))}</title><style>{style}</style></head><body>"
    yield f"<header><h1>{_e(title_of(data))}</h1><p>{_e(summary_of(data))}</p>"
    yield '<p class="search"><input id="q" type="search" placeholder="Search flags, settings, reasons   ( / )"'
    yield 'aria-label="Search"><output id="count" for="q"></output></p></header><main>'
    yield from _findings(data, shown)
    yield '<div class="panes">'
    yield from _left(t, data, shown)
    yield from _right(t, data)
    yield "</div>"
    yield from _table(data, shown)
    yield from _surroundings(data)
    yield f'</main><footer id="detail" aria-live="polite">{_HELP}</footer>'
    yield f"<script>{script}</script></body></html>"


def _digest(text: str) -> str:
    """How a content security policy names a piece of script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _names(t: Translation, data: Mapping[str, Any]) -> dict[str, None]:
    """The files that words and findings come from, in the order met."""
    places = [place.source for place in t.places if place]
    return dict.fromkeys([*places, *(finding["place"]["source"] for finding in data["findings"] if finding["place"])])


# Findings -----------------------------------------------------------------------------------------------------------


def _findings(data: Mapping[str, Any], shown: Mapping[str, str]) -> Iterator[str]:
    typed = {argument["argument"] for argument in data["arguments"]}
    for group, (title, about) in GROUPS.items():
        found = [finding for finding in data["findings"] if finding["group"] == group]
        if not found:
            continue
        # What must be acted on is open; what is only good to know is folded away where there is much of it.
        state = "" if group == "note" and len(found) > 4 else " open"
        yield f'<details class="findings {group}"{state}><summary>{title} ({len(found)})</summary>'
        yield f"<p>{_e(about)}</p><ul>"
        for finding in found:
            names = [name for name in finding["arguments"] if name in typed]
            place = _place(finding["place"], shown)
            yield f"<li{_data('args', names)}>{place}{_e(message_of(finding))}{_excerpt(finding['excerpt'])}</li>"
        yield "</ul></details>"


def _excerpt(excerpt: Mapping[str, Any] | None) -> str:
    if excerpt is None:
        return ""
    text, start, end = excerpt["text"], excerpt["start"], excerpt["end"]
    return f"<br><code>{_e(text[:start])}<mark>{_e(text[start:end])}</mark>{_e(text[end:])}</code>"


def _place(place: Mapping[str, Any] | None, shown: Mapping[str, str]) -> str:
    if place is None:
        return ""
    name = place["source"]
    if name not in shown:
        return f'<span class="place">{_e(where(place))}</span> '
    return f'<a class="place" href="#{_line_id(shown, name, place["line"])}">{_e(where(place))}</a> '


def _line_id(shown: Mapping[str, str], name: str, line: int) -> str:
    return f"file{list(shown).index(name) + 1}-{line}"


# The left side: what the user wrote -----------------------------------------------------------------------------------


def _left(t: Translation, data: Mapping[str, Any], shown: Mapping[str, str]) -> Iterator[str]:
    arguments = {argument["argument"]: argument for argument in data["arguments"]}
    yield '<section class="pane" id="left" aria-label="What you wrote">'
    elsewhere = list(arguments)
    about = _about(data)
    for name, text in shown.items():
        text = text.replace("\r\n", "\n").removesuffix("\n")
        lines = text.split("\n")
        hidden = _hidden(text, t)
        marks = _marks(t, arguments, name, lines)
        found = _findings_in(data, name, lines, marks, about)
        here = {name for name in arguments if _starts_in(t, name, shown)}
        elsewhere = [name for name in elsewhere if name not in here]
        yield f'<h2>{_e(name)}</h2><ol class="code">'
        for number, line in enumerate(lines, start=1):
            content = _line(line, marks.get(number, []), arguments, found.get(number, []), hidden.get(number, []))
            yield f'<li id="{_line_id(shown, name, number)}">{content}</li>'
        yield "</ol>"
    if elsewhere or not shown:
        yield f"<h2>{'Other words' if shown else 'Your command line'}</h2>"
        yield '<ol class="code words">'
        if not shown:
            yield f"<li>{_e(t.program)}</li>"
        for words, owner in _by_flag(t, elsewhere, whole=not shown):
            marks_here = [_Mark(0, len(words[0]), owner, True)] if owner else []
            line = " ".join(words)
            if owner and len(words) > 1:
                marks_here.append(_Mark(len(words[0]) + 1, len(line), owner, False))
            told = [_Found(0, len(words[0]), *about[key]) for key in (owner, words[0]) if key in about][:1]
            hidden_here = secret_parts(line, t.secrets)
            yield f"<li>    {_line(line, marks_here, arguments, told, hidden_here)}</li>"
        yield "</ol>"
    yield "</section>"


def _starts_in(t: Translation, argument: str, shown: Mapping[str, str]) -> bool:
    place = place_of(t, argument)
    return place is not None and place.source in shown


def _by_flag(t: Translation, names: list[str], whole: bool) -> Iterator[tuple[list[str], str]]:
    """Each flag with its values, and whose they are; with ``whole`` also the words that belong to no argument."""
    owner = {index: name for name in names for index in indices(t, name)}
    if not whole:
        for name in names:
            yield [t.words[index] for index in indices(t, name)], name
        return
    index = 0
    while index < len(t.words):
        name = owner.get(index, "")
        last = indices(t, name)[-1] if name else index
        yield list(t.words[index : last + 1]), name
        index = last + 1


def _marks(t: Translation, arguments: Mapping[str, Any], source: str, lines: list[str]) -> dict[int, list[_Mark]]:
    """Which parts of which lines of a file belong to which arguments: flags, and values where they were written."""
    found: dict[int, list[_Mark]] = {}
    for name in arguments:
        for index in indices(t, name):
            place = t.places[index] if index < len(t.places) else None
            if place is None or place.source != source or not 1 <= place.line <= len(lines):
                continue
            line, start = lines[place.line - 1], place.column - 1
            end = start + _length(line[start:], t.words[index])
            if start < end:
                is_flag = index == indices(t, name)[0]
                found.setdefault(place.line, []).append(_Mark(start, end, name, is_flag))
    return found


def _about(data: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Argument, or unknown word, to the gravest finding about it: its group and its message; notes are left out."""
    found: dict[str, tuple[str, str]] = {}
    typed = {argument["argument"] for argument in data["arguments"]}
    for group in reversed([group for group in GROUPS if group != "note"]):
        for finding in data["findings"]:
            if finding["group"] == group:
                names = typed.intersection(finding["arguments"]) or [_marked_in(finding)]
                found.update((name, (group, message_of(finding))) for name in names if name)
    return found


def _marked_in(finding: Mapping[str, Any]) -> str:
    excerpt = finding["excerpt"]
    return str(excerpt["text"][excerpt["start"] : excerpt["end"]]).partition(" ")[0] if excerpt else ""


def _findings_in(
    data: Mapping[str, Any],
    source: str,
    lines: list[str],
    marks: Mapping[int, list[_Mark]],
    about: Mapping[str, tuple[str, str]],
) -> dict[int, list[_Found]]:
    """Which parts of which lines of a file findings are about: flags, and words that are no flag of Megatron-LM's."""
    found: dict[int, list[_Found]] = {}
    typed = {argument["argument"] for argument in data["arguments"]}
    for number, here in marks.items():
        for mark in here:
            if mark.is_flag and mark.argument in about:
                found.setdefault(number, []).append(_Found(mark.start, mark.end, *about[mark.argument]))
    for finding in data["findings"]:
        place, word = finding["place"], _marked_in(finding)
        if finding["group"] == "note" or typed.intersection(finding["arguments"]) or not word or place is None:
            continue
        if place["source"] != source or not 1 <= place["line"] <= len(lines):
            continue
        line, start = lines[place["line"] - 1], place["column"] - 1
        if not line.startswith(word, start):  # the place may be that of the line only
            start = line.find(word)
        if start >= 0:
            one = _Found(start, start + len(word), finding["group"], message_of(finding))
            found.setdefault(place["line"], []).append(one)
    return found


def _hidden(text: str, t: Translation) -> dict[int, list[tuple[int, int]]]:
    """Which parts of which lines of a file are secret."""
    found: dict[int, list[tuple[int, int]]] = {}
    for start, end in secret_parts(text, t.secrets):
        number = text.count("\n", 0, start) + 1
        column = start - (text.rfind("\n", 0, start) + 1)
        for index, piece in enumerate(text[start:end].split("\n")):
            first = column if index == 0 else 0
            if piece:
                found.setdefault(number + index, []).append((first, first + len(piece)))
    return found


def _length(rest: str, word: str) -> int:
    """How much of the rest of a line is the word, or the text that becomes it."""
    if word and rest.startswith(word):
        return len(word)
    if rest.startswith("$("):  # to the bracket that closes it
        depth = 0
        for index, char in enumerate(rest):
            depth += (char == "(") - (char == ")")
            if char == ")" and depth == 0:
                return index + 1
    written = re.match(r"[^\s\"'();|&]+", rest)
    return written.end() if written else min(1, len(rest))


def _line(
    line: str,
    marks: list[_Mark],
    arguments: Mapping[str, Any],
    found: list[_Found],
    hidden: list[tuple[int, int]],
) -> str:
    """A line in which every part that belongs to arguments says so, and that has a finding; without its secrets."""
    edges = sorted({0, len(line), *(edge for mark in (*marks, *found) for edge in mark[:2]), *chain(*hidden)})
    parts = []
    for start, end in zip(edges, edges[1:], strict=False):
        here = [mark for mark in marks if mark.start <= start and end <= mark.end]
        secret = next((part for part in hidden if part[0] <= start and end <= part[1]), None)
        text = _e(line[start:end], tabs=True) if secret is None else MASK if secret[0] == start else ""
        told = next((one for one in found if one.start <= start and end <= one.end), None)
        if told is not None:
            text = f'<mark class="about-{told.group}" title="{_e(told.message)}">{text}</mark>'
        if not here:
            parts.append(text)
            continue
        names = list(dict.fromkeys(mark.argument for mark in here))
        flag = next((mark for mark in here if mark.is_flag), None)
        argument = arguments[(flag or here[0]).argument]
        attributes = f'class="{_class(argument)}"{_data("args", names)} title="{_e(_becomes(argument))}"'
        if flag is None:
            parts.append(f"<span {attributes}>{text}</span>")
        else:
            own = f' id="flag-{_e(flag.argument)}"' if flag.start == start else ""
            parts.append(f'<a{own} href="#{_target(argument)}" {attributes}>{text}</a>')
    return "".join(parts) or "&#8203;"


def _class(argument: Mapping[str, Any]) -> str:
    return f"fate-{argument['fate'] or 'unknown'}"


def _becomes(argument: Mapping[str, Any]) -> str:
    fate = argument["short"]
    return ", ".join(argument["paths"]) if argument["paths"] else f"{fate}: {argument['reason']}".removesuffix(": ")


def _target(argument: Mapping[str, Any]) -> str:
    """Where a flag's link leads: to its setting, else to what is said of it."""
    return _e(f"set-{argument['paths'][0]}" if argument["paths"] else f"row-{argument['argument']}")


# The right side: what Bridge gets -------------------------------------------------------------------------------------


def _right(t: Translation, data: Mapping[str, Any]) -> Iterator[str]:
    made = {assignment.path: assignment for assignment in t.assignments}
    steps = {setting["path"]: step_of(setting) for setting in data["settings"]}
    seen: set[str] = set()
    yield '<section class="pane" id="right" aria-label="Bridge configuration">'
    yield f'<h2>Megatron Bridge {_e(t.versions.bridge)}</h2><ol class="code">'
    head = True
    for line in yaml_lines(t):
        if head and (line.text.startswith("#") or not line.text):
            continue  # the command line is on the left
        head = False
        line = line._replace(text=masked(line.text, t.secrets))
        comment = f"<i>  # {_e(line.comment)}</i>" if line.comment else ""
        assignment = made.get(line.path)
        if assignment is None:
            yield f"<li>{_e(line.text)}{comment}</li>"
            continue
        own = "" if line.path in seen else f' id="set-{_e(line.path)}"'
        seen.add(line.path)
        yield f"<li{own}>{_setting(t, assignment, line.text, steps[line.path])}{comment}</li>"
    yield "</ol></section>"


def _setting(t: Translation, assignment: Assignment, text: str, step: str) -> str:
    origin = assignment.origin
    typed = [name for name in origin.arguments if indices(t, name)]
    inputs = [name for name in origin.inputs if indices(t, name) and name not in typed]
    indent = text[: len(text) - len(text.lstrip())]
    data = _data("args", typed) + _data("from", inputs)
    first = next(iter([*typed, *inputs]), None)
    title = f"{assignment.path}: {assignment.row.place}{step and f'; {step}'}"
    inner = f'class="{origin.kind}"{data} title="{_e(title)}"'
    if first is None:
        return f"{indent}<span {inner}>{_e(text.lstrip())}</span>"
    return f'{indent}<a href="#flag-{_e(first)}" {inner}>{_e(text.lstrip())}</a>'


# Below: flag by flag --------------------------------------------------------------------------------------------------


def _table(data: Mapping[str, Any], shown: Mapping[str, str]) -> Iterator[str]:
    if not data["arguments"]:
        return
    settings = {setting["path"]: setting for setting in data["settings"]}
    yield "<section><h2>What becomes of the arguments</h2><table>"
    yield "<thead><tr><th>where</th><th>argument</th><th>becomes</th><th>why</th></tr></thead><tbody>"
    for argument in data["arguments"]:
        name = argument["argument"]
        written = [path for path in argument["paths"] if path in settings]
        lines = [
            f'<a href="#set-{_e(path)}"><code>{_e(path)} = {_e(settings[path]["shown"])}</code></a>' for path in written
        ]
        became = "<br>".join(lines) or f'<span class="{_class(argument)}">{_e(argument["short"])}</span>'
        derived = [settings[path] for path in written if settings[path]["origin"]["kind"] == "derived"]
        told = [argument["reason"], *(text for one in derived for text in (one["from"], step_of(one)))]
        why = "; ".join(text for text in dict.fromkeys(told) if text)
        yield (
            f'<tr id="row-{_e(name)}"{_data("args", [name])}><td>{_place(argument["place"], shown)}</td>'
            f"<td><code>{_e(' '.join(argument['words']))}</code></td><td>{became}</td><td>{_e(why)}</td></tr>"
        )
    yield "</tbody></table></section>"


def _surroundings(data: Mapping[str, Any]) -> Iterator[str]:
    for title, pairs in (("Launcher", data["launcher"]), ("Environment", data["environment"])):
        if pairs:
            yield f'<details class="findings"><summary>{title} ({len(pairs)})</summary><ul>'
            for name, value in pairs.items():
                yield f"<li><code>{_e(name)}={_e(str(value))}</code></li>"
            yield "</ul></details>"


# HTML -----------------------------------------------------------------------------------------------------------------


def _data(name: str, values: list[str]) -> str:
    return f' data-{name}="{_e(" ".join(values))}"' if values else ""


def _e(text: str, tabs: bool = False) -> str:
    if tabs and "\t" in text:
        return "\t".join(escape(visible(part)) for part in text.split("\t"))
    return escape(visible(text))
