"""What ``readers.py`` calls unread changes no number: both programs compute the same with all of it typed, and without.

Takes minutes: it is asked for with ``BRIDGE_ARGS_VERIFY=all`` and ``MEGATRON_LM_CHECKOUT``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small import SMALL

import bridge_args
from bridge_args.explain.facts import probes
from bridge_args.megatron_lm import catalog, readers

CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron.bridge is absent"),
    pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout"),
    pytest.mark.skipif(os.environ.get("BRIDGE_ARGS_VERIFY") != "all", reason="BRIDGE_ARGS_VERIFY=all asks for it"),
]


def unread_words() -> list[str]:
    """Every argument of the table that may be typed here, with a value of its kind other than the default."""
    arguments = catalog.load("0.16.1").arguments
    words: list[str] = []
    for name in readers.conditions_of():
        for argument in (argument for argument in arguments if argument.dest == name):
            for values in probes(argument):
                more = [argument.flags[0], *values]
                made = bridge_args.translate([*SMALL, *words, *more], world_size=1)
                told = {name for f in made.findings if f.kind == "ignored-by-megatron" for name in f.arguments}
                if not made.errors and name in told:
                    words += more
                    break
    return words


def run(words: list[str], answer: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "bridge_args", "verify", "--megatron-lm", CHECKOUT, "--world-size", "1"]
    options = ["--steps", "2", "--device", "cpu", "--format", "json", "-o", str(answer)]
    subprocess.run([*command, *options, "--", *SMALL, *words], check=True, timeout=3600)
    result: dict[str, Any] = json.loads(answer.read_text())
    return result


def test_typed_values_that_nothing_reads_change_no_number(tmp_path: Path) -> None:
    words = unread_words()
    assert sum(word.startswith("--") for word in words) > 120
    without, typed = run([], tmp_path / "without.json"), run(words, tmp_path / "typed.json")
    assert without["verdict"] == typed["verdict"] == "identical"
    for side in ("megatron_lm", "bridge"):
        assert typed[side]["steps"] == without[side]["steps"] and len(typed[side]["steps"]) == 2
