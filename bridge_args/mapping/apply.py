"""MegatronArgs + rows + Schema -> Translation. Read this after ``rows.py`` and ``sections/__init__.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from bridge_args.bridge.deprecated import deprecated
from bridge_args.bridge.schema import Schema
from bridge_args.bridge.unread import is_unread
from bridge_args.findings import CHANGES, Finding
from bridge_args.mapping.causes import Built, causes_of, origin_of
from bridge_args.mapping.convert import CONVERSIONS, fit, shown
from bridge_args.mapping.rows import Row
from bridge_args.mapping.sections.registry import BUILDERS, WRITES, Builder, Lost, NeedsDropIn, Rejected, values_for
from bridge_args.mapping.table import Table
from bridge_args.mapping.translation import Assignment, Origin, Outcome
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.parse import Given
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs, Setting
from bridge_args.records import Record
from bridge_args.values import to_plain
from bridge_args.versions import Versions
from bridge_args.wording import listed

# What a finding of kind ``needs-drop-in`` ends with.
_START: Final = "start it with `bridge-args launch` or the drop-in, which do as Megatron-LM does"


class Applied:
    """What the rows said; filled while they are walked, then frozen into a Translation."""

    __slots__ = ("assignments", "classes", "findings", "outcomes")

    def __init__(self, classes: dict[str, str]) -> None:
        self.assignments: dict[str, Assignment] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.findings: list[Finding] = []
        self.classes = classes


def apply(
    args: MegatronArgs,
    given: Given,
    table: Table,
    schema: Schema,
    catalog: Catalog,
    program: str,
    read: Callable[[str], str],
) -> Applied:
    """What becomes of every argument; ``read`` gives the text of a file that the command line names.

    An assignment is made when the user gave the argument, or when the effective value differs from what Bridge
    would have without it.
    """
    context = {"schema": schema, "program": program, "read": read}
    built = _build_sections(args, table, context, Versions(catalog.version, schema.version))
    classes = _classes(args, table, schema, built)
    unsaid = _unsaid(_Identity((table, schema, catalog)), tuple(classes.items()))
    done = Applied(classes)
    done.outcomes.update(unsaid.outcomes)
    done.assignments.update(unsaid.assignments)
    lost_with: dict[str, list[str]] = {}
    for name, setting in args.settings.items():
        if setting.source != "default" and name in table.rows:
            row = table.rows[name]
            if opener := row.needed_for(args.is_on):
                lost_with.setdefault(opener, []).append(name)
                continue
            for path in row.to:
                done.assignments.pop(path, None)
            _row(row, setting, args, given, catalog, schema, table, done)
    for opener, names in lost_with.items():
        _lost_with(opener, names, args, given, table, catalog, done)
    for one in built:
        for key, value in one.decided.items():
            if isinstance(value, Lost):
                done.findings.append(_lost(key, value, args.settings.get(key), given))
            elif isinstance(value, NeedsDropIn):
                found = _about("needs-drop-in", value.reason, key, given)
                done.findings.append(found._replace(remedy=_START, changes=value.changes))
            elif isinstance(value, Rejected):
                done.findings.append(_about("bridge-rejects", value.reason, key, given))
            else:
                _decide(key, one, args, given, catalog, schema, done)
    in_order = sorted(done.assignments, key=lambda path: _order(path, schema, classes, unsaid.places))
    done.assignments = {path: done.assignments[path] for path in in_order}
    return done


class _Unsaid(Record):
    """What the rows of arguments that nobody gave say: the same in every run with the same classes."""

    assignments: dict[str, Assignment]
    outcomes: dict[str, Outcome]
    places: dict[str, dict[str, int]]  # of fields in their section, filled when needed


class _Identity(Record):
    """Compared by identity, so that what is made from the large tables can be kept."""

    parts: tuple[Any, ...]

    def __hash__(self) -> int:
        return hash(tuple(map(id, self.parts)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and all(a is b for a, b in zip(self.parts, other.parts, strict=True))


@lru_cache(maxsize=64)
def _unsaid(identity: _Identity, classes: tuple[tuple[str, str], ...]) -> _Unsaid:
    table, schema, catalog = identity.parts
    nobody = Given({}, {}, (), ())
    done = Applied(dict(classes))
    for name, row in table.rows.items():
        if name in catalog.defaults or row.derived:  # else an argument of another Megatron-LM version
            default = catalog.defaults.get(name)
            setting = Setting(catalog.program_defaults.get(name) if default is None else default, "default")
            _row(row, setting, MegatronArgs({}, (), 0), nobody, catalog, schema, table, done)
    return _Unsaid(done.assignments, done.outcomes, {})


def _row(
    row: Row,
    setting: Setting,
    args: MegatronArgs,
    given: Given,
    catalog: Catalog,
    schema: Schema,
    table: Table,
    done: Applied,
) -> None:
    name, typed = row.argument, setting.typed
    paths: tuple[str, ...] = ()
    if row.fate == "to":
        value = CONVERSIONS[row.conversion](setting.value) if row.conversion else setting.value
        paths = row.to if len(row.to) == 1 and _open(row.to[0], done) else tuple(p for p in row.to if _open(p, done))
        for path in paths:
            known = schema.find(path, done.classes)
            if known is None:
                if setting.source != "default":
                    section = done.classes[path.partition(".")[0]].rpartition(".")[2]
                    lost = Lost(f"Bridge's {section} has no such setting.", row.changes)
                    done.findings.append(_lost(name, lost, setting, given))
                continue
            if value in row.if_listed and value not in (known.choices or (value,)):
                lost = Lost(
                    f"Bridge {schema.version} does not take it; it takes {listed(known.choices or ())}.", row.changes
                )
                done.findings.append(_lost(name, lost, setting, given))
                continue
            if setting.source == "default" and path in deprecated(schema.version):
                continue
            fitting = fit(value, known, schema) if known.enum else value
            if typed is not None or known.required or known.environment or to_plain(fitting) != known.default:
                done.assignments[path] = Assignment(path, fitting, _origin(name, setting, given), row)
        if row.unread != "told" and setting.source != "default" and paths and _nothing_reads(paths, schema, done):
            done.findings += _without_effect(paths, row, setting, given, catalog, schema)
        if typed is not None and not paths:
            opener = table.optional_sections[row.to[0].partition(".")[0]].opened_by
            flag = (catalog.flags_of(opener) or (opener,))[0]
            message = f"{typed.flag} has no effect without {flag}, in Megatron-LM and in Bridge"
            done.findings.append(_about("ignored-by-megatron", message, name, given))
    elif row.fate in ("no_equivalent", "not_yet"):
        default = catalog.defaults.get(name)
        if name in catalog.program_defaults and default is None:
            default = catalog.program_defaults[name]
        if setting.value != default and _is_asked_for(setting, args):
            kind = "no-equivalent" if row.fate == "no_equivalent" else "not-yet"
            done.findings.append(_lost(name, Lost(row.reason, row.changes), setting, given, kind))
    done.outcomes[name] = Outcome(name, row.fate, paths, row.reason or row.note, typed is not None, row)


def _nothing_reads(paths: tuple[str, ...], schema: Schema, done: Applied) -> bool:
    """Does Bridge have the settings, and does no code of it read any of them?"""
    there = [path for path in paths if schema.find(path, done.classes) is not None]
    classes = ((done.classes.get(section, ""), name) for section, _, name in (path.partition(".") for path in there))
    return bool(there) and all(is_unread(schema.version, class_name, name) for class_name, name in classes)


def _without_effect(
    paths: tuple[str, ...], row: Row, setting: Setting, given: Given, catalog: Catalog, schema: Schema
) -> Iterator[Finding]:
    """What a user is told of an argument whose settings nothing reads; nothing of what is Megatron-LM's default."""
    name, typed = row.argument, setting.typed
    if setting.value == catalog.defaults.get(name):
        return
    flag = given.text(name) or f"{typed.flag if typed else name} = {shown(setting.value)}"
    message = f"{flag} has no effect: Bridge {schema.version} accepts {listed(paths)}, and no code reads it"
    if row.unread == "note":
        yield _about("no-effect", f"{message}; nor does Megatron-LM read the argument", name, given)
    else:
        message = f"{message}. This changes {CHANGES[row.changes]}."
        yield _about("accepted-without-effect", message, name, given)._replace(changes=row.changes)


def _is_asked_for(setting: Setting, args: MegatronArgs) -> bool:
    """Has somebody typed the argument, or what its value is derived from? Else the value is the same in every run."""
    if setting.source != "derived" or setting.typed is not None:
        return True
    inputs = (args.settings[name] for name in setting.inputs if name in args)
    return any(one.source != "default" and _is_asked_for(one, args) for one in inputs)


def _lost_with(
    opener: str, names: list[str], args: MegatronArgs, given: Given, table: Table, catalog: Catalog, done: Applied
) -> None:
    """Arguments that only another one reads, which is on in this run and lost: told together."""
    reason = f"lost with {(catalog.flags_of(opener) or (opener,))[0]}, which has no equivalent in Bridge."
    for name in names:
        row = table.rows[name]
        done.outcomes[name] = Outcome(name, "no_equivalent", (), f"It is {reason}", name in given.typed, row)
    lost = [name for name in names if args[name] != catalog.defaults.get(name)]
    if lost:
        flags = [given.text(name) or f"{name} = {shown(args[name])}" for name in lost]
        verb = "is" if len(lost) == 1 else "are"
        why = f"{listed(flags)} {verb} {reason} This changes {CHANGES['numbers']}."
        place, excerpt = given.place(lost[0]), given.excerpt(lost[0]) if len(lost) == 1 else None
        done.findings.append(Finding("no-equivalent", why, "", tuple(lost), place, excerpt, "numbers"))


def _decide(
    path: str, built: Built, args: MegatronArgs, given: Given, catalog: Catalog, schema: Schema, done: Applied
) -> None:
    """What a builder decided; written where it differs from Bridge, or the user gave the argument of that name."""
    known = schema.find(path, done.classes)
    row = built.rows[0]
    assert known is not None, f"{row.place}: {path} was decided, which Bridge {schema.version} does not have"
    value = fit(built.decided[path], known, schema)
    name = path.rpartition(".")[2]
    asked = name in given.typed and name in built.values
    if not (asked or known.required or known.environment) and to_plain(value) == known.default:
        return
    if path not in done.assignments:
        causes = causes_of(path, built, args, catalog)
        row = next((row for row in built.rows if row.argument in causes), row)
        done.assignments[path] = Assignment(path, value, origin_of(path, causes, built, args, given), row)


def _origin(name: str, setting: Setting, given: Given) -> Origin:
    text = given.text(name)
    if setting.source == "checkpoint":
        return Origin("checkpoint", (name,), setting.where)
    if setting.source == "derived":
        return Origin("derived", (name,), text, setting.inputs, setting.step)
    return Origin("flag" if setting.typed else "default", (name,), text)


def _build_sections(args: MegatronArgs, table: Table, context: Mapping[str, Any], versions: Versions) -> list[Built]:
    built = []
    for function, rows in _readers(_Identity((table,))):
        if not WRITES[function.__name__].holds(versions):
            continue  # named by rows for arguments of another version
        values = values_for(function, {row.argument for row in rows}, args, context)
        built.append(Built(function(*values.values()), function, values, rows))
    return built


@lru_cache(maxsize=64)
def _readers(identity: _Identity) -> tuple[tuple[Builder, tuple[Row, ...]], ...]:
    """Every builder and the rows that name it."""
    readers: dict[str, list[Row]] = {}
    for row in identity.parts[0].rows.values():
        for section in row.sections:
            readers.setdefault(section, []).append(row)
    return tuple((BUILDERS[section], tuple(rows)) for section, rows in readers.items())


def _classes(args: MegatronArgs, table: Table, schema: Schema, built: Iterable[Built]) -> dict[str, str]:
    """The class of every section that exists in this run."""
    classes = {
        name: section.default_class or section.classes[0]
        for name, section in schema.sections.items()
        if section.default_class or section.required
    }
    for name, section in table.optional_sections.items():
        if name in schema.sections and section.opened_by in args and args[section.opened_by]:
            classes[name] = schema.sections[name].classes[0]
    for argument, row in table.rows.items():
        if row.to and row.to[0].endswith("._target_") and argument in args:
            named = args[argument]
            if isinstance(named, str) and named in schema.classes:
                classes[row.to[0].partition(".")[0]] = named
    for one in built:
        for key, value in one.decided.items():
            section_name, _, leaf = key.partition(".")
            if leaf == "_target_":
                classes[section_name] = value
    return classes


def _open(path: str, done: Applied) -> bool:
    section, _, leaf = path.partition(".")
    return not leaf or section in done.classes


def _order(path: str, schema: Schema, classes: Mapping[str, str], places: dict[str, dict[str, int]]) -> tuple[int, int]:
    """Where a setting stands in Bridge: its section, then its field; the class of a section comes first."""
    section, _, leaf = path.partition(".")
    if section not in places:
        names = schema.classes[classes[section]] if section in classes else ()
        places[section] = {name: index for index, name in enumerate(names)}
    return list(schema.sections).index(section), places[section].get(leaf, -1)


def _lost(argument: str, lost: Lost, setting: Setting | None, given: Given, kind: str = "no-equivalent") -> Finding:
    flag = setting.typed.flag if setting and setting.typed else argument
    value = f" = {shown(setting.value)}" if setting else ""
    message = f"{flag}{value} is lost: {lost.reason} This changes {CHANGES[lost.changes]}."
    return _about(kind, message, argument, given)._replace(changes=lost.changes)


def _about(kind: str, message: str, argument: str, given: Given) -> Finding:
    return Finding(kind, message, arguments=(argument,), place=given.place(argument), excerpt=given.excerpt(argument))
