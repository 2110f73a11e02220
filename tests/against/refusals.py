"""Where Megatron Core refuses: every ``raise`` and ``assert`` of the parts that a training run goes through.

A refusal is known by its function; a digest of the statements tells whether one was added or changed. The verdicts are
in ``refusals_0.16.1.tsv``: ``told`` (why: the checks of ``bridge_args/megatron_lm/derive`` that tell it), ``inside``
(consistency of Megatron Core's own data), ``unreachable`` for the programs we translate for, ``inference``,
``checkpoint``, ``package`` (depends on what is installed), ``gpu`` (cannot be reached on a CPU).
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

TABLE: Final = Path(__file__).with_name("refusals_0.16.1.tsv")
PARTS: Final = (
    "transformer", "fusions", "models/gpt", "models/common", "models/mamba", "models/backends.py", "ssm",
    "tensor_parallel", "pipeline_parallel", "distributed/*.py", "optimizer", "extensions/transformer_engine.py",
    "model_parallel_config.py",
)  # fmt: skip
LEFT_OUT: Final = ("custom_layers", "heterogeneous_layer_specs.py")


class Row(NamedTuple):
    count: int
    digest: str
    verdict: str
    why: str


def table() -> dict[tuple[str, str], Row]:
    """File and function -> what was found when its refusals were read."""
    found = {}
    for line in TABLE.read_text().splitlines()[1:]:
        file, function, count, digest, verdict, why = line.split("\t")
        found[file, function] = Row(int(count), digest, verdict, why)
    return found


def refusals() -> dict[tuple[str, str], tuple[int, str]]:
    """File and function of the installed Megatron Core -> how many refusals it has, and their digest."""
    spec = importlib.util.find_spec("megatron.core")
    assert spec is not None and spec.origin is not None
    core = Path(spec.origin).parent
    statements: dict[tuple[str, str], list[str]] = {}
    for path in sorted({path for part in PARTS for path in _files(core, part)}):
        if not set(path.parts) & set(LEFT_OUT):
            name = path.relative_to(core).as_posix()
            for function, text in _stops(ast.parse(path.read_text()), ""):
                statements.setdefault((name, function), []).append(text)
    return {
        key: (len(texts), hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()[:10])
        for key, texts in statements.items()
    }


def _files(core: Path, part: str) -> Iterator[Path]:
    if part.endswith(".py"):
        yield from core.glob(part)
    else:
        yield from (core / part).rglob("*.py")


def _stops(node: ast.AST, function: str) -> Iterator[tuple[str, str]]:
    """The innermost function, and the text, of every refusal in a tree."""
    for child in ast.iter_child_nodes(node):
        inside = function
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inside = f"{function}.{child.name}".lstrip(".")
        elif isinstance(child, ast.Raise | ast.Assert):
            yield function or "(module)", ast.dump(child)
        yield from _stops(child, inside)
