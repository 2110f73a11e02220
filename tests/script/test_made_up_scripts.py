"""Scripts made up from bash's grammar: what real bash passes is read, or it is said that it is not. Never silence.

``BRIDGE_ARGS_SCRIPTS=N`` compares N of them, ``BRIDGE_ARGS_SEED=N`` begins with another one.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import by_bash
import differences
import pytest

COUNT = int(os.environ.get("BRIDGE_ARGS_SCRIPTS", "300"))
FIRST = int(os.environ.get("BRIDGE_ARGS_SEED", "730000"))

pytestmark = pytest.mark.skipif(not by_bash.available, reason="bash is not installed")


def test_no_silent_difference(tmp_path: Path) -> None:
    judge = differences.judge(tmp_path)
    outcomes: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + COUNT):
        found = differences.compare(seed, judge)
        outcomes[found.outcome] += 1
        assert found.outcome != "different", (
            f"seed {seed}:\n{found.script}\nbash passes {found.expected}\nwe read    {found.ours}"
        )
    print(dict(outcomes))
    judged = outcomes["same"] + outcomes["told"]
    assert judged >= 0.9 * COUNT, outcomes
    assert outcomes["told"] <= 0.25 * judged, "what is told is no longer the exception"


def test_the_comparison_can_fail(tmp_path: Path) -> None:
    """A script that bash reads otherwise, because a file is there that nobody knows of, is a difference."""
    judge = by_bash.Judge(tmp_path)
    judge.stubs.joinpath("unknown").write_text("#!/bin/sh\nexit 3\n")
    judge.stubs.joinpath("unknown").chmod(0o755)
    assert differences.compared("unknown\ntorchrun $?\n", judge).outcome == "different"
    assert differences.compared("torchrun 1\n", judge).outcome == "same"
    assert differences.compared("select A in 1; do torchrun $A; done\ntorchrun 2\n", judge).outcome == "told"
