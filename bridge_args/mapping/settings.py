"""A Translation without a command line: of settings that a configuration file states, through rows of the same grammar.

A file of NeMo or of Bridge has names of its own (``trainer.max_steps``), defaults of its own, and no parser. Rows lead
its names to Bridge's settings as they lead Megatron-LM's arguments there, so everything behind a Translation (formats,
reports, fates, losses) is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from bridge_args.bridge import checkpoint_rules, choices
from bridge_args.bridge import schema as schemas
from bridge_args.bridge.schema import Schema
from bridge_args.files import read_nothing
from bridge_args.findings import Finding
from bridge_args.mapping.apply import apply
from bridge_args.mapping.own import without_row
from bridge_args.mapping.table import Table
from bridge_args.mapping.translation import Assignment, Origin, Translation
from bridge_args.mapping.unread import told_by_rows
from bridge_args.megatron_lm.catalog import Argument, Catalog
from bridge_args.megatron_lm.parse import Given, Typed
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs, Setting
from bridge_args.records import Record
from bridge_args.values import references_in, to_plain
from bridge_args.versions import Versions
from bridge_args.words import Place, Word


class Stated(Record):
    """One setting as a file states it.

    Attributes:
        name: what the file's format calls it: ``trainer.max_steps``.
        value: plain data, as ``values.to_plain`` makes it.
        text: how it stands in the file: ``max_steps: 100``.
        place: the file and the line.
    """

    name: str
    value: Any
    text: str
    place: Place | None = None


class Derived(Record):
    """A setting that the file's program makes of others.

    Attributes:
        value: plain data.
        inputs: the settings it is made of.
    """

    value: Any
    inputs: tuple[str, ...] = ()


class Statement(Record):
    """What a file states, as it is said to one version of Bridge.

    Attributes:
        lines: in the file's order.
        table: rows for the names of its format.
        defaults: what settings are that the file does not state; see ``translated``.
        findings: what reading the file had to tell.
        world_size: ranks of the run, where the file tells.
        environment: variables the run is started with.
        complete: the file states every setting; only those are assigned that Bridge would have otherwise.
        derived: setting to what the file's program makes of others; it counts more than what a line states.
        schema: of the version of Bridge, where it is not the usual one.
        defaults_of: beginning of a name to whose default such a setting has, where that is not the file's program's.
    """

    lines: tuple[Stated, ...]
    table: Table
    defaults: Mapping[str, Any] = MappingProxyType({})
    findings: tuple[Finding, ...] = ()
    world_size: int | None = None
    environment: Mapping[str, str] = MappingProxyType({})
    complete: bool = False
    derived: Mapping[str, Derived] = MappingProxyType({})
    schema: Schema | None = None
    defaults_of: Mapping[str, str] = MappingProxyType({})


class Statements(Record):
    """A file that states settings under names of its own: what ``Source.stated`` holds.

    Attributes:
        made_from: what the file is, in a few words: ``a NeMo 2.0 configuration``.
        said_to: the statement for a version of Bridge; raises a UserError where there is none.
        bridge: the version of Bridge that the file is written for, where it shows.
    """

    made_from: str
    said_to: Callable[[str], Statement]
    bridge: str | None = None


def _refused(assigned: Iterable[Assignment], given: Given, schema: Schema) -> Iterator[Finding]:
    """What Bridge stops at, with these settings: it checks some when it starts, and others when it saves."""
    config: dict[str, dict[str, Any]] = {}
    origins: dict[str, Assignment] = {}
    for one in assigned:
        section, _, name = one.path.partition(".")
        if name and "." not in name:
            config.setdefault(section, {})[name] = one.value
            origins[one.path] = one
    found = [(path, "bridge-rejects", message, "") for path, message in choices.wrong(config, schema)]
    for rule in checkpoint_rules.broken(config, schema):
        kind = "one-iteration" if rule.kind == "one-iteration" else "bridge-rejects"
        found.append((rule.path, kind, rule.message, rule.remedy))
    for path, kind, message, remedy in found:
        names = origins[path].origin.arguments if path in origins else ()
        place = next((place for name in names if (place := given.place(name))), None)
        yield Finding(kind, message, remedy, names, place)


def translated(
    stated: Iterable[Stated],
    *,
    made_from: str,
    table: Table,
    bridge: str,
    world_size: int,
    defaults: Mapping[str, Any] | None = None,
    findings: tuple[Finding, ...] = (),
    environment: Mapping[str, str] | None = None,
    read: Callable[[str], str] | None = None,
    complete: bool = False,
    derived: Mapping[str, Derived] = MappingProxyType({}),
    schema: Schema | None = None,
    defaults_of: Mapping[str, str] = MappingProxyType({}),
) -> Translation:
    """What a file states, in the words of a version of Bridge.

    Args:
        stated: in the file's order; of one name stated twice the last counts.
        made_from: what the file is, in a few words: ``a NeMo 2.0 configuration``.
        table: rows for the names of that format.
        bridge: the version of Bridge.
        world_size: ranks of the run.
        defaults: what settings are that the file does not state; where Bridge's default is another one, it is written.
        findings: what reading the file had to tell.
        environment: variables the run is started with.
        read: text of a file that a setting names; none is read where it is not given.
        complete, derived, schema, defaults_of: see ``Statement``.

    Raises:
        ValueError: no schema of that version of Bridge.
    """
    schema = schema or schemas.load(bridge)
    lines = list(stated)
    defaults = dict(defaults or {})
    arguments = {name: Argument((name,), name, default=default) for name, default in defaults.items()}
    arguments |= {line.name: Argument((line.name,), line.name) for line in lines if line.name not in arguments}
    arguments |= {name: Argument((name,), name) for name in derived if name not in arguments}
    catalog = Catalog("", made_from, "", {}, tuple(arguments.values()))
    words = tuple(Word(line.text, line.place) for line in lines)
    typed = {
        line.name: Typed(line.name, line.name, index, (index,), arguments[line.name])
        for index, line in enumerate(lines)
    }
    given = Given({line.name: line.value for line in lines}, typed, (), words)
    settings = {name: Setting(default, "default") for name, default in defaults.items()}
    settings |= {name: Setting(given.values[name], "given", typed=each) for name, each in typed.items()}
    for name, made in derived.items():
        inputs = {one: settings[one].value for one in made.inputs if one in settings}
        settings[name] = Setting(made.value, "derived", inputs, typed.get(name))
    args = MegatronArgs(settings, (), world_size)
    done = apply(args, given, table, schema, catalog, "", read or read_nothing)
    lost = []
    for outcome, finding in without_row(args, given, table, catalog):
        done.outcomes[outcome.argument] = outcome
        lost += [finding._replace(remedy="")] if finding else []
    whose = f"the default of {made_from}"
    assigned = tuple(
        _with_default_of(whose, defaults_of, assignment)
        for assignment in done.assignments.values()
        if not _is_usual_class(assignment, schema) and (not complete or _differs(assignment, schema, done.classes))
    )
    return Translation(
        assignments=assigned,
        outcomes=done.outcomes,
        findings=(
            *findings,
            *done.findings,
            *lost,
            *told_by_rows(given, table.rows, catalog),
            *_refused(assigned, given, schema),
        ),
        args=args,
        classes=done.classes,
        schema=schema,
        versions=Versions("", bridge),
        world_size=world_size,
        program="",
        environment=environment or {},
        launcher={},
        words=tuple(word.text for word in words),
        catalog=catalog,
        places=tuple(word.place for word in words),
        made_from=made_from,
        unresolved=tuple(dict.fromkeys(name for one in assigned for name in references_in(one.value))),
    )


def _is_usual_class(assignment: Assignment, schema: Schema) -> bool:
    """The class that Bridge makes the section of where none is named?"""
    name, _, leaf = assignment.path.partition(".")
    return leaf == "_target_" and assignment.value == schema.sections[name].classes[0]


def _differs(assignment: Assignment, schema: Schema, classes: Mapping[str, str]) -> bool:
    """Would Bridge have another value, where nothing is said?"""
    known = schema.find(assignment.path, classes)
    return known is None or known.required or known.environment or to_plain(assignment.value) != known.default


def _with_default_of(whose: str, by_name: Mapping[str, str], assignment: Assignment) -> Assignment:
    origin = assignment.origin
    if origin.kind == "derived" and not origin.inputs and not origin.text:
        return assignment._replace(origin=Origin("default", origin.arguments, "not in the file, and needed"))
    if origin.kind != "default":
        return assignment
    text = by_name.get(origin.arguments[0].partition(".")[0], whose)
    return assignment._replace(origin=origin._replace(text=text))
