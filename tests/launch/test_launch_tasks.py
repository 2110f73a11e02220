"""Every task of our batch file has the words and the environment that it has under the user's own script.

The script and the batch file are run by the real bash, with programs in the place of Slurm's and MPI's that start
recorders (``simulated_jobs.py``); then every task of the one is compared with every task of the other.
"""

# ruff: noqa: E501 - a script is one line where people write it so
from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from simulated_jobs import Jobs, told_by_slurm
from small import SMALL_TEXT

from bridge_args.cli.main import main

NEMO_RUN = pytest.mark.skipif(importlib.util.find_spec("nemo_run") is None, reason="nemo_run is not installed")
HEAD = """\
#!/bin/bash
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --gpus-per-node=2
export MASTER_ADDR=$(scontrol show hostnames $SLURM_JOB_NODELIST | head -n 1)
export MASTER_PORT=29500
export WORLD_SIZE=$SLURM_NTASKS
"""
ONE_A_NODE = HEAD.replace("--ntasks-per-node=2", "--ntasks-per-node=1")

# ``%%`` is the arguments of Megatron-LM. Scripts of one task a GPU, but where they have lines of their own.
SLURM = {
    "exported in the task": "srun bash -c 'export RANK=$SLURM_PROCID; export LOCAL_RANK=$SLURM_LOCALID; python pretrain_gpt.py %%'",
    "in front of the program": "srun bash -c 'RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID python pretrain_gpt.py %%'",
    "double quotes": 'srun bash -c "RANK=\\$SLURM_PROCID MASTER_ADDR=$MASTER_ADDR exec python pretrain_gpt.py %%"',
    "env": "srun sh -c 'env RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID python -u pretrain_gpt.py %%'",
    "arithmetic": "srun bash -lc 'numactl --cpunodebind=$((SLURM_LOCALID/1)) python pretrain_gpt.py %%'",
    "arithmetic on a variable": "srun bash -c 'L=$SLURM_LOCALID; N=$((L*4)); taskset -c $N-$((N+3)) python pretrain_gpt.py %%'",
    "devices": "srun bash -c 'export CUDA_VISIBLE_DEVICES=$SLURM_LOCALID; unset WORLD_SIZE; python pretrain_gpt.py %%'",
    "caches": "srun bash -c 'export TRITON_CACHE_DIR=/tmp/$USER/triton_$SLURM_PROCID; mkdir -p x$SLURM_PROCID; python pretrain_gpt.py %%'",
    "address in the task": "srun bash -c 'export MASTER_ADDR=$(scontrol show hostnames | head -n1) RANK=$SLURM_PROCID; python pretrain_gpt.py %%'",
    "case": """srun bash -c '
case $SLURM_LOCALID in
    0) CPUS=0-15 ;;
    *) CPUS=16-31; export NCCL_IB_HCA=mlx5_1 ;;
esac
taskset -c $CPUS python pretrain_gpt.py %%'""",
    "if": """srun bash -c 'if [ $SLURM_PROCID -eq 0 ]; then
  nsys profile -o r python pretrain_gpt.py %%
else
  python pretrain_gpt.py %%
fi'""",
    "array by task": "srun bash -c 'C=(0-7 8-15); export B=${C[$SLURM_LOCALID]}; exec taskset -c ${C[SLURM_LOCALID]} python pretrain_gpt.py %%'",
    "function": """srun bash -c 'run() { export RANK=$1; shift; "$@"; }; run $SLURM_PROCID python pretrain_gpt.py %%'""",
    "words of the shell": "srun bash -c 'export RANK=$SLURM_PROCID; exec \"$@\"' wrapper python pretrain_gpt.py %%",
    "a wrapper of the script's": """cat > wrapper.sh <<'EOF'
#!/bin/bash
export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID
exec "$@"
EOF
chmod +x wrapper.sh
srun ./wrapper.sh python pretrain_gpt.py %%""",
    "a wrapper that adds words": """cat > numa.sh <<'EOF'
#!/bin/bash
exec numactl --cpunodebind=$((SLURM_LOCALID / 1)) --membind=$((SLURM_LOCALID)) "$@"
EOF
srun bash numa.sh python -u pretrain_gpt.py %%""",
    "here-document": """srun bash <<'EOF'
export RANK=$SLURM_PROCID
export LOCAL_RANK=$SLURM_LOCALID
python pretrain_gpt.py %%
EOF""",
    "here-document for bash -s": """srun bash -s one two <<'EOF'
export RANK=$SLURM_PROCID FIRST=$1
python pretrain_gpt.py %%
EOF""",
    "a file from a here-document": """cat > run_$SLURM_JOB_ID.sh <<EOF
#!/bin/bash
export MASTER_ADDR=$MASTER_ADDR
export RANK=\\$SLURM_PROCID
python pretrain_gpt.py %%
EOF
srun bash run_$SLURM_JOB_ID.sh""",
    "a command in a variable": 'CMD="python pretrain_gpt.py %%"\nsrun bash -c "RANK=\\$SLURM_PROCID $CMD"',
    "a command exported": "export CMD=\"python pretrain_gpt.py %%\"\nsrun bash -c 'export RANK=$SLURM_PROCID; $CMD'",
    "a command evaluated": 'export CMD="python pretrain_gpt.py %%"\nsrun bash -c \'export RANK=$SLURM_PROCID; eval "$CMD"\'',
    "a path in a variable": "export MEGATRON=/opt/megatron\nsrun bash -c 'RANK=$SLURM_PROCID python ${MEGATRON}/pretrain_gpt.py %%'",
    "arrays": 'ARGS=(%%)\nsrun bash -c "RANK=\\$SLURM_PROCID python pretrain_gpt.py ${ARGS[*]}"',
    "an array in the task": "srun bash -c 'ARGS=(%% --tensorboard-dir tb); export RANK=$SLURM_PROCID; python pretrain_gpt.py \"${ARGS[@]}\"'",
    "what the batch shell knows first": "echo $SLURM_PROCID > /dev/null\nexport FIRST=$SLURM_PROCID\nsrun bash -c 'RANK=$SLURM_PROCID python pretrain_gpt.py %%'",
    "local rank as an argument": 'srun bash -c "python pretrain_gpt.py %% --local-rank \\${SLURM_LOCALID}"',
    "a folder": "srun bash -c 'mkdir -p work && cd work && RANK=$SLURM_PROCID python pretrain_gpt.py %%'",
    "srun --export": "srun --export=ALL,NCCL_DEBUG=INFO bash -c 'RANK=$SLURM_PROCID python pretrain_gpt.py %%'",
    "srun without the environment": "srun --export=NONE bash -c 'export RANK=$SLURM_PROCID MASTER_ADDR=a; python pretrain_gpt.py %%'",
    "fewer tasks": "srun --ntasks=2 --nodes=2 --ntasks-per-node=1 bash -c 'RANK=$SLURM_PROCID python pretrain_gpt.py %%'",
    "a default": "srun bash -c 'export RANK=${SLURM_PROCID:-0} LOCAL=${SLURM_LOCALID:-0}; python pretrain_gpt.py %%'",
    "a shell in a shell": "srun bash -c 'export RANK=$SLURM_PROCID; bash -c \"export LOCAL_RANK=\\$SLURM_LOCALID; python pretrain_gpt.py %%\"'",
    "singularity": "srun singularity exec --nv -B /data:/data image.sif bash -c 'export RANK=$SLURM_PROCID; python pretrain_gpt.py %%'",
    "apptainer with words": "srun apptainer exec --env A=1 image.sif python pretrain_gpt.py %%",
    "docker": "srun docker run --gpus all -e SLURM_PROCID -e MASTER_ADDR image:1 bash -c 'export RANK=$SLURM_PROCID; python pretrain_gpt.py %%'",
    "enroot": "srun enroot start --env X=1 image bash -c 'RANK=$SLURM_PROCID python pretrain_gpt.py %%'",
    "pyxis": "srun --container-image=/i.sqsh --container-mounts=/a:/b bash -c 'export RANK=$SLURM_PROCID; python pretrain_gpt.py %%'",
    "worked out before": 'export MASTER_PORT=$((10000 + SLURM_JOB_ID % 50000)) STAMP=$(date +%Y); LOCAL=$(date +%m)\nsrun bash -c "RANK=\\$SLURM_PROCID python pretrain_gpt.py %% --tensorboard-dir tb-$STAMP-$LOCAL"',
    "a list of nodes": "NODES=($(scontrol show hostnames $SLURM_JOB_NODELIST))\nHEAD=${NODES[0]}\nIP=$(srun --nodes=1 --ntasks=1 -w \"$HEAD\" hostname --ip-address)\nexport MASTER_ADDR=$IP\nsrun bash -c 'RANK=$SLURM_PROCID python pretrain_gpt.py %%'",
    "quotes in the text": "srun bash -c 'export NOTE=\"it'\"'\"'s $SLURM_PROCID\"; python pretrain_gpt.py %%'",
    "a comment and a pipe": """srun bash -c '
# every task
export RANK=$SLURM_PROCID   # its rank
python pretrain_gpt.py %% 2>&1 | cat'""",
    "and then": "srun bash -c 'export RANK=$SLURM_PROCID && true && python pretrain_gpt.py %% || exit 3'",
    "a loop": "srun bash -c 'for name in RANK:$SLURM_PROCID LOCAL_RANK:$SLURM_LOCALID; do export ${name%:*}=${name#*:}; done; python pretrain_gpt.py %%'",
    "until it works": "srun bash -c 'until [ -d / ]; do sleep 1; done; RANK=$SLURM_PROCID python pretrain_gpt.py %%'",
    "a name of the program": "export PROG=pretrain_gpt.py\nsrun bash -c 'RANK=$SLURM_PROCID python $PROG %%'",
    "modified by the rank": "srun bash -c 'if (( SLURM_LOCALID == 0 )); then EXTRA=\"--log-throughput\"; fi; python pretrain_gpt.py %% $EXTRA'",
    "words for the file": """cat > task.sh <<'EOF'
export RANK=$SLURM_PROCID NAME=$1; shift
python pretrain_gpt.py %% "$@"
EOF
srun bash task.sh first --log-throughput""",
    "name of its own file": """cat > task.sh <<'EOF'
export HERE=$(basename "${BASH_SOURCE[0]}") RANK=$SLURM_PROCID
python pretrain_gpt.py %%
EOF
srun bash task.sh""",
}

# Scripts of one torchrun a node.
TORCHRUN = {
    "node rank": 'srun bash -c "torchrun --nnodes 2 --nproc-per-node 2 --node_rank \\$SLURM_NODEID --master_addr $MASTER_ADDR pretrain_gpt.py %%"',
    "node rank in the task": "srun bash -c 'export NODE_RANK=$SLURM_NODEID; torchrun --nnodes $SLURM_NNODES --node_rank=$NODE_RANK --master_addr $MASTER_ADDR pretrain_gpt.py %%'",
    "interfaces by node": "srun bash -c 'if [ $SLURM_NODEID = 0 ]; then export GLOO_SOCKET_IFNAME=a; else export GLOO_SOCKET_IFNAME=b; fi; torchrun --nnodes 2 pretrain_gpt.py %%'",
    "rendezvous": "srun torchrun --nnodes 2 --nproc-per-node 2 --rdzv-id $SLURM_JOB_ID --rdzv-backend c10d --rdzv-endpoint $MASTER_ADDR:$MASTER_PORT pretrain_gpt.py %%",
    "without python": "srun bash -c 'torchrun --nnodes 2 --no_python bash -c \"export CUDA_VISIBLE_DEVICES=\\$LOCAL_RANK; python pretrain_gpt.py %%\"'",
    "a log by host": "srun bash -c 'torchrun --nnodes 2 --log-dir logs/$(hostname) pretrain_gpt.py %%'",
}

MPI = {
    "exported in the task": "mpirun -np 4 bash -c 'export RANK=$OMPI_COMM_WORLD_RANK LOCAL_RANK=$OMPI_COMM_WORLD_LOCAL_RANK; python pretrain_gpt.py %%'",
    "in front of the program": "mpirun -np 2 sh -c 'RANK=$PMI_RANK python pretrain_gpt.py %%'",
    "handed over": "export A=1\nmpirun -np 2 -x A -x B=2 --mca btl tcp,self bash -c 'RANK=$PMIX_RANK exec python pretrain_gpt.py %%'",
    "a wrapper": "cat > w.sh <<'EOF'\nexport RANK=$OMPI_COMM_WORLD_RANK\nexec \"$@\"\nEOF\nmpirun -n 2 bash w.sh python pretrain_gpt.py %%",
    "numa": "mpiexec -n 4 bash -c 'numactl -N $((OMPI_COMM_WORLD_LOCAL_RANK / 2)) python pretrain_gpt.py %%'",
    "plain": "export MASTER_ADDR=localhost MASTER_PORT=6000\nmpirun -np 2 python pretrain_gpt.py %%",
    "docker": "docker run --gpus all -v /d:/d -e A=1 image:1 bash -c 'export B=2; torchrun --nproc-per-node 2 pretrain_gpt.py %%'",
    "apptainer": "apptainer exec --nv image.sif torchrun --nproc-per-node 2 pretrain_gpt.py %%",
    "without python": "torchrun --nproc-per-node 2 --no-python bash -c 'CUDA_VISIBLE_DEVICES=$LOCAL_RANK python pretrain_gpt.py %%'",
}  # fmt: skip


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    made = Jobs(tmp_path)
    for name in list(os.environ):
        if not name.startswith(("PYTHON", "TMP", "COV")):
            monkeypatch.delenv(name)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return made


def made_of(script: str, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """What launch makes of a script, to be run where the script would be."""
    Path("job.sh").write_text(script)
    code = main(["launch", "job.sh", "--dry-run", *options])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out.replace(sys.executable, "python")


def without_own(words: Sequence[str]) -> tuple[str, ...]:
    """Without what the drop-in is told beside the arguments."""
    at = words.index("--megatron-lm")
    return (*words[:at], *words[at + 2 :])


def same_tasks_of_slurm(script: str, jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    batch = made_of(script, capsys, "--executor", "slurm")
    ours = jobs.run(batch, told_by_slurm(batch, jobs.folder))  # first: it may not need what the script leaves behind
    original = jobs.run(script, told_by_slurm(script, jobs.folder))
    assert [without_own(task.words) for task in ours] == [task.words for task in original]
    for one, other in zip(ours, original, strict=True):
        assert dict(one.environment) == dict(other.environment)


@NEMO_RUN
@pytest.mark.parametrize("idiom", SLURM)
def test_tasks_of_a_job(idiom: str, jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    same_tasks_of_slurm(f"{HEAD}{SLURM[idiom].replace('%%', SMALL_TEXT)}\n", jobs, capsys)


@NEMO_RUN
@pytest.mark.parametrize("idiom", TORCHRUN)
def test_one_torchrun_a_node(idiom: str, jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    same_tasks_of_slurm(f"{ONE_A_NODE}{TORCHRUN[idiom].replace('%%', SMALL_TEXT)}\n", jobs, capsys)


@pytest.mark.parametrize("idiom", MPI)
def test_tasks_on_this_machine(idiom: str, jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    script = f"{MPI[idiom].replace('%%', SMALL_TEXT)}\n"
    ours = jobs.run(made_of(script, capsys))
    original = jobs.run(script)
    assert [without_own(task.words) for task in ours] == [task.words for task in original]
    for one, other in zip(ours, original, strict=True):
        assert dict(one.environment) == dict(other.environment)


def test_the_simulation_sees_a_wrong_rank(jobs: Jobs) -> None:
    right = f"{HEAD}srun bash -c 'RANK=$SLURM_PROCID python pretrain_gpt.py'\n"
    wrong = f"{HEAD}export RANK=$SLURM_PROCID\nsrun python pretrain_gpt.py\n"
    ranks = [
        [task.environment["RANK"] for task in jobs.run(text, told_by_slurm(text, jobs.folder))]
        for text in (right, wrong)
    ]
    assert sorted(ranks[0]) == ["0", "1", "2", "3"] and ranks[1] == ["0"] * 4


# What only a task knows, where a command line says it: an argument that no setting comes of, and one that one does.
ONLY_A_TASK_KNOWS = {
    "local rank": "srun bash -c 'python pretrain_gpt.py %% --local-rank ${SLURM_LOCALID}'",
    "local rank, joined": "srun bash -c 'python pretrain_gpt.py %% --local-rank=$SLURM_LOCALID'",
    "of mpi": "mpirun -np 4 bash -c 'python pretrain_gpt.py %% --local-rank $OMPI_COMM_WORLD_LOCAL_RANK'",
    "of torchrun": "torchrun --nproc-per-node 4 --no-python bash -c 'python pretrain_gpt.py %% --local-rank $LOCAL_RANK'",
    "worked out": "srun bash -c 'python pretrain_gpt.py %% --local-rank $((SLURM_PROCID % 2))'",
    "in the batch shell": "srun python pretrain_gpt.py %% --local-rank $SLURM_LOCALID",
    "a folder": "srun bash -c 'python pretrain_gpt.py %% --tensorboard-dir tb/$SLURM_PROCID'",
}


@pytest.mark.parametrize("command", ["translate", "report", "audit"])
@pytest.mark.parametrize("what", ONLY_A_TASK_KNOWS)
def test_nobody_is_asked_for_what_only_a_task_knows(
    what: str, command: str, jobs: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("job.sh").write_text(f"{HEAD}{ONLY_A_TASK_KNOWS[what].replace('%%', SMALL_TEXT)}\n")
    code = main([command, "job.sh"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert "--set" not in captured.out + captured.err and "not known" not in captured.out + captured.err


def test_a_number_that_differs_by_task_is_no_setting(jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    Path("job.sh").write_text(f"{HEAD}srun bash -c 'python pretrain_gpt.py {SMALL_TEXT} --seed $SLURM_PROCID'\n")
    assert main(["translate", "job.sh"]) == 1
    said = capsys.readouterr().err
    assert "job.sh:8: --seed needs a whole number, and $SLURM_PROCID is not known" in said and "--set" not in said


def test_an_argument_that_is_not_known_stays_in_the_command_line(
    jobs: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("job.sh").write_text(f"{HEAD}srun bash -c 'python pretrain_gpt.py {SMALL_TEXT} --local-rank $SLURM_LOCALID'\n")
    assert main(["translate", "--format", "argv", "job.sh"]) == 0
    assert "--local-rank $SLURM_LOCALID" in capsys.readouterr().out.replace("'", "").replace('"', "")
