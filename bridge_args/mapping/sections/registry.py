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

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from bridge_args.findings import Changes
from bridge_args.records import Record

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
    """

    always: tuple[str, ...] = ()
    if_there: tuple[str, ...] = ()
    takes: Mapping[str, type] = MappingProxyType({})


BUILDERS: Final[dict[str, Builder]] = {}
WRITES: Final[dict[str, Writes]] = {}


def builder(
    writes: tuple[str, ...] = (), if_there: tuple[str, ...] = (), takes: Mapping[str, type] = MappingProxyType({})
) -> Callable[[Builder], Builder]:
    """Registers a builder under its function's name, with the settings it may decide: see ``Writes``."""

    def register(function: Builder) -> Builder:
        BUILDERS[function.__name__] = function
        WRITES[function.__name__] = Writes(writes, if_there, takes)
        return function

    return register


def parameters(function: Builder) -> tuple[str, ...]:
    """The names a builder reads."""
    code = function.__code__
    return code.co_varnames[: code.co_argcount]


def place_of(function: Builder) -> str:
    """``bridge_args/mapping/sections/precision.py:40``."""
    code = function.__code__
    return f"{function.__module__.replace('.', '/')}.py:{code.co_firstlineno}"
