"""Values that plain YAML has no word for: enum members, dtypes, functions, partial functions.

A translation holds them by name, because naming ``torch.bfloat16`` must not import torch. Each has one
way to be written, the one Bridge itself writes and reads back (``megatron/bridge/utils/yaml_utils.py`` and
``instantiate_utils.py``): a mapping with ``_target_``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Symbol:
    """A function, class or dtype, by its qualified name: ``torch.nn.functional.silu``, ``torch.bfloat16``."""

    path: str

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an enum: class by qualified name, member by name and value."""

    enum: str
    name: str
    value: object

    def __str__(self) -> str:
        return f"{self.enum.rsplit('.', 1)[-1]}.{self.name}"


@dataclass(frozen=True, slots=True)
class Partial:
    """``functools.partial(path, **kwargs)``."""

    path: str
    kwargs: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        inside = ", ".join(f"{k}={v}" for k, v in self.kwargs.items())
        return f"partial({self.path}, {inside})"


@dataclass(frozen=True, slots=True)
class Built:
    """An object of a class, made from keyword values: ``{_target_: path, **kwargs}``."""

    path: str
    kwargs: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        inside = ", ".join(f"{k}={v}" for k, v in self.kwargs.items())
        return f"{self.path.rsplit('.', 1)[-1]}({inside})"


def to_plain(value: object) -> object:
    """The value as Bridge writes it in YAML: plain scalars, lists, and mappings with ``_target_``."""
    match value:
        case Symbol(path):
            return {"_target_": path, "_call_": False}
        case Member(enum, _, member):
            return {"_target_": enum, "_call_": True, "_args_": [member]}
        case Partial(path, kwargs):
            return {"_target_": path, "_partial_": True, **{k: to_plain(v) for k, v in kwargs.items()}}
        case Built(path, kwargs):
            return {"_target_": path, **{k: to_plain(v) for k, v in kwargs.items()}}
        case list() | tuple():
            return [to_plain(item) for item in value]
        case dict():
            return {key: to_plain(item) for key, item in value.items()}
    return value
