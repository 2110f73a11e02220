"""Which settings each Bridge version has; the facts are generated (``python -m bridge_args.dev schema``)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from bridge_args.errors import WrongValue
from bridge_args.records import Record

FOLDER: Final = Path(__file__).parent / "schemas"

# Enums whose members the loader of some versions refuses to make of a file; their numbers are taken as well. See
# megatron/bridge/utils/instantiate_utils.py _ALLOWED_TARGET_PREFIXES.
_BY_NUMBER: Final = {"signal.Signals": "bridge >=0.4, <0.5"}


class Field(Record):
    """One setting of one configuration class.

    Attributes:
        name: as the class spells it.
        type: the resolved annotation, ``int | None``.
        default: what Bridge has when nobody says anything, as plain data (the way ``values.to_plain`` writes it);
            meaningless where ``required``.
        required: the class cannot be built without it.
        init: can be given to the constructor.
        declared: a dataclass field; False for a plain constructor parameter.
        environment: the default depends on the machine (installed packages, environment variables).
        choices: accepted values, None where the type says all.
        enum: qualified name of the enum the value is a member of.
        by_number: the member is written as its number.
    """

    name: str
    type: str
    default: Any = None
    required: bool = False
    init: bool = True
    declared: bool = True
    environment: bool = False
    choices: tuple[Any, ...] | None = None
    enum: str | None = None
    by_number: bool = False


class Section(Record):
    """One field of ``ConfigContainer``.

    Attributes:
        default_class: the class Bridge makes it from when nobody says anything; None where it stays None or has to
            be given.
        classes: the concrete classes it accepts; empty for a section that is a plain value.
        optional: may be None.
        type: the resolved annotation.
        required: Bridge's container cannot be built without it.
        default: for a section without ``default_class`` that is not required.
    """

    name: str
    default_class: str | None
    classes: tuple[str, ...]
    optional: bool
    type: str = ""
    required: bool = False
    default: Any = None


class Schema(Record):
    """All settings of one Bridge version, published as a wheel, with one version of Megatron Core.

    Attributes:
        version: of Bridge.
        core: of Megatron Core, whose classes Bridge's are made of.
        container: qualified name of the ConfigContainer class.
        sections: by name, in Bridge's order.
        classes: qualified class name to its fields by name, in order.
        enums: qualified enum name to member name to value.
        presets: mixed-precision recipe name to the values of its MixedPrecisionConfig, as plain data.
    """

    version: str
    core: str
    container: str
    sections: dict[str, Section]
    classes: Mapping[str, dict[str, Field]]
    enums: dict[str, dict[str, Any]]
    presets: dict[str, dict[str, Any]]

    def find(self, path: str, chosen: Mapping[str, str] | None = None) -> Field | None:
        """The field at ``section.field``; ``chosen`` names the class of a section where it is not the default one."""
        section_name, _, name = path.partition(".")
        section = self.sections.get(section_name)
        if section is None:
            return None
        if not name:  # the section itself: mixed_precision
            return Field(section_name, section.type, default=section.default, required=section.required)
        if not section.classes:  # a plain value; a mapping has whatever keys are given to it
            value_type = section.type.rpartition(", ")[2].rstrip("]")
            return Field(name, value_type) if section.type.startswith("dict[") else None
        if name == "_target_":
            return Field(name, "str", default=section.default_class, choices=section.classes)
        class_name = (chosen or {}).get(section_name) or section.default_class or section.classes[0]
        return self.classes[class_name].get(name)

    def class_with(self, path: str) -> str | None:
        """The class that has the setting, of all that its section may be made from; "" for a section that has none."""
        section = self.sections.get(path.partition(".")[0])
        names = (section.classes or ("",)) if section else ()
        return next((name for name in names if self.find(path, {path.partition(".")[0]: name})), None)

    def called(self, name: str) -> tuple[str, ...]:
        """The settings of a name, whichever class their section is made from."""
        found = (f"{section.name}.{name}" for section in self.sections.values() if section.classes)
        return tuple(path for path in found if self.class_with(path) is not None)


@cache
def versions() -> tuple[str, ...]:
    """The versions there is a schema for, oldest first."""
    from bridge_args.versions import number

    return tuple(sorted((path.stem for path in FOLDER.glob("*.json")), key=number))


def first_with(path: str, after: str) -> Schema | None:
    """The oldest version after this one that has the setting."""
    from bridge_args.versions import number

    later = (load(version) for version in versions() if number(version) > number(after))
    return next((schema for schema in later if schema.class_with(path) is not None), None)


@cache
def load(version: str) -> Schema:
    """The schema of a version.

    Raises:
        ValueError: when there is none, naming those there are.
    """
    path = FOLDER / f"{version}.json"
    if not path.is_file():
        raise WrongValue(f"no schema of Megatron Bridge {version}; there are {', '.join(versions())}")
    return from_data(json.loads(path.read_bytes()))


def from_data(data: dict[str, Any]) -> Schema:
    """A schema from the mapping its JSON file holds."""
    sections = {
        name: Section(
            name,
            entry.get("default_class"),
            tuple(entry.get("classes", ())),
            entry.get("optional", False),
            entry["type"],
            entry.get("required", False),
            entry.get("default"),
        )
        for name, entry in data["sections"].items()
    }
    return Schema(
        version=data["version"],
        core=data["core"],
        container=data["container"],
        sections=sections,
        classes=_Classes(data["classes"], _by_number(data["version"])),
        enums=data["enums"],
        presets=data["presets"],
    )


class _Classes(Mapping[str, dict[str, Field]]):
    """Class name to its fields; made when first asked for, since a run needs a dozen classes of many."""

    def __init__(self, data: dict[str, dict[str, Any]], by_number: frozenset[str] = frozenset()) -> None:
        self._data = data
        self._by_number = by_number
        self._made: dict[str, dict[str, Field]] = {}

    def __getitem__(self, name: str) -> dict[str, Field]:
        if name not in self._made:
            self._made[name] = {
                field: field_of(field, entry, self._by_number) for field, entry in self._data[name].items()
            }
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)


def _by_number(version: str) -> frozenset[str]:
    from bridge_args.versions import Versions, holds

    pair = Versions("0", version)
    return frozenset(enum for enum, condition in _BY_NUMBER.items() if holds(condition, pair))


def field_of(name: str, entry: dict[str, Any], by_number: frozenset[str] = frozenset()) -> Field:
    """One setting, from what a schema's file says of it."""
    if entry.get("enum") in by_number:
        default = entry.get("default")
        number = default["_args_"][0] if isinstance(default, dict) else default
        entry = {**entry, "type": "int", "default": number, "by_number": True}
    if "choices" in entry:
        entry = {**entry, "choices": tuple(entry["choices"])}
    return Field(name, **entry)
