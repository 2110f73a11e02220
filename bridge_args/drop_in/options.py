"""The drop-in's own options, taken out from among the arguments of Megatron-LM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from bridge_args.errors import UserError

# No version of Megatron-LM has a flag of one of these names (tests/drop_in/test_own_options.py looks).
OPTIONS: Final = {
    "--accept": "NAME[,NAME...]: start even though this argument has no equivalent; may be repeated",
    "--mappings": "FILE: rows of your own, for the flags of a fork",
    "--megatron-lm": "VERSION|CHECKOUT: whose command line this is",
    "--bridge": "VERSION: whose settings are meant; default: the installed one",
}


class OwnOptionError(UserError, ValueError):
    """One of our options is not complete: wrong use."""

    code = 2


class Own(NamedTuple):
    """What the user says to the drop-in itself, and what is left for Megatron-LM.

    Attributes:
        accept: arguments that may be lost, by flag or name.
        mappings, megatron_lm, bridge: as for ``steps.translate``; None where not said.
        words: everything else, in its order.
    """

    accept: tuple[str, ...]
    mappings: str | None
    megatron_lm: str | None
    bridge: str | None
    words: tuple[str, ...]


def take(words: Sequence[str]) -> Own:
    """Takes our options out, as ``--accept NAME`` or ``--accept=NAME``, wherever they stand; never abbreviated.

    Raises:
        OwnOptionError: an option without its value.
    """
    said: dict[str, list[str]] = {option: [] for option in OPTIONS}
    left = []
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        if option not in OPTIONS:
            left.append(word)
            continue
        if not equals:
            value = next(rest, "")
        # An accepted argument may be named by its flag.
        if not value or (not equals and value.startswith("--") and (option != "--accept" or value in OPTIONS)):
            raise OwnOptionError(f"{option} expects a value: {option} {OPTIONS[option]}")
        said[option].append(value)
    last = {option: values[-1] if values else None for option, values in said.items()}
    return Own(
        tuple(name for value in said["--accept"] for name in value.split(",") if name),
        last["--mappings"],
        last["--megatron-lm"],
        last["--bridge"],
        tuple(left),
    )
