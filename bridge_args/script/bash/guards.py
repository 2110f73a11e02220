"""Why a script ends before it starts a program: the condition around the ``exit``, and what the user can give.

While commands behind a condition are read, the condition is on a stack (``Shared.guards``); an ``exit`` looks there for
the innermost one that is about something a user can give: words behind the script's name, or variables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bridge_args.script.bash.ends import End, Guard
from bridge_args.script.bash.names import is_name
from bridge_args.script.bash.state import State
from bridge_args.script.bash.traced import Traced

_READ: Final = re.compile(
    r"\$\{?(?:#(?=[A-Za-z_@*]))?(!?[A-Za-z_]\w*|[0-9]+|[#@*])"
    r"|(?<![\w$])-v +([A-Za-z_]\w*)|\(\(.*?\)\)",
    re.DOTALL,
)
_NAMES: Final = re.compile(r"(?<![\w$#])[A-Za-z_]\w*")
_MAX_SHOWN: Final = 200  # characters of a condition
_MAX_LOOKED_AT: Final = 2_000


@contextmanager
def behind(state: State, written: str, came_out: str) -> Iterator[None]:
    """What is read inside is reached because a condition came out so."""
    guards = state.shared.guards
    guards.append(Guard(written, came_out, len(state.shared.calls)))
    try:
        yield
    finally:
        guards.pop()


def end(state: State, at: int) -> End:
    """What the user is told about an ``exit``."""
    shared = state.shared
    first = End(at)
    for guard in reversed(shared.guards):
        words, names = _wanted(state, guard.written[:_MAX_LOOKED_AT], set())
        place = shared.calls[guard.calls] if guard.calls < len(shared.calls) else at
        made = End(place, f"{_shown(guard.written)} {guard.came_out}", words, tuple(dict.fromkeys(names)))
        if words or names:
            return made
        if not first.because and ("$" in guard.written or guard.written.startswith(("[", "test "))):
            first = made
    return first


def _shown(written: str) -> str:
    text = " ".join(written.split())
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


def _wanted(state: State, written: str, seen: set[str]) -> tuple[bool, list[str]]:
    """What a text of the script reads that a user can give: its words, and names that nothing else sets."""
    words, names = False, list[str]()
    for name in _names_in(written):
        if name.startswith("!"):  # the variable whose name is in this one
            variable = state.get(name[1:])
            value = variable.scalar() if variable else None
            name = value.text if value is not None and is_name(value.text) else name[1:]
        if name in ("#", "@", "*") or name.isdigit():
            words |= name != "0"
        elif name not in seen and not state.always_set(name):
            origin = state.shared.origins.get(name)
            if origin is not None and name not in _names_in(origin):
                more_words, more = _wanted(state, origin, seen | {name})
                words, names = words or more_words, names + more
            elif origin is not None or _is_open(state, name):
                names.append(name)
    return words, names


def _names_in(written: str) -> list[str]:
    found: list[str] = []
    for match in _READ.finditer(written[:_MAX_LOOKED_AT]):
        if match.group().startswith("(("):
            found += re.findall(r"\$\{?([0-9#@*])", match.group()) + _NAMES.findall(match.group())
        else:
            found.append(match.group(1) or match.group(2))
    return found


def _is_open(state: State, name: str) -> bool:
    """Does nobody set the variable, so that it can be given?"""
    variable = state.get(name)
    if variable is None:
        return True
    value = variable.scalar()
    return isinstance(value, Traced) and not value.known
