"""The recipes of Megatron-LM's tests: which program runs a test, on how many nodes and GPUs.

``tests/functional_tests/test_cases/MODEL/TEST/model_config.yaml`` says what is run; ``tests/test_utils/recipes`` of the
same checkout says where. A recipe's own ``spec`` holds for all its tests, a product may say otherwise for its own.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Final

from bridge_args.files import read_bytes, remember
from bridge_args.records import Record
from bridge_args.source.yaml.nodes import MAX_TEXT, Mapping, Node, Sequence, YamlProblem, item, read, text_of

_SCRIPT: Final = re.compile(r"TRAINING_SCRIPT_PATH=([\w./-]+)")


class Recipe(Record):
    """Where one test runs; None where the recipe does not say it in numbers."""

    file: str
    nodes: int | None
    gpus: int | None  # of each node
    program: str | None


class _Entry(Record):
    model: str | None
    tests: tuple[str, ...]
    recipe: Recipe


def recipes_for(file: Path) -> list[Recipe]:
    """What the recipes beside a test's file say about it, in the order of their names; often there are two, for two
    kinds of machines."""
    test, model = file.parent.name, file.parent.parent.name
    folder = _folder(file)
    if folder is None or not test:
        return []
    found = []
    for path, text in _texts(folder):
        if test in text:
            found += [entry.recipe for entry in _entries(path) if entry.model == model and test in entry.tests]
    return list(dict.fromkeys(found))


def _folder(file: Path) -> Path | None:
    """``tests/test_utils/recipes`` of the checkout a test's file lies in."""
    for parent in file.parents:
        if parent.name == "functional_tests":
            folder = parent.parent / "test_utils" / "recipes"
            return folder if folder.is_dir() else None
    return None


@lru_cache(maxsize=4)
def _texts(folder: Path) -> tuple[tuple[Path, str], ...]:
    files = [path for path in sorted(folder.rglob("*.yaml")) if path.is_file() and path.stat().st_size <= MAX_TEXT]
    return tuple((path, read_bytes(path, MAX_TEXT).decode("utf-8", "replace")) for path in files)


@lru_cache(maxsize=64)
def _entries(path: Path) -> tuple[_Entry, ...]:
    """Every product of a recipe; nothing of a file that is no recipe."""
    remember(path)
    try:
        root = read(read_bytes(path, MAX_TEXT).decode("utf-8", "replace"), path.name)
        return tuple(_products(root, f"{path.parent.name}/{path.name}"))
    except YamlProblem:
        return ()


def _products(root: Node | None, name: str) -> list[_Entry]:
    spec = item(root, "spec") if isinstance(root, Mapping) else None
    products = item(root, "products") if isinstance(root, Mapping) else None
    if not isinstance(spec, Mapping) or not isinstance(products, Sequence):
        return []
    script = _SCRIPT.search(text_of(item(spec, "script")) or "")
    program = script[1] if script else None
    model = text_of(item(spec, "model"))
    entries = []
    for product in products.items:
        tests = item(product, "test_case") if isinstance(product, Mapping) else None
        variants = item(product, "products") if isinstance(product, Mapping) else None
        if not isinstance(tests, Sequence) or not isinstance(variants, Sequence):
            continue
        names = tuple(text_of(test) or "" for test in tests.items)
        for variant in variants.items:
            recipe = Recipe(name, _count("nodes", variant, spec), _count("gpus", variant, spec), program)
            entries.append(_Entry(model, names, recipe))
    return entries


def _count(key: str, variant: Node, spec: Mapping) -> int | None:
    """A number of the product, where it stands as a list of one, else of the recipe."""
    said = item(variant, key) if isinstance(variant, Mapping) else None
    if isinstance(said, Sequence):
        said = said.items[0] if len(said.items) == 1 else None
    text = text_of(said) or text_of(item(spec, key)) or ""
    return int(text) if text.isdigit() and int(text) > 0 else None
