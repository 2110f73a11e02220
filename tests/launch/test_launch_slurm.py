"""The batch files, in front of a real Slurm: ``sbatch --test-only`` takes each, and one job really trains."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import one_node_slurm
import pytest
from small import TRAINED_TEXT
from test_launch import CASES
from test_launch_local import ROOT

pytestmark = [
    pytest.mark.skipif(one_node_slurm.why_not() != "", reason=f"a Slurm of one node: {one_node_slurm.why_not()}"),
    pytest.mark.skipif(importlib.util.find_spec("nemo_run") is None, reason="nemo_run is not installed"),
]

HEAD = """\
#!/bin/bash
#SBATCH --job-name=tiny --nodes=1 --gpus-per-node=2 --time=10:00
#SBATCH --output=%x-%j.log
export BRIDGE_ARGS_CPU=1 CUDA_DEVICE_MAX_CONNECTIONS=1
"""
TORCHRUN = f"""\
{HEAD}STAMP=$(date +%Y)
HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --label bash -c "torchrun --nnodes $SLURM_NNODES --nproc-per-node 2 --node-rank \\$SLURM_NODEID \\
    --rdzv-backend c10d --rdzv-endpoint $HEAD:29511 --rdzv-id $SLURM_JOB_ID \\
    pretrain_gpt.py {TRAINED_TEXT} --tensorboard-dir tb-$STAMP"
"""
TASKS = f"""\
{HEAD.replace("--nodes=1", "--nodes=1 --ntasks-per-node=2")}export MASTER_PORT=$((20000 + SLURM_JOB_ID))
srun --label python -u pretrain_gpt.py {TRAINED_TEXT} --tensorboard-dir tb-$((2000 + SLURM_NTASKS))
"""
FAILS = TASKS.replace("--lr 1e-3", "--lr 1e-3 --save /proc/x --save-interval 1")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with one_node_slurm.running(tmp_path_factory.mktemp("slurm")) as env:
        yield {**env, "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{env['PATH']}"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_sbatch_takes_the_file(case: Path, slurm: dict[str, str]) -> None:
    done = subprocess.run(
        ["sbatch", "--test-only", str(case / "expected.sbatch")], env=slurm, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and "to start at" in done.stderr, done.stderr


def test_sbatch_refuses_what_is_wrong(slurm: dict[str, str], tmp_path: Path) -> None:
    text = (CASES[0] / "expected.sbatch").read_text()
    wrong = tmp_path / "wrong.sbatch"
    wrong.write_text(text.replace("\nset -evx", "#SBATCH --partition=nowhere\n\nset -evx", 1))
    done = subprocess.run(["sbatch", "--test-only", str(wrong)], env=slurm, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0


def end_of(number: str, slurm: dict[str, str]) -> str:
    """The state in which a job has ended."""
    for _ in range(180):
        show = subprocess.run(
            ["scontrol", "show", "job", number], env=slurm, capture_output=True, text=True, timeout=30
        )
        found = show.stdout.partition("JobState=")[2].partition(" ")[0]
        if found not in ("PENDING", "RUNNING", "CONFIGURING", "COMPLETING"):
            break
        time.sleep(1)
    return found


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is not installed")
def test_a_conversion_runs_as_a_job(slurm: dict[str, str], tmp_path: Path) -> None:
    """Twice: into a new folder, and into the one that is there by then."""
    import tiny_models
    from safetensors.torch import save_file

    base = tiny_models.make(tmp_path / "base", "llama")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    import torch

    low = {"lora_A": torch.ones(2, 64), "lora_B": torch.ones(64, 2)}
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    save_file(
        {f"{name}.{half}.weight": numbers for half, numbers in low.items()}, adapter / "adapter_model.safetensors"
    )
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "base_model_name_or_path": str(base)}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    words = ["merge-lora", f"lora_checkpoint={adapter}", f"base_hf_path={base}", "output_hf_path=merged", "--no-smoke"]
    for state in ("COMPLETED", "FAILED"):
        done = subprocess.run(
            [sys.executable, "-m", "bridge_args", "checkpoint", *words, "--executor", "slurm"],
            cwd=tmp_path,
            env=slurm,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        number = done.stdout.strip()
        found = end_of(number, slurm)
        assert found == state, (tmp_path / f"slurm-{number}.out").read_text()[-3000:]
        assert (tmp_path / "merged" / "conversion.json").is_file()


@pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron.bridge is not installed")
@pytest.mark.parametrize(
    ("script", "state"),
    [(TORCHRUN, "COMPLETED"), (TASKS, "COMPLETED"), (FAILS, "FAILED")],
    ids=["torchrun", "tasks", "fails"],
)
def test_a_job_runs(script: str, state: str, slurm: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text(script)
    done = subprocess.run(
        [sys.executable, "-m", "bridge_args", "launch", "job.sh", "--executor", "slurm"],
        cwd=tmp_path,
        env=slurm,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    number = done.stdout.strip()
    found = end_of(number, slurm)
    log = (tmp_path / f"tiny-{number}.log").read_text()
    assert found == state, log[-3000:]
    if state == "COMPLETED":
        assert re.search(r"^\d:  \[.*iteration        2/       2 .*global batch size:     2 ", log, re.M)
        assert os.listdir(next(tmp_path.glob("tb-20*")))
    else:
        assert "/proc/x" in log
