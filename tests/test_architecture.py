"""Imports point down, importing the package imports no torch, and one module speaks."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "bridge_args").rglob("*.py"))

# Lowest first. A room imports from the floors below it, and nothing from its neighbours on the same floor. A new
# module or folder must be given its place here.
FLOORS = [
    {"errors", "wording", "records"},
    {"words", "versions", "values", "seen", "newer_python", "begin", "files", "secret_names"},
    {"children", "secret_places"},
    {"secrets"},
    {"findings"},
    {"checkout", "bridge", "script", "foreign"},
    {"megatron_lm"},
    {"pairs", "mapping", "checkpoint"},
    {"source", "emit", "explain"},
    {"steps", "emulation", "lint", "migrate"},
    {"training", "modernize"},
    {"rehearse", "drop_in", "audit", "convert", "resume", "diff"},
    {"launch", "verify", "inverse", "pretrain_gpt", "pretrain_mamba", "pretrain_hybrid"},
    {"__init__"},
    {"cli", "dev"},
    {"__main__"},
]
# The rooms that know neither torch nor the machine they run on.
CORE = {
    *"errors wording records words versions values seen newer_python files".split(),
    *"secret_names secret_places secrets findings bridge script megatron_lm pairs mapping source emit".split(),
    *"explain steps lint migrate diff inverse".split(),
}
STARTING = {
    "training",
    "emulation",
    "rehearse",
    "drop_in",
    "checkout",
    "verify",
    "audit",
    "begin",
    "convert",
}  # have programs of their own
INSIDE = {"checkout.child", "drop_in.main"}  # what such a program does, in a process of its own

# Modules that import one another because what they read is recursive: words hold commands, which hold words; a command
# of bash's own may run commands, and so may a redirection.
RECURSIVE = [
    {"script.bash.grammar", "script.bash.inside_words"},
    {f"script.bash.{name}" for name in ("shell", "builtins", "reading", "redirect", "utilities")},
]

# The only packages beside the standard library that the core may import, by room.
FOREIGN_ALLOWED = {room: {"yaml"} for room in ("mapping", "source", "emit", "explain", "steps", "pairs", "migrate")}
HEAVY = ("torch", "numpy", "megatron", "omegaconf", "hydra", "transformers")


def name_of(path: Path) -> str:
    """``bridge_args/bridge/schema.py`` is ``bridge.schema``; a package is called like its folder."""
    parts = path.relative_to(ROOT / "bridge_args").with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The folder or module right below ``bridge_args`` that it is in."""
    room = module.partition(".")[0]
    assert any(room in floor for floor in FLOORS), f"bridge_args/{room} has no place in FLOORS of {Path(__file__).name}"
    return room


def floor_of(room: str) -> int:
    return next(level for level, floor in enumerate(FLOORS) if room in floor)


@lru_cache(maxsize=None)
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Every module the file imports, wherever in the file, with its line; ``from a import b`` may be module a.b."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are written in full"
            assert node.module
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield node.lineno, whole if is_our_module(whole) else node.module


def is_our_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def core_modules() -> list[Path]:
    return [path for path in MODULES if room_of(name_of(path)) in CORE]


def our_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Modules of ours that the file imports, without ``bridge_args.``, with the line."""
    for line, target in imported(path):
        package, _, module = target.partition(".")
        if package == "bridge_args":
            yield line, module or "__init__"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    room = room_of(name_of(path))
    for line, target in our_imports(path):
        other = room_of(target)
        allowed = other == room or floor_of(other) < floor_of(room)
        assert allowed, f"{path.relative_to(ROOT)}:{line}: {room} may not import {target}"


def test_no_circles() -> None:
    """Wherever an import stands, in a function or for types only."""
    reached: dict[str, set[str]] = {}
    arrows = {name_of(path): {target for _, target in our_imports(path)} for path in MODULES}

    def all_from(module: str) -> set[str]:
        if module not in reached:
            reached[module], found, ahead = set(), set(), [module]
            while ahead:
                for target in arrows.get(ahead.pop(), ()):
                    if target not in found:
                        found.add(target)
                        ahead.append(target)
            reached[module] = found
        return reached[module]

    circles = {frozenset(other for other in all_from(one) if one in all_from(other)) for one in arrows}
    assert sorted(map(sorted, filter(None, circles))) == sorted(map(sorted, RECURSIVE))


def test_the_picture_has_every_room() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    picture = page.partition("## The rooms")[2].partition("```")[2].partition("```")[0]
    folders = {path.parent.name for path in ROOT.glob("bridge_args/*/__init__.py")}
    assert [room for room in sorted(folders) if room not in re.findall(r"\w+", picture)] == []


@pytest.mark.parametrize("path", core_modules(), ids=name_of)
def test_the_core_imports_little(path: Path) -> None:
    room = room_of(name_of(path))
    for line, target in imported(path):
        package = target.partition(".")[0]
        known = package == "bridge_args" or package in sys.stdlib_module_names
        assert known or package in FOREIGN_ALLOWED.get(room, set()), (
            f"{path.relative_to(ROOT)}:{line}: the core may not import {package}"
        )


def test_importing_the_package_imports_no_torch() -> None:
    """Every core module and the command line are imported in a fresh interpreter; then sys.modules is read."""
    commands = [path for path in MODULES if room_of(name_of(path)) == "cli"]
    names = ["bridge_args", *(f"bridge_args.{name_of(path)}" for path in [*core_modules(), *commands])]
    program = f"import sys, {', '.join(names)}; print(*(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_every_public_name_is_where_the_package_looks_for_it() -> None:
    """Whether or not what it needs is installed: a name is imported when it is first used."""
    tree = tree_of(ROOT / "bridge_args" / "__init__.py")
    (homes,) = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES"
    ]
    (checked,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    for_types = {
        alias.name: node.module for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert {name: f"bridge_args.{home}" for name, home in ast.literal_eval(homes).items()} == for_types
    assert [home for home in for_types.values() if not is_our_module(str(home))] == []


def is_entry_point(path: Path) -> bool:
    """May print, exit and read sys.argv: the command line, the drop-in, maintainers' commands, launched children.

    And what looks after how a process starts and ends.
    """
    member = room_of(name_of(path))
    is_run = any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in tree_of(path).body)
    always = {"cli", "__main__", "__init__", "children", "pretrain_gpt", "pretrain_mamba", "pretrain_hybrid", "dev"}
    return member in always or (member in STARTING and (is_run or name_of(path) in INSIDE))


def spoken(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Places that print, exit, or read the words the process was started with."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in {"print", "input", "exit", "quit", "breakpoint"}:
                yield node.lineno, f"{node.func.id}()"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in {"sys.argv", "sys.exit", "sys.stdout", "sys.stderr", "sys.stdin", "os._exit", "os.abort"}:
                yield node.lineno, name
        elif isinstance(node, ast.Raise) and "SystemExit" in ast.unparse(node):
            yield node.lineno, "raise SystemExit"


@pytest.mark.parametrize("path", [p for p in MODULES if not is_entry_point(p)], ids=name_of)
def test_only_entry_points_print_exit_or_read_argv(path: Path) -> None:
    assert [f"{path.relative_to(ROOT)}:{line}: {what}" for line, what in spoken(tree_of(path))] == []


def reads_environment(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            if node.attr in {"environ", "environb", "getenv"}:
                yield node.lineno, f"os.{node.attr}"


@pytest.mark.parametrize("path", core_modules(), ids=name_of)
def test_the_core_reads_no_environment(path: Path) -> None:
    assert [f"{path.relative_to(ROOT)}:{line}: {what}" for line, what in reads_environment(tree_of(path))] == []


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: path.name)
def test_no_test_imports_pip(path: Path) -> None:
    """With pip imported, setuptools cannot be imported any more (Python 3.11 and older), and so neither can Bridge."""
    names = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {
        name
        for node in names
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert not {name for name in modules if name.partition(".")[0] == "pip"}


def test_the_checks_see_what_they_look_for() -> None:
    tree = ast.parse("import os, sys\nprint(1)\nsys.exit(2)\nraise SystemExit(3)\nsys.argv[1:]\nos.environ['A']\n")
    assert [line for line, _ in spoken(tree)] == [4, 2, 3, 5]
    assert list(reads_environment(tree)) == [(6, "os.environ")]
    assert room_of("bridge.schema") == "bridge"
    with pytest.raises(AssertionError, match="has no place in FLOORS"):
        room_of("nowhere")


# ---------------------------------------------------------------- errors

# What never reaches a user: it is caught where it is explained, or becomes a finding.
INTERNAL = {
    "checkout.sandbox.Refused",
    "checkpoint.unpickle.Refused",
    "emulation.te_layers.NotEmulated",
    "megatron_lm.derive.registry.Invalid",
    "script.kept.NotChanged",
}


def test_what_a_user_must_act_on_has_one_base() -> None:
    """So that the two programs catch it in one place."""
    bases = {
        f"{name_of(path)}.{node.name}": {ast.unparse(base) for base in node.bases}
        for path in MODULES
        for node in tree_of(path).body
        if isinstance(node, ast.ClassDef) and not name_of(path).startswith("script.bash.")  # all become findings
    }
    short = {"Exception", "ValueError", "ImportError", "OSError", "RuntimeError", "NotImplementedError"}
    errors = {name for name, of in bases.items() if of & short or "UserError" in of}
    for_users = {name for name in errors if "UserError" in bases[name]} | {"errors.UserError"}
    assert len(for_users) > 15
    assert errors - for_users == INTERNAL
