"""Derived values: one function per value, one module per area.

A derivation is a plain function. Its name is the argument it sets, its parameters are the arguments it reads
(its own name, if it reads what was typed or the default), and beside arguments ``given`` (typed name -> value as
typed), ``world_size``, ``env`` and ``program``. Arguments that a Megatron-LM version does not have are None.

``derives`` marks a value of an argument; the function is passed over where a version lacks the argument.
``computes`` marks a value that Megatron-LM keeps under a name of its own, such as ``data_parallel_size``.
Where Megatron-LM would stop for want of the value, the function raises ``Invalid``.

A check has no value: it yields an ``Invalid`` for each thing that Megatron-LM stops at. Its docstring names the
place. Where later versions loosened a rule, the check's condition says so. Checks assume what Megatron-LM's own
containers have: H100 GPUs, Transformer Engine 2.10, PyTorch 2.7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from bridge_args.versions import Versions, holds

Function = Callable[..., Any]

# What a derivation may read beside arguments.
CONTEXT: Final = ("given", "world_size", "env", "program")


class Invalid(Exception):
    """Megatron-LM would stop here.

    Args:
        message: what is wrong, with the numbers.
        remedy: what to write instead.
        arguments: the arguments concerned; all that the function reads, where empty.
        variable: the environment variable that is missing. Where the run's environment is not known in full, the
            user is told so, and it is no error.
        stops: False where it depends on the machine whether Megatron-LM stops; the user is told, and it is no error.
        late: Megatron-LM accepts the arguments and stops when it sets up, or at the first step; a warning.
    """

    def __init__(
        self,
        message: str,
        remedy: str = "",
        arguments: tuple[str, ...] = (),
        *,
        variable: str = "",
        stops: bool = True,
        late: bool = False,
    ) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.arguments = arguments
        self.variable = variable
        self.stops = stops
        self.late = late


Problems = Iterator[Invalid]


def later(message: str, remedy: str, arguments: tuple[str, ...], see: str, *, variable: str = "") -> Invalid:
    """What Megatron-LM's ``validate_args`` lets pass, and Megatron Core stops at when it builds or first runs.

    Args:
        see: file below ``megatron/core`` and function that stops, with which the message ends.
    """
    return Invalid(f"{message} (megatron/core/{see})", remedy, arguments, variable=variable, late=True)


class _Step:
    __slots__ = ("function", "name", "reads", "when")

    def __init__(self, name: str, reads: tuple[str, ...], function: Function, when: str) -> None:
        self.name = name
        self.reads = reads
        self.function = function
        self.when = when

    def holds(self, version: str) -> bool:
        """Does this hold for a Megatron-LM version?"""
        return not self.when or holds(f"megatron {self.when}", Versions(version, "0"))


class Derivation(_Step):
    """Computes one value; ``argument`` tells whether it is an argument's, or one under a name of its own."""

    __slots__ = ("argument", "sets")

    def __init__(self, name: str, reads: tuple[str, ...], function: Function, when: str, argument: bool) -> None:
        super().__init__(name, reads, function, when)
        self.argument = argument
        self.sets: tuple[str, ...] = (name,)


class Check(_Step):
    """Yields what Megatron-LM refuses."""

    __slots__ = ()
    sets: tuple[str, ...] = ()


REGISTERED: Final[list[Derivation | Check]] = []


def _parameters(function: Function) -> tuple[str, ...]:
    code = function.__code__
    return code.co_varnames[: code.co_argcount]


def derives(when: str = "") -> Callable[[Function], Function]:
    """Registers an argument's derivation; ``when`` is a condition on the Megatron-LM version, such as ``>=0.15``."""

    def register(function: Function) -> Function:
        REGISTERED.append(Derivation(function.__name__, _parameters(function), function, when, argument=True))
        return function

    return register


def computes(when: str = "") -> Callable[[Function], Function]:
    """Registers a value that is no argument; ``when`` as in ``derives``."""

    def register(function: Function) -> Function:
        REGISTERED.append(Derivation(function.__name__, _parameters(function), function, when, argument=False))
        return function

    return register


def checks(when: str = "") -> Callable[[Callable[..., Problems]], Callable[..., Problems]]:
    """Registers a check; ``when`` as in ``derives``."""

    def register(function: Callable[..., Problems]) -> Callable[..., Problems]:
        REGISTERED.append(Check(function.__name__, _parameters(function), function, when))
        return function

    return register


def flag(name: str) -> str:
    """An argument's name as most users type it: ``--num-layers`` for ``num_layers``."""
    return "--" + name.replace("_", "-")
