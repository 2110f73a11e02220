"""Rows against catalog and schema: what a table says must exist on both sides.

Run by a test with one test id per row, and by ``bridge-args check``.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from bridge_args.bridge import names, unread
from bridge_args.bridge import schema as schemas
from bridge_args.bridge.schema import Schema
from bridge_args.mapping import table as tables
from bridge_args.mapping.check_values import check_values, classes_with
from bridge_args.mapping.convert import CONVERSIONS
from bridge_args.mapping.rows import Row
from bridge_args.mapping.sections.registry import BUILDERS, WRITES, parameters, place_of
from bridge_args.mapping.table import Table
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.catalog import Argument, Catalog
from bridge_args.megatron_lm.derive.registry import CONTEXT, Derivation
from bridge_args.megatron_lm.resolvers.built_in import plan_of
from bridge_args.versions import Versions

_SETTING: Final = re.compile(r"[a-z_]+\.[a-z_][a-z0-9_]*[a-z0-9]")
# Texts that only look like settings: attributes of objects that training has made of them (verify/cause.py), files.
_NO_SETTINGS: Final = frozenset(
    "model.max_sequence_length dataset.vocab_size scheduler.max_lr scheduler.min_lr scheduler.init_lr "
    "scheduler.start_wd scheduler.end_wd scheduler.wd_incr_style "
    "model.safetensors optimizer.pt scheduler.pt tokenizer.json tokenizer.model".split()
)
# What a builder may read beside arguments that have a row naming it.
BUILDER_CONTEXT = ("schema", "program", "read")


def check(versions: Versions) -> list[str]:
    """Everything wrong with our tables for a pair of versions; each starts with file and line."""
    table, catalog, schema = tables.load(versions), catalogs.load(versions.megatron), schemas.load(versions.bridge)
    problems = [problem for row in table.rows.values() for problem in check_row(row, table, catalog, schema)]
    problems += [problem for row in table.rows.values() for problem in check_name(row)]
    problems += [problem for row in table.rows.values() for problem in check_stale_unread(row, table)]
    problems += check_completeness(table, catalog)
    problems += check_builders(table, catalog, schema)
    problems += check_unread(table, catalog, schema)
    problems += check_literals()
    problems += check_classes(schema)
    problems += check_paths(table, catalog)
    problems += check_values(table, catalog, schema)
    return problems


def check_row(row: Row, table: Table, catalog: Catalog, schema: Schema) -> Iterator[str]:
    """What is wrong with one row."""
    derivations = derived_names(catalog)
    if row.derived:
        if row.argument not in derivations:
            yield f"{row.place}: {row.argument} is not a derived value{_near(row.argument, derivations)}"
    elif row.argument not in catalog.defaults and not any_catalog_has(row.argument):
        yield f"{row.place}: {row.argument} is not an argument{_near(row.argument, catalog.defaults)}"
    for path in row.to:
        yield from _check_path(row, path, table, schema)
    for opener in row.unless:
        if row.fate != "not_needed" or opener not in table.rows:
            yield f"{row.place}: unless is said of not_needed, and names an argument with a row, not {opener}"
    if row.conversion and row.conversion not in CONVERSIONS:
        yield f"{row.place}: no conversion is called {row.conversion!r}{_near(row.conversion, CONVERSIONS)}"
    for section in row.sections:
        if section not in BUILDERS:
            yield f"{row.place}: no builder is called {section!r}{_near(section, BUILDERS)}"
        elif row.argument not in parameters(BUILDERS[section]):
            yield f"{row.place}: the builder {section} does not read {row.argument}"
    for target in row.feeds if row.argument in catalog.defaults or not any_catalog_has(row.argument) else ():
        readers = derivations.get(target)
        if readers is None:
            yield f"{row.place}: {row.argument} feeds {target}, which is not derived{_near(target, derivations)}"
        elif row.argument not in readers:
            yield f"{row.place}: the derivation of {target} does not read {row.argument}"
    if row.fate in ("launcher", "not_needed", "no_equivalent", "not_yet") and not _is_sentence(row.reason):
        yield f"{row.place}: a reason is a sentence with a capital and a full stop, not {row.reason!r}"
    if row.note and not _is_sentence(row.note):
        yield f"{row.place}: a note is a sentence with a capital and a full stop, not {row.note!r}"
    if not row.see and row.fate in ("no_equivalent", "section"):
        yield f"{row.place}: {row.argument} says {row.fate} but not where that can be verified (see:)"


def check_name(row: Row) -> Iterator[str]:
    """A setting of another name: without a place where that can be verified, it may be one row's and another's."""
    if not row.see and not row.derived and row.fate == "to" and not any(map(row.is_called_like, row.to)):
        to = ", ".join(row.to)
        yield f"{row.place}: {row.argument} goes to {to}, another name; say where that can be verified (see:)"


def check_completeness(table: Table, catalog: Catalog) -> Iterator[str]:
    """Every argument of the catalog has a row."""
    for argument in without_row(table, catalog):
        yield f"mappings: {argument.dest} ({argument.flags[0]}, group {argument.group}) has no row"


def without_row(table: Table, catalog: Catalog) -> Iterator[Argument]:
    """The arguments that should have a row and have none."""
    for argument in catalog.arguments:
        if argument.dest not in table.rows and argument.requires != "nvidia_kitchen":
            yield argument


def check_builders(table: Table, catalog: Catalog, schema: Schema) -> Iterator[str]:
    """Each builder's parameters are exactly the rows that name it, and Bridge has what it decides."""
    for name, function in BUILDERS.items():
        if not WRITES[name].holds(Versions(catalog.version, schema.version)):
            continue
        named = {row.argument for row in table.rows.values() if name in row.sections}
        for parameter in parameters(function):
            if parameter not in named and parameter not in (*BUILDER_CONTEXT, *WRITES[name].absent):
                yield f"{function.__module__}: {name} reads {parameter}, but no row names the builder"
        if not named:
            yield f"{function.__module__}: no row names the builder {name}"
        for path in WRITES[name].always:
            if schema.class_with(path) is None:
                yield f"{function.__module__}: {name} decides {path}, which Bridge {schema.version} does not have"


def check_unread(table: Table, catalog: Catalog, schema: Schema) -> Iterator[str]:
    """What leads to settings that this Bridge accepts and nothing reads says so."""
    for row in table.rows.values():
        there = [path for path in row.to if _is_unread(path, schema) is not None]
        if not row.unread and there and all(_is_unread(path, schema) for path in there):
            yield (
                f"{row.place}: {row.argument} goes to {', '.join(there)}, which nothing in Bridge {schema.version} "
                "reads; say what a user is told (unread:)"
            )
    for name, function in BUILDERS.items():
        if WRITES[name].holds(Versions(catalog.version, schema.version)):
            for path in (*WRITES[name].always, *WRITES[name].if_there):
                if _is_unread(path, schema) and path not in WRITES[name].unread:
                    yield (
                        f"{place_of(function)}: {name} decides {path}, which nothing in Bridge {schema.version} reads; "
                        "tell the user, or decide what is read too (unread=)"
                    )


def check_stale_unread(row: Row, table: Table) -> Iterator[str]:
    """A row that says ``unread`` leads to settings that some known Bridge does not read."""
    known = [schemas.load(version) for version in schemas.versions()]
    is_written = row.area in table.areas and row.area != "same_name"
    if row.unread and is_written and not any(_is_unread(path, schema) for path in row.to for schema in known):
        yield f"{row.place}: {row.argument} says unread, and every Bridge with {', '.join(row.to)} reads it"


def _is_unread(path: str, schema: Schema) -> bool | None:
    """Is it so of each class that a configuration of ours may build the section from? None: Bridge has no such one."""
    section, _, leaf = path.partition(".")
    known = [name for name, _ in classes_with(path, schema)] if section in schema.sections else []
    return all(unread.is_unread(schema.version, name, leaf) for name in known) if known else None


def check_classes(schema: Schema) -> Iterator[str]:
    """Bridge has the classes that configurations of ours name."""
    for role, path in names.missing(schema).items():
        yield f"bridge_args/bridge/names.py: {path} ({role}) is no class of Bridge {schema.version}"


def check_literals() -> Iterator[str]:
    """Settings that stand in our code outside the tables and the builders: some version of Bridge has them."""
    known = [schemas.load(version) for version in schemas.versions()]
    for place, path in literals():
        if all(schema.class_with(path) is None for schema in known):
            yield f"{place}: {path} is a setting that no known version of Bridge has"


@lru_cache(maxsize=None)
def literals() -> tuple[tuple[str, str], ...]:
    """Texts in our code that name a setting of some version of Bridge's: where, and which. In nemo2 they are NeMo's."""
    sections = {name for version in schemas.versions() for name in schemas.load(version).sections}
    package = Path(__file__).resolve().parents[1]
    found = []
    for file in sorted(package.rglob("*.py")):
        if {"sections", "dev", "derive", "nemo2"} & set(file.relative_to(package).parts):
            continue
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _SETTING.fullmatch(node.value):
                section = node.value.partition(".")[0]
                if section in sections and node.value not in _NO_SETTINGS:
                    found.append((f"{file.relative_to(package.parent)}:{node.lineno}", node.value))
    return tuple(found)


def check_paths(table: Table, catalog: Catalog) -> Iterator[str]:
    """No two rows write the same path in one run; a row for an argument of another Megatron-LM version writes none."""
    writers: dict[str, Row] = {}
    for row in table.rows.values():
        if not row.derived and row.argument not in catalog.defaults and any_catalog_has(row.argument):
            continue
        for path in row.to:
            if path in writers:
                yield f"{row.place}: {path} is written by {writers[path].argument} ({writers[path].place}) already"
            writers[path] = row


def _check_path(row: Row, path: str, table: Table, schema: Schema) -> Iterator[str]:
    section, _, leaf = path.partition(".")
    if section not in schema.sections:
        yield f"{row.place}: {row.argument} goes to {path}, but Bridge {schema.version} has no section {section!r}"
        return
    if any(schema.find(path, {section: name}) for name in schema.sections[section].classes):
        closed = schema.sections[section].default_class is None and not schema.sections[section].required
        if leaf and closed and section not in table.optional_sections:
            yield f"{row.place}: {section} is None in Bridge until it is opened; say what opens it under sections:"
        return
    names = {name for class_name in schema.sections[section].classes for name in schema.classes[class_name]}
    yield f"{row.place}: {row.argument} goes to {path}, which Bridge {schema.version} does not have{_near(leaf, names)}"


def derived_names(catalog: Catalog) -> dict[str, tuple[str, ...]]:
    """Derived value -> the arguments it reads, for the catalog's version."""
    return {
        step.name: tuple(name for name in step.reads if name not in CONTEXT)
        for step in plan_of(catalog)
        if isinstance(step, Derivation)
    }


def any_catalog_has(dest: str) -> bool:
    """Does any Megatron-LM version we know have the argument?"""
    return any(dest in catalogs.load(version).defaults for version in catalogs.versions())


def _is_sentence(text: str) -> bool:
    return bool(text) and (text[0].isupper() or not text[0].isalpha()) and text.rstrip()[-1] in ".!?"


def _near(name: str, known: Mapping[str, object] | set[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (near: {close[0]})" if close else ""
