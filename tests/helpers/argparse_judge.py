"""The judge of the parser: Python's own argparse, given the arguments of a catalog."""

from __future__ import annotations

import argparse
import enum
import re
import signal
import warnings
from typing import Any

from bridge_args.megatron_lm.catalog import Argument, Catalog
from bridge_args.megatron_lm.parse import PRESENT


class Refused(Exception):
    """argparse would stop."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise Refused(message)

    def exit(self, status: int = 0, message: str | None = None) -> Any:
        raise Refused(message or "help")

    def print_help(self, file: Any = None) -> None:
        pass


def parser_of(catalog: Catalog) -> argparse.ArgumentParser:
    """argparse with every flag of the catalog; the namespace holds nothing but what was typed."""
    parser = _Parser(prog="pretrain_gpt.py", allow_abbrev=False)
    groups: dict[int, Any] = {}
    for argument in catalog.arguments:
        if argument.requires is not None and argument.requires not in PRESENT:
            continue
        target: Any = parser
        if argument.exclusive is not None:
            if argument.exclusive not in groups:
                groups[argument.exclusive] = parser.add_mutually_exclusive_group()
            target = groups[argument.exclusive]
        _add(target, argument)
    return parser


def judged(parser: argparse.ArgumentParser, argv: list[str]) -> dict[str, Any] | None:
    """The values argparse stores, enum members by name; None when it, or one of its converters, stops."""
    try:
        values = vars(parser.parse_args(argv))
    except Exception:  # a converter may raise anything, and Megatron-LM ends with its traceback
        return None
    return {dest: _plain(value) for dest, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.name
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _add(target: Any, argument: Argument) -> None:
    if argument.action == "BooleanOptionalAction":
        positive = [flag for flag in argument.flags if not flag.startswith("--no-")]
        target.add_argument(
            *positive, dest=argument.dest, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS
        )
        return
    options: dict[str, Any] = {"dest": argument.dest, "default": argparse.SUPPRESS, "action": argument.action}
    if argument.action in ("store", "append"):
        options["type"], options["choices"] = _type_and_choices(argument)
        options["nargs"], options["const"] = argument.nargs, argument.const
    target.add_argument(*argument.flags, **options)


def _type_and_choices(argument: Argument) -> tuple[Any, Any]:
    if argument.enum is None:
        return _TYPES[argument.type], argument.choices
    if argument.enum == "signal.Signals":
        members: Any = signal.Signals
    else:
        members = enum.Enum("Members", argument.members or argument.choices)  # type: ignore[misc,arg-type]
    if argument.members is None:
        return (lambda text: members[text]), list(members)
    text_too = ("full",) if argument.type == "enum" else ("full", "full_iteration", "full_iteration_inference")
    return (lambda text: text if text in text_too else members[text]), None


def _pattern(text: str) -> Any:
    if "[" not in text:
        return int(text)
    if re.search(r"[^,\d\[\]\(\)\+\*]", text):
        raise ValueError(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return eval(text)  # the characters allowed above spell nothing but numbers and lists


def _integers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.strip("()").split(",")))


_TYPES: dict[str | None, Any] = {
    None: None,
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "moe_freq_type": _pattern,
    "no_rope_freq_type": _pattern,
    "la_freq_type": _pattern,
    "tuple_type": _integers,
}
