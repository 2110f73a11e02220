"""A complete configuration of one Bridge as a source for another: moved, with the lines of its file."""

from __future__ import annotations

from functools import partial
from typing import Any

from bridge_args.mapping.settings import Stated, Statement, Statements
from bridge_args.migrate.run_config.change import Change
from bridge_args.migrate.run_config.moving import moved
from bridge_args.migrate.run_config.text import text_of
from bridge_args.source.bridge_config import MADE_FROM, from_bridge_config
from bridge_args.source.source import Source
from bridge_args.source.yaml.nodes import read
from bridge_args.source.yaml.plain import Values


def in_words_of(source: Source, bridge: str) -> Source:
    """The source as that version of Bridge would have it; any other source stays as it is.

    Raises:
        UserError: the file names what no configuration may name.
    """
    stated = source.stated
    if stated is None or stated.made_from != MADE_FROM or stated.bridge in (None, bridge):
        return source
    before = stated.said_to(stated.bridge)
    if not before.complete:
        return source
    root = read(source.text, source.name)
    assert root is not None
    plain: dict[str, Any] = Values(source.name).of(root)
    made = moved(plain, bridge, stated.bridge)
    new = from_bridge_config(text_of(made.config), source.name)
    assert new.stated is not None
    lines = {line.name: line for line in before.lines}
    names = {change.new: change.old for change in made.changes if change.new and change.old}
    reasons = {change.new: change for change in made.changes if change.new and change.fate != "renamed"}
    said_to = partial(_with_places, new.stated, lines, names, reasons, made.findings)
    statements = Statements(f"{MADE_FROM} {stated.bridge}, for {bridge}", said_to, bridge)
    return source._replace(stated=statements)


def _with_places(
    new: Statements,
    lines: dict[str, Stated],
    names: dict[str, str],
    reasons: dict[str, Change],
    findings: tuple[Any, ...],
    bridge: str,
) -> Statement:
    statement = new.said_to(bridge)

    def placed(line: Stated) -> Stated:
        old = lines.get(names.get(line.name, line.name))
        if old is not None:
            return line._replace(text=old.text, place=old.place)
        why = reasons.get(line.name)
        return line._replace(text=f"{line.text} ({why.reason.rstrip('.')})" if why else line.text, place=None)

    return statement._replace(lines=tuple(map(placed, statement.lines)), findings=(*findings, *statement.findings))
