"""What the classes of Bridge's recipes for models by name set, read in the source of a wheel: nothing is imported.

A later Bridge has few of them. What one of them set, beyond its base, is all that a configuration needs to be built
from the base, unless the class has code of its own.
"""

from __future__ import annotations

import ast
import operator
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from bridge_args.bridge.providers import BASES
from bridge_args.records import Record

_PACKAGES: Final = ("megatron/bridge/models/", "megatron/bridge/recipes/", "megatron/bridge/diffusion/")
_OPERATIONS: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Mult: operator.mul,
    ast.Add: operator.add,
    ast.Div: operator.truediv,
}
_QUIET: Final = ("__init__", "__repr__", "__hash__", "__eq__")


class _Class(Record):
    """A class statement, with the names of its module."""

    name: str
    node: ast.ClassDef
    names: dict[str, str]


class _Unknown(LookupError):
    """A value that reading does not tell."""


def from_wheel(wheel: Path) -> dict[str, dict[str, Any]]:
    """Class to its ``base``, the ``values`` it sets, and the names of its own ``code``.

    Values that reading does not tell are in ``unknown``.
    """
    classes = {one.name: one for one in _classes(wheel)}
    made = {name: _facts(one, classes) for name, one in classes.items()}
    return {name: facts for name, facts in sorted(made.items()) if facts is not None}


def _classes(wheel: Path) -> Iterator[_Class]:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not name.endswith(".py") or not name.startswith(_PACKAGES):
                continue
            tree = ast.parse(archive.read(name))
            module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            names = dict(_names(tree, module))
            for node in tree.body:
                if isinstance(node, ast.ClassDef):
                    yield _Class(f"{module}.{node.name}", node, names)


def _names(tree: ast.Module, module: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0], alias.name if alias.asname else alias.name
    for statement in tree.body:
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef)):
            yield statement.name, f"{module}.{statement.name}"


def _facts(one: _Class, classes: dict[str, _Class]) -> dict[str, Any] | None:
    """None of a class that is no provider, or is a base itself."""
    if one.name in BASES:
        return None
    chain: list[_Class] = [one]
    while True:
        above = [_path(base, chain[-1].names) for base in chain[-1].node.bases]
        base = next((name for name in above if name in BASES), None)
        if base is not None:
            break
        following = next((classes[name] for name in above if name in classes), None)
        if following is None or following in chain:
            return None
        chain.append(following)
    values: dict[str, Any] = {}
    unknown: set[str] = set()
    code: set[str] = set()
    for each in reversed(chain):
        for statement in each.node.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
                name = statement.target.id
                unknown.discard(name)
                values.pop(name, None)
                try:
                    values[name] = _value(statement.value, each.names)
                except _Unknown:
                    unknown.add(name)
            elif isinstance(statement, ast.FunctionDef) and statement.name not in _QUIET:
                code.add(statement.name)
    facts: dict[str, Any] = {"base": base, "values": values}
    if unknown:
        facts["unknown"] = sorted(unknown)
    if code:
        facts["code"] = sorted(code)
    return facts


def _path(node: ast.expr, names: dict[str, str]) -> str:
    text = ast.unparse(node).partition("[")[0]
    first, dot, rest = text.partition(".")
    return f"{names.get(first, first)}{dot}{rest}"


def _value(node: ast.expr, names: dict[str, str]) -> Any:
    """A value as a run config has it."""
    if isinstance(node, ast.Call):
        return _called(node, names)
    if isinstance(node, ast.Lambda):
        raise _Unknown
    try:
        return ast.literal_eval(node)
    except ValueError:
        pass
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item, names) for item in node.elts]
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, names), _value(node.right, names)
        operation = _OPERATIONS.get(type(node.op))
        if operation is not None and all(isinstance(side, (int, float)) for side in (left, right)):
            return operation(left, right)
        raise _Unknown
    path = _path(node, names)
    if not isinstance(node, (ast.Name, ast.Attribute)) or "." not in path:
        raise _Unknown
    path = path.replace("torch.nn.functional.gelu", "torch._C._nn.gelu")
    if path.rpartition(".")[0].endswith("AttnBackend") or path.rpartition(".")[2].isupper():
        raise _Unknown
    return {"_call_": False, "_target_": path}


def _called(node: ast.Call, names: dict[str, str]) -> Any:
    """``field(default=...)``, ``field(default_factory=lambda: ...)``; a partial function."""
    function = _path(node.func, names)
    keywords = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    if function == "dataclasses.field":
        if "default" in keywords:
            return _value(keywords["default"], names)
        factory = keywords.get("default_factory")
        if isinstance(factory, ast.Lambda):
            return _value(factory.body, names)
        if isinstance(factory, ast.Name) and factory.id in ("list", "dict"):
            return [] if factory.id == "list" else {}
        raise _Unknown
    if function == "functools.partial" and node.args:
        target = _value(node.args[0], names)
        made = {"_args_": [_value(item, names) for item in node.args[1:]], "_partial_": True}
        made |= {name: _value(value, names) for name, value in keywords.items()}
        return {**made, "_target_": target["_target_"]}
    raise _Unknown
