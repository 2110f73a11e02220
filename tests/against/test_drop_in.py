"""``torchrun … -m bridge_args.pretrain_gpt`` trains with Megatron-LM's own arguments, on two processes of a CPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TP2 = ROOT / ".." / "shared" / "curves" / "tp2.json"

pytestmark = pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron.bridge is not installed")

SMALL = (
    "--transformer-impl local --no-gradient-accumulation-fusion --no-persist-layer-norm --num-layers 2 "
    "--hidden-size 32 --num-attention-heads 2 --seq-length 16 --max-position-embeddings 16 --mock-data "
    "--tokenizer-type NullTokenizer --vocab-size 100 --micro-batch-size 1 --train-iters 2 --eval-iters 1 "
    "--eval-interval 100 --log-interval 1 --lr 1e-3"
).split()


def drop_in(words: list[str], folder: Path, processes: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += ["-m", "bridge_args.pretrain_gpt", *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_DEVICE_MAX_CONNECTIONS": "1", "BRIDGE_ARGS_CPU": "1"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=150, check=False)


def test_two_ranks_train(tmp_path: Path) -> None:
    done = drop_in([*SMALL, "--tensor-model-parallel-size", "2"], tmp_path, 2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "iteration        2/       2" in done.stdout + done.stderr


@pytest.mark.skipif(not TP2.is_file(), reason="the recorded curves are not here")
def test_its_last_loss_is_megatron_lms(tmp_path: Path) -> None:
    recorded = json.loads(TP2.read_text())
    done = drop_in(recorded["argv"], tmp_path, recorded["nproc"])
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if "iteration       12/      12" in line]
    assert f"lm loss: {recorded['curve'][-1]['lm_loss']:.6E}" in line
    assert f"grad norm: {recorded['curve'][-1]['grad_norm']:.3f}" in line


def test_a_bad_flag_is_said_once_and_nothing_starts(tmp_path: Path) -> None:
    done = drop_in([*SMALL, "--num-layer", "2"], tmp_path, 2)
    assert done.returncode == 1
    assert done.stderr.count("--num-layer is not an argument of Megatron-LM 0.16.1") == 1
    assert "bridge_args/pretrain_gpt.py" not in done.stderr  # no traceback of ours
