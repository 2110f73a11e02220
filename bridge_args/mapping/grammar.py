"""The row grammar: one YAML table -> rows, each with its file and line.

Every scalar is text here, a repeated key is refused, and nothing in a table is executed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, cast

import yaml

from bridge_args.findings import CHANGES, Changes
from bridge_args.mapping.rows import FATES, Area, Fate, OptionalSection, Row, TableError, file_of
from bridge_args.mapping.same_name import SameName
from bridge_args.records import Record
from bridge_args.versions import Versions, holds, is_condition

_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_GROUPS: Final[tuple[Fate, ...]] = ("launcher", "not_needed", "no_equivalent", "not_yet")
_TOP: Final = {"title", "about", "sections", "arguments", "derived", "same_name", *_GROUPS}
_ROW: Final = {*FATES, "as", "note", "see", "changes", "tell", "takes", "if_listed", "unlike", "unless", "unread"}
_GROUP: Final = {"because", "arguments", "see", "note", "changes", "tell", "unlike", "unless"}
_SAME: Final = {"section", "see", *CHANGES}
_LOSSES: Final = ("no_equivalent", "not_yet")


class Read(Record):
    """What one table says."""

    area: Area
    rows: list[Row]
    sections: list[OptionalSection]
    same: list[SameName]


def read(text: str, name: str, versions: Versions) -> Read:
    """One table, for one pair of versions; rows whose conditions do not hold are left out.

    Args:
        text: the YAML.
        name: the file's name without ``.yaml``; of a user's own table its path.

    Raises:
        TableError: with file and line.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise TableError(f"{file_of(name)}: not readable as YAML: {error}") from error
    title, about = name, ""
    rows: list[Row] = []
    sections: list[OptionalSection] = []
    same: list[SameName] = []
    for key, line, node in _items(root, name):
        if key not in _TOP:
            raise TableError(f"{file_of(name)}:{line}: unknown key {key!r}; there are {', '.join(sorted(_TOP))}")
        if key == "title":
            title = _text(node, name)
        elif key == "about":
            about = _text(node, name)
        elif key == "sections":
            for section, at, body in _items(node, name):
                said = {k: v for k, _, v in _items(body, name)}
                if "opened_by" in said:
                    sections.append(OptionalSection(section, _text(said["opened_by"], name), name, at))
        elif key == "same_name":
            same.extend(_same(class_name, body, name, at) for class_name, at, body in _items(node, name))
        elif key in ("arguments", "derived"):
            for argument, at, body in _items(node, name):
                row = _row(argument, body, versions, name, at, key == "derived")
                if row is not None:
                    rows.append(row)
        else:
            rows.extend(_group(key, node, name))
    return Read(Area(name, title, about), rows, sections, same)


def _row(argument: str, node: yaml.Node, versions: Versions, area: str, line: int, derived: bool) -> Row | None:
    base = Row(argument, "to", derived=derived, area=area, line=line)
    if not isinstance(node, yaml.MappingNode):
        return base._replace(to=_texts(node, area))
    said: dict[str, yaml.Node] = {}
    chosen: yaml.Node | None = None
    conditions = 0
    for key, at, value in _items(node, area):
        if is_condition(key):
            conditions += 1
            if holds(key, versions):
                if chosen is not None:
                    raise TableError(f"{file_of(area)}:{at}: two conditions of {argument} hold for {versions}")
                chosen = value
        elif key in _ROW:
            said[key] = value
        else:
            raise TableError(f"{file_of(area)}:{at}: unknown key {key!r} in the row of {argument}")
    if conditions:
        if chosen is None:
            return None
        inner = _row(argument, chosen, versions, area, line, derived)
        if inner is None:
            return None
        base = inner
    fates = [fate for fate in FATES if fate in said]
    if fates == ["to", "section"]:  # the value goes to a setting, and a builder reads it too
        fates = ["to"]
    if len(fates) + bool(conditions) != 1:
        raise TableError(f"{file_of(area)}:{line}: {argument} needs exactly one of {', '.join(FATES)}")
    changes: dict[str, Any] = {}
    if fates:
        fate = fates[0]
        changes["fate"] = fate
        if fate == "to":
            changes["to"] = _texts(said[fate], area)
        elif fate == "feeds":
            changes["feeds"] = _texts(said[fate], area)
        elif fate != "section":
            changes["reason"] = _text(said[fate], area)
    if "section" in said:
        changes["sections"] = _texts(said["section"], area)
    if "as" in said:
        changes["conversion"] = _text(said["as"], area)
    if "note" in said:
        changes["note"] = _text(said["note"], area)
    for key in ("see", "takes", "if_listed", "unlike", "unless"):
        if key in said:
            changes[key] = _texts(said[key], area)
    if "changes" in said:
        changes["changes"] = _changes(said["changes"], changes.get("fate", base.fate), area)
    if "tell" in said:
        changes["tell"] = _tell(said["tell"], changes.get("fate", base.fate), area)
    if "unread" in said:
        changes["unread"] = _unread(said["unread"], changes.get("fate", base.fate), area)
    return base._replace(**changes)


def _group(fate: str, node: yaml.Node, area: str) -> Iterator[Row]:
    """One reason for several arguments: ``no_equivalent: [{because: ..., arguments: [...]}]``."""
    assert fate in _GROUPS
    if not isinstance(node, yaml.SequenceNode):
        raise TableError(f"{file_of(area)}:{node.start_mark.line + 1}: {fate} is a list of because/arguments")
    for entry in node.value:
        said = {key: value for key, _, value in _items(entry, area)}
        line = entry.start_mark.line + 1
        if not {"because", "arguments"} <= said.keys() <= _GROUP:
            raise TableError(
                f"{file_of(area)}:{line}: a group has because, arguments, and maybe "
                f"{', '.join(sorted(_GROUP - {'because', 'arguments'}))}"
            )
        see, unlike, unless = (_texts(said[key], area) if key in said else () for key in ("see", "unlike", "unless"))
        note = _text(said["note"], area) if "note" in said else ""
        changes = _changes(said["changes"], fate, area) if "changes" in said else "numbers"
        tell = _tell(said["tell"], fate, area) if "tell" in said else ""
        because, arguments = _text(said["because"], area), said["arguments"]
        _texts(arguments, area)
        for item in arguments.value if isinstance(arguments, yaml.SequenceNode) else [arguments]:
            yield Row(
                item.value, fate, reason=because, note=note, see=see, area=area,
                line=item.start_mark.line + 1, changes=changes, tell=tell, unlike=unlike,
                unless=unless,
            )  # fmt: skip


def _same(class_name: str, node: yaml.Node, area: str, line: int) -> SameName:
    """A class whose fields a section has: ``TransformerConfig: {section: model, see: ..., speed: [...]}``."""
    said = {key: value for key, _, value in _items(node, area)}
    if not {"section", "see"} <= said.keys() <= _SAME:
        raise TableError(f"{file_of(area)}:{line}: {class_name} has section, see, and maybe {', '.join(CHANGES)}")
    changes = {name: kind for kind in CHANGES if kind in said for name in _texts(said[kind], area)}
    return SameName(class_name, _text(said["section"], area), _text(said["see"], area), changes, area, line)


def _changes(node: yaml.Node, fate: str, area: str) -> Changes:
    """What a loss changes: ``changes: speed``; of a setting, where a version of Bridge does not have it."""
    place = f"{file_of(area)}:{node.start_mark.line + 1}"
    if fate not in (*_LOSSES, "to"):
        raise TableError(f"{place}: changes is said of {', '.join(_LOSSES)} and to")
    if (text := _text(node, area)) not in CHANGES:
        raise TableError(f"{place}: changes is one of {', '.join(CHANGES)}, not {text!r}")
    return text


def _tell(node: yaml.Node, fate: str, area: str) -> Literal["note", "warning"]:
    """Is a typed value told that nothing reads: ``tell: note``."""
    place = f"{file_of(area)}:{node.start_mark.line + 1}"
    if fate != "not_needed":
        raise TableError(f"{place}: tell is said of not_needed")
    if (text := _text(node, area)) not in ("note", "warning"):
        raise TableError(f"{place}: tell is note or warning, not {text!r}")
    return cast("Literal['note', 'warning']", text)


def _unread(node: yaml.Node, fate: str, area: str) -> Literal["lost", "note", "told"]:
    """What is told where no code of Bridge reads the settings: ``unread: lost``."""
    place = f"{file_of(area)}:{node.start_mark.line + 1}"
    if fate != "to":
        raise TableError(f"{place}: unread is said of to")
    if (text := _text(node, area)) not in ("lost", "note", "told"):
        raise TableError(f"{place}: unread is lost, note or told, not {text!r}")
    return cast("Literal['lost', 'note', 'told']", text)


def _items(node: yaml.Node | None, area: str) -> Iterator[tuple[str, int, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1 if node is not None else 1
        raise TableError(f"{file_of(area)}:{line}: expected keys and values")
    seen: set[str] = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise TableError(f"{file_of(area)}:{line}: a key is a text")
        if key.value in seen:
            raise TableError(f"{file_of(area)}:{line}: {key.value} is there twice")
        seen.add(key.value)
        yield key.value, line, value


def _text(node: yaml.Node, area: str) -> str:
    (text, *others) = _texts(node, area)
    if others or not isinstance(node, yaml.ScalarNode):
        raise TableError(f"{file_of(area)}:{node.start_mark.line + 1}: expected one text")
    return text


def _texts(node: yaml.Node, area: str) -> tuple[str, ...]:
    if isinstance(node, yaml.ScalarNode):
        return (node.value,)
    items = node.value if isinstance(node, yaml.SequenceNode) else []
    if items and all(isinstance(item, yaml.ScalarNode) for item in items):
        return tuple(item.value for item in items)
    raise TableError(f"{file_of(area)}:{node.start_mark.line + 1}: expected a text or a list of texts")
