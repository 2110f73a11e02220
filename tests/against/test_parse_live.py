"""Megatron-LM's own ``parse_args`` is the judge; set MEGATRON_LM_CHECKOUT to a checkout whose version has a catalog."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.parse import parse

CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")
pytestmark = pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT is not set")

# Runs in the checkout: one parse_args for each line of the input, values of enum members by name.
_CHILD = """
import enum, json, sys
try:
    import triton
except ImportError:  # the one module that cannot do without; parsing has no use for its kernels
    from unittest.mock import MagicMock
    sys.modules["megatron.core.transformer.custom_layers.batch_invariant_kernels"] = MagicMock()
import megatron.training.arguments as arguments
try:
    from megatron.post_training.arguments import add_modelopt_args as provider
except ImportError:
    provider = None

def plain(value):
    if isinstance(value, enum.Enum):
        return value.name
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

for line in sys.stdin.read().splitlines():
    argv, dests = json.loads(line)
    sys.argv = ["pretrain_gpt.py", *argv]
    try:
        args = arguments.parse_args(provider)
        answer = {dest: plain(getattr(args, dest)) for dest in dests}
    except BaseException as error:
        answer = None
    print("ANSWER " + json.dumps(answer), flush=True)
"""


def _catalog() -> Catalog:
    text = (Path(CHECKOUT) / "megatron" / "core" / "package_info.py").read_text()
    version = ".".join(re.findall(r"^(?:MAJOR|MINOR|PATCH) = (\d+)", text, re.MULTILINE))
    if version not in catalogs.versions():
        pytest.skip(f"no catalog of {version}")
    return catalogs.load(version)


def _command_lines(catalog: Catalog) -> list[list[str]]:
    lines = [
        [],
        ["--num-layers=3", "--lr", "-.5", "--seed", "-1"],
        ["--lr", "-1e-5"],
        ["--bf16=true"],
        ["--bf16", "true"],
        ["--bf16", "--"],
        ["--", "--bf16"],
        ["--save", "-"],
        ["--save", "--a b"],
        ["--save", ""],
        ["--moe-layer-freq", "([0]*3+[1]*27)"],
        ["--moe-layer-freq", "[1](2)"],
        ["--moe-layer-freq", "[*[0,1],(2)]+[[1,2][0]]*2"],
        ["--window-size", "(1024,0)"],
        ["--window-size", "[1,2]"],
        ["--exit-signal", "SIGCLD"],
        ["--attention-backend", "Flash"],
        ["--cuda-graph-scope", "full", "attn"],
        ["--rampup-batch-size", "1", "2"],
        ["--data-path=--"],
        ["--kitchen-recipe-number", "1"],
        ["--help"],
        ["--DDP-impl", "local"],
        ["--num_layers", "2"],
    ]
    random.seed(0)
    flags = sorted(set(catalog.by_flag) - {"--yaml-cfg", "--disable-msc"})  # these do more than parse
    values = ["1", "-1", "0.5", "a", "", "[1]*2", "1,2", "-x", "--", "- 1", "auto", "rope"]
    for _ in range(150):
        line: list[str] = []
        for flag in random.sample(flags, 4):
            argument = catalog.by_flag[flag]
            listed = [str(word) for word in argument.choices or argument.members or ()]
            good = {"int": ["8"], "float": ["1e-3"], None: ["x"], "str": ["x"]}.get(argument.type, [])
            count = argument.nargs if isinstance(argument.nargs, int) else 1
            value = random.choice((listed or good or ["2"]) if random.random() < 0.93 else values)
            if argument.action != "store":
                line.append(flag)
            elif random.random() < 0.3 and count == 1 and value != "--":  # see test_double_dash_as_the_value_of_one
                line.append(f"{flag}={value}")
            else:
                line += [flag, *[value] * count]
        if random.random() < 0.1:
            line.insert(random.randrange(len(line) + 1), random.choice(values))
        lines.append(line)
    return lines


def test_same_verdict_and_same_values() -> None:
    catalog = _catalog()
    lines = _command_lines(catalog)
    givens = [parse(line, catalog) for line in lines]
    text = "\n".join(json.dumps([line, list(given.values)]) for line, given in zip(lines, givens, strict=True))
    environment = {key: value for key, value in os.environ.items() if key not in ("LOCAL_RANK", "WORLD_SIZE", "RANK")}
    child = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=text,
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env={**environment, "PYTHONPATH": CHECKOUT},
        timeout=600,
    )
    answers = [json.loads(line[7:]) for line in child.stdout.splitlines() if line.startswith("ANSWER ")]
    assert len(answers) == len(lines), child.stderr[-2000:]
    assert sum(answer is not None for answer in answers) > 80
    for line, given, answer in zip(lines, givens, answers, strict=True):
        assert bool(given.findings) == (answer is None), line
        if answer is not None:
            assert json.loads(json.dumps(given.values)) == answer, line
