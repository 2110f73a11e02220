"""Which settings some code reads, told from syntax trees. What is not certain counts as read.

A read is an attribute that is loaded, ``getattr`` and ``hasattr`` with a name, a key of that name, and what passes on
a whole configuration. Whose attribute it is, is told from annotations, from assignments, and from the names of
sections (``cfg.checkpoint.save``); where it cannot be told, it is that of every class with a setting of the name.
What a configuration does with its own settings reads them only where something else comes of it: a check does not,
and what only sets another setting reads no more than is read of that one.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from bridge_args.dev.source_index import Class, FunctionNode, Index, Module

Types = frozenset[str]
Read = tuple[Types, str]  # classes of the configuration, and the name of the setting
UNKNOWN: Final = "?"
_UNKNOWN: Final = frozenset({UNKNOWN})
_NOTHING: Final[Types] = frozenset()
_ANYTHING: Final = ("Any", "object", "Type", "type")
_SAYS: Final = re.compile(r"(print|warn|log|logger|logging|warnings|info|debug|error)(_|\b)")
# Where ``args`` without a type is what Megatron-LM's own program has parsed; Bridge's programs have none.
_WITH_ARGS: Final = "megatron.training."
_LISTS: Final = (ast.List, ast.Tuple, ast.Set, ast.Dict)
_WHOLE: Final = ("asdict", "astuple", "vars", "fields")


@dataclass
class Found:
    """What reading the code has found.

    Attributes:
        read: classes and names; ``UNKNOWN`` as the only class for a read of which that cannot be told.
        follows: read if the other is, for each setting that only sets another one.
        whole: functions that handle all attributes of an object alike, with the configurations that it may be: none
            where that cannot be told.
    """

    read: dict[Read, str] = field(default_factory=dict)
    follows: set[tuple[Read, Read]] = field(default_factory=set)
    whole: dict[str, set[str]] = field(default_factory=dict)


class Reader:
    """Reads modules; ``sections`` are the names of the container's, with their classes."""

    def __init__(self, index: Index, sections: Mapping[str, Iterable[str]], settings: Mapping[str, Iterable[str]]):
        self.index, self.found = index, Found()
        self.sections = {name: frozenset(classes) for name, classes in sections.items() if classes}
        self.settings = {name: frozenset(fields) for name, fields in settings.items()}
        self.names = frozenset(name for fields in self.settings.values() for name in fields)
        self.calls: dict[str, list[tuple[Scope, ast.Call]]] = defaultdict(list)
        self._handed_on: list[tuple[Scope, ast.expr]] = []
        self._related: dict[str, Types] = {}
        self._attributes: dict[str, dict[str, list[tuple[FunctionNode | None, ast.expr, bool]]]] = {}
        self._busy: set[tuple[str, str]] = set()
        self._known: dict[tuple[str, str], Types] = {}

    # ------------------------------------------------------------------ what classes are

    def related(self, name: str) -> Types:
        """The schema's classes that an object of a class may be of."""
        if name not in self._related:
            above = frozenset(self.index.mro(name))
            known = {cls: self.index.mro(cls) for cls in self.settings}
            found = {other for other, mro in known.items() if other in above or name in mro}
            if not found:  # one that is only called like one of them: it may stand for it
                last = name.rpartition(".")[2]
                found = {other for other, mro in known.items() if last in {cls.rpartition(".")[2] for cls in mro}}
            self._related[name] = frozenset(found)
        return self._related[name]

    def declaring(self, name: str, setting: str) -> Types:
        """The schema's classes that have a setting of a class, from the same class that declares it."""
        first = next(
            (cls for cls in reversed(self.index.mro(name)) if cls in self.index.classes
             and setting in self.index.classes[cls].annotations), name,
        )  # fmt: skip
        return frozenset(cls for cls in self.settings if first in self.index.mro(cls))

    def is_container(self, name: str) -> bool:
        fields = {key for cls in self.index.mro(name) if cls in self.index.classes
                  for key in self.index.classes[cls].annotations}  # fmt: skip
        return len(fields & self.sections.keys()) > 4

    def of_annotation(self, node: ast.expr | None, module: Module) -> Types:
        """The classes that an annotation names; unknown where it says nothing."""
        match node:
            case None:
                return _UNKNOWN
            case ast.Constant(str() as text):
                try:
                    return self.of_annotation(ast.parse(text, mode="eval").body, module)
                except SyntaxError:
                    return _UNKNOWN
            case ast.Constant():
                return _NOTHING
            case ast.BinOp(left, _, right):
                return self.of_annotation(left, module) | self.of_annotation(right, module)
            case ast.Subscript(value, inside):
                name = ast.unparse(value).rpartition(".")[2]
                if name in ("Literal", "Callable"):
                    return _NOTHING
                if name in _ANYTHING:
                    return _UNKNOWN
                parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
                inner = frozenset().union(*(self.of_annotation(part, module) for part in parts))
                return inner | self.of_annotation(value, module)
            case ast.Name() | ast.Attribute():
                return self._of_name(node, module)
        return _UNKNOWN

    def _of_name(self, node: ast.Name | ast.Attribute, module: Module) -> Types:
        text = ast.unparse(node).rpartition(".")[2]
        if text in _ANYTHING:
            return _UNKNOWN
        name = self.index.named(node, module)
        if name is None:
            return _NOTHING if isinstance(node, ast.Name) and hasattr(__builtins__, text) else self._plain(text)
        if name in self.index.classes:
            cls = self.index.classes[name]
            is_open = "__getattr__" in cls.methods or any("Protocol" in ast.unparse(base) for base in cls.node.bases)
            return frozenset({name, UNKNOWN}) if is_open else frozenset({name})
        owner, _, last = name.rpartition(".")
        if owner in self.index.modules:  # a type variable or an alias
            value = self.index.modules[owner].declared.get(last)
            if isinstance(value, (ast.BinOp, ast.Subscript)):
                return self.of_annotation(value, self.index.modules[owner])
            return _UNKNOWN
        return _UNKNOWN if name.startswith(("megatron.", "typing.Any", "omegaconf.")) else _NOTHING

    @staticmethod
    def _plain(text: str) -> Types:
        plain = "int float str bool bytes list dict tuple set frozenset None Exception BaseException Optional List"
        return _NOTHING if text in plain.split() else _UNKNOWN

    def attribute(self, owner: str, name: str) -> Types:
        """What an attribute of a class is, as its annotations and assignments say."""
        key = (owner, name)
        if key in self._known:
            return self._known[key]
        if key in self._busy:
            return _UNKNOWN
        self._busy.add(key)
        try:
            self._known[key] = self._attribute(owner, name)
        finally:
            self._busy.discard(key)
        return self._known[key]

    def _attribute(self, owner: str, name: str) -> Types:
        for cls in self.index.mro(owner):
            if cls not in self.index.classes:
                continue
            declared = self.index.classes[cls]
            if name in declared.annotations:
                return self.of_annotation(declared.annotations[name], declared.module)
            method = declared.methods.get(name)
            if method is not None:
                is_property = any("property" in ast.unparse(one) for one in method.decorator_list)
                return self.of_annotation(method.returns, declared.module) if is_property else _NOTHING
            if name in (assigned := self._assigned(declared)):
                types: set[str] = set()
                for function, value, is_annotation in assigned[name]:
                    if is_annotation:
                        types |= self.of_annotation(value, declared.module)
                    else:
                        types |= Scope(self, declared.module, declared, function, None).infer(value)
                return frozenset(types)
        return _UNKNOWN

    def _assigned(self, cls: Class) -> dict[str, list[tuple[FunctionNode | None, ast.expr, bool]]]:
        if cls.name not in self._attributes:
            found: dict[str, list[tuple[FunctionNode | None, ast.expr, bool]]] = defaultdict(list)
            for method in cls.methods.values():
                for node in ast.walk(method):
                    if isinstance(node, ast.AnnAssign):
                        targets, value, annotated = [node.target], node.annotation, True
                    elif isinstance(node, ast.Assign):
                        targets, value, annotated = node.targets, node.value, False  # type: ignore[assignment]
                    else:
                        continue
                    for target in targets:
                        if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                            found[target.attr].append((method, value, annotated))
            self._attributes[cls.name] = found
        return self._attributes[cls.name]

    # ------------------------------------------------------------------ reading

    def handed_on(self, scope: Scope, of: ast.expr) -> None:
        """Notes that an object is passed on whole, whose class can only be told when all code is read."""
        self._handed_on.append((scope, of))

    def finish(self) -> None:
        """Adds what is read of the objects that functions without annotations pass on whole, by their callers."""
        for scope, of in self._handed_on:
            types = self._by_callers(scope, of, 3)
            if UNKNOWN in types:
                self.found.whole.setdefault(scope.place, set())
            for owner in types:
                for cls in self.related(owner) if owner != UNKNOWN else ():
                    self.found.whole.setdefault(scope.place, set()).add(cls)
            for _, call in self.calls.get(scope.function.name, ()) if scope.function is not None else ():
                for one in call.args:  # a function of its own that looks up what its callers name
                    if isinstance(one, ast.Constant) and one.value in self.names:
                        self.found.read.setdefault((_UNKNOWN, one.value), scope.place)

    def _by_callers(self, scope: Scope, of: ast.expr, hops: int) -> Types:
        """The class of an object; of a parameter without annotation, of what callers give for it."""
        types = scope.infer(of)
        function = scope.function
        if UNKNOWN not in types or not hops or function is None or not isinstance(of, ast.Name):
            return types
        arguments = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
        keywords = [one.arg for one in function.args.kwonlyargs]
        if of.id not in (*arguments, *keywords):
            return types
        found = set(types - _UNKNOWN)
        for caller, call in self.calls.get(function.name, ()):
            given = [one.value for one in call.keywords if one.arg == of.id]
            if not given and of.id in arguments:
                shift = 1 if arguments[0] in ("self", "cls") and isinstance(call.func, ast.Attribute) else 0
                given = call.args[arguments.index(of.id) - shift : arguments.index(of.id) - shift + 1]
            for one in given:
                found |= self._by_callers(caller, one, hops - 1)
        return frozenset(found)

    def module(self, module: Module, names: Container[str] | None = None) -> None:
        """Adds what one module reads.

        Args:
            names: of its functions and classes; all of them, where not given.
        """
        scope = Scope(self, module, None, None, None)
        for node in module.tree.body:
            name = node.name if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) else None
            if name is None or names is None or name in names:
                self._part(node, scope, module)

    def _part(self, node: ast.stmt, scope: Scope, module: Module) -> None:
        if isinstance(node, ast.ClassDef):
            cls = self.index.classes.get(f"{module.name}.{node.name}")
            for part in node.body:
                if isinstance(part, FunctionNode):
                    inside = Scope(self, module, cls, part, scope)
                    if cls is not None and (self.related(cls.name) or self.is_container(cls.name)):
                        Own(inside).method(part)
                    else:
                        inside.everything(part)
                elif not isinstance(part, ast.AnnAssign):
                    scope.everything(part)
        elif isinstance(node, FunctionNode):
            Scope(self, module, None, node, scope).everything(node)
        elif isinstance(node, (ast.If, ast.Try)):
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.stmt):
                    self._part(child, scope, module)
        else:
            scope.everything(node)


class Scope:
    """A function, a method or the top of a file: what its names stand for."""

    def __init__(
        self, reader: Reader, module: Module, cls: Class | None, function: FunctionNode | None, outer: Scope | None
    ) -> None:
        self.reader, self.module, self.cls, self.function, self.outer = reader, module, cls, function, outer
        self._bound: dict[str, list[ast.expr | Types]] | None = None
        self._known: dict[str, Types] = {}
        self._busy: set[str] = set()

    @property
    def place(self) -> str:
        """``megatron/bridge/training/config.py to_dict``"""
        function = self.function.name if self.function else ""
        return f"{self.module.name} {function}".strip()

    # what things are

    def infer(self, node: ast.expr) -> Types:
        """The classes that an expression may be of; unknown among them where that cannot be told."""
        match node:
            case ast.Name(name):
                return self._name(name)
            case ast.Attribute(value, name):
                return self._attribute(value, name)
            case ast.Call():
                return self._call(node)
            case ast.BoolOp(values=values):
                return frozenset().union(*map(self.infer, values))
            case ast.IfExp(body=body, orelse=orelse):
                return self.infer(body) | self.infer(orelse)
            case ast.NamedExpr(value=value):
                return self.infer(value)
            case ast.Subscript(value):
                return self.infer(value) or _UNKNOWN
            case ast.Constant() | ast.JoinedStr() | ast.Compare() | ast.Dict() | ast.Lambda() | ast.UnaryOp():
                return _NOTHING
        return _UNKNOWN

    def _name(self, name: str) -> Types:
        if name == "self" and self.cls is not None:
            return frozenset({self.cls.name})
        bound = self._names().get(name)
        if bound is None:
            if self.outer is not None and (self.outer.function or self.outer.cls):
                return self.outer._name(name)
            return self._of_module(name)
        if name in self._busy:
            return _UNKNOWN
        if name not in self._known:
            self._busy.add(name)
            self._known[name] = frozenset().union(
                *(self.infer(one) if isinstance(one, ast.AST) else one for one in bound)
            )
            self._busy.discard(name)
        return self._known[name]

    def _of_module(self, name: str) -> Types:
        dotted = self.reader.index.named(ast.Name(name), self.module)
        if dotted is None:
            return _UNKNOWN
        if dotted in self.reader.index.classes:
            return frozenset({dotted})
        if dotted in self.reader.index.modules or not dotted.startswith("megatron."):
            return _NOTHING
        owner, _, last = dotted.rpartition(".")
        module = self.reader.index.modules.get(owner)
        value = module.declared.get(last) if module else None
        if isinstance(value, ast.expr) and module is not None and (module, last) != (self.module, name):
            return Scope(self.reader, module, None, None, None).infer(value)
        return _NOTHING if isinstance(value, FunctionNode) else _UNKNOWN

    def _attribute(self, value: ast.expr, name: str) -> Types:
        owners = self.infer(value)
        if isinstance(value, ast.Name) and not owners and value.id in self.module.imports:
            dotted = self.reader.index.named(ast.Attribute(value, name), self.module) or ""
            return frozenset({dotted}) if dotted in self.reader.index.classes else _NOTHING
        found: set[str] = set()
        for owner in owners:
            found |= self.reader.attribute(owner, name) if owner != UNKNOWN else _UNKNOWN
        if not owners:
            found.add(UNKNOWN)
        if UNKNOWN in found and name in self.reader.sections:
            found.discard(UNKNOWN)
            found |= self.reader.sections[name]
        return frozenset(found)

    def _call(self, node: ast.Call) -> Types:
        index, function = self.reader.index, node.func
        last = ast.unparse(function).rpartition(".")[2] if isinstance(function, (ast.Name, ast.Attribute)) else ""
        if last == "getattr" and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
            return self._attribute(node.args[0], str(node.args[1].value))
        if last in ("get_args", "parse_args"):
            return _NOTHING
        if last in ("copy", "deepcopy", "replace") and node.args:
            return self.infer(node.args[0])
        if last == "cast" and node.args:
            return self.reader.of_annotation(node.args[0], self.module)
        if last == "super" and self.cls is not None:
            return frozenset({self.cls.name})
        dotted = index.named(function, self.module) if not self._is_local(function) else None
        if dotted in index.classes:
            return frozenset({dotted})
        if dotted is not None:
            owner, _, name = dotted.rpartition(".")
            declared = index.modules[owner].declared.get(name) if owner in index.modules else None
            if isinstance(declared, FunctionNode):
                return self.reader.of_annotation(declared.returns, index.modules[owner])
        if isinstance(function, ast.Attribute):
            owners = self.infer(function.value)
            found: set[str] = set() if owners else {UNKNOWN}
            for owner in owners:
                methods = (index.classes[c] for c in index.mro(owner) if c in index.classes)
                method = next((c for c in methods if function.attr in c.methods), None)
                if method is None:
                    found.add(UNKNOWN)
                else:
                    found |= self.reader.of_annotation(method.methods[function.attr].returns, method.module)
            return frozenset(found)
        return _UNKNOWN

    def _is_local(self, node: ast.expr) -> bool:
        while isinstance(node, ast.Attribute):
            node = node.value
        return isinstance(node, ast.Name) and (node.id in self._names() or node.id == "self")

    def _names(self) -> dict[str, list[ast.expr | Types]]:
        """Names that the function binds, with what is bound to them."""
        if self._bound is None:
            self._bound = {}
            if self.function is not None:
                self._bound = _bindings(self.function, self)
        return self._bound

    # what is read

    def everything(self, node: ast.AST) -> None:
        """All that a piece of code reads."""
        for read in self.reads(node):
            self.reader.found.read.setdefault(read, self.place)

    def reads(self, node: ast.AST) -> Iterator[Read]:
        """The reads in a piece of code, functions inside it included."""
        if isinstance(node, FunctionNode) and node is not self.function:
            yield from Scope(self.reader, self.module, self.cls, node, self).reads(node)
            return
        names = self.reader.names
        if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
            last = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            self.reader.calls[last].append((self, node))
        match node:
            case ast.Attribute(value, name, ast.Load()) if name in names:
                yield self.infer(value), name
            case ast.Attribute(value, "__dict__", ast.Load()):
                self._whole(value)
            case ast.Call(ast.Name("getattr" | "hasattr" as function), [of, name, *_]):
                yield from self._by_name(of, name, function == "getattr")
            case ast.Call(function, [of, *_]) if self._is_whole(function):
                self._whole(of)
            case ast.Call(ast.Attribute(of, "get" | "pop" | "setdefault"), [ast.Constant(str() as name), *_]):
                if name in names:
                    yield self._of_mapping(of), name
            case ast.Subscript(of, ast.Constant(str() as name), ast.Load()) if name in names:
                yield self._of_mapping(of), name
        for part in ast.iter_child_nodes(node):
            if not isinstance(part, ast.expr) or node not in _annotated(part, node):
                yield from self.reads(part)

    def _of_mapping(self, of: ast.expr) -> Types:
        """A configuration as a mapping: of the section before the key, else of any."""
        match of:
            case ast.Subscript(_, ast.Constant(str() as section)) if section in self.reader.sections:
                return self.reader.sections[section]
        return self.infer(of) or _UNKNOWN

    def _by_name(self, of: ast.expr, name: ast.expr, is_value: bool) -> Iterator[Read]:
        """``getattr``: the one setting that is named; of names that are worked out, all that they may be."""
        types = self.infer(of)
        if isinstance(name, ast.Constant):
            if name.value in self.reader.names:
                yield types, str(name.value)
            return
        around: ast.AST = self.function if self.function is not None else self.module.tree
        of_fields = [
            self.reader.index.named(part.args[0], self.module) or ""
            for part in ast.walk(around)
            if isinstance(part, ast.Call) and self._is_whole(part.func) and part.args
        ]
        for cls in of_fields:
            yield from ((types, one) for one in self.reader.settings.get(cls, ()))
        for part in (around, *(value for value in self.module.declared.values() if isinstance(value, ast.expr))):
            for constant in ast.walk(part):
                if isinstance(constant, ast.Constant) and constant.value in self.reader.names:
                    yield types, constant.value
        itself = isinstance(of, ast.Name) and of.id == "self"
        told = any(cls in self.reader.settings for cls in of_fields) or self._is_listed(name)
        if is_value and not itself and not told:
            self._whole(of)

    def _is_listed(self, name: ast.expr) -> bool:
        """Is it one of names that are written out in the same file?"""
        bound = self._names().get(name.id, []) if isinstance(name, ast.Name) else []
        over = [one.value for one in bound if isinstance(one, ast.Subscript)]
        listed = [self.module.declared.get(one.id) if isinstance(one, ast.Name) else one for one in over]
        return bool(bound) and len(over) == len(bound) and all(isinstance(one, _LISTS) for one in listed)

    @staticmethod
    def _is_whole(function: ast.expr) -> bool:
        return ast.unparse(function) in (*_WHOLE, *(f"dataclasses.{name}" for name in _WHOLE))

    def _whole(self, of: ast.expr) -> None:
        """All attributes of an object are handled alike."""
        name = self.reader.index.named(of, self.module) if not self._is_local(of) else None
        if name in self.reader.index.classes or ast.unparse(of) in ("cls", "self", "self.__class__"):
            return  # of a class: its names only; of itself: what then is done with the copy is read there
        self.reader.handed_on(self, of)


def _annotated(part: ast.AST, node: ast.AST) -> tuple[ast.AST, ...]:
    """The node, where the part is an annotation of it."""
    if isinstance(node, (ast.arg, ast.AnnAssign)) and part is node.annotation:
        return (node,)
    return (node,) if isinstance(node, FunctionNode) and part is node.returns else ()


def _bindings(function: FunctionNode, scope: Scope) -> dict[str, list[ast.expr | Types]]:
    found: dict[str, list[ast.expr | Types]] = defaultdict(list)
    arguments = function.args
    for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        if one.arg == "args" and one.annotation is None and scope.module.name.startswith(_WITH_ARGS):
            found["args"].append(_NOTHING)  # a namespace of arguments, not a configuration
        elif one.arg not in ("self", "cls"):
            found[one.arg].append(scope.reader.of_annotation(one.annotation, scope.module))
        elif one.arg == "cls" and scope.cls is not None:
            found["cls"].append(frozenset({scope.cls.name}))
    for extra in (arguments.vararg, arguments.kwarg):
        if extra is not None:
            found[extra.arg].append(_NOTHING if extra.annotation is None else _UNKNOWN)
    for node in _own_nodes(function):
        match node:
            case ast.Assign(targets, value):
                for target in targets:
                    _bind(target, value, found)
            case ast.AnnAssign(ast.Name(name), annotation):
                found[name].append(scope.reader.of_annotation(annotation, scope.module))
            case ast.NamedExpr(ast.Name(name), value):
                found[name].append(value)
            case ast.For(target, over) | ast.AsyncFor(target, over) | ast.comprehension(target, over):
                for name in _target_names(target):
                    found[name].append(
                        ast.Subscript(over, ast.Constant(0)) if target.__class__ is ast.Name else _UNKNOWN
                    )
            case ast.withitem(_, ast.expr() as target):
                for name in _target_names(target):
                    found[name].append(_UNKNOWN)
            case ast.ExceptHandler(_, str() as name):
                found[name].append(_NOTHING)
    return found


def _bind(target: ast.expr, value: ast.expr, found: dict[str, list[ast.expr | Types]]) -> None:
    if isinstance(target, ast.Name):
        found[target.id].append(value)
    elif isinstance(target, (ast.Tuple, ast.List)):
        values = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
        for index, part in enumerate(target.elts):
            if len(values) == len(target.elts):
                _bind(part, values[index], found)
            else:
                for name in _target_names(part):
                    found[name].append(_UNKNOWN)


def _target_names(target: ast.expr) -> list[str]:
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions and classes inside it."""
    for node in ast.iter_child_nodes(function):
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            yield from _own_nodes(node)


class Own:
    """A method of a configuration: what it does with settings beside checking them and setting others."""

    def __init__(self, scope: Scope) -> None:
        self.scope, self.found = scope, scope.reader.found
        self.through: dict[str, set[Read]] = defaultdict(set)  # local name to what it was made of

    def method(self, node: FunctionNode) -> None:
        self._block(node.body, set())

    def _block(self, body: list[ast.stmt], under: set[Read]) -> None:
        """Statements that run only if something is so of the settings ``under``."""
        for node in body:
            self._statement(node, under)
            if isinstance(node, ast.If) and _leaves(node):
                under |= self._reads(node.test)  # what comes after runs only if it is not so

    def _statement(self, node: ast.stmt, under: set[Read]) -> None:
        match node:
            case (
                ast.Assert() | ast.Raise() | ast.Pass() | ast.Import() | ast.ImportFrom() | ast.Continue() | ast.Break()
            ):
                return
            case ast.Return(None) | ast.Expr(ast.Constant()):
                return
            case ast.Expr(ast.Call(function)) if _SAYS.match(ast.unparse(function).rpartition("self.")[2]):
                return
            case ast.If(test, body, orelse) | ast.While(test, body, orelse):
                inside = under | self._reads(test)
                self._block(body, set(inside))
                self._block(orelse, set(inside))
            case ast.For(target, over, body, orelse):
                inside = under | self._reads(over)
                for name in _target_names(target):
                    self.through[name] |= inside
                self._block([*body, *orelse], inside)
            case ast.With(items, body):
                self._block(body, under | {r for item in items for r in self._reads(item.context_expr)})
            case ast.Try(body, handlers, orelse, final):
                self._block([*body, *orelse, *final], set(under))
                for handler in handlers:
                    self._block(handler.body, set(under))
            case ast.Assign(targets, value):
                self._assign(targets, value, under)
            case ast.AnnAssign(target, _, ast.expr() as value) | ast.AugAssign(target, _, value):
                self._assign([target], value, under)
            case _:
                self._effect(under | self._reads(node))

    def _assign(self, targets: list[ast.expr], value: ast.expr, under: set[Read]) -> None:
        made_of = under | self._reads(value)
        for target in targets:
            if isinstance(target, ast.Name):
                self.through[target.id] |= made_of
            elif isinstance(target, ast.Attribute) and target.attr in self.scope.reader.names:
                written = (self.scope.infer(target.value), target.attr)
                self.found.follows |= {(read, written) for read in made_of}
            else:
                self._effect(made_of | self._reads(target))

    def _effect(self, reads: set[Read]) -> None:
        for read in reads:
            self.found.read.setdefault(read, self.scope.place)

    def _reads(self, node: ast.AST) -> set[Read]:
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        return {*self.scope.reads(node), *(read for name in names for read in self.through.get(name, ()))}


def _leaves(node: ast.If) -> bool:
    """Does a branch end the method, or a turn of its loop, without an error?"""
    parts = [part for block in (node.body, node.orelse) for statement in block for part in ast.walk(statement)]
    return any(isinstance(part, (ast.Return, ast.Continue, ast.Break)) for part in parts)
