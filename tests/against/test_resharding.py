"""A checkpoint of one layout of ranks goes on in another; the judge is Megatron-LM's recorded run without any."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from recorded import curve

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron.bridge is not installed")

TP2, PP2 = ["--tensor-model-parallel-size", "2"], ["--pipeline-model-parallel-size", "2"]
LAYOUTS = {"TP 2 to PP 2": (TP2, PP2, 2)}  # before, after, number of ranks after
if os.environ.get("BRIDGE_ARGS_ALL_LAYOUTS"):
    LAYOUTS["TP 2 to one rank"] = (TP2, [], 1)


def rehearse(words: list[str], ranks: int, folder: Path) -> list[dict[str, Any]]:
    """The iterations of a rehearsal."""
    options = [
        "--megatron-lm",
        "0.16.1",
        "--format",
        "json",
        "--nproc",
        str(ranks),
        "--real-folders",
    ]  # the second loads what the first saved
    command = [sys.executable, "-m", "bridge_args", "rehearse", *options, "--", *words]
    numerics = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MKL_CBWR": "COMPATIBLE"}
    numerics |= {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_DEVICE_MAX_CONNECTIONS": "1", **numerics}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [line for line in lines if "learning_rate" in line]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_goes_on_in_another_layout(layout: str, tmp_path: Path) -> None:
    """Losses are equal as far as the order of summing allows.

    Megatron-LM's own run differs as much when it goes on in another layout, and to the bit in the same way.
    """
    before, after, ranks = LAYOUTS[layout]
    recorded = curve("tp2")
    at = recorded["argv"].index("--tensor-model-parallel-size")
    words = recorded["argv"][:at] + recorded["argv"][at + 2 :]
    first = rehearse([*words, *before, *"--save ckpt --save-interval 6 --exit-interval 6".split()], 2, tmp_path)
    resumed = rehearse([*words, *after, "--load", "ckpt"], ranks, tmp_path)
    assert [entry["iteration"] for entry in [*first, *resumed]] == [entry["iteration"] for entry in recorded["curve"]]
    for ours, theirs in zip([*first, *resumed], recorded["curve"], strict=True):
        for name in ("learning_rate", "consumed_samples", "global_batch_size"):
            assert ours[name] == theirs[name]
        for name in ("lm_loss", "grad_norm"):
            assert math.isclose(ours[name], theirs[name], rel_tol=2e-6), (name, ours, theirs)


@pytest.mark.skipif(not os.environ.get("BRIDGE_ARGS_ALL_LAYOUTS"), reason="set BRIDGE_ARGS_ALL_LAYOUTS=1")
def test_the_distributed_optimizer_goes_on_in_another_layout(tmp_path: Path) -> None:
    """TP 2 to DP 2, against the run without a break.

    With the stand-in for Transformer Engine's Adam: with PyTorch's, neither Megatron-LM nor Bridge can load a
    distributed optimizer (core/optimizer/distrib_optimizer.py ``state_dict``, ``assert len(steps) == 1``).
    """
    words = curve("tp2")["argv"]
    for flag, values in (
        ("--tensor-model-parallel-size", 1),
        ("--transformer-impl", 1),
        ("--no-persist-layer-norm", 0),
    ):
        at = words.index(flag)
        del words[at : at + 1 + values]
    words += ["--use-distributed-optimizer", "--dist-ckpt-optim-fully-reshardable"]
    whole = rehearse([*words, *TP2], 2, tmp_path)
    rehearse([*words, *TP2, *"--save ckpt --save-interval 6 --exit-interval 6".split()], 2, tmp_path)
    resumed = rehearse([*words, "--load", "ckpt"], 2, tmp_path)
    assert len(resumed) == 6
    for ours, theirs in zip(resumed, whole[6:], strict=True):
        for name in ("lm_loss", "grad_norm"):
            assert math.isclose(ours[name], theirs[name], rel_tol=5e-6), (name, ours, theirs)
