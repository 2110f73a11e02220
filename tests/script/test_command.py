"""Launcher, program and arguments, taken apart."""

from __future__ import annotations

import shlex

import pytest

from bridge_args.script.command import Command, read_command, world_size_of
from bridge_args.source.read import from_text
from bridge_args.source.source import SourceError
from bridge_args.words import Place, Word


def read(line: str) -> Command:
    return read_command(shlex.split(line))


# What is written -> launcher, program, words of the program, number of processes.
COMMANDS = {
    "arguments alone": ("--num-layers 2", None, None, "--num-layers 2", None),
    "variables and arguments": ("A=1 --num-layers 2", None, None, "--num-layers 2", None),
    "a script": ("./pretrain_gpt.py --bf16", None, "./pretrain_gpt.py", "--bf16", None),
    "python": ("python -u pretrain_gpt.py --bf16", "python", "pretrain_gpt.py", "--bf16", None),
    "python with options": ("/usr/bin/python3.11 -W error -Xdev a.py -u", "python", "a.py", "-u", None),
    "python, WORLD_SIZE in front": ("WORLD_SIZE=4 RANK=0 python a.py", "python", "a.py", "", 4),
    "torchrun": ("torchrun --nproc-per-node 8 a.py --x", "torchrun", "a.py", "--x", 8),
    "torchrun, both spellings": ("torchrun --nproc_per_node=8 --nnodes=2 a.py", "torchrun", "a.py", "", 16),
    "torchrun, beginning of an option": ("torchrun --nproc-per 4 a.py", "torchrun", "a.py", "", 4),
    "torchrun alone starts one": ("torchrun --standalone a.py", "torchrun", "a.py", "", 1),
    "torchrun, one-letter options": ("torchrun -r 3 -t3 --nproc-per-node 2 a.py", "torchrun", "a.py", "", 2),
    "torchrun, a module": ("torchrun --nproc-per-node 2 -m bridge_args.pretrain_gpt --x", "torchrun",
                           "bridge_args.pretrain_gpt", "--x", 2),
    "torchrun, any program": ("torchrun --no-python --nproc-per-node 2 numactl -l python a.py --z", "torchrun", "a.py",
                              "--z", 2),
    "torchrun, from its variables": ("PET_NNODES=2 PET_NPROC_PER_NODE=4 torchrun a.py", "torchrun", "a.py", "", 8),
    "torchrun, a range of one": ("torchrun --nnodes 2:2 --nproc-per-node 8 a.py", "torchrun", "a.py", "", 16),
    "torchrun, elastic": ("torchrun --nnodes=2:4 --nproc-per-node 8 a.py", "torchrun", "a.py", "", None),
    "torchrun, all GPUs": ("torchrun --nproc-per-node gpu a.py", "torchrun", "a.py", "", None),
    "torchrun, no processes": ("torchrun --nproc-per-node 0 a.py", "torchrun", "a.py", "", None),
    "torchrun as a module": ("python -um torch.distributed.run --nproc_per_node 8 a.py --x", "torchrun", "a.py", "--x",
                             8),
    "the older launch module": ("python -m torch.distributed.launch --use_env --nproc_per_node 8 a.py",
                                "torch.distributed.launch", "a.py", "", 8),
    "ft_launcher": ("ft_launcher --ft-rank-timeout 450 --nproc_per_node 8 a.py", "ft_launcher", "a.py", "", 8),
    "srun": ("srun -l -N2 --ntasks-per-node=8 --mpi=pmix python a.py", "srun", "a.py", "", 16),
    "srun, tasks": ("srun --ntasks 4 --output=%j.log -c 8 python a.py --x", "srun", "a.py", "--x", 4),
    "srun, nodes alone": ("srun -N 2 python a.py", "srun", "a.py", "", None),
    "srun starting torchrun": ("srun -N 2 torchrun --nnodes 2 --nproc-per-node 8 a.py", "torchrun", "a.py", "", 16),
    "srun starting a shell": ("srun -N 2 bash -lc 'cd /w && export B=2; torchrun --nproc-per-node 8 a.py --x'",
                              "torchrun", "a.py", "--x", 8),
    "nsys and numactl": ("nsys profile -o out -t cuda,nvtx --force-overwrite true numactl -N0 -m 0 torchrun a.py",
                         "torchrun", "a.py", "", 1),
    "env and timeout": ("env -u B A=1 timeout -k 5 2h python a.py", "python", "a.py", "", None),
    "taskset": ("taskset -c 0-3 python a.py", "python", "a.py", "", None),
    "uv": ("uv run torchrun --nproc-per-node 2 a.py", "torchrun", "a.py", "", 2),
    "mpirun": ("mpirun -np 16 --allow-run-as-root -x A=1 --mca btl tcp python a.py --x", "mpirun", "a.py", "--x", 16),
    "deepspeed": ("deepspeed --num_gpus 8 --num_nodes 2 a.py --x", "deepspeed", "a.py", "--x", 16),
    "accelerate": ("accelerate launch --multi_gpu --num_processes 8 --mixed_precision bf16 a.py", "accelerate", "a.py",
                   "", 8),
    "a launcher not known": ("$LAUNCH --nodes 2 pretrain_gpt.py --x", None, "pretrain_gpt.py", "--x", None),
    "a stray word is an argument": ("train --spec local.py", None, None, "train --spec local.py", None),
    "a pasted dash is an argument": ("–num-layers 2", None, None, "–num-layers 2", None),
}  # fmt: skip


@pytest.mark.parametrize(("line", "launcher", "program", "argv", "world_size"), COMMANDS.values(), ids=COMMANDS)
def test_taken_apart(line: str, launcher: str | None, program: str | None, argv: str, world_size: int | None) -> None:
    command = read(line)
    assert command.launcher == launcher
    assert command.program == program
    assert [word.text for word in command.argv] == argv.split()
    assert world_size_of(command) == world_size


def test_options_and_variables() -> None:
    command = read(
        "CUDA_DEVICE_MAX_CONNECTIONS=1 NCCL_DEBUG= torchrun --nnodes $N --node-rank=0 --master-addr $HOST "
        "--master_port 6000 --rdzv-id 007 --rdzv_endpoint=h:1 --standalone --max-restarts 3 a.py"
    )
    assert command.environment == {"CUDA_DEVICE_MAX_CONNECTIONS": "1", "NCCL_DEBUG": ""}
    assert command.launcher_options == {
        "nnodes": "$N",
        "node_rank": 0,
        "master_addr": "$HOST",
        "master_port": 6000,
        "rdzv_id": "007",
        "rdzv_endpoint": "h:1",
        "standalone": 1,
        "max_restarts": 3,
    }


def test_variables_from_env_and_a_shell() -> None:
    assert read("A=1 env B=2 bash -c 'export C=3; D=4 python a.py'").environment == {
        "A": "1",
        "B": "2",
        "C": "3",
        "D": "4",
    }


def test_wrappers_are_named_in_order() -> None:
    assert read("nohup nsys profile numactl -l python a.py").wrappers == ("nohup", "nsys", "numactl")


def test_a_module_is_marked() -> None:
    assert read("python -m bridge_args.pretrain_gpt --x").module
    assert not read("python pretrain_gpt.py --x").module


def test_what_is_not_a_number_is_said() -> None:
    words = [
        Word(text, Place("run.sh", 3)) for text in "torchrun --nproc-per-node 8 --nnodes $SLURM_NNODES a.py".split()
    ]
    [finding] = read_command(words).findings
    assert finding.kind == "launcher"
    assert str(finding) == (
        'run.sh:3: nnodes "$SLURM_NNODES" does not say how many processes torchrun starts; '
        "give their number with --world-size\n"
        "    --nproc-per-node 8 --nnodes $SLURM_NNODES a.py\n"
        "                       ^^^^^^^^^^^^^^^^^^^^^^"
    )


def test_counts_of_a_launcher_further_out_do_not_matter() -> None:
    command = read("srun -N $NODES torchrun --nproc-per-node 8 a.py")
    assert not command.findings
    assert world_size_of(command) == 8


@pytest.mark.parametrize(
    "line", ["torchrun --nproc-per-node 8", "torchrun", "python", "srun -N 2", "bash -c", "env A=1"]
)
def test_nothing_to_start(line: str) -> None:
    [finding] = read(line).findings
    assert finding.kind == "unreadable-source"
    assert finding.level == "error"
    assert "is given no program to start" in finding.message


def test_a_shell_text_that_is_no_command() -> None:
    [finding] = read_command(["bash", "-c", "python 'a.py"]).findings
    assert finding.kind == "unreadable-source"


def test_places_stay_with_the_words() -> None:
    words = [Word("torchrun", Place("a.sh", 1)), Word("a.py", Place("a.sh", 2)), Word("--bf16", Place("a.sh", 3))]
    assert read_command(words).argv == (words[2],)


def test_plain_arguments_are_handed_on_as_they_are() -> None:
    words = (Word("--bf16"), Word("torchrun"), Word("A=1"))
    assert read_command(words) == Command(argv=words)


def test_one_string_is_not_a_list_of_words() -> None:
    with pytest.raises(TypeError):
        read_command("torchrun a.py")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cat flags | xargs torchrun pretrain_gpt.py --num-layers 2\n", "train.sh:1: xargs adds words"),
        ("ls | xargs -n 9 env A=1 python pretrain_gpt.py --num-layers 2\n", "train.sh:1: xargs adds words"),
        (":\nenv -S 'A=1 torchrun pretrain_gpt.py --num-layers 2'\n", "train.sh:2: env -S makes"),
        (":\nenv -iS 'A=1 torchrun pretrain_gpt.py' --num-layers 2\n", "train.sh:2: env -S makes"),
        (":\nenv B=1 --split-string='torchrun pretrain_gpt.py --num-layers 2'\n", "train.sh:2: env -S makes"),
        ("env -S 'python pretrain_gpt.py'\npython pretrain_gpt.py --num-layers 2\n", "train.sh:1: env -S makes"),
        (":\ncoproc torchrun pretrain_gpt.py --num-layers 2\n", "train.sh:2: the construct `coproc` is not read"),
    ],
)
def test_words_that_another_program_makes_are_told(text: str, told: str) -> None:
    try:
        said = list(map(str, from_text(text, "train.sh").findings))
    except SourceError as problem:
        said = str(problem).splitlines()
    assert any(told in line for line in said), said


def test_env_and_xargs_for_something_else_are_not_told() -> None:
    text = "env -S 'A=1 date'\nls | xargs rm\nenv A=1 torchrun pretrain_gpt.py --num-layers 2\n"
    assert from_text(text, "train.sh").findings == ()
