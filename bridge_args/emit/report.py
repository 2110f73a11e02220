"""The report: every flag given, what became of it, and what the user should look at."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from bridge_args.emit.report_data import data_of
from bridge_args.mapping.translation import Translation

Format = Literal["text", "json", "markdown", "html"]


def report(
    t: Translation,
    format: Format = "text",
    *,
    sources: Mapping[str, str] | None = None,
    colour: bool = False,
    verbose: bool = True,
) -> str:
    """Every flag that was given and every fate that matters.

    Args:
        format: ``text``, ``json``, ``markdown``, or ``html`` (one page that needs no network).
        sources: name to text of the files that the words come from (``Place.source``); shown by ``html``.
        colour: escape sequences for a terminal, in ``text``.
        verbose: with notes; without, ``text`` has their number only. The other formats always have them.

    Raises:
        ValueError: for another format.

    The JSON is described by ``report_schema.json`` beside this module. Its keys:

    * ``schema``: 1; a reader may rely on everything below while it is 1, and must expect further keys;
    * ``versions``: ``megatron_lm`` and ``bridge``; ``program``; ``world_size`` (ranks);
    * ``counts``: ``arguments`` (given), ``settings`` (written), and findings in each group;
    * ``findings``: list of ``group`` (by what the user must do: ``fix``, ``decide``, ``check``, or ``note``),
      ``kind``, ``message``, ``remedy``, ``arguments``, ``place`` (``source``, ``line``, ``column``, or null),
      ``excerpt`` (``text`` with the marked part from ``start`` to before ``end``, or null), ``changes`` (of a loss:
      ``numbers``, ``speed`` for speed or memory, ``logs`` for logs and files; else null);
    * ``arguments``: for every argument given ``argument``, ``flag``, ``words``, ``place``, ``value`` (effective),
      ``fate`` (a key of ``mapping.rows.FATES``, or null), ``short`` (what becomes of it
      where it is in no setting), ``paths``, ``reason``, ``row`` (file and line of our
      table), in the order they were typed;
    * ``settings``: ``path``, ``value`` (as Bridge writes it in YAML; numbers that are not finite as text), ``shown``,
      ``from`` (a sentence), ``origin`` (``kind``, ``arguments``, ``text``, ``inputs``, ``step``: of a derived value the
      ``function`` of ours that derives it, and where Megatron-LM does it, or null), ``row``, in Bridge's order;
    * ``environment`` and ``launcher``: names and values.
    """
    if format not in get_args(Format):
        raise ValueError(f"a report is made as {', '.join(get_args(Format))}, not as {format!r}")
    data = data_of(t)
    if format == "json":
        return json.dumps(data, indent=2, ensure_ascii=True, allow_nan=False) + "\n"
    lines: Iterable[str]
    if format == "html":
        from bridge_args.emit.report_html import html

        lines = html(t, data, sources or {})
    else:
        from bridge_args.emit.report_text import markdown, text

        lines = text(data, colour, verbose) if format == "text" else markdown(data)
    return "".join(f"{line}\n" for line in lines)
