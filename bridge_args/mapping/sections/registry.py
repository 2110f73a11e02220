"""Settings that are chosen as a whole from several arguments.

A builder is a function that receives exactly the arguments whose rows name it (``section:`` in a table), and, where
it has such a parameter, ``schema`` (the Bridge schema), ``program`` (``pretrain_gpt.py``) or ``read`` (gives the text
of a file that the command line names, or raises OSError). It returns what it decides:

* ``path -> value`` for settings, with values as in ``bridge_args.values``; a value equal to Bridge's default is
  not written;
* ``argument -> Lost(reason)`` where the value of an argument cannot be said in Bridge and changes the run;
* ``argument -> NeedsDropIn(reason)`` where no configuration of Bridge says it, and ``training/added.py`` does it;
* ``argument -> Rejected(reason)`` where Bridge's own validation would stop.

It must not raise, whatever values the command line holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

from bridge_args.findings import Changes
from bridge_args.records import Record
from bridge_args.versions import Versions, holds

Builder = Callable[..., dict[str, Any]]


class Lost(Record):
    """Bridge cannot do this; the run will differ. ``reason`` is a sentence a user can act on."""

    reason: str
    changes: Changes = "numbers"


class NeedsDropIn(Record):
    """Bridge's own script does not do this, a start of ours does. ``reason`` says what differs, with no full stop."""

    reason: str
    changes: Changes = "numbers"


class Rejected(Record):
    """Bridge stops with this. ``reason`` says why, and what to do instead."""

    reason: str


class Writes(Record):
    """The settings that a builder may decide.

    Attributes:
        always: settings that every version of Bridge has.
        if_there: those that only some versions have; the builder looks before it decides one.
        takes: setting to a type that Bridge takes although the setting's own does not say so.
        absent: argument to what holds for a pair of versions in which no row hands it over; only those may be missing.
        when: conditions on versions, such as ``megatron >=0.18``: where one holds, rows name the builder.
        unread: settings of these that nothing reads in some version: the builder tells so, or decides another beside.
    """

    always: tuple[str, ...] = ()
    if_there: tuple[str, ...] = ()
    takes: Mapping[str, type] = MappingProxyType({})
    absent: Mapping[str, Any] = MappingProxyType({})
    when: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    def holds(self, versions: Versions) -> bool:
        """Do rows of this pair of versions name the builder?"""
        return not self.when or any(holds(condition, versions) for condition in self.when)


BUILDERS: Final[dict[str, Builder]] = {}
WRITES: Final[dict[str, Writes]] = {}


def builder(
    writes: tuple[str, ...] = (),
    if_there: tuple[str, ...] = (),
    takes: Mapping[str, type] = MappingProxyType({}),
    absent: Mapping[str, Any] = MappingProxyType({}),
    when: str | tuple[str, ...] = (),
    unread: tuple[str, ...] = (),
) -> Callable[[Builder], Builder]:
    """Registers a builder under its function's name, with the settings it may decide: see ``Writes``."""

    def register(function: Builder) -> Builder:
        BUILDERS[function.__name__] = function
        WRITES[function.__name__] = Writes(
            writes, if_there, takes, absent, (when,) if isinstance(when, str) else when, unread
        )
        return function

    return register


def parameters(function: Builder) -> tuple[str, ...]:
    """The names a builder reads."""
    code = function.__code__
    return code.co_varnames[: code.co_argcount]


class Values(Protocol):
    """Effective arguments by name."""

    def __contains__(self, name: object, /) -> bool: ...

    def __getitem__(self, name: str, /) -> Any: ...


def values_for(function: Builder, handed: Collection[str], args: Values, context: Mapping[str, Any]) -> dict[str, Any]:
    """What a builder reads: what belongs to the run, and the arguments that rows hand it; ``absent`` for the others."""
    absent = WRITES[function.__name__].absent
    return {
        name: context[name] if name in context else args[name] if name in handed and name in args else absent.get(name)
        for name in parameters(function)
    }


def place_of(function: Builder) -> str:
    """``bridge_args/mapping/sections/precision.py:40``."""
    code = function.__code__
    return f"{function.__module__.replace('.', '/')}.py:{code.co_firstlineno}"
