"""``python -m bridge_args.dev authority``: what the functions of Megatron-LM that ours rest on were when read.

A function's digest changes when its code does, not when its comments, its docstring or its layout do. Nothing of a
checkout is run for it.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from bridge_args.megatron_lm import derive
from bridge_args.megatron_lm.derive.registry import LATER_HOMES, REGISTERED, Step
from bridge_args.versions import number

FILE: Final = Path(derive.__file__).parents[1] / "authority.json"

# Version -> ``file::function`` -> digest
Digests = Mapping[str, Mapping[str, str]]
State = Literal["same", "changed", "gone"]

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Compared(NamedTuple):
    """A function of Megatron-LM's in another version.

    Attributes:
        since: the version that was read, with which the other is compared.
        elsewhere: files in which a function that is gone from its own can be found.
        steps: our functions that rest on it, and that nobody has compared with the other version.
    """

    see: str
    state: State
    since: str
    elsewhere: tuple[str, ...]
    steps: tuple[Step, ...]


def seen(steps: Iterable[Step] | None = None) -> list[str]:
    """Every ``file::function`` that ours rest on."""
    return sorted({see for step in (REGISTERED if steps is None else steps) for see in step.authority.see})


def digests(checkout: Path, sees: Iterable[str]) -> dict[str, str]:
    """``file::function`` to its digest, for those that the checkout has."""
    found = {see: definition(checkout, see) for see in sees}
    return {see: digest(node) for see, node in found.items() if node is not None}


def definition(checkout: Path, see: str) -> _Definition | None:
    """The function that ``file::function`` or ``file::Class.method`` names, there or where it stands in later versions.

    None where there is none.
    """
    for home in (see, LATER_HOMES.get(see, see)):
        file, _, name = home.partition("::")
        path = checkout / file
        found = _definitions(path).get(name) if path.is_file() else None
        if found is not None:
            return found
    return None


def digest(node: ast.AST) -> str:
    """16 hexadecimal digits of what a function does."""
    return hashlib.sha256("\n".join(_told(node)).encode()).hexdigest()[:16]


def elsewhere(checkout: Path, see: str) -> tuple[str, ...]:
    """The files of a checkout, other than its own, that define a function of that name."""
    file, _, name = see.partition("::")
    told = f"def {name.rpartition('.')[2]}("
    paths = (*sorted(checkout.glob("*.py")), *sorted((checkout / "megatron").rglob("*.py")))
    return tuple(
        other
        for path in paths
        if (other := path.relative_to(checkout).as_posix()) != file
        and told in path.read_text(encoding="utf-8", errors="replace")
        and name in _definitions(path)
    )


def compared(checkout: Path, version: str, on_file: Digests, steps: Iterable[Step] | None = None) -> Iterator[Compared]:
    """What has become of the functions that ours rest on, as far as our functions do not say that they were read.

    Args:
        version: what the checkout is.
        on_file: ``read_file()``.
        steps: None for all that are registered.
    """
    left = [step for step in (REGISTERED if steps is None else steps) if step.authority.is_unread(version)]
    for see in seen(left):
        resting = [step for step in left if see in step.authority.see]
        now = digests(checkout, [see]).get(see)
        by_base: dict[str, list[Step]] = {}
        for step in resting:
            by_base.setdefault(_base(step, see, version, on_file), []).append(step)
        for base, group in by_base.items():
            before = on_file.get(base, {}).get(see)
            state: State = "gone" if now is None else "same" if now == before else "changed"
            others = elsewhere(checkout, see) if state == "gone" else ()
            yield Compared(see, state, base, others, tuple(group))


def read_file() -> dict[str, dict[str, str]]:
    """The digests on file, by version."""
    found: dict[str, dict[str, str]] = json.loads(FILE.read_text(encoding="utf-8"))["versions"]
    return found


def content(version: str, now: Mapping[str, str], on_file: Digests) -> dict[str, Any]:
    """What the file should hold when a version has been read, beside what it knows of others."""
    versions = {**on_file, version: now}
    return {"versions": {name: versions[name] for name in sorted(versions, key=number)}}


def _base(step: Step, see: str, version: str, on_file: Digests) -> str:
    """The newest version on file that was read for a function of ours; the newest of all where none of them was."""
    having = [known for known in sorted(on_file, key=number) if see in on_file[known]]
    having = [known for known in having if number(known) <= number(version)] or having[:1]
    read = [known for known in having if step.authority.was_read(known)]
    return (read or having or [""])[-1]


@lru_cache(maxsize=64)
def _definitions(path: Path) -> dict[str, _Definition]:
    """Qualified name to definition; the first, where a name is defined twice."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):
        return {}
    found: dict[str, _Definition] = {}
    ahead: list[tuple[str, ast.stmt]] = [("", node) for node in tree.body]
    while ahead:
        prefix, node = ahead.pop(0)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.setdefault(prefix + node.name, node)
            if isinstance(node, ast.ClassDef):
                ahead += [(f"{prefix}{node.name}.", inner) for inner in node.body]
        elif isinstance(node, (ast.If, ast.Try, ast.With)):  # where something is imported, or a version asked for
            ahead += [(prefix, inner) for inner in ast.iter_child_nodes(node) if isinstance(inner, ast.stmt)]
            for handler in getattr(node, "handlers", ()):
                ahead += [(prefix, inner) for inner in handler.body]
    return found


def _told(node: ast.AST, depth: int = 0) -> Iterator[str]:
    """A tree, line by line, without docstrings, places, and what only some versions of Python write down."""
    yield f"{depth} {type(node).__name__}"
    for name, value in ast.iter_fields(node):
        if name in ("ctx", "kind", "type_comment", "type_params"):
            continue
        if name == "body" and isinstance(value, list) and _is_docstring(node, value[:1]):
            value = value[1:]
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.AST):
                yield f"{depth} {name}"
                yield from _told(item, depth + 1)
            elif item is not None or isinstance(node, ast.Constant):
                yield f"{depth} {name} {type(item).__name__} {item!r}"


def _is_docstring(node: ast.AST, first: list[Any]) -> bool:
    return (
        isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        and bool(first)
        and isinstance(first[0], ast.Expr)
        and isinstance(first[0].value, ast.Constant)
        and isinstance(first[0].value.value, str)
    )
