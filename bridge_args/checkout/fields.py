"""A configuration container as data: every ``section.field`` with its value in JSON.

Megatron-LM's own container (since 0.18) and Bridge's are read alike, so that they can be compared field by field.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

# What torch.nn.functional takes from C, under the names by which people know them.
_FUNCTIONS: Final = ("silu", "gelu", "relu", "sigmoid")
UNKNOWN: Final = "$unresolved"  # with why: nobody can say without a file that is not there


def fields_of(container: Any) -> dict[str, Any]:
    """The value of every field of every section that is an object.

    A section that is not is left out. Megatron-LM keeps the fields of ``TransformerConfig`` in ``model.transformer``;
    they stand directly under ``model.`` here, as Bridge has them.
    """
    return {
        f"{section.name}.{name}": encoded(value)
        for section in dataclasses.fields(container)
        for name, value in _fields(getattr(container, section.name, None))
    }


def _fields(section: Any) -> Iterator[tuple[str, Any]]:
    if not dataclasses.is_dataclass(section) or isinstance(section, type):
        return
    for field in dataclasses.fields(section):
        value = getattr(section, field.name, None)
        if field.name == "transformer" and dataclasses.is_dataclass(value):
            yield from _fields(value)
        else:
            yield field.name, value


def encoded(value: Any) -> Any:
    """A value as JSON: an enum member and a dtype by name, a function or class by module and name.

    What JSON has no word for is a mapping with ``$float``, ``$partial``, ``$layout``, or ``$object`` and the class.
    """
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, (list, tuple)):
        return [encoded(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((encoded(item) for item in value), key=str)
    if isinstance(value, Mapping):
        return {str(key): encoded(item) for key, item in value.items()}
    if isinstance(value, functools.partial):
        named = {str(key): encoded(item) for key, item in value.keywords.items()}
        return {"$partial": _name(value.func), "args": encoded(value.args), "kwargs": named}
    kind = type(value)
    if kind.__module__ == "torch" and kind.__name__ in ("dtype", "device"):
        return str(value)
    if kind.__name__ == "PipelineParallelLayerLayout":
        return {"$layout": encoded(value.layout)}
    return _name(value) if callable(value) and hasattr(value, "__qualname__") else {"$object": _name(kind)}


def _name(function: Any) -> str:
    import torch.nn.functional

    for known in _FUNCTIONS:
        if function is getattr(torch.nn.functional, known):
            return f"torch.nn.functional.{known}"
    return f"{function.__module__}.{function.__qualname__}"
