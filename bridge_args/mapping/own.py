"""Rows of the user's own, for the arguments of a fork: the same grammar, checked the same way; and what has no row."""

from __future__ import annotations

from collections.abc import Iterator

from bridge_args.bridge.schema import Schema
from bridge_args.files import read_file
from bridge_args.findings import Finding
from bridge_args.mapping import check
from bridge_args.mapping.check_values import check_types
from bridge_args.mapping.convert import shown
from bridge_args.mapping.grammar import read
from bridge_args.mapping.rows import Row, TableError
from bridge_args.mapping.table import Table
from bridge_args.mapping.translation import Outcome
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.parse import Given
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs
from bridge_args.versions import Versions

_REASON = "The mapping tables do not have this argument of a fork."


def with_own_rows(table: Table, path: str, versions: Versions, catalog: Catalog, schema: Schema) -> Table:
    """The table with the rows of a file of the user's, which win over ours.

    Raises:
        TableError: the file cannot be read, does not follow the grammar, or says something untrue; every problem is
            a line that starts with file and line.
    """
    name = path if path.endswith((".yaml", ".yml")) else f"{path}.yaml"
    try:
        text = read_file(path)
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        said = read(text, name, versions)
    except RecursionError as error:
        raise TableError(f"{name}:1: it is nested deeper than any table") from error
    seen: dict[str, Row] = {}
    problems = []
    for row in said.rows:
        if row.argument in seen:
            problems.append(f"{row.place}: {row.argument} already has a row at {seen[row.argument].place}")
        seen[row.argument] = row
    whole = table.with_rows(said.rows)
    whole = whole._replace(
        areas={**table.areas, said.area.name: said.area},
        optional_sections={**table.optional_sections, **{section.name: section for section in said.sections}},
    )
    problems += [problem for row in seen.values() for problem in check.check_row(row, whole, catalog, schema)]
    problems += [problem for row in seen.values() for problem in check_types(row, catalog, schema)]
    problems += [problem for problem in check.check_paths(whole, catalog) if name in problem]
    problems += check.check_builders(whole, catalog, schema)
    if problems:
        raise TableError("\n".join(problems))
    return whole


def without_row(
    args: MegatronArgs, given: Given, table: Table, catalog: Catalog
) -> Iterator[tuple[Outcome, Finding | None]]:
    """What becomes of arguments that the tables do not know: nothing, and a user is told if the value matters."""
    for argument in catalog.arguments:
        name = argument.dest
        if name in table.rows or name not in args or argument.requires:
            continue
        typed = name in given.typed
        row = Row(name, "not_yet", reason=_REASON)
        finding = None
        default = catalog.program_defaults.get(name) if catalog.defaults[name] is None else catalog.defaults[name]
        if typed or args[name] != default:
            finding = Finding(
                "no-row",
                f"{given.typed[name].flag if typed else name} = {shown(args[name])} is lost: no mapping table has it",
                remedy="map it in a table of your own, and pass that with --mappings FILE",
                arguments=(name,),
                place=given.place(name),
                excerpt=given.excerpt(name),
                changes="numbers",  # for all that is known here
            )
        yield Outcome(name, "not_yet", (), _REASON, typed, row), finding
