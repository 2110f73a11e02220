"""Does a setting take a value? Read from the type that a schema has of it, without importing Bridge."""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import Any, Final

from bridge_args.bridge.schema import Field
from bridge_args.values import Built, Member, Partial, Symbol

# A configuration is written as YAML, which has lists only: Bridge makes tuples of them where it wants some.
_PLAIN: Final[dict[str, tuple[type, ...]]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "list": (list, tuple),
    "tuple": (list, tuple),
    "set": (list, tuple),
    "dict": (dict,),
}
_ANYTHING: Final = ("Any", "object")
_PATHS: Final = ("pathlib.Path",)  # written as texts


def accepts(field: Field, value: Any) -> bool:
    """Is the value one that the setting's type has? ``int`` is a ``float``, and a list a ``tuple``."""
    if isinstance(value, Member) and value.enum == field.enum:
        return True  # its type may say less: signal.Signals are declared as int
    return _takes(_parsed(field.type), value)


def same_kind(one: Any, other: Any) -> bool:
    """Are two values that are equal to Python equal to everybody? True is no number, 1.0 is 1."""
    return isinstance(one, bool) is isinstance(other, bool)


@lru_cache(maxsize=None)
def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _takes(kind: ast.expr, value: Any) -> bool:
    match kind:
        case ast.BinOp(left, ast.BitOr(), right):
            return _takes(left, value) or _takes(right, value)
        case ast.Constant(None):
            return value is None
        case ast.Name(name):
            return _is_a(name, value)
        case ast.Subscript(ast.Name("Literal"), choices):
            offered = choices.elts if isinstance(choices, ast.Tuple) else [choices]
            return any(one == value and same_kind(one, value) for one in map(ast.literal_eval, offered))
        case ast.Subscript(ast.Name(name), inside):
            return _is_a(name, value) and all(map(_takes, *_items(name, inside, value)))
        case ast.Attribute():
            return _is_of(ast.unparse(kind), value)
    raise AssertionError(ast.dump(kind))


def _is_a(name: str, value: Any) -> bool:
    if name in _PLAIN:
        return isinstance(value, _PLAIN[name]) and (name == "bool" or not isinstance(value, bool))
    if name in ("Callable", "type"):
        return isinstance(value, (Symbol, Partial))
    return name in _ANYTHING


def _is_of(path: str, value: Any) -> bool:
    """Is the value of a class? What a function returns, and whether a class is derived from it, is not known here."""
    if path in _PATHS:
        return isinstance(value, str)
    if path == "torch.dtype":
        return isinstance(value, Symbol) and value.path.startswith("torch.")
    if isinstance(value, Member):
        return value.enum == path
    return isinstance(value, (Built, Partial, Symbol))


def _items(name: str, inside: ast.expr, value: Any) -> tuple[list[ast.expr], list[Any]]:
    """The types of what is in a value, and what is in it."""
    parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
    if name == "dict":
        return [parts[1]] * len(value), list(value.values())
    if name == "tuple" and not isinstance(parts[-1], ast.Constant):
        if len(parts) != len(value):
            parts = [ast.Name("nothing")] * len(value)  # a type that no value has
        return parts, list(value)
    return ([], []) if name == "Callable" else ([parts[0]] * len(value), list(value))
