"""``torchrun … -m bridge_args.pretrain_gpt`` trains with Megatron-LM's own arguments, on two processes of a CPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from recorded import curve
from small import TRAINED

from bridge_args.pairs.pairs import usual_megatron_lm
from bridge_args.training.ranks import free_port

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron.bridge is not installed")


def drop_in(words: list[str], folder: Path, processes: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += ["-m", "bridge_args.pretrain_gpt", *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_DEVICE_MAX_CONNECTIONS": "1", "BRIDGE_ARGS_CPU": "1"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=150, check=False)


def together(commands: list[tuple[list[str], dict[str, str]]], folder: Path) -> list[str]:
    """Starts all, each with variables of its own; returns what each has said, when all have ended well."""
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "MASTER_", "TORCHELASTIC"))
    }
    env |= {"PYTHONPATH": str(ROOT), "CUDA_DEVICE_MAX_CONNECTIONS": "1", "BRIDGE_ARGS_CPU": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env={**env, **own},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        for command, own in commands
    ]
    try:
        said = [process.communicate(timeout=150)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * len(started), "\n".join(said)[-3000:]
    return said


def test_two_nodes_train(tmp_path: Path) -> None:
    port = free_port()
    nodes = [
        f"-m torch.distributed.run --nnodes 2 --node-rank {node} --nproc-per-node 1 --master-addr localhost "
        f"--master-port {port} -m bridge_args.pretrain_gpt --tensor-model-parallel-size 2 --save ckpt --save-interval 2"
        for node in range(2)
    ]
    first, second = together([([*node.split(), *TRAINED], {}) for node in nodes], tmp_path)
    assert "iteration        2/       2" in second  # the last rank has the loss
    assert "--mock-data: Bridge uses mock data" in first and "--mock-data: " not in second
    assert (tmp_path / "ckpt" / "latest_checkpointed_iteration.txt").read_text() == "2"
    kept = tmp_path / "ckpt" / "bridge_args"
    assert sorted(file.name for file in kept.iterdir()) == [
        "command.txt",
        "report.json",
        "report.txt",
        "run_config.yaml",
    ]


def test_srun_tasks_train(tmp_path: Path) -> None:
    """As srun starts them: ranks from Slurm's variables alone."""
    step = {"SLURM_JOB_ID": free_port(), "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_NODELIST": "localhost"}
    words = ["-m", "bridge_args.pretrain_gpt", *TRAINED, "--tensor-model-parallel-size", "2"]
    tasks = [(words, {**step, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}) for rank in range(2)]
    assert "iteration        2/       2" in together(tasks, tmp_path)[1]


def test_its_last_loss_is_megatron_lms(tmp_path: Path) -> None:
    recorded = curve("tp2")
    done = drop_in(["--megatron-lm", "0.16.1", *recorded["argv"]], tmp_path, recorded["nproc"])
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if "iteration       12/      12" in line]
    assert f"lm loss: {recorded['curve'][-1]['lm_loss']:.6E}" in line
    assert f"grad norm: {recorded['curve'][-1]['grad_norm']:.3f}" in line


def test_a_bad_flag_is_said_once_and_nothing_starts(tmp_path: Path) -> None:
    done = drop_in([*TRAINED, "--num-layer", "2"], tmp_path, 2)
    assert done.returncode == 1
    assert done.stderr.count(f"--num-layer is not an argument of Megatron-LM {usual_megatron_lm()}") == 1
    assert "bridge_args/pretrain_gpt.py" not in done.stderr  # no traceback of ours


def test_a_signal_ends_the_run_with_a_checkpoint(tmp_path: Path) -> None:
    """As in Megatron-LM with --exit-signal-handler."""
    endless = [
        *TRAINED,
        "--train-iters",
        "1000000",
        "--exit-signal-handler",
        "--save",
        "ckpt",
        "--save-interval",
        "1000000",
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_DEVICE_MAX_CONNECTIONS": "1", "BRIDGE_ARGS_CPU": "1"}
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "bridge_args.pretrain_gpt", *endless], cwd=tmp_path, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if "iteration        3/" in line:
                process.terminate()
        assert process.wait(timeout=60) == 0, "".join(said)[-3000:]
    finally:
        process.kill()
    assert "exiting program after receiving SIGTERM" in "".join(said)
    saved = int((tmp_path / "ckpt" / "latest_checkpointed_iteration.txt").read_text())
    assert 3 <= saved < 1000000
