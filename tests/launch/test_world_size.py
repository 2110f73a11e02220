"""How many ranks a job has, however it is asked for; and what changes where launch is told another number of nodes."""

# ruff: noqa: E501 - a script is one line where people write it so
from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from small import SMALL_TEXT

from bridge_args.cli.main import main
from bridge_args.script.command import world_size_of
from bridge_args.script.slurm import from_options
from bridge_args.source.read import from_text

NEMO_RUN = pytest.mark.skipif(importlib.util.find_spec("nemo_run") is None, reason="nemo_run is not installed")
RUN = f"srun python pretrain_gpt.py {SMALL_TEXT}"


def job(options: str, run: str = RUN) -> str:
    return f"#!/bin/bash\n#SBATCH {options}\n{run}\n"


# Every one of them starts 32 processes.
JOBS = {
    "nodes and tasks a node": job("-N 4 --ntasks-per-node=8"),
    "on two lines": job("-N4\n#SBATCH -n 32"),
    "its other name": job("--nodes=4-4 --tasks-per-node=8"),
    "a GPU a task": job("--nodes 4 --gpus-per-node=8 --gpus-per-task=1"),
    "all GPUs": job("--gpus=a100:32 --gpus-per-task 1"),
    "a task a GPU": job("-N 4 --gres=gpu:8 --ntasks-per-gpu=1"),
    "in the task's shell": job("-N 4 --ntasks-per-node=8", f"srun -l bash -c 'RANK=$SLURM_PROCID python pretrain_gpt.py {SMALL_TEXT}'"),
    "srun says more": job("-N 8", f"srun -N 4 --ntasks-per-node=8 python pretrain_gpt.py {SMALL_TEXT}"),
    "sbatch counts more": f"sbatch -N 4 -n 32 <<'EOF'\n{job('-N 2')}EOF\n",
    "wrapped": f"sbatch --nodes 4 --ntasks-per-node 8 --wrap='{RUN}'\n",
    "a file that the script writes": f"cat > job.sbatch <<'EOF'\n{job('--nodes=4 --ntasks-per-node=8')}EOF\nsbatch job.sbatch\n",
    "with a variable in it": f"N=4\ncat > job.sbatch <<EOF\n{job('--nodes=$N --ntasks-per-node=8')}EOF\nsbatch job.sbatch\n",
    "the options of its call": f"cat > job.sbatch <<'EOF'\n{job('--nodes=1 --ntasks-per-node=8')}EOF\nsbatch --nodes 4 job.sbatch\n",
    "salloc": f"salloc -N 4 --ntasks-per-node=8 {RUN}\n",
    "salloc and a shell": f"salloc -N 4 -n 32 bash -c '{RUN}'\n",
    "torchrun on every node": job("-N 4", f"srun torchrun --nnodes $SLURM_NNODES --nproc-per-node 8 pretrain_gpt.py {SMALL_TEXT}"),
}  # fmt: skip


@pytest.mark.parametrize("script", JOBS.values(), ids=JOBS)
def test_every_way_to_ask_for_32(script: str) -> None:
    assert world_size_of(from_text(script, "job.sh").command) == 32


@pytest.mark.parametrize("script", JOBS.values(), ids=JOBS)
def test_every_command_knows_it(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A batch of 48 samples cannot be divided among 32 ranks, and can among 1, 4 or 16."""
    monkeypatch.chdir(tmp_path)
    Path("job.sh").write_text(script.replace("--micro-batch-size 1", "--micro-batch-size 1 --global-batch-size 48"))
    for command in (["translate"], ["report"], ["audit"]):
        assert main([*command, "job.sh"]) == 1
        captured = capsys.readouterr()
        assert "32" in captured.out + captured.err and "assumed" not in captured.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("-N 2-4 --ntasks-per-node=8", {"SLURM_NTASKS_PER_NODE": "8"}),
        ("--ntasks=32 --ntasks-per-node=8", {"SLURM_NNODES": "4", "SLURM_NTASKS": "32"}),
        ("-N 2 hetjob -N 4", {}),
        ("--nodes=x --ntasks=-1", {}),
    ],
    ids=["a range", "tasks alone", "several parts", "no numbers"],
)
def test_what_slurm_says_of_a_job(options: str, told: dict[str, str]) -> None:
    found = {name: value for name, value in from_options(options.split()).items() if "JOB" not in name}
    assert found.items() >= told.items() and ("SLURM_NTASKS" in found) == ("SLURM_NTASKS" in told)


# With ``launch --nodes 2`` and the words that are there then, and that are not.
NODES = {
    "torchrun of four nodes": (
        job("-N 4", f"srun torchrun --nnodes 4 --nproc-per-node 8 --rdzv-endpoint node1:29500 pretrain_gpt.py {SMALL_TEXT}"),
        ["--nnodes 2", '--rdzv-endpoint "${head_node_ip}:29500"', "--rdzv-backend c10d"],
        ["node1", "--nnodes 4"],
    ),
    "an address that is worked out stays": (
        job("-N 4", f"M=$(scontrol show hostnames | head -1)\nsrun bash -c \"torchrun --nnodes=4 --nproc-per-node 8 --master_addr $M --node_rank \\$SLURM_NODEID pretrain_gpt.py {SMALL_TEXT}\""),
        ["--nnodes=2", "--master_addr ${M}", "--node_rank \\$SLURM_NODEID"],
        ["--rdzv", "nnodes=4"],
    ),
    "one node, standing alone": (
        f"torchrun --standalone --nproc_per_node 8 pretrain_gpt.py {SMALL_TEXT}\n",
        ["--nnodes 2", '--rdzv-endpoint "${head_node_ip}:29500"', "--ntasks=2"],
        ["standalone"],
    ),
    "in the task's shell": (
        job("-N 1", f"srun bash -c 'export A=$SLURM_NODEID; torchrun --nproc-per-node 8 pretrain_gpt.py {SMALL_TEXT}'"),
        ["export A=\\$SLURM_NODEID", "--nnodes 2", "${head_node_ip}:29500"],
        ["standalone"],
    ),
    "a module, and a rank that nobody knows": (
        f"torchrun --nnodes 4 --node_rank $NODE_RANK --master_addr 10.0.0.1 --master_port 6000 --nproc_per_node 8 -m megatron.pretrain_gpt {SMALL_TEXT}\n",
        ["--nnodes 2", "-m bridge_args.pretrain_gpt"],
        ["10.0.0.1", "node_rank", "6000"],
    ),
    "tasks a node": (
        job("-N 4 --ntasks-per-node=8"), ["#SBATCH --nodes=2", "#SBATCH --ntasks-per-node=8"], ["--nodes=4"],
    ),
    "all tasks of the job": (job("-N 4 -n 32"), ["#SBATCH --nodes=2", "#SBATCH --ntasks=16"], ["ntasks=32"]),
    "tasks": (
        job("-N 4 -n 32", f"srun -N 4 -n 32 python pretrain_gpt.py {SMALL_TEXT}"),
        ["--nodes=2 --ntasks=16", "#SBATCH --ntasks=16", "#SBATCH --nodes=2"],
        ["-n 32", "ntasks=32"],
    ),
}  # fmt: skip


@NEMO_RUN
@pytest.mark.parametrize("case", NODES)
def test_another_number_of_nodes(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 48 samples every rank gets some where there are 16 of them, and not where there are 32."""
    monkeypatch.chdir(tmp_path)
    script, there, gone = NODES[case]
    Path("job.sh").write_text(script.replace("--micro-batch-size 1", "--micro-batch-size 1 --global-batch-size 48"))
    code = main(["launch", "job.sh", "--nodes", "2", "--gpus-per-node", "8", "--executor", "slurm", "--dry-run"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    text = captured.out.replace(" \\\n   ", "")
    assert [words for words in there if words not in text] == [] and [words for words in gone if words in text] == []
