"""The named conversions a row may ask for with ``as:``; each takes one value and returns one value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bridge_args.bridge.schema import Field, Schema
from bridge_args.values import Member


def negate(value: Any) -> bool:
    """``not``: Megatron-LM stores the negative, Bridge the positive."""
    return not value


def switch(value: Any) -> bool:
    """``switch``: what nobody turned on (None) is off."""
    return bool(value)


def single(value: Any) -> Any:
    """``single``: a list of one becomes its item; anything else stays."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def joined_by_spaces(value: Any) -> Any:
    """``joined_by_spaces``: a list of words becomes one text."""
    return " ".join(str(item) for item in value) if isinstance(value, list) else value


def minutes_to_seconds(value: Any) -> Any:
    """``minutes_to_seconds``: a number of minutes becomes seconds."""
    return None if value is None else value * 60


def on_or_none(value: Any) -> Any:
    """``none_when_empty``: an empty list or text becomes None."""
    return value or None


def integer(value: Any) -> Any:
    """``integer``: a text of digits becomes a whole number."""
    return None if value is None else int(value)


def integers(value: Any) -> Any:
    """``integers``: texts of digits in a list become whole numbers; None where one is something else."""
    if value is None or not all(str(item).isdecimal() for item in value):
        return None
    return [int(item) for item in value]


CONVERSIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "not": negate,
    "switch": switch,
    "single": single,
    "joined_by_spaces": joined_by_spaces,
    "minutes_to_seconds": minutes_to_seconds,
    "none_when_empty": on_or_none,
    "integer": integer,
    "integers": integers,
}


def words(value: Any) -> Any:
    """The words of a text."""
    return value.split(" ") if isinstance(value, str) else value


def as_list(value: Any) -> Any:
    """A list of one, of what is no list."""
    return value if value is None or isinstance(value, list) else [value]


def texts(value: Any) -> Any:
    """A list of texts."""
    return [str(item) for item in value] if isinstance(value, list) else value


# What an argument holds where the setting has a value: the other direction of each conversion.
INVERSES: Final[dict[str, Callable[[Any], Any]]] = {
    "not": negate,
    "switch": switch,
    "single": as_list,
    "joined_by_spaces": words,
    "minutes_to_seconds": lambda value: None if value is None else value / 60,
    "none_when_empty": lambda value: [] if value is None else value,
    "integer": lambda value: None if value is None else str(value),
    "integers": texts,
}


def fit(value: Any, field: Field, schema: Schema) -> Any:
    """The value in the type the receiving field resolves: members of enums where the field holds an enum.

    A text that Bridge would silently leave a text (``attention_backend`` is the classic one) becomes a ``Member``.
    """
    if field.enum is None or value is None:
        return value
    if isinstance(value, list):
        return [fit(item, field, schema) for item in value]
    if isinstance(value, Member) and value.enum == field.enum and field.by_number:
        return value.value
    if isinstance(value, str) and value in schema.enums[field.enum]:
        number = schema.enums[field.enum][value]
        return number if field.by_number else Member(field.enum, value, number)
    return value


def shown(value: Any) -> str:
    """The value in a sentence."""
    return repr(value)
