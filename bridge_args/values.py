"""Values that plain YAML has no word for: enum members, dtypes, functions, partial functions.

A translation holds them by name, because naming ``torch.bfloat16`` must not import torch. Each has one
way to be written, the one Bridge itself writes and reads back (``megatron/bridge/utils/yaml_utils.py`` and
``instantiate_utils.py``): a mapping with ``_target_``.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any


def is_dotted(path: object) -> bool:
    """Is this a name of Python with the modules it is in, ``torch.bfloat16``, and so nothing else in source?"""
    return isinstance(path, str) and all(
        step.isascii() and step.isidentifier() and not keyword.iskeyword(step) for step in path.split(".")
    )


def _named(path: str) -> str:
    if not is_dotted(path):
        raise ValueError(f"{path!r} is no name of Python with the modules it is in")
    return path


class _Value:
    """Compared by class and content; not to be changed once made."""

    __slots__: tuple[str, ...] = ()

    def _content(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Value) and type(self) is type(other) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash((type(self), str(self)))

    def __repr__(self) -> str:
        return str(self)  # so that a list of them, in a message or a report, is as readable as one


class Symbol(_Value):
    """A function, class or dtype, by its qualified name: ``torch.nn.functional.silu``, ``torch.bfloat16``."""

    __slots__ = ("path",)
    __match_args__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = _named(path)

    def __str__(self) -> str:
        return self.path


class Member(_Value):
    """A member of an enum: class by qualified name, member by name and value."""

    __slots__ = ("enum", "name", "value")
    __match_args__ = ("enum", "name", "value")

    def __init__(self, enum: str, name: str, value: object) -> None:
        self.enum = _named(enum)
        self.name = name
        self.value = value

    def __str__(self) -> str:
        return f"{self.enum.rsplit('.', 1)[-1]}.{self.name}"


class Partial(_Value):
    """``functools.partial(path, **kwargs)``."""

    __slots__ = ("kwargs", "path")
    __match_args__ = ("path", "kwargs")

    def __init__(self, path: str, kwargs: Mapping[str, object] | None = None) -> None:
        self.path = _named(path)
        self.kwargs: Mapping[str, object] = kwargs or {}

    def __str__(self) -> str:
        inside = ", ".join(f"{k}={v}" for k, v in self.kwargs.items())
        return f"partial({self.path}, {inside})"


class Built(_Value):
    """An object of a class, made from keyword values: ``{_target_: path, **kwargs}``."""

    __slots__ = ("kwargs", "path")
    __match_args__ = ("path", "kwargs")

    def __init__(self, path: str, kwargs: Mapping[str, object] | None = None) -> None:
        self.path = _named(path)
        self.kwargs: Mapping[str, object] = kwargs or {}

    def __str__(self) -> str:
        inside = ", ".join(f"{k}={v}" for k, v in self.kwargs.items())
        return f"{self.path.rsplit('.', 1)[-1]}({inside})"


class Referring(str):
    """Text with environment variables in it that nobody has given: ``$DATA_DIR/x``, as bash writes it.

    Attributes:
        names: the variables; a ``$`` in front of anything else is only a character.
    """

    names: tuple[str, ...]

    def __new__(cls, text: str, names: Sequence[str]) -> Referring:
        made = super().__new__(cls, text)
        made.names = tuple(names)
        return made

    def __getnewargs__(self) -> tuple[str, tuple[str, ...]]:  # type: ignore[override]
        return str(self), self.names

    def pieces(self) -> Iterator[tuple[str, str]]:
        """Stretches of the text with the name of the variable each is, or with an empty name."""
        at = 0
        for match in _reference_to(self.names).finditer(self):
            yield self[at : match.start()], ""
            yield match.group(), match.group(1) or match.group(2)
            at = match.end()
        yield self[at:], ""


def _reference_to(names: Sequence[str]) -> re.Pattern[str]:
    alternatives = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    return re.compile(rf"\$(?:\{{({alternatives})\}}|({alternatives})(?![A-Za-z0-9_]))")


def referring(value: object, names: Sequence[str]) -> object:
    """The value with ``Referring`` in place of every text that has one of these variables in it."""
    match value:
        case str():
            return Referring(value, names) if names and _reference_to(names).search(value) else value
        case list():
            return [referring(item, names) for item in value]
        case tuple():
            return tuple(referring(item, names) for item in value)
        case dict():
            return {key: referring(item, names) for key, item in value.items()}
    return value


def references_in(value: object) -> Iterator[str]:
    """The names of the environment variables that a value refers to."""
    match value:
        case Referring():
            yield from value.names
        case list() | tuple():
            for item in value:
                yield from references_in(item)
        case dict():
            for item in value.values():
                yield from references_in(item)
        case Partial(_, kwargs) | Built(_, kwargs):
            for item in kwargs.values():
                yield from references_in(item)


def filled(value: Any, variables: Mapping[str, str]) -> Any:
    """The value with these values in place of the variables it refers to, as far as they are given."""
    match value:
        case Referring():
            text = "".join(variables.get(name, piece) if name else piece for piece, name in value.pieces())
            return referring(text, [name for name in value.names if name not in variables])
        case list():
            return [filled(item, variables) for item in value]
        case tuple():
            return tuple(filled(item, variables) for item in value)
        case dict():
            return {key: filled(item, variables) for key, item in value.items()}
    return value


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


def from_plain(plain: object, member: Callable[[str, object], str | None] = lambda enum, value: None) -> object:
    """The value that ``to_plain`` writes so; what names no object stays as it is.

    Args:
        member: the name of an enum's member that has a value; None where it is not known, and where it is no enum.

    Raises:
        ValueError: a ``_target_`` that is no name.
    """
    match plain:
        case list():
            return [from_plain(item, member) for item in plain]
        case {"_target_": target, **settings}:
            path = _named(str(target))
            values = settings.get("_args_")
            if settings.get("_call_") is False:
                return Symbol(path)
            if isinstance(values, list) and len(values) == 1 and (name := member(path, values[0])) is not None:
                return Member(path, name, values[0])
            if values:
                return plain
            inside = {str(key): from_plain(item, member) for key, item in settings.items() if key not in _HOW}
            return Partial(path, inside) if settings.get("_partial_") else Built(path, inside)
        case dict():
            return {key: from_plain(item, member) for key, item in plain.items()}
    return plain


_HOW = ("_call_", "_args_", "_partial_", "_name_")  # how an object is built, beside its settings


def finite(value: Any) -> Any:
    """What JSON can hold: ``inf``, ``-inf`` and ``nan`` are texts in it, which ``float`` reads."""
    match value:
        case dict():
            return {key: finite(item) for key, item in value.items()}
        case list() | tuple():
            return [finite(item) for item in value]
        case float() if not math.isfinite(value):
            return str(value)
    return value
