"""Python source of a Bridge recipe: a function that returns a ConfigContainer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from bridge_args.emit.layout import Part, class_of, field_of, leaf, on_one_line, origin_of, parts
from bridge_args.mapping.translation import Assignment, Translation
from bridge_args.secrets import masked
from bridge_args.values import Built, Member, Partial, Referring, Symbol, is_dotted
from bridge_args.wording import counted

_WIDTH: Final = 119
_STANDARD: Final = frozenset({"functools", "signal", "pathlib", "enum"})  # modules of Python our values come from


def to_recipe(t: Translation) -> str:
    """Source of a module with one function, ``pretrain_config()``, which returns the configuration.

    Only what the translation sets is written; everything else is as Bridge's classes have it. Executing it needs
    Bridge, and gives the container that ``to_run_config`` describes.
    """
    names = _Names()
    container = names.of(t.schema.container)
    body = list(_body(t, container, names))
    ranks = counted(t.world_size, "GPU")
    return "\n".join(
        [
            f'"""{_about(t)} as a recipe for Megatron Bridge {t.versions.bridge}."""',
            "",
            *names.imports(),
            "",
            "",
            f"def pretrain_config() -> {container}:",
            f'    """The configuration for {ranks}; everything else is the default of Bridge."""',
            *body,
            "",
        ]
    )


def _about(t: Translation) -> str:
    return f"Megatron-LM {t.versions.megatron} arguments" if t.program else t.made_from[:1].upper() + t.made_from[1:]


class _Names:
    """The names a module uses, and the imports that bring them."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, str]] = {}  # name in this module -> module it comes from, its name there
        self._torch = False

    def of(self, path: str) -> str:
        """The expression for a qualified name; the one place where a name gets into the source.

        Raises:
            ValueError: it is none.
        """
        if not is_dotted(path):
            raise ValueError(f"{path!r} is no name that Python source can have")
        steps = path.split(".")
        if steps[0] == "torch":  # dtypes and functions are attributes all the way down
            self._torch = True
            return path
        # The first capitalised step is a class, what follows it an attribute.
        at = next((index for index, step in enumerate(steps) if step.lstrip("_")[:1].isupper()), len(steps) - 1)
        if at == 0:
            return path
        module, name = ".".join(steps[:at]), steps[at]
        local = name
        while self._found.get(local, (module, name)) != (module, name):
            local = f"{local}_of_{steps[at - 1]}"
        self._found[local] = (module, name)
        return ".".join([local, *steps[at + 1 :]])

    def imports(self) -> Iterator[str]:
        """The import lines, Python's own first."""
        by_module: dict[str, list[str]] = {}
        for local, (module, name) in sorted(self._found.items()):
            by_module.setdefault(module, []).append(name if local == name else f"{name} as {local}")
        own = [module for module in by_module if module in _STANDARD]
        for module in sorted(own):
            yield f"from {module} import {', '.join(by_module[module])}"
        if own:
            yield ""
        if self._torch:
            yield "import torch"
        for module in sorted(by_module.keys() - set(own)):
            line = f"from {module} import {', '.join(by_module[module])}"
            if len(line) <= _WIDTH:
                yield line
            else:
                yield f"from {module} import ("
                yield from (f"    {name}," for name in by_module[module])
                yield ")"


def _body(t: Translation, container: str, names: _Names) -> Iterator[str]:
    said = {part.name: part for part in parts(t)}
    later = [
        assignment
        for part in said.values()
        for assignment in part.settings
        if (field := field_of(t, assignment)) is not None and not field.init
    ]
    yield f"    config = {container}(" if later else f"    return {container}("
    for name, section in t.schema.sections.items():
        part = said.get(name)
        if part is None and section.required:
            part = Part(name, class_of(t, name))
        if part is not None:
            yield from _section(t, part, [a for a in part.settings if a not in later], names)
    yield "    )"
    for assignment in later:  # settings the constructor does not take
        assert is_dotted(assignment.path)
        yield from _line(4, f"config.{assignment.path} = ", assignment.value, "", _comment(t, assignment), names)
    if later:
        yield "    return config"


def _section(t: Translation, part: Part, settings: Sequence[Assignment], names: _Names) -> Iterator[str]:
    if part.value is not None and not settings:
        yield from _line(8, f"{part.name}=", part.value.value, ",", _comment(t, part.value), names)
        return
    if part.class_name is None:
        opening, closing = f"{part.name}={{", "},"
    else:
        opening, closing = f"{part.name}={names.of(part.class_name)}(", "),"
    chosen = part.target is not None and part.target.origin.kind != "default"
    comment = f"  # {_comment(t, part.target)}" if part.target is not None and chosen else ""
    if not settings:
        yield f"        {opening}{closing}{comment}"
        return
    yield f"        {opening}{comment}"
    for assignment in settings:
        key = leaf(assignment)
        assert part.class_name is None or _is_name(key)
        start = f"{key}=" if part.class_name is not None else f"{_expression(key, names)}: "
        yield from _line(12, start, assignment.value, ",", _comment(t, assignment), names)
    yield f"        {closing}"


def _line(indent: int, start: str, value: Any, end: str, comment: str, names: _Names) -> Iterator[str]:
    """``start value end``, with its comment behind it, or above where that is too long."""
    space = " " * indent
    code = f"{space}{start}{_expression(value, names, indent, len(start) + len(end))}{end}"
    if "\n" not in code and len(code) + len(comment) + 4 <= _WIDTH:
        yield f"{code}  # {comment}" if comment else code
    else:
        if comment:
            yield f"{space}# {comment}"
        yield code


def _comment(t: Translation, assignment: Assignment) -> str:
    return on_one_line(masked(origin_of(t, assignment), t.secrets), 100)


def _expression(value: Any, names: _Names, indent: int = 0, used: int = 0) -> str:
    """The value as Python source; over several lines where one is too long."""
    match value:
        case Symbol(path):
            return names.of(path)
        case Member(enum, name, member):
            return f"{names.of(enum)}.{name}" if _is_name(name) else f"{names.of(enum)}({member!r})"
        case Partial(path, kwargs):
            function = names.of("functools.partial")
            return _bracketed(f"{function}(", [names.of(path), *_keywords(kwargs, names, indent)], ")", indent, used)
        case Built(path, kwargs):
            return _bracketed(f"{names.of(path)}(", _keywords(kwargs, names, indent), ")", indent, used)
        case dict():
            keyed = [(_expression(key, names), _expression(item, names, indent + 4)) for key, item in value.items()]
            items = [f"{key}: {item}" for key, item in keyed]
            return _bracketed("{", items, "}", indent, used)
        case list() | tuple():
            if len(value) > 8 and (runs := _runs(value)):
                return " + ".join(f"[{_expression(item, names)}] * {count}" for item, count in runs)
            return _bracketed("[", [_expression(item, names, indent + 4) for item in value], "]", indent, used)
        case float() if not math.isfinite(value):
            return f'float("{value}")'
        case Referring():
            return f"{names.of('os.path.expandvars')}({_expression(str(value), names)})"
        case str() if '"' not in value and "'" not in value:
            return f'"{repr(value)[1:-1]}"'
    return repr(value)


def _keywords(kwargs: Mapping[str, object], names: _Names, indent: int) -> list[str]:
    named = [f"{key}={_expression(item, names, indent + 4)}" for key, item in kwargs.items() if _is_name(key)]
    others = {key: item for key, item in kwargs.items() if not _is_name(key)}
    return [*named, f"**{_expression(others, names, indent + 4)}"] if others else named


def _bracketed(opening: str, items: list[str], closing: str, indent: int, used: int) -> str:
    on_a_line = opening + ", ".join(items) + closing
    if indent + used + len(on_a_line) <= _WIDTH and "\n" not in on_a_line:
        return on_a_line
    space = " " * (indent + 4)
    return opening + "\n" + "".join(f"{space}{item},\n" for item in items) + " " * indent + closing


def _runs(values: Sequence[Any]) -> list[tuple[Any, int]]:
    """Repetitions in a list of numbers, as item and count; empty where writing the list out is shorter."""
    if not all(isinstance(item, (int, float)) for item in values):
        return []
    groups = [list(group) for _, group in groupby(values, key=lambda item: (type(item), item))]
    runs = [(group[0], len(group)) for group in groups]
    return runs if len(runs) <= 4 else []


def _is_name(text: str) -> bool:
    return is_dotted(text) and "." not in text
