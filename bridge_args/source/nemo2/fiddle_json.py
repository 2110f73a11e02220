"""``context/io.json`` of a checkpoint: a configuration as the library fiddle writes it, read without it.

The file has objects by key, which refer to one another. Each has a ``type`` (a class by module and name), ``items`` and
``metadata``; the metadata of a ``Config`` says which class it configures. An object that fiddle cannot write is a file
beside, a pickle, whose name is the item's value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from bridge_args.files import json_of
from bridge_args.source.nemo2.objects import Given, Made, Nemo2Problem, checked, is_own, symbol
from bridge_args.words import Place

MAX_TEXT: Final = 8_000_000  # characters; that of a model of 1 billion parameters has 24 000
_MOST: Final = 100_000  # values, each as often as it is referred to
_DEEPEST: Final = 100
_ATTRIBUTE: Final = re.compile(r"Attr\(name='([A-Za-z_]\w*)'\)")
_KEY: Final = re.compile(r"Key\(key='(.*)'\)")
_FILE: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CONFIGS: Final = ("fiddle._src.config.Config", "fiddle._src.partial.Partial", "nemo_run.config.Config",
                   "nemo_run.config.Partial")  # fmt: skip

Pickled = Callable[[str, str], Any]
"""Gives what the pickle of that name holds: an object of the class of that name."""


def read_json(text: str, name: str, pickled: Pickled) -> Made:
    """The object that ``io.json`` describes.

    Args:
        pickled: reads the files that it refers to.

    Raises:
        Nemo2Problem: it is no such file, or names what no configuration of NeMo has.
    """
    if len(text) > MAX_TEXT:
        raise Nemo2Problem(f"{name} has {len(text)} characters; no configuration has more than {MAX_TEXT}")
    try:
        data = json_of(text)
    except (ValueError, RecursionError) as error:
        raise Nemo2Problem(f"{name} is not JSON: {error}") from error
    objects = data.get("objects") if isinstance(data, dict) else None
    if not isinstance(objects, dict) or not isinstance(data.get("root"), dict):
        raise Nemo2Problem(f"{name} is no io.json of NeMo: it has no root and no objects")
    made = _Reader(name, objects, pickled).of(data["root"], ())
    if not isinstance(made, Made):
        raise Nemo2Problem(f"{name} describes no object of NeMo's")
    return made


class _Reader:
    """References and entries -> objects; counts them, and how deep they are."""

    def __init__(self, name: str, objects: dict[str, Any], pickled: Pickled) -> None:
        self.name, self.objects, self.pickled = name, objects, pickled
        self.met = 0
        self.place = Place(name, 1)  # NeMo writes one line

    def of(self, entry: Any, above: tuple[str, ...]) -> Any:
        self.met += 1
        if self.met > _MOST:
            raise Nemo2Problem(f"{self.name} says more than {_MOST} values; no configuration does")
        if len(above) > _DEEPEST:
            raise Nemo2Problem(f"{self.name} is nested deeper than a configuration is")
        if not isinstance(entry, dict):
            raise self.odd("", entry)
        match entry.get("type"):
            case "ref":
                key = entry.get("key")
                if not isinstance(key, str) or key not in self.objects:
                    raise Nemo2Problem(f"{self.name} refers to an object {str(key)[:80]!r} that it does not have")
                if key in above:
                    raise Nemo2Problem(f"{self.name}: the object {key} holds itself")
                return self.object(key, self.objects[key], (*above, key))
            case "leaf":
                return self.leaf(entry.get("value"))
            case "pyref":
                return symbol(checked(f"{entry.get('module')}.{entry.get('name')}", self.name))
            case dict():
                return self.object("", entry, (*above, ""))
        raise self.odd("", entry)

    def object(self, key: str, entry: Any, above: tuple[str, ...]) -> Any:
        kind = entry.get("type") if isinstance(entry, dict) else None
        items = entry.get("items") if isinstance(entry, dict) else None
        if not isinstance(kind, dict) or kind.get("type") != "pyref" or not isinstance(items, list):
            raise self.odd(key, entry)
        kind_name = f"{kind.get('module')}.{kind.get('name')}"
        if any(not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], str) for item in items):
            raise self.odd(key, entry)
        if kind_name in _CONFIGS:
            return self.config(key, entry, items, above)
        if kind_name in ("builtins.tuple", "builtins.list", "builtins.set"):
            return [self.item(value, above) for _, value in items]
        if kind_name in ("builtins.dict", "builtins.defaultdict"):
            found = {}
            for name, value in items:
                match = _KEY.fullmatch(name)
                found[match[1] if match else name] = self.item(value, above)
            return found
        if is_own(kind_name):
            return Made(kind_name, {}, self.place)
        if len(items) == 1 and items[0][0] == "IdentityElement()":
            value = self.item(items[0][1], above)
            if isinstance(value, str) and _FILE.fullmatch(value):
                return self.pickled(value, checked(kind_name, self.name))
            return value
        return symbol(checked(kind_name, self.name))

    def config(self, key: str, entry: dict[str, Any], items: list[Any], above: tuple[str, ...]) -> Made:
        target = self.configured(entry.get("metadata"), above)
        given = {}
        for element, value in items:
            match = _ATTRIBUTE.fullmatch(element)
            if match is None:
                raise self.odd(key, element)
            held = self.item(value, above)
            given[match[1]] = Given(held, f"{match[1]}: {_shown(held)}", self.place)
        return Made(target, given, self.place, complete=True)

    def configured(self, metadata: Any, above: tuple[str, ...]) -> str:
        """The class that a ``Config`` configures, which its metadata names."""
        found = metadata
        if isinstance(found, dict) and found.get("type") == "ref":
            found = self.objects.get(str(found.get("key")))
        for element, value in found.get("items", []) if isinstance(found, dict) else []:
            if element == "Attr(name='fn_or_cls')" and isinstance(value, dict) and value.get("type") == "pyref":
                return checked(f"{value.get('module')}.{value.get('name')}", self.name)
        raise self.odd("", metadata)

    def item(self, value: Any, above: tuple[str, ...]) -> Any:
        return self.of(value, above) if isinstance(value, dict) else self.leaf(value)

    def leaf(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise self.odd("", value)

    def odd(self, key: str, entry: Any) -> Nemo2Problem:
        where = f" at {key}" if key else ""
        return Nemo2Problem(f"{self.name} is not as NeMo writes it{where}: {str(entry)[:80]}")


def _shown(value: Any) -> str:
    if isinstance(value, Made):
        return value.name
    return (
        {None: "null", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else str(value)[:200]
    )
