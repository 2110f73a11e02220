"""A report for a terminal, and for a pull request: text and Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from bridge_args.emit.layout import on_one_line
from bridge_args.emit.report_data import (
    GROUPS,
    message_of,
    notes_left_out,
    summary_of,
    table_of,
    title_of,
    untyped,
    untyped_of,
    where,
)
from bridge_args.findings import Group
from bridge_args.seen import visible

_COLOURS: Final[dict[Group, str]] = {"fix": "1;31", "decide": "1;35", "check": "1;33", "note": "1;36"}
_HEADING: Final = "1"
_PALE: Final = "2"


def text(data: dict[str, Any], colour: bool = False, verbose: bool = True) -> Iterator[str]:
    """The lines of the report for a terminal: what asks for something, the tables, notes.

    Args:
        colour: adds escape sequences.
        verbose: with notes, not only with their number.
    """

    def paint(words: str, how: str) -> str:
        return f"\033[{how}m{words}\033[0m" if colour and words else words

    def of(group: Group) -> Iterator[str]:
        title, about = GROUPS[group]
        found = [finding for finding in data["findings"] if finding["group"] == group]
        if not found:
            return
        yield paint(f"{title} ({len(found)})", _COLOURS[group]) + (f": {about}" if about else "")
        for finding in found:
            yield from _wrapped(_sentence(finding))
            if finding["excerpt"]:
                excerpt = finding["excerpt"]
                marks = "^" * max(1, excerpt["end"] - excerpt["start"])
                yield "      " + visible(excerpt["text"])
                yield "      " + " " * excerpt["start"] + paint(marks, _COLOURS[group])
        yield ""

    for group in ("fix", "decide", "check"):
        yield from of(group)
    for title, rows in (("What becomes of the arguments", table_of(data)), (untyped(data), untyped_of(data))):
        lines = list(_columns(rows, paint))
        if lines:
            yield paint(title, _HEADING)
            yield from lines
            yield ""
    if verbose:
        yield from of("note")
    elif notes := data["counts"]["note"]:
        yield from (paint(notes_left_out(notes), _COLOURS["note"]), "")
    yield summary_of(data)


def _columns(rows: Iterable[tuple[str, ...]], paint: Callable[[str, str], str]) -> Iterator[str]:
    """Rows under one another; the last cell is the remark. A column in which nothing stands is left out."""
    short = [[on_one_line(cell, 120) for cell in row] for row in rows]
    widths = [min(48, max(map(len, column))) for column in zip(*short, strict=True)]
    for *cells, remark in short:
        padded = [f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=False) if width]
        if len(padded) == 3:
            padded[0] = paint(padded[0], _PALE)
        yield "  " + "  ".join([*padded, paint(remark, _PALE)]).rstrip()


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(
        sentence, 116, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False, break_long_words=False
    )


def _sentence(finding: dict[str, Any]) -> str:
    place = where(finding["place"])
    return visible(f"{place}: {message_of(finding)}" if place else message_of(finding))


def markdown(data: dict[str, Any]) -> Iterator[str]:
    """The lines of the report in Markdown, with tables as GitHub reads them."""
    yield f"# {_prose(title_of(data))}"
    yield ""
    yield _prose(summary_of(data))
    for group, (title, about) in GROUPS.items():
        found = [finding for finding in data["findings"] if finding["group"] == group]
        if not found:
            continue
        yield from ("", f"## {title} ({len(found)})", "")
        if about:
            yield from (about, "")
        yield from ("| what | where | your words |", "| --- | --- | --- |")
        for finding in found:
            excerpt = finding["excerpt"]
            marked = excerpt["text"][excerpt["start"] : excerpt["end"]] if excerpt else ""
            yield f"| {_prose(message_of(finding))} | {_code(where(finding['place']))} | {_code(marked)} |"
    rows = list(table_of(data))
    if rows:
        with_places = any(place for place, *_ in rows)
        yield from ("", "## What becomes of the arguments", "")
        yield ("| where " if with_places else "") + "| argument | setting | origin |"
        yield ("| --- " if with_places else "") + "| --- | --- | --- |"
        for place, words, setting, origin in rows:
            before = f"| {_code(place)} " if with_places else ""
            yield f"{before}| {_code(words)} | {_code(setting)} | {_prose(origin)} |"
    others = list(untyped_of(data))
    if others:
        yield from ("", f"## {untyped(data)}", "", "| setting | origin |", "| --- | --- |")
        for setting, origin in others:
            yield f"| {_code(setting)} | {_prose(origin)} |"


def _prose(words: str) -> str:
    words = re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", visible(words))
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _code(words: str) -> str:
    words = visible(words)
    if not words.strip():
        return ""
    fence = "`" * (max((len(run) for run in re.findall("`+", words)), default=0) + 1)
    space = " " if words[0] in "` " or words[-1] in "` " else ""
    return fence + space + words.replace("|", "\\|") + space + fence
