"""``Record``: ``typing.NamedTuple``, defined in a third of the time.

A start of the command line defines forty of them. ``typing`` compiles the text of every annotation, of which only
type checkers want to know, and they see ``NamedTuple`` itself.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as Record
else:
    from collections import namedtuple

    class _Defined(type):
        """Makes a named tuple of a class body: fields, defaults, methods."""

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, object]) -> type:
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = body["__annotations__"]
            defaults = [body.pop(field) for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults, module=body.pop("__module__"))
            for key, value in body.items():
                setattr(made, key, value)
            return made

    class Record(metaclass=_Defined):
        pass


__all__ = ["Record"]
