"""What NeMo 2.0's classes have when nobody says anything; generated (``python -m bridge_args.dev nemo2``)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from bridge_args.records import Record
from bridge_args.source.nemo2.objects import symbol
from bridge_args.values import Member, is_dotted

FILE: Final = Path(__file__).with_name("defaults.json")
ROOT: Final = "megatron.core.transformer.transformer_config.TransformerConfig"


class Class(Record):
    """One class, or function, that configurations are made of.

    Attributes:
        name: with its module.
        parents: the classes that it is made from, nearest first.
        fields: what it takes, each with what it has when nobody says anything; None where there is no such thing.
        is_model: the configuration of a model.
    """

    name: str
    parents: tuple[str, ...]
    fields: dict[str, Any]
    is_model: bool = False

    def is_a(self, name: str) -> bool:
        """Is it the class of that name without module, or made from it?"""
        return any(one.rpartition(".")[2] == name for one in (self.name, *self.parents))


@cache
def _data() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(FILE.read_bytes())
    return data


def version() -> str:
    """The version of NeMo that the facts are of."""
    return str(_data()["nemo"])


def models() -> tuple[str, ...]:
    """All configurations of models, NeMo's and those of Megatron Core that they are made from."""
    return tuple(_data()["models"])


@cache
def find(target: str) -> Class | None:
    """A class by its name; where that class has moved between modules, by its name alone. None: it is not known."""
    data = _data()
    for part in ("models", "classes"):
        known = data[part]
        name = target if target in known else _elsewhere(target, part)
        if name and part == "models":
            return _model(name)
        if name:
            entry = known[name]
            return Class(name, tuple(entry.get("is", ())), {key: value_of(one) for key, one in entry["fields"].items()})
    return None


def _elsewhere(target: str, part: str) -> str:
    """The one class of that name in another module of NeMo."""
    if not target.startswith("nemo."):
        return ""
    found = [name for name in _data()[part] if name.rpartition(".")[2] == target.rpartition(".")[2]]
    return found[0] if len(found) == 1 else ""


def _model(name: str) -> Class:
    known = _data()["models"]
    chain = [name]
    while parent := known[chain[-1]]["parent"]:
        chain.append(parent)
    fields: dict[str, Any] = {}
    for one in reversed(chain):
        fields |= known[one]["fields"]
    return Class(name, tuple(chain[1:]), {key: value_of(one) for key, one in fields.items()}, True)


def value_of(plain: Any) -> Any:
    """Plain data of the file as values; a class or function by its name."""
    if isinstance(plain, list):
        return [value_of(one) for one in plain]
    if not isinstance(plain, dict):
        return plain
    target = plain.get("_target_")
    if target is None:
        return {key: value_of(one) for key, one in plain.items()}
    if plain.get("_args_"):
        return Member(target, "", plain["_args_"][0])  # its name is in the schema of a version of Bridge
    return symbol(target) if is_dotted(target) else str(target)
