"""Run in a process of its own: starts a Megatron-LM program and takes the argument parser it builds.

``python -m bridge_args.dev.parser_probe PROGRAM OUTPUT [--kitchen] [--hide PACKAGE]``: PROGRAM runs as ``__main__``
up to the moment it parses its command line; what its parser knows then is written to OUTPUT as JSON. Needs what the
program imports, no GPU. ``--kitchen`` pretends that nvidia-kitchen is there, ``--hide`` that a package is not.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import importlib.util
import inspect
import json
import runpy
import sys
import typing
from pathlib import Path
from typing import Any

from bridge_args.dev.placeholders import stand_in

# Packages the programs import on their way to the parser, that cannot be had on every machine.
_STAND_INS = ("triton", "modelopt")
# Adds no flag, and from 0.17 on Megatron-LM stops at the version that is published.
_HIDDEN = ("nvidia_resiliency_ext",)
_FIELD = "bridge_args_field"


class _Found(BaseException):
    """Carries the parser out of the program; not an Exception, so that no ``except Exception`` keeps it."""

    def __init__(self, parser: argparse.ArgumentParser, program_defaults: dict[str, Any]) -> None:
        super().__init__()
        self.parser = parser
        self.program_defaults = program_defaults


def main(argv: list[str]) -> None:
    """See the module's text."""
    options = argparse.ArgumentParser()
    options.add_argument("program", type=Path)
    options.add_argument("output", type=Path)
    options.add_argument("--kitchen", action="store_true")
    options.add_argument("--hide", action="append", default=[])
    wanted = options.parse_args(argv)

    sys.path[0] = str(wanted.program.parent)
    sys.argv = [wanted.program.name]
    for package in (*_HIDDEN, *wanted.hide):
        sys.modules[package] = None  # type: ignore[assignment]

    import torch
    import torch._inductor.runtime.triton_heuristics  # makes up its mind about triton before the placeholder is there

    stand_in(_STAND_INS)
    torch.cuda.is_available = lambda: True  # asked before the command line is parsed
    if wanted.kitchen and importlib.util.find_spec("megatron.core.extensions.kitchen"):  # from 0.13 on
        importlib.import_module("megatron.core.extensions.kitchen").HAVE_KITCHEN = True  # type: ignore[attr-defined]
    if not hasattr(typing, "override"):  # from 0.18 on Megatron-LM is written for Python 3.12
        typing.override = lambda method: method  # type: ignore[attr-defined]
    _remember_fields()
    _stop_at_parse_args()
    try:
        runpy.run_path(str(wanted.program), run_name="__main__")
    except _Found as found:
        wanted.output.write_text(json.dumps(_described(found.parser, found.program_defaults)))
        return
    raise SystemExit(f"{wanted.program} ended without parsing a command line")


def _stop_at_parse_args() -> None:
    """The program parses its command line in earnest by ``parse_args``; fault tolerance and in-process restart
    look at it before that, by ``parse_known_args``."""
    original = argparse.ArgumentParser.parse_args

    def parse_args(parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> Any:
        if "--tensor-model-parallel-size" not in parser._option_string_actions:  # somebody else's
            return original(parser, *args, **kwargs)
        frame = inspect.currentframe()
        while frame is not None and not isinstance(frame.f_locals.get("args_defaults"), dict):
            frame = frame.f_back
        raise _Found(parser, dict(frame.f_locals["args_defaults"]) if frame is not None else {})

    argparse.ArgumentParser.parse_args = parse_args  # type: ignore[method-assign, assignment]


def _remember_fields() -> None:
    """From 0.16 on Megatron-LM makes flags of dataclass fields; note on each which field that was."""
    original = argparse._ActionsContainer.add_argument

    def add_argument(self: Any, *args: Any, **kwargs: Any) -> argparse.Action:
        action = original(self, *args, **kwargs)
        frame = inspect.currentframe()
        caller = frame.f_back.f_locals if frame is not None and frame.f_back is not None else {}
        attribute, source = caller.get("attr"), getattr(caller.get("self"), "src_cfg_class", None)
        if isinstance(attribute, dataclasses.Field) and source is not None:
            setattr(action, _FIELD, f"{source.__name__}.{attribute.name}")
        return action

    argparse._ActionsContainer.add_argument = add_argument  # type: ignore[method-assign]


def _described(parser: argparse.ArgumentParser, program_defaults: dict[str, Any]) -> dict[str, Any]:
    groups = {id(action): group.title for group in parser._action_groups for action in group._group_actions}
    exclusive = {
        id(action): number
        for number, group in enumerate(parser._mutually_exclusive_groups)
        for action in group._group_actions
    }
    defaults: dict[str, Any] = {}
    arguments = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        # An empty command line gives what the first flag of a dest says, a text put through the converter.
        default = action.default
        if isinstance(default, str):
            default = parser._get_value(action, default)
        defaults.setdefault(action.dest, default)
        arguments.append(_argument(action, defaults[action.dest], groups.get(id(action)), exclusive.get(id(action))))
    return {"program_defaults": program_defaults, "arguments": arguments}


def _argument(action: argparse.Action, default: Any, group: str | None, exclusive: int | None) -> dict[str, Any]:
    kind = {
        "_StoreAction": "store",
        "_StoreTrueAction": "store_true",
        "_StoreFalseAction": "store_false",
        "_StoreConstAction": "store_const",
        "_AppendAction": "append",
        "_CountAction": "count",
    }.get(type(action).__name__, type(action).__name__)
    flag = kind in ("store_true", "store_false", "BooleanOptionalAction")  # nargs and const follow from these
    converter, members = _converter(action.type), _members(action)
    return {
        "flags": list(action.option_strings),
        "dest": action.dest,
        "action": kind,
        "type": converter,
        "nargs": None if flag else action.nargs,
        "choices": None if action.choices is None else [_plain(choice) for choice in action.choices],
        "enum": None if members is None else f"{members.__module__}.{members.__qualname__}",
        "members": None if members is None or action.choices is not None else [member.name for member in members],
        "const": None if flag else _plain(action.const),
        "default": _plain(default),
        "required": action.required,
        "group": group or "",
        "field": getattr(action, _FIELD, None),
        "exclusive": exclusive,
    }


def _converter(function: Any) -> str | None:
    if function is None:
        return None
    return "enum" if "<locals>" in function.__qualname__ and _enum_in(function) else str(function.__name__)


def _members(action: argparse.Action) -> type[enum.Enum] | None:
    """The enum whose member names the flag takes."""
    for value in action.choices or ():
        if isinstance(value, enum.Enum):
            return type(value)
    return _enum_in(action.type)


def _enum_in(function: Any) -> type[enum.Enum] | None:
    """The enum in which a hand-written converter looks a name up."""
    if not inspect.isfunction(function):
        return None
    seen = [cell.cell_contents for cell in function.__closure__ or ()]
    seen += [function.__globals__[name] for name in function.__code__.co_names if name in function.__globals__]
    return next((item for item in seen if isinstance(item, type) and issubclass(item, enum.Enum)), None)


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a catalog has no word for {value!r}")


if __name__ == "__main__":
    main(sys.argv[1:])
