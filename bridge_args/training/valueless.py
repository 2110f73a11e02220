"""Which settings without a value an exception of Bridge's comes from.

Bridge and Megatron Core count with settings that have to be there, and at None they stop with the words of Python. What
the expression that failed reads is in its own line, and the values are in its frame: both are looked at, nothing is
run again.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_UNKNOWN: Any = object()


def valueless(error: Exception, section_of: Callable[[Any], str]) -> tuple[str, ...]:
    """The settings that are None in the expression that failed; empty where the exception comes from something else.

    Args:
        section_of: the section that an object is, ``model``; empty of any other object.
    """
    if not isinstance(error, TypeError) and not _speaks_of_none(error):
        return ()
    frames = list(traceback.walk_tb(error.__traceback__))
    for frame, line in reversed(frames):
        read = [found for node in _failed(frame, line) for found in _attributes(node)]
        paths = [_path(node, frame, section_of) for node in read]
        if found := tuple(dict.fromkeys(filter(None, paths))):
            return found
    return ()


def _speaks_of_none(error: Exception) -> bool:
    """An assertion without words, or with None in them, may be about a value that is missing."""
    return isinstance(error, (AssertionError, ValueError)) and (not str(error) or "None" in str(error))


def _failed(frame: FrameType, line: int) -> Iterator[ast.AST]:
    """The statement that failed, and what its names were set to before in the same function."""
    lines = linecache.getlines(frame.f_code.co_filename, frame.f_globals)
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return
    at = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and _is_around(node, line)]
    if not at:
        return
    statement = min(at, key=lambda node: (node.end_lineno or node.lineno) - node.lineno)
    head = _head(statement)
    yield from head
    names = {node.id for one in head for node in ast.walk(one) if isinstance(node, ast.Name)}
    missing = {name for name in names if frame.f_locals.get(name, _UNKNOWN) is None}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and frame.f_code.co_firstlineno <= node.lineno < line:
            if any(isinstance(target, ast.Name) and target.id in missing for target in node.targets):
                yield node.value


def _is_around(node: ast.stmt, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)


def _head(statement: ast.stmt) -> list[ast.AST]:
    """Of a statement with others below it what stands before them."""
    bodies = ("body", "orelse", "finalbody", "handlers", "cases")
    if not hasattr(statement, "body"):
        return [statement]
    fields = [value for name, value in ast.iter_fields(statement) if name not in bodies]
    return [node for value in fields for node in (value if isinstance(value, list) else [value]) if _is_node(node)]


def _is_node(value: Any) -> bool:
    return isinstance(value, ast.AST)


def _attributes(node: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """What an expression reads of objects: ``cfg.model.num_layers``, ``getattr(model, "num_layers")``."""
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Load):
            yield one.value, one.attr
        elif isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id == "getattr":
            match one.args:
                case [owner, ast.Constant(value=str(name)), *_]:
                    yield owner, name


def _path(read: tuple[ast.expr, str], frame: FrameType, section_of: Callable[[Any], str]) -> str:
    """``section.setting``, where it is one and has no value."""
    owner = _value(read[0], frame)
    section = section_of(owner) if owner is not _UNKNOWN and owner is not None else ""
    return f"{section}.{read[1]}" if section and inspect.getattr_static(owner, read[1], _UNKNOWN) is None else ""


def _value(node: ast.expr, frame: FrameType) -> Any:
    """What a name or an attribute is; no code of the object's own is run for it."""
    if isinstance(node, ast.Name):
        return frame.f_locals.get(node.id, _UNKNOWN)
    if isinstance(node, ast.Attribute):
        owner = _value(node.value, frame)
        return _UNKNOWN if owner is _UNKNOWN else inspect.getattr_static(owner, node.attr, _UNKNOWN)
    return _UNKNOWN
