"""Facts for people and programs: text, Markdown, JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final

from bridge_args.explain.facts import Example, Facts, defaults_differ, takes
from bridge_args.explain.search import Hit
from bridge_args.findings import CHANGES
from bridge_args.mapping.rows import FATES
from bridge_args.values import finite

FORMATS: Final = ("text", "json", "markdown")

Section = tuple[str, list[str]]


def pages(facts: Sequence[Facts], format: str = "text") -> str:
    """A page for each argument; in ``json`` one list.

    Raises:
        ValueError: for a format that is not in ``FORMATS``.
    """
    if format == "json":
        return json.dumps(finite([one.data() for one in facts]), indent=2, allow_nan=False) + "\n"
    if format not in FORMATS:
        raise ValueError(f"a page is made as {', '.join(FORMATS)}, not as {format!r}")
    page = _text if format == "text" else _markdown
    return "\n".join("".join(f"{line}\n" for line in page(one)) for one in facts)


def found(query: str, hits: Sequence[Hit], format: str = "text") -> str:
    """The arguments that a query may be about.

    Raises:
        ValueError: for a format that is not in ``FORMATS``.
    """
    if format == "json":
        return json.dumps({"query": query, "found": [hit._asdict() for hit in hits]}, indent=2) + "\n"
    if format not in FORMATS:
        raise ValueError(f"a list is made as {', '.join(FORMATS)}, not as {format!r}")
    if format == "markdown":
        rows = [f"| `{hit.flag}` | {_cell(hit.what)} |\n" for hit in hits]
        return "".join([f"Nearest to {_cell(query)}:\n\n| argument | becomes |\n| --- | --- |\n", *rows])
    width = max((len(hit.flag) for hit in hits), default=0)
    lines = [f"  {hit.flag:<{width}}  {textwrap.shorten(hit.what, 90, placeholder=' ...')}".rstrip() for hit in hits]
    return "".join(f"{line}\n" for line in [f"nearest to {query!r}:", *lines])


def _sections(facts: Facts) -> Iterator[Section]:
    """What there is to say, under headings."""
    for argument in facts.arguments:
        choices = f", one of {', '.join(map(str, argument.choices))}" if argument.choices else ""
        yield f"{', '.join(argument.flags)}: {takes(argument)}{choices}", []
    if facts.arguments:
        generated = f", from {facts.arguments[0].field}" if facts.arguments[0].field else ""
        yield f"Megatron-LM {facts.megatron} default: {_value(facts.arguments[0].default)}{generated}", []
    yield f"in Megatron-LM {_eras(facts.having)}", []
    row = facts.row
    if row is None:
        yield (
            f"not in the mapping tables for Megatron-LM {facts.versions.megatron} and Bridge {facts.versions.bridge}",
            [f"a setting of its name: {path} (Bridge {', '.join(having)})" for path, having in facts.namesakes.items()],
        )
    else:
        lines = [f"-> {path}" for path in _targets(facts)]
        lines += [f"-> set together with related arguments by {section} (mapping/sections)" for section in row.sections]
        lines += [f"-> used only to compute {target}" for target in row.feeds]
        lines += [text for text in (row.reason, row.note) if text]
        if row.fate in ("no_equivalent", "not_yet"):
            lines.append(f"without it the run differs in {CHANGES[row.changes]}")
        lines += [f"see {see}" for see in row.see]
        yield f"{row.fate.replace('_', ' ')}: {FATES[row.fate]} ({row.place})", lines
    if facts.step:
        inputs = ", ".join(facts.derived_from)
        text = (facts.step.function.__doc__ or "").partition("\n")[0]
        lines = [text, *(f"from {name}" for name in [inputs] if name), *(f"see {see}" for see in facts.step.see)]
        yield f"derived: computed by {facts.step.place}", lines
    if facts.derived:
        yield "Megatron-LM works out from it", [", ".join(facts.derived)]
    if facts.example:
        yield from _example(facts.example)


def _targets(facts: Facts) -> Iterator[str]:
    differing = defaults_differ(facts)
    conversion = f", as {facts.row.conversion}" if facts.row and facts.row.conversion else ""
    for target in facts.targets:
        what = "required" if target.required else f"default {_value(target.default)}"
        other = ", which is not Megatron-LM's" if target.path in differing else ""
        yield f"{target.path} ({target.type}; {what}{other}){conversion}"


def _example(example: Example) -> Iterator[Section]:
    beside = f", beside {' '.join(example.beside)}" if example.beside else ""
    lines = list(example.becomes or ("no Bridge setting changes",))
    yield f"for example {' '.join(example.words)}{beside}", [*lines, *example.findings]


def _eras(having: Sequence[str]) -> str:
    return having[0] if len(having) == 1 else ", ".join(having)


def _value(value: Any) -> str:
    return str(value) if not isinstance(value, str) else repr(value)


def _text(facts: Facts) -> Iterator[str]:
    yield facts.name
    for heading, lines in _sections(facts):
        yield from _wrapped(heading, "  ")
        for line in lines:
            yield from _wrapped(line, "    ")


def _wrapped(line: str, indent: str) -> list[str]:
    return textwrap.wrap(
        line, 116, initial_indent=indent, subsequent_indent=indent + "    ", break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip


def _markdown(facts: Facts) -> Iterator[str]:
    yield from (f"## `{facts.name}`", "")
    for heading, lines in _sections(facts):
        yield f"- {_cell(heading)}"
        yield from (f"  - {_cell(line)}" for line in lines)


def _cell(text: str) -> str:
    for char in "\\`*_[]<>|":
        text = text.replace(char, "\\" + char)
    return text
