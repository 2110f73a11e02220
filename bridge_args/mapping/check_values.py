"""What rows and builders write is what the settings of a Bridge take, and what nobody writes is the same there.

Names are a matter of ``check.py``; here it is values: types, choices and defaults, by ``probes.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any, Final

from bridge_args.bridge.names import classes_of
from bridge_args.bridge.schema import Field, Schema
from bridge_args.bridge.types import accepts, same_kind
from bridge_args.mapping import probes
from bridge_args.mapping.convert import CONVERSIONS, fit, shown
from bridge_args.mapping.rows import Row
from bridge_args.mapping.sections.registry import (
    BUILDERS,
    WRITES,
    Builder,
    Lost,
    NeedsDropIn,
    Rejected,
    parameters,
    place_of,
    values_for,
)
from bridge_args.mapping.table import Table
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.values import Built, to_plain
from bridge_args.versions import Versions

_SAID: Final = (Lost, NeedsDropIn, Rejected)  # the user is told, and told what to do


def check_values(table: Table, catalog: Catalog, schema: Schema) -> Iterator[str]:
    """Everything wrong with the values of all rows and builders."""
    for row in table.rows.values():
        yield from check_types(row, catalog, schema)
        yield from check_default(row, catalog, schema)
        yield from check_namesakes(row, schema)
    for name in BUILDERS:
        if WRITES[name].holds(Versions(catalog.version, schema.version)):
            handed = frozenset(row.argument for row in table.rows.values() if name in row.sections)
            yield from check_decisions(name, catalog, schema, handed)


def check_types(row: Row, catalog: Catalog, schema: Schema) -> Iterator[str]:
    """A setting takes every value that its row writes, in whatever class its section is built from."""
    if row.conversion and row.conversion not in CONVERSIONS:
        return
    values = probes.values(row.argument, catalog)
    if row.sections and row.to:
        values = tuple(value for value in values if not _is_told(row, value, catalog, schema))
    for path in row.to:
        for field in fields(path, schema):
            refused = [value for value in values if not _fits(value, row, field, catalog, schema)]
            if refused:
                shown_values = " or ".join(sorted(map(shown, refused)))
                yield (
                    f"{row.place}: {row.argument} may be {shown_values}, and {path} takes {field.type} in Bridge "
                    f"{schema.version}; convert it (as:), or say that Bridge takes it nonetheless (takes:)"
                )
                break


def check_default(row: Row, catalog: Catalog, schema: Schema) -> Iterator[str]:
    """What is left to Bridge, because nothing writes it or it counts as equal, is what Megatron-LM has."""
    if row.argument not in catalog.defaults:
        return
    default = probes.default_of(row.argument, catalog)
    if row.fate == "to":
        for path in row.to:
            for field in fields(path, schema):
                value = _written(default, row, field, schema)
                if value == field.default and not same_kind(value, field.default):
                    yield (
                        f"{row.place}: {row.argument} is {value!r} by default, which counts as equal to "
                        f"Bridge's {field.default!r} of {path}; convert it (as:)"
                    )
        return
    if row.conversion or row.feeds:
        return
    decided = {path for section in BUILDERS for path in (*WRITES[section].always, *WRITES[section].if_there)}
    for path, field in _namesakes(row.argument, schema):
        own = field.required or field.environment or path in decided or path in row.unlike
        if not own and field.default != default and (field.default or default):
            yield (
                f"{row.place}: {row.argument} is {default!r} by default, and Bridge {schema.version} has "
                f"{path} = {field.default!r}, which nothing writes; write it, or say that it is another (unlike:)"
            )


def check_namesakes(row: Row, schema: Schema) -> Iterator[str]:
    """Where Bridge has a setting of the argument's name, a row that knows no equivalent says why it is none."""
    if row.fate in ("no_equivalent", "not_yet"):
        for path, _ in _namesakes(row.argument, schema):
            if path not in row.unlike:
                yield (
                    f"{row.place}: {row.argument} says {row.fate}, but Bridge {schema.version} has {path}; "
                    "write it, or say that it does not do the same (unlike:)"
                )


def check_decisions(name: str, catalog: Catalog, schema: Schema, handed: frozenset[str] | None = None) -> Iterator[str]:
    """A builder decides settings that it has declared, with values that they take, for any two values it reads.

    Args:
        handed: the arguments that rows hand to the builder; all that it reads, where not given.
    """
    function, known = BUILDERS[name], (*WRITES[name].always, *WRITES[name].if_there)
    seen: set[str] = set()
    for decided in _decisions(function, frozenset(parameters(function)) if handed is None else handed, catalog, schema):
        for path, value in decided.items():
            if isinstance(value, _SAID):
                continue
            problem = ""
            if path not in known:
                problem = "which it does not declare (writes=)"
            elif not (of_path := list(fields(path, schema))):
                problem = f"which Bridge {schema.version} does not have"
            elif not isinstance(value, WRITES[name].takes.get(path, ())):
                problem = next((_refused(value, field, schema) for field in of_path), "")
            if problem and path not in seen:
                seen.add(path)
                yield f"{place_of(function)}: {name} decides {path} = {shown(value)}, {problem}"


def fields(path: str, schema: Schema) -> Iterator[Field]:
    """The setting in each class that a configuration of ours may build its section from."""
    yield from (field for _, field in classes_with(path, schema))


def classes_with(path: str, schema: Schema) -> Iterator[tuple[str, Field]]:
    """The same, with the class."""
    section = schema.sections.get(path.partition(".")[0])
    if section is None:
        return
    ours = set(classes_of(schema.version).values())
    first = section.default_class or next(iter(section.classes), "")
    for name in dict.fromkeys((first, *(name for name in section.classes if name in ours))):
        field = schema.find(path, {section.name: name})
        if field is not None:
            yield name, field


def _fits(value: Any, row: Row, field: Field, catalog: Catalog, schema: Schema) -> bool:
    written = _written(value, row, field, schema)
    if str(written) in (*row.takes, *row.if_listed) or _takes(written, field):
        return True
    words = [choice for choice in field.choices or () if isinstance(choice, str)]
    return bool(words) and value == probes.TEXT and probes.is_free(row.argument, catalog)


def _refused(value: Any, field: Field, schema: Schema) -> str:
    """Why a setting does not take a value, or a class not what it is made from; empty where all is well."""
    if not _takes(fit(value, field, schema), field):
        return f"which takes {field.type} in Bridge {schema.version}"
    if isinstance(value, Built) and value.path in schema.classes:
        inside = schema.classes[value.path]
        for name, item in value.kwargs.items():
            if name not in inside:
                return f"whose class has no {name} in Bridge {schema.version}"
            if problem := _refused(item, inside[name], schema):
                return f"in which {name} = {shown(item)}, {problem}"
    return ""


def _takes(value: Any, field: Field) -> bool:
    return to_plain(value) == field.default or accepts(field, value)


def _written(value: Any, row: Row, field: Field, schema: Schema) -> Any:
    return fit(CONVERSIONS[row.conversion](value) if row.conversion else value, field, schema)


def _is_told(row: Row, value: Any, catalog: Catalog, schema: Schema) -> bool:
    """Does a builder that reads the argument say of this value that Bridge does not take it?"""
    for section in row.sections:
        if section in BUILDERS and row.argument in parameters(BUILDERS[section]):
            for values in _of_runs(BUILDERS[section], frozenset(parameters(BUILDERS[section])), catalog, schema):
                if isinstance(BUILDERS[section](**{**values, row.argument: value}).get(row.argument), _SAID):
                    return True
    return False


def _namesakes(argument: str, schema: Schema) -> Iterator[tuple[str, Field]]:
    """The settings called like an argument, of the sections that are there without being opened."""
    for section in schema.sections.values():
        if section.default_class or section.required and section.classes:
            path = f"{section.name}.{argument}"
            field = schema.find(path)
            if field is not None:
                yield path, field


def _decisions(function: Builder, handed: frozenset[str], catalog: Catalog, schema: Schema) -> Iterator[dict[str, Any]]:
    """What a builder makes of every run, with each value of each two arguments."""
    for values in _of_runs(function, handed, catalog, schema):
        yield function(**values)
        tried = [(name, value) for name in values if name in handed for value in probes.values(name, catalog)]
        for (one, first), (other, second) in combinations(tried, 2):
            if one != other:
                yield function(**{**values, one: first, other: second})


def _of_runs(function: Builder, handed: frozenset[str], catalog: Catalog, schema: Schema) -> Iterator[dict[str, Any]]:
    for run in probes.runs(catalog):
        context = {"schema": schema, "program": run.program, "read": _nothing}
        yield values_for(function, handed, run.args, context)


def _nothing(name: str) -> str:
    raise FileNotFoundError(name)
