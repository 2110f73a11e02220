"""On one GPU: nothing of the CPU emulation is active, and Bridge trains as Megatron-LM does.

``pytest -m gpu`` on a machine with a GPU, PyTorch for it, Megatron Core and Bridge; ``MEGATRON_LM_CHECKOUT`` for the
comparison. Transformer Engine is used where it is installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bridge_args.training.processes import on_cpu

ROOT = Path(__file__).resolve().parents[2]
CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")
TRANSFORMER_ENGINE = importlib.util.find_spec("transformer_engine") is not None


def has_gpu() -> bool:
    return importlib.util.find_spec("torch") is not None and not on_cpu("auto", 1)


pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron.bridge is not installed"),
    pytest.mark.skipif(not has_gpu(), reason="there is no GPU"),
]

MODEL = (
    "--num-layers 4 --hidden-size 512 --num-attention-heads 8 --seq-length 512 --max-position-embeddings 512 "
    "--position-embedding-type rope --swiglu --normalization RMSNorm --disable-bias-linear "
    "--attention-dropout 0 --hidden-dropout 0 --mock-data --tokenizer-type NullTokenizer --vocab-size 8191 "
    "--micro-batch-size 4 --global-batch-size 16 --train-iters 20 --eval-iters 1 --eval-interval 1000 --log-interval 1 "
    "--lr 1e-3 --bf16"
).split()
LOCAL = "--transformer-impl local --no-gradient-accumulation-fusion --no-persist-layer-norm --no-rope-fusion".split()


def command_line() -> list[str]:
    return [*MODEL, *([] if TRANSFORMER_ENGINE else LOCAL)]


def bridge_args(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=900)


def test_a_rehearsal_uses_the_gpu_and_replaces_nothing(tmp_path: Path) -> None:
    words = ("--format", "json", "--", *command_line())
    done = bridge_args("bridge_args", "rehearse", *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "on the GPU, 1 process" in done.stderr
    assert "replaced:" not in done.stderr
    assert "changed for the CPU" not in done.stderr
    losses = [entry["lm_loss"] for entry in map(json.loads, done.stdout.splitlines()) if "split" not in entry]
    assert len(losses) == 20
    assert losses[-1] < losses[0]


def test_the_drop_in_trains_on_the_gpu(tmp_path: Path) -> None:
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", "1", "-m", "bridge_args.pretrain_gpt")
    done = bridge_args(*launcher, *command_line(), folder=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "iteration       20/      20" in done.stdout + done.stderr
    assert "replaced:" not in done.stderr


@pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout")
def test_both_sides_are_the_same_run(tmp_path: Path) -> None:
    words = ("--megatron-lm", CHECKOUT, "--format", "json", "--", *command_line())
    done = bridge_args("bridge_args", "verify", *words, folder=tmp_path)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["ran"]["device"] == "cuda"
    assert found["verdict"] in ("identical", "equal within bf16 rounding"), found["says"]
    assert done.returncode == 0
    assert not found["weights"]
    assert not found["batches"]
    print(found["says"], "tokens/s:", found["tokens_per_second"])  # shown by pytest -rP
