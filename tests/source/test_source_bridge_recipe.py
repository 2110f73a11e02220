"""A recipe of our own is read back as what it was written from; any other Python is refused at its line."""

from __future__ import annotations

from typing import Any

import golden
import pytest

import bridge_args
from bridge_args.diff.compare import compare
from bridge_args.errors import UserError
from bridge_args.mapping.translation import Translation
from bridge_args.source.read import from_text
from bridge_args.steps import Asked, translated

SAMPLE = list(golden.sample("BRIDGE_ARGS_INVERSE", 12))
HEAD = "from megatron.bridge.training.config import ConfigContainer, TrainingConfig\n\n\ndef pretrain_config():\n"


def of(text: str, **asked: Any) -> Translation:
    return translated(from_text(text, "recipe.py"), Asked(**asked))


@pytest.mark.parametrize(("version", "row"), SAMPLE, ids=[f"{version} {row['id']}" for version, row in SAMPLE])
def test_what_was_written_is_read_back(version: str, row: dict[str, Any]) -> None:
    wanted = golden.translated(version, row)
    if wanted.errors:
        pytest.skip("no recipe is written of it")
    read = of(bridge_args.to_recipe(wanted))
    assert read.schema.version == golden.PAIRS[version]
    assert [one.path for one in compare(wanted, read).differences] == []


def test_a_setting_has_its_line() -> None:
    read = of(f"{HEAD}    return ConfigContainer(\n        train=TrainingConfig(\n            train_iters=7,  # why\n"
              "        ),\n    )\n")  # fmt: skip
    (one,) = [one for one in read.assignments if one.path == "train.train_iters"]
    assert (one.value, one.origin.text) == (7, "train_iters=7") and str(read.places[1]) == "recipe.py:7"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import os\nos.system('x')\n", "recipe.py:2: only a recipe that"),
        (f"{HEAD}    return ConfigContainer(train=TrainingConfig(train_iters=open('/x')))\n", "open is no class"),
        (f"{HEAD}    return ConfigContainer(train=__import__('os').system('x'))\n", "recipe.py:5: only a recipe"),
        (f"{HEAD}    return ConfigContainer(train=TrainingConfig(train_iters=[0] * 10**9))\n", "recipe.py:5: only"),
        (f"{HEAD}    return ConfigContainer(train=TrainingConfig(train_iters=[0] * 99999999))\n", "recipe.py:5: only"),
        (f"{HEAD}    return ConfigContainer(train=TrainingConfig(a=[x for x in y]))\n", "recipe.py:5: only a recipe"),
        (f"{HEAD}    for x in y:\n        pass\n", "recipe.py:5: only a recipe"),
        ("from .a import b\n", "recipe.py:1: only a recipe"),
        ("@f\nclass A: pass\n", "only a recipe"),
        ("x = " + "(" * 5000 + ")" * 5000 + "\n", "not readable as Python"),
        ("x = " + "-" * 100000 + "1\n", ""),
        ("import os\n", r"recipe.py is Python without a function pretrain_config\(\)"),
        ("def f(:\n", "recipe.py:1: not readable as Python"),
        ("from subprocess import run\n\ndef pretrain_config():\n    return run(args='x')\n", "only a recipe"),
    ],
)
def test_other_python_is_refused_at_its_line(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        of(text)
