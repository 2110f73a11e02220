"""An argparse parser -> what a catalog says of it. Used in processes that have a checkout imported."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import inspect
from collections.abc import Callable
from typing import Any, Final

_FIELD: Final = "bridge_args_field"

Plain = Callable[[Any], Any]


class ParserFound(BaseException):
    """Carries the parser out of the program; not an Exception, so that no ``except Exception`` keeps it."""

    def __init__(self, parser: argparse.ArgumentParser, program_defaults: dict[str, Any]) -> None:
        super().__init__()
        self.parser = parser
        self.program_defaults = program_defaults


def stop_at_parse_args() -> None:
    """From now on Megatron-LM's parser raises ``ParserFound`` where the program parses its command line.

    That is ``parse_args``; fault tolerance and in-process restart look at the command line before it, by
    ``parse_known_args``.
    """
    original = argparse.ArgumentParser.parse_args

    def parse_args(parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> Any:
        if "--tensor-model-parallel-size" not in parser._option_string_actions:  # somebody else's
            return original(parser, *args, **kwargs)
        frame = inspect.currentframe()
        while frame is not None and not isinstance(frame.f_locals.get("args_defaults"), dict):
            frame = frame.f_back
        raise ParserFound(parser, dict(frame.f_locals["args_defaults"]) if frame is not None else {})

    argparse.ArgumentParser.parse_args = parse_args  # type: ignore[method-assign, assignment]


def remember_fields() -> None:
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


def plain(value: Any) -> Any:
    """The value as JSON has it; enum members by name.

    Raises:
        TypeError: a catalog has no word for the value.
    """
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a catalog has no word for {value!r}")


def described(
    parser: argparse.ArgumentParser, program_defaults: dict[str, Any], plain: Plain = plain
) -> dict[str, Any]:
    """Every argument in order, with the names of ``catalog.Argument``, and what the program sets.

    Args:
        plain: what makes JSON of a default, choice or constant.
    """
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
        group, number = groups.get(id(action)), exclusive.get(id(action))
        arguments.append(_argument(action, defaults[action.dest], group, number, plain))
    return {"program_defaults": program_defaults, "arguments": arguments}


def _argument(
    action: argparse.Action, default: Any, group: str | None, exclusive: int | None, plain: Plain
) -> dict[str, Any]:
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
        "choices": None if action.choices is None else [plain(choice) for choice in action.choices],
        "enum": None if members is None else f"{members.__module__}.{members.__qualname__}",
        "members": None if members is None or action.choices is not None else [member.name for member in members],
        "const": None if flag else plain(action.const),
        "default": plain(default),
        "required": action.required,
        "group": group or "",
        "field": getattr(action, _FIELD, None),
        "exclusive": exclusive,
    }


def _converter(function: Any) -> str | None:
    if function is None:
        return None
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return "enum" if "<locals>" in name and _enum_in(function) else str(name.rpartition(".")[2])


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
