"""What Python files declare: modules, the names in them, classes with their bases. Read from syntax trees only."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(eq=False)
class Module:
    """One file.

    Attributes:
        name: dotted.
        imports: name in the file to the dotted name that it stands for.
        declared: name to the class, function or assigned expression at the top of the file.
    """

    name: str
    path: Path
    tree: ast.Module
    imports: dict[str, str] = field(default_factory=dict)
    declared: dict[str, ast.AST] = field(default_factory=dict)

    @cached_property
    def imported(self) -> frozenset[str]:
        """All dotted names that are imported anywhere in the file."""
        return frozenset(_imports(self, ast.walk(self.tree)).values()) | {
            _absolute(self, node) for node in ast.walk(self.tree) if isinstance(node, ast.ImportFrom)
        }


@dataclass(eq=False)
class Class:
    """One class at the top of a file."""

    name: str  # dotted
    module: Module
    node: ast.ClassDef

    @cached_property
    def methods(self) -> dict[str, FunctionNode]:
        return {part.name: part for part in self.node.body if isinstance(part, FunctionNode)}

    @cached_property
    def annotations(self) -> dict[str, ast.expr]:
        return {
            part.target.id: part.annotation
            for part in self.node.body
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
        }


class Index:
    """The modules of some packages; names are followed through imports from one to another."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self.modules = {module.name: module for module in modules}
        self._mros: dict[str, tuple[str, ...]] = {}
        self.classes = {
            f"{module.name}.{name}": Class(f"{module.name}.{name}", module, node)
            for module in self.modules.values()
            for name, node in module.declared.items()
            if isinstance(node, ast.ClassDef)
        }

    def resolve(self, dotted: str, hops: int = 20) -> str:
        """Where a dotted name is declared; the name itself where that is not one of our modules."""
        for _ in range(hops):
            module, _, name = dotted.rpartition(".")
            found = self.modules.get(module)
            if found is None or name in found.declared or dotted in self.modules or name not in found.imports:
                return dotted
            dotted = found.imports[name]
        return dotted

    def named(self, node: ast.expr, module: Module) -> str | None:
        """The dotted name that ``Name`` or ``a.b.Name`` stands for in a module; None for anything else."""
        match node:
            case ast.Name(name):
                if name in module.declared:
                    return f"{module.name}.{name}"
                return self.resolve(module.imports[name]) if name in module.imports else None
            case ast.Attribute(value, name):
                inner = self.named(value, module)
                return self.resolve(f"{inner}.{name}") if inner is not None else None
        return None

    def mro(self, name: str) -> tuple[str, ...]:
        """The class and all that it is derived from, as far as they are known."""
        if name not in self._mros:
            self._mros[name] = (name,)  # of a circle, this much
            found = self.classes.get(name)
            bases = [self.named(base, found.module) for base in found.node.bases] if found else []
            above = [other for base in bases if base for other in self.mro(base)]
            self._mros[name] = tuple(dict.fromkeys((name, *above)))
        return self._mros[name]

    def used(self, dotted: Iterable[str]) -> set[str]:
        """These declarations, and all declarations that they name, and so on."""
        found: set[str] = set()
        todo = [self.resolve(name) for name in dotted]
        while todo:
            name = todo.pop()
            owner, _, last = name.rpartition(".")
            module = self.modules.get(owner)
            node = module.declared.get(last) if module else None
            if module is None or node is None or name in found:
                continue
            found.add(name)
            todo += self.names_in(node, module)
        return found

    def names_in(self, node: ast.AST, module: Module) -> Iterator[str]:
        """The dotted names that a piece of code names, imports, or has as a text that it may import."""
        for part in ast.walk(node):
            if isinstance(part, (ast.Name, ast.Attribute)) and (name := self.named(part, module)):
                yield name
            elif isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.count(".") > 2:
                yield self.resolve(part.value)
            elif isinstance(part, ast.ImportFrom):
                yield from (self.resolve(f"{_absolute(module, part)}.{alias.name}") for alias in part.names)


def read(folder: Path, package: str) -> Iterator[Module]:
    """The modules of an installed package, whose own folder this is.

    Raises:
        ValueError: this Python cannot read one of them.
    """
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError as problem:
            raise ValueError(f"{path}: {problem}; read it with a newer Python") from problem
        name = ".".join((package, *parts)).removesuffix(".__init__")
        module = Module(name, path, tree)
        top = list(_top(tree.body))
        module.imports.update(_imports(module, ast.walk(tree)))
        for node in top:
            if isinstance(node, (ast.ClassDef, FunctionNode)):
                module.declared[node.name] = node
            elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    if isinstance(target, ast.Name) and target.id not in module.imports:
                        module.declared.setdefault(target.id, node.value)
        yield module


def _top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a file's top, those under ``if`` and ``try`` too."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            yield from _top([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from _top([*node.body, *node.orelse, *node.finalbody, *(s for h in node.handlers for s in h.body)])


def _imports(module: Module, nodes: Iterable[ast.AST]) -> dict[str, str]:
    found = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found[alias.asname or alias.name] = f"{_absolute(module, node)}.{alias.name}"
    return found


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    if module.path.name != "__init__.py":
        parts = parts[:-1]
    parts = parts[: len(parts) - node.level + 1]
    return ".".join((*parts, node.module) if node.module else parts)
