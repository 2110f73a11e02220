"""A recipe of our own (``translate --format recipe``) as a source: Python that is read as data, never executed.

What the emitter writes is a small part of Python: imports, one function, calls with keywords, literals. Whatever else
stands in a file is refused at its line.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from bridge_args.bridge import schema as schemas
from bridge_args.bridge.targets import is_trusted
from bridge_args.mapping.settings import Stated
from bridge_args.source.bridge_config import CONTAINER, member_of, statements_of
from bridge_args.source.source import Source, SourceError
from bridge_args.values import Referring, from_plain
from bridge_args.words import Place

FUNCTION: Final = "pretrain_config"
_MOST: Final = 20_000  # items of one list
_VERSION: Final = re.compile(r"for Megatron Bridge (\d+\.\d+\.\d+)")
_VARIABLE: Final = re.compile(r"\$\{?([A-Za-z_]\w*)\}?")


def from_recipe(text: str, name: str) -> Source:
    """The settings of a recipe.

    Raises:
        SourceError: it is not one that ``translate --format recipe`` has written.
    """
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        raise SourceError(f"{name}:{line}: not readable as Python: {getattr(error, 'msg', None) or error}") from error
    reader = _Reader(text, name)
    try:
        stated = tuple(reader.stated(module))
    except RecursionError as error:
        raise SourceError(f"{name} is nested deeper than any recipe") from error
    if not any(isinstance(node, ast.FunctionDef) and node.name == FUNCTION for node in module.body):
        raise SourceError(
            f"{name} is Python without a function {FUNCTION}(): only a recipe that `translate --format recipe` has "
            "written is read, and nothing is executed; of another program give its command line, of another recipe "
            "the run_config.yaml"
        )
    version = _VERSION.search(ast.get_docstring(module) or "")
    bridge = version[1] if version and version[1] in schemas.versions() else None
    statements = statements_of(stated, complete=False)
    return Source.of_statements(statements._replace(made_from="a recipe of Bridge", bridge=bridge), text, name)


class _Reader:
    """Nodes of Python -> settings; ``names`` are those that the file imports."""

    def __init__(self, text: str, name: str) -> None:
        self.name, self.lines = name, text.splitlines()
        self.names: dict[str, str] = {}

    def stated(self, module: ast.Module) -> Iterator[Stated]:
        for node in module.body:
            match node:
                case ast.Import(names=names):
                    self.names |= {one.asname or one.name.partition(".")[0]: one.asname and one.name or
                                   one.name.partition(".")[0] for one in names}  # fmt: skip
                case ast.ImportFrom(module=str(source), names=names, level=0):
                    self.names |= {one.asname or one.name: f"{source}.{one.name}" for one in names}
                case ast.Expr(value=ast.Constant(value=str())):
                    continue
                case ast.FunctionDef(name="pretrain_config", body=body):
                    yield from self._function(body)
                case _:
                    self._refuse(node)

    def _function(self, body: list[ast.stmt]) -> Iterator[Stated]:
        for node in body:
            match node:
                case ast.Expr(value=ast.Constant(value=str())) | ast.Return(value=ast.Name(id="config")):
                    continue
                case (
                    ast.Return(value=ast.Call() as call)
                    | ast.Assign(targets=[ast.Name(id="config")], value=ast.Call() as call)
                ):
                    yield from self._container(call)
                case ast.Assign(targets=[ast.Attribute() as target], value=value):
                    root, _, path = self._dotted(target, own="config").partition(".")
                    if root != "config" or path.count(".") > 1:
                        self._refuse(node)
                    yield self._setting(path, target, value)
                case _:
                    self._refuse(node)

    def _container(self, call: ast.Call) -> Iterator[Stated]:
        if call.args or not self._dotted(call.func).endswith(f".{CONTAINER}"):
            self._refuse(call)
        for keyword in call.keywords:
            section = keyword.arg
            if section is None:
                self._refuse(keyword.value)
            if isinstance(keyword.value, ast.Call) and section != "mixed_precision":
                target = self._dotted(keyword.value.func)
                yield self._line(f"{section}._target_", keyword.value, self._trusted(target, keyword.value))
                if keyword.value.args:
                    self._refuse(keyword.value)
                for inner in keyword.value.keywords:
                    if inner.arg is None:
                        self._refuse(inner.value)
                    yield self._setting(f"{section}.{inner.arg}", inner.value, inner.value)
            elif isinstance(keyword.value, ast.Call):
                plain = self._plain(keyword.value)
                for key, value in plain.items():
                    yield self._line(f"{section}.{key}", keyword.value, self._made(value, keyword.value))
            else:
                yield self._setting(section, keyword.value, keyword.value)

    def _setting(self, path: str, at: ast.expr, value: ast.expr) -> Stated:
        return self._line(path, at, self._made(self._plain(value), value))

    def _line(self, path: str, at: ast.expr, value: Any) -> Stated:
        text = self.lines[at.lineno - 1].strip() if at.lineno <= len(self.lines) else path
        return Stated(path, value, text.partition("  #")[0].rstrip(","), Place(self.name, at.lineno, at.col_offset + 1))

    def _made(self, plain: Any, node: ast.expr) -> Any:
        if isinstance(plain, str):
            return plain
        try:
            return from_plain(plain, member_of)
        except ValueError as error:
            raise SourceError(f"{self.name}:{node.lineno}: {error}") from error

    def _plain(self, node: ast.expr) -> Any:
        """Plain data, as ``values.to_plain`` has it."""
        match node:
            case ast.Constant(value=None | bool() | int() | float() | str() as value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -value
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self._plain(item) for item in items]
            case ast.Dict(keys=keys, values=values) if None not in keys:
                pairs = zip(keys, values, strict=True)
                return {self._key(key): self._plain(value) for key, value in pairs if key is not None}
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                return self._bounded([*self._list(left), *self._list(right)], node)
            case ast.BinOp(op=ast.Mult(), left=left, right=ast.Constant(value=int() as times)):
                items = self._list(left)
                if len(items) * times > _MOST:
                    self._refuse(node)
                return items * times
            case ast.Name() | ast.Attribute():
                return self._symbol(node)
            case ast.Call():
                return self._call(node)
        self._refuse(node)

    def _key(self, node: ast.expr) -> Any:
        key = self._plain(node)
        if not isinstance(key, (str, int, float)) and key is not None:
            self._refuse(node)
        return key

    def _list(self, node: ast.expr) -> list[Any]:
        value = self._plain(node)
        if not isinstance(value, list):
            self._refuse(node)
        return value

    def _bounded(self, items: list[Any], node: ast.expr) -> list[Any]:
        if len(items) > _MOST:
            self._refuse(node)
        return items

    def _symbol(self, node: ast.expr) -> dict[str, Any]:
        path = self._trusted(self._dotted(node), node)
        enum, _, name = path.rpartition(".")
        for version in reversed(schemas.versions()):
            if name in (members := schemas.load(version).enums.get(enum, {})):
                return {"_target_": enum, "_call_": True, "_args_": [members[name]]}
        return {"_target_": path, "_call_": False}

    def _call(self, node: ast.Call) -> Any:
        function = self._dotted(node.func)
        values = list(node.args)
        match function, values:
            case "float", [ast.Constant(value=str() as text)] if text in ("inf", "-inf", "nan"):
                return float(text)
            case "os.path.expandvars", [ast.Constant(value=str() as text)]:
                return Referring(text, tuple(dict.fromkeys(_VARIABLE.findall(text))))
            case "functools.partial", [ast.Name() | ast.Attribute() as target]:
                path = self._trusted(self._dotted(target), node)
                return {"_target_": path, "_partial_": True, **self._keywords(node)}
            case _, [ast.Constant(value=value)] if not node.keywords:
                return {"_target_": self._trusted(function, node), "_call_": True, "_args_": [value]}
            case _, []:
                return {"_target_": self._trusted(function, node), **self._keywords(node)}
        self._refuse(node)

    def _keywords(self, node: ast.Call) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for keyword in node.keywords:
            value = self._plain(keyword.value)
            if keyword.arg is not None:
                made[keyword.arg] = value
            elif isinstance(value, dict):
                made |= {str(key): item for key, item in value.items()}
            else:
                self._refuse(node)
        return made

    def _dotted(self, node: ast.expr, own: str = "") -> str:
        steps: list[str] = []
        while isinstance(node, ast.Attribute):
            steps.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            self._refuse(node)
        steps.append(node.id if node.id == own else self.names.get(node.id, node.id))
        return ".".join(reversed(steps))

    def _trusted(self, target: str, node: ast.expr) -> str:
        if not is_trusted(target):
            message = f"{target[:100]} is no class or function of a configuration; nothing of the file is used"
            raise SourceError(f"{self.name}:{node.lineno}: {message}")
        return target

    def _refuse(self, node: ast.AST) -> NoReturn:
        line = getattr(node, "lineno", 1)
        text = self.lines[line - 1].strip()[:80] if line <= len(self.lines) else ""
        raise SourceError(
            f"{self.name}:{line}: only a recipe that `translate --format recipe` has written is read, and nothing of a "
            f"Python file is executed: {text}; of another recipe give the run_config.yaml"
        )
