"""Derived values: one function per value, one module per area.

A derivation is a plain function. Its name is the argument it sets, its parameters are the arguments it reads
(its own name, if it reads what was typed or the default), and beside arguments ``given`` (the set of typed
names), ``world_size``, ``env`` and ``program``. Where Megatron-LM would stop, it raises ``Invalid``.

A check is the same without a value: it only raises. We check what Megatron-LM checks on a command line; its
line is named in the docstring.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bridge_args.versions import Versions, holds

Function = Callable[..., Any]


class Invalid(Exception):
    """Megatron-LM would stop here.

    Args:
        message: what is wrong, with the numbers.
        remedy: what to write instead.
        arguments: the arguments concerned; all that the function reads, where empty.
    """

    def __init__(self, message: str, remedy: str = "", arguments: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.arguments = arguments


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    reads: tuple[str, ...]
    function: Function
    when: str

    def holds(self, version: str) -> bool:
        """Does this hold for a Megatron-LM version?"""
        return not self.when or holds(f"megatron {self.when}", Versions(version, "0"))


@dataclass(frozen=True, slots=True)
class Derivation(_Step):
    """Computes one value."""

    @property
    def sets(self) -> tuple[str, ...]:
        return (self.name,)


@dataclass(frozen=True, slots=True)
class Check(_Step):
    """Refuses what Megatron-LM refuses."""

    @property
    def sets(self) -> tuple[str, ...]:
        return ()


REGISTERED: Final[list[Derivation | Check]] = []


def _parameters(function: Function) -> tuple[str, ...]:
    code = function.__code__
    return code.co_varnames[: code.co_argcount]


def derives(when: str = "") -> Callable[[Function], Function]:
    """Registers a derivation; ``when`` is a condition on the Megatron-LM version, such as ``>=0.15``."""

    def register(function: Function) -> Function:
        REGISTERED.append(Derivation(function.__name__, _parameters(function), function, when))
        return function

    return register


def checks(when: str = "") -> Callable[[Function], Function]:
    """Registers a check; ``when`` as in ``derives``."""

    def register(function: Function) -> Function:
        REGISTERED.append(Check(function.__name__, _parameters(function), function, when))
        return function

    return register


# The areas register themselves; at the end, because they import the decorators above.
from bridge_args.megatron_lm.derive import (  # noqa: E402
    attention,
    batch,
    checkpointing,
    data,
    model,
    moe,
    optimizer,
    parallelism,
    precision,
    scheduler,
)

__all__ = [
    "REGISTERED",
    "Check",
    "Derivation",
    "Invalid",
    "attention",
    "batch",
    "checkpointing",
    "checks",
    "data",
    "derives",
    "model",
    "moe",
    "optimizer",
    "parallelism",
    "precision",
    "scheduler",
]
