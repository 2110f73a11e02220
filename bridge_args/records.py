"""Records that are defined quickly: ``Record`` is ``typing.NamedTuple``, and ``dataclass`` that of ``dataclasses``.

A start of the command line defines forty of the one, reading a script as many of the other. ``typing`` compiles the
text of every annotation, and ``dataclasses`` the text of six methods for every class: half a millisecond each. Type
checkers see the originals. What these here do is the same, as far as it is used:

* ``Record``: all of it.
* ``dataclass``: always with slots; ``frozen`` or not, ``field``, ``replace``, and a class that inherits from another.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace
    from typing import NamedTuple as Record
else:
    from collections import namedtuple
    from operator import attrgetter

    class _Defined(type):
        """Makes a named tuple of a class body: fields, defaults, methods."""

        def __new__(cls, name, bases, body):
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

    # ---------------------------------------------------------------- dataclass

    class _Field(Record):
        """What a field has where nobody gives it a value."""

        default: object = None
        default_factory: object = None
        kw_only: bool = False
        required: bool = False

    def field(*, default=None, default_factory=None, kw_only=False):
        return _Field(default, default_factory, kw_only)

    def dataclass(*, frozen=False, slots=True):
        return lambda cls: _with_slots(cls, frozen)

    def replace(record, **changes):
        made = object.__new__(type(record))
        for (name, _), put in zip(record._in_order, record._puts, strict=True):
            put(made, changes.pop(name) if name in changes else getattr(record, name))
        if changes:
            raise TypeError(f"{type(record).__name__} has no {', '.join(changes)}")
        return made

    def _with_slots(cls, frozen):
        """The class once more, with slots in place of its fields' defaults."""
        body = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
        own = {name: _field_of(body.pop(name, _Field(required=True))) for name in body.get("__annotations__", {})}
        fields = getattr(cls, "_fields", {}) | own
        in_order = sorted(fields.items(), key=lambda item: item[1].kw_only)
        body |= {
            "__qualname__": cls.__qualname__,
            "__slots__": tuple(own),
            "__match_args__": tuple(name for name, one in in_order if not one.kw_only),
            "__init__": _init,
            "__eq__": _eq,
            "__hash__": _hash if frozen else None,
            "__repr__": _repr,
            "_fields": fields,
            "_values": attrgetter(*fields),
            "_in_order": tuple(in_order),
            "_defaults": tuple(one.default for _, one in in_order),
            "_needed": sum(one.required for one in fields.values()),
            "_plain": not any(one.kw_only or one.default_factory for one in fields.values()),
        }
        if frozen:
            body |= {"__setattr__": _refuse, "__delattr__": _refuse}
        made = type(cls)(cls.__name__, cls.__bases__, body)
        made._puts = tuple(getattr(made, name).__set__ for name, _ in in_order)
        return made

    def _field_of(default):
        return default if isinstance(default, _Field) else _Field(default)

    def _init(self, *values, **named):
        puts, count = self._puts, len(values)
        if named or not self._plain or not self._needed <= count <= len(puts):
            values = _all_values(type(self), values, named)
        elif count < len(puts):
            values += self._defaults[count:]
        for put, value in zip(puts, values, strict=True):
            put(self, value)

    def _all_values(cls, values, named):
        """One for every field, in their order.

        Raises:
            TypeError: as a function that is called with too many values, or too few.
        """
        if len(values) > len(cls.__match_args__):
            raise TypeError(f"{cls.__name__} takes {len(cls.__match_args__)} values, not {len(values)}")
        made = list(values)
        for name, one in cls._in_order[len(values) :]:
            if name in named:
                made.append(named.pop(name))
            elif one.required:
                raise TypeError(f"{cls.__name__} needs {name}")
            else:
                made.append(one.default_factory() if one.default_factory else one.default)
        if named:
            raise TypeError(f"{cls.__name__} has no {', '.join(named)}, or it is given twice")
        return made

    def _eq(self, other):
        return self._values(self) == self._values(other) if type(self) is type(other) else NotImplemented

    def _hash(self):
        return hash(self._values(self))

    def _repr(self):
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._fields)})"

    def _refuse(self, name, value=None):
        raise AttributeError(f"{type(self).__name__} does not change: {name}")


def names_of(record: object) -> tuple[str, ...]:
    """The fields of a record of either kind."""
    return tuple(vars(type(record))["_fields"])


__all__ = ["Record", "dataclass", "field", "names_of", "replace"]
