"""A configuration of Bridge's own, complete (``run_config.yaml``) or with a few settings: the words are Bridge's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache, partial
from typing import Any, Final

from bridge_args.bridge import providers
from bridge_args.bridge import schema as schemas
from bridge_args.bridge.schema import Schema
from bridge_args.bridge.targets import is_trusted
from bridge_args.mapping import table as tables
from bridge_args.mapping.rows import OptionalSection, Row
from bridge_args.mapping.settings import Stated, Statement, Statements
from bridge_args.mapping.table import Table
from bridge_args.records import Record
from bridge_args.source.source import Source, SourceError
from bridge_args.source.yaml.nodes import Mapping, Node, Scalar, entries, item, read
from bridge_args.source.yaml.plain import Values
from bridge_args.values import Referring, from_plain, to_plain
from bridge_args.versions import Versions, usual_for

CONTAINER: Final = "ConfigContainer"
MADE_FROM: Final = "a configuration of Bridge"
_TARGET: Final = "_target_"
_AREA: Final = "own names"
# Sections that no other kind of YAML file has at its top.
_SECTIONS: Final = frozenset(
    "model train optimizer scheduler dataset ddp checkpoint logger tokenizer rng dist validation".split()
)
_REFERENCE: Final = re.compile(r"\$\{oc\.env:([A-Za-z_]\w*)\}")
_ESCAPED: Final = re.compile(r"(\\*)\$\{")


class _Line(Record):
    """One setting of the file: ``train.train_iters``, or a whole section that has no settings of its own."""

    path: str
    key: Scalar
    node: Node


def is_bridge_config(text: str, name: str) -> bool:
    """Is this a configuration of Bridge's? By its sections: it has two of them, or names the class of all of them."""
    tops = {match[1] for match in re.finditer(r"^([A-Za-z_]\w*):(?=\s)", text, re.MULTILINE)}
    if re.search(rf"^{_TARGET}:\s*megatron\.\S*\.{CONTAINER}\s*(#.*)?$", text, re.MULTILINE):
        return True
    ours = tops & _SECTIONS
    sections = {section for version in schemas.versions() for section in schemas.load(version).sections}
    return name.endswith((".yaml", ".yml", "<stdin>")) and len(ours) >= 2 and tops <= sections


def from_bridge_config(text: str, name: str) -> Source:
    """The settings that a configuration of Bridge states.

    Raises:
        SourceError: it is no mapping of sections, or names what no configuration does.
        YamlProblem: as ``nodes.read``.
    """
    root = read(text, name)
    if not isinstance(root, Mapping):
        raise SourceError(f"{name} holds no sections, as a configuration of Bridge has")
    lines = tuple(_lines(root))
    values = Values(name)
    stated = tuple(_stated(line, values) for line in lines)
    return Source.of_statements(statements_of(stated, item(root, _TARGET) is not None), text, name)


def statements_of(stated: tuple[Stated, ...], complete: bool) -> Statements:
    """Settings of Bridge, by their paths, for the version that knows most of them.

    Args:
        complete: see ``Statement``.
    """
    return Statements(MADE_FROM, partial(_said_to, stated, complete), _version_of(stated))


# The file -> its settings --------------------------------------------------------------------------------------------


@cache
def _objects() -> frozenset[str]:
    """The sections that are objects in some version of Bridge."""
    return frozenset(
        section.name
        for version in schemas.versions()
        for section in schemas.load(version).sections.values()
        if section.classes
    )


def _lines(root: Mapping) -> Iterator[_Line]:
    for key, section in entries(root):
        if key.text == _TARGET:
            continue
        if not isinstance(section, Mapping):
            yield _Line(key.text, key, section)
            continue
        if key.text not in _objects():
            yield _Line(key.text, key, section)
            continue
        if item(section, _TARGET) is None:
            yield _Line(key.text, key, section)
        for inner, setting in entries(section):
            yield _Line(f"{key.text}.{inner.text}", inner, setting)


def _stated(line: _Line, values: Values) -> Stated:
    is_section = isinstance(line.node, Mapping) and line.path in _objects()
    plain = True if is_section else values.of(line.node)
    shown = "..." if isinstance(line.node, Mapping) else _one_line(plain)
    return Stated(line.path, _value(plain, line), f"{line.key.text}: {shown}", line.key.place)


def _one_line(plain: Any) -> str:
    return {None: "null", True: "true", False: "false"}.get(plain, str(plain)) if _hashable(plain) else str(plain)


def _hashable(plain: Any) -> bool:
    return plain is None or isinstance(plain, bool)


def _value(plain: Any, line: _Line) -> Any:
    """The value of plain data, as ``values.to_plain`` knows it."""
    if isinstance(plain, str):
        if line.path.endswith(f".{_TARGET}"):
            return _target(plain, line)
        return _text(plain, line)
    if isinstance(plain, (list, dict)):
        told = _texts(plain, line)
        try:
            return from_plain(told, member_of)
        except ValueError as error:
            raise SourceError(f"{line.key.place}: {error}") from error
    return plain


def _texts(plain: Any, line: _Line) -> Any:
    if isinstance(plain, dict):
        return {key: _target(value, line) if key == _TARGET else _texts(value, line) for key, value in plain.items()}
    if isinstance(plain, list):
        return [_texts(value, line) for value in plain]
    return _text(plain, line) if isinstance(plain, str) else plain


def _target(target: Any, line: _Line) -> str:
    if not isinstance(target, str) or not is_trusted(target):
        message = f"{line.path} names {str(target)[:100]}, which is no class or function of a configuration"
        raise SourceError(f"{line.key.place}: {message}; nothing of the file is used")
    return target


def _text(text: str, line: _Line) -> str:
    """A text as OmegaConf reads it: ``\\${`` is a ``${``, and a ``${oc.env:NAME}`` the variable."""
    if "${" not in text:
        return text
    names = _REFERENCE.findall(text)
    told = _REFERENCE.sub(lambda match: f"${{{match[1]}}}", text)
    for match in _ESCAPED.finditer(_REFERENCE.sub("", text)):
        if len(match[1]) % 2 == 0:
            message = f"{line.path} is worked out from other settings ({text[:60]}), which is not read; write its value"
            raise SourceError(f"{line.key.place}: {message}")
    told = _ESCAPED.sub(lambda match: "\\" * _written_before(len(match[1])) + "${", told)
    return Referring(told, tuple(dict.fromkeys(names))) if names else told


def _written_before(backslashes: int) -> int:
    """How many there were before OmegaConf's readings were written for; see ``emit.layout.escaped``."""
    while backslashes % 2:
        backslashes //= 2
    return backslashes


def member_of(enum: str, value: object) -> str | None:
    """The name of an enum's member, in the newest version that has it."""
    for version in reversed(schemas.versions()):
        for name, number_ in schemas.load(version).enums.get(enum, {}).items():
            if number_ == value:
                return name
    return None


# Its settings -> a version of Bridge ---------------------------------------------------------------------------------


def _version_of(stated: tuple[Stated, ...]) -> str | None:
    """The version that knows most of the names, and of several the newest; None where all do."""
    unknown = {version: len(_unknown(stated, _schema(stated, version))) for version in schemas.versions()}
    fewest = min(unknown.values())
    best = [version for version, count in unknown.items() if count == fewest]
    return None if len(best) == len(unknown) else best[-1]


def _schema(stated: tuple[Stated, ...], bridge: str) -> Schema:
    """What a version has, with the classes of models by name (``Gemma2ModelProvider9B``) that the file names."""
    schema = schemas.load(bridge)
    for line in stated:
        section, _, name = line.name.partition(".")
        of = schema.sections.get(section)
        if name != _TARGET or of is None or not of.classes or line.value in of.classes:
            continue
        fields = providers.fields_of(str(line.value), schema)
        if fields is not None:
            classes = {**schema.classes, str(line.value): fields}
            sections = {**schema.sections, section: of._replace(classes=(*of.classes, str(line.value)))}
            schema = schema._replace(classes=classes, sections=sections)
    return schema


def _unknown(stated: tuple[Stated, ...], schema: Schema) -> list[str]:
    classes = _classes(stated, schema)
    return [line.name for line in stated if not _is_known(line, schema, classes)]


def _is_known(line: Stated, schema: Schema, classes: dict[str, str]) -> bool:
    section, _, name = line.name.partition(".")
    if section not in schema.sections:
        return False
    if name == _TARGET:
        return line.value in schema.sections[section].classes
    return schema.find(line.name, classes) is not None


def _classes(stated: tuple[Stated, ...], schema: Schema) -> dict[str, str]:
    """The class of each section that the file names one for; of one that is not known the class most like it."""
    named = {line.name.partition(".")[0]: line.value for line in stated if line.name.endswith(f".{_TARGET}")}
    there = {line.name.partition(".")[0] for line in stated}
    for section in there - named.keys():  # merging changes no class, so a file with a few settings need not name it
        if section in schema.sections and (usual := schema.sections[section].classes[:1]):
            named[section] = usual[0] if _knows(usual[0], section, stated, schema) else None
    return {
        section: target if target in schema.sections[section].classes else _most_like(section, stated, schema)
        for section, target in named.items()
        if section in schema.sections and schema.sections[section].classes
    }


def _knows(class_name: str, section: str, stated: tuple[Stated, ...], schema: Schema) -> bool:
    names = (line.name for line in stated if line.name.startswith(f"{section}."))
    return all(schema.find(name, {section: class_name}) is not None for name in names)


def _most_like(section: str, stated: tuple[Stated, ...], schema: Schema) -> str:
    names = [line.name for line in stated if line.name.startswith(f"{section}.") and line.value is not None]
    known = Counter(
        {
            one: sum(schema.find(name, {section: one}) is not None for name in names)
            for one in schema.sections[section].classes
        }
    )
    return known.most_common(1)[0][0]


def _said_to(stated: tuple[Stated, ...], complete: bool, bridge: str) -> Statement:
    schema = _schema(stated, bridge)
    classes = _classes(stated, schema)
    changes = {path: row for row in tables.load(Versions(usual_for(bridge), bridge)).rows.values() for path in row.to}
    rows: dict[str, Row] = {}
    lines = []
    for line in stated:
        section, _, name = line.name.partition(".")
        known = changes.get(line.name)
        base = Row(line.name, "to", (line.name,), area=_AREA, changes=known.changes if known else "numbers")
        if section in schema.sections and not name and line.value is True and schema.sections[section].classes:
            base = base._replace(fate="feeds", to=(), feeds=(section,))
            if classes[section] != schema.sections[section].classes[0]:
                lines.append(Stated(f"{section}.class", classes[section], line.text, line.place))
                rows[lines[-1].name] = Row(lines[-1].name, "to", (f"{section}.{_TARGET}",), area=_AREA)
        elif name == _TARGET and section in classes and _is_made_of(classes[section], line.value):
            line = line._replace(value=classes[section])
        elif name == _TARGET and section in classes and line.value != classes[section]:
            here = classes[section]
            told = f"Bridge {bridge} makes no {section} of it here; its settings are read as those of {_short(here)}."
            rows[line.name] = base._replace(fate="no_equivalent", to=(), reason=told)
            lines.append(line)
            line = line._replace(name=f"{section}.class", value=here)
            base = Row(line.name, "to", (f"{section}.{_TARGET}",), area=_AREA)
        elif name != _TARGET and (field := schema.find(line.name, classes)) and to_plain(line.value) == field.default:
            base = base._replace(unread="told")
        elif not _is_known(line, schema, classes):
            reason = f"Bridge {bridge} has no such setting."
            base = base._replace(fate="no_equivalent", to=(), reason=reason)
        rows[line.name] = base
        lines.append(line)
    optional = {
        name: OptionalSection(name, name, _AREA, 0)
        for name, section in schema.sections.items()
        if section.classes and not section.required and section.default_class is None
    }
    return Statement(tuple(lines), Table(rows, {}, optional), complete=complete, schema=schema)


def _is_made_of(here: str, said: Any) -> bool:
    """Is it Megatron Core's class, which Bridge's of the same name is made of?

    Bridge's only computes later what follows from other settings.
    Verify: DistributedDataParallelConfig and OptimizerConfig in megatron/bridge/training/config.py.
    """
    return str(said).startswith("megatron.") and _short(str(said)) == _short(here)


def _short(path: str) -> str:
    return path.rpartition(".")[2]
