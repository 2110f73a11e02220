"""Imports point down, islands do not talk, importing the package imports no torch, and one module speaks."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "bridge_args").rglob("*.py"))

# Lowest first. A layer imports from the layers below it; its members import nothing of one another, except where
# the layer is in TALKING. A new module or folder must be given its place here.
LAYERS = [
    {"words", "findings", "values", "versions", "files", "secrets", "secret_places", "seen", "children", "begin"},
    {"script", "megatron_lm", "bridge.schema", "checkout"},
    {"mapping"},
    {"emit", "migrate", "explain", "resolvers", "yaml_source"},
    {"steps", "source"},
    {"bridge", "launch", "checkpoint", "audit", "start", "verify"},
    {"cli", "cli_options", "dev", "pretrain_gpt", "pretrain_mamba", "__main__", "__init__"},
]
CORE = range(5)  # the layers that know neither torch nor the machine they run on
TALKING = {0, 5, 6}
STARTING = {"launch", "checkout", "verify", "audit", "begin"}  # have programs that run in processes of their own
INSIDE = {"checkout.child"}  # what such a program does, in a process of its own
# Islands, and not the core: what asks a program in a process of its own, and how such a process begins.
OUTSIDE = {"checkout", "begin"}

# The only packages beside the standard library that the core may import, by layer.
FOREIGN_ALLOWED = {2: {"yaml"}, 3: {"yaml"}, 4: {"yaml"}}
HEAVY = ("torch", "numpy", "megatron", "omegaconf", "hydra", "transformers")


def name_of(path: Path) -> str:
    """``bridge_args/bridge/schema.py`` is ``bridge.schema``; a package is called like its folder."""
    parts = path.relative_to(ROOT / "bridge_args").with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def member_of(module: str) -> tuple[int, str]:
    """The layer a module is in, and the member of the layer it belongs to."""
    for level, layer in enumerate(LAYERS):
        for member in layer:
            if module == member or (module.startswith(member + ".") and module != "bridge.schema"):
                return level, member
    raise AssertionError(f"bridge_args/{module.replace('.', '/')} has no place in LAYERS of {Path(__file__).name}")


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
    places = ((path, *member_of(name_of(path))) for path in MODULES)
    return [path for path, level, member in places if level in CORE and member not in OUTSIDE]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    level, member = member_of(name_of(path))
    for line, target in imported(path):
        package, _, module = target.partition(".")
        if package != "bridge_args":
            continue
        target_level, target_member = member_of(module or "__init__")
        allowed = (
            target_level < level
            or target_member == member
            or (target_level == level and level in TALKING)
            or (module == "" and name_of(path) == "__main__")
        )
        assert allowed, f"{path.relative_to(ROOT)}:{line}: {member} may not import {target}"


@pytest.mark.parametrize("path", core_modules(), ids=name_of)
def test_the_core_imports_little(path: Path) -> None:
    level, _ = member_of(name_of(path))
    for line, target in imported(path):
        package = target.partition(".")[0]
        known = package == "bridge_args" or package in sys.stdlib_module_names
        assert known or package in FOREIGN_ALLOWED.get(level, set()), (
            f"{path.relative_to(ROOT)}:{line}: the core may not import {package}"
        )


def test_importing_the_package_imports_no_torch() -> None:
    """Every core module and the command line are imported in a fresh interpreter; then sys.modules is read."""
    cli = ROOT / "bridge_args" / "cli.py"
    names = ["bridge_args", *(f"bridge_args.{name_of(path)}" for path in [*core_modules(), cli])]
    program = f"import sys, {', '.join(names)}; print(*(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def is_entry_point(path: Path) -> bool:
    """May print, exit and read sys.argv: the command line, the drop-in, maintainers' commands, launched children.

    And what looks after how a process starts and ends.
    """
    member = member_of(name_of(path))[1]
    is_run = any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in tree_of(path).body)
    always = {"cli", "__main__", "__init__", "children", "pretrain_gpt", "pretrain_mamba", "dev"}
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
    assert member_of("bridge.schema") == (1, "bridge.schema")
    assert member_of("bridge.container") == (5, "bridge")
    with pytest.raises(AssertionError, match="has no place in LAYERS"):
        member_of("nowhere")
