"""A run that is killed in the middle of a save goes on from its last complete checkpoint, as if nothing had been.

Two ranks of a CPU. A run is killed at a place in its first save, the relaunch in its next one, and so on; the last one
ends, and its last checkpoint has the bits of that of a run nobody has disturbed.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bridge_args.launch import checkpoints

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron.bridge is not installed")

WORDS = (
    "--transformer-impl local --no-gradient-accumulation-fusion --no-persist-layer-norm --num-layers 2 "
    "--hidden-size 32 --num-attention-heads 2 --seq-length 16 --max-position-embeddings 16 --mock-data "
    "--tokenizer-type NullTokenizer --vocab-size 100 --micro-batch-size 1 --global-batch-size 4 --train-iters 6 "
    "--eval-iters 0 --eval-interval 100 --log-interval 1 --lr 1e-3 --save ckpt --load ckpt --save-interval 2 "
    "--tensor-model-parallel-size 2"
).split()

# Run by every process before anything else: kills a process when a file is opened for writing, if need be after a
# beginning of that file is there.
KILLER = """
import os, re, signal, sys

place = os.environ.get("KILL_AT", "")
if place and os.environ.get("RANK") == os.environ["KILL_RANK"]:
    torn, pattern = place.startswith("torn "), place.removeprefix("torn ")
    rank, launcher, reached = os.getpid(), os.getppid(), []

    def kill(event, args):
        if event != "open" or reached or not args[1] or args[1][0] not in "wax" or not re.search(pattern, str(args[0])):
            return
        reached.append(True)
        if torn:
            with open(args[0], "wb") as file:
                file.write(b"_target_: PK")
        os.kill(launcher if os.environ["KILL_WHOM"] == "launcher" else rank, signal.SIGKILL)
        if os.getpid() != rank:  # a child that writes tensors
            os._exit(9)
        signal.pause()

    sys.addaudithook(kill)
"""

# What is killed, which rank comes to the place, and the place: the file that is about to be written.
PLACES = {
    "tensors": ("rank", 1, r"iter_\d*{step}/__1_\d"),
    "index": ("rank", 0, r"iter_\d*{step}/\.metadata"),
    "torn metadata.json": ("rank", 0, r"torn iter_\d*{step}/metadata\.json"),
    "tracker": ("launcher", 0, r"ckpt/latest_train_state\.pt"),
    "torn tracker": ("rank", 0, r"torn ckpt/latest_train_state\.pt"),
    "Megatron-LM's tracker": ("rank", 0, r"torn latest_checkpointed_iteration"),
    "run_config.yaml": ("rank", 0, r"iter_\d*{step}/run_config"),
    "torn run_config.yaml": ("launcher", 0, r"torn iter_\d*{step}/run_config"),
}
CHAINS = [["torn tracker", "torn run_config.yaml", "tensors"]]
if os.environ.get("BRIDGE_ARGS_ALL_KILL_POINTS"):
    CHAINS += [["tracker", "index", "torn metadata.json"], ["tensors", "Megatron-LM's tracker", "run_config.yaml"]]


def run(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    env = {**os.environ, "CUDA_DEVICE_MAX_CONNECTIONS": "1", "BRIDGE_ARGS_CPU": "1", **variables}
    env["PYTHONPATH"] = os.pathsep.join([str(folder), str(ROOT)])
    command += ["-m", "bridge_args.pretrain_gpt", *WORDS]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=150, check=False)


def killed(folder: Path, whom: str, rank: int, place: str) -> None:
    done = run(folder, KILL_AT=place, KILL_WHOM=whom, KILL_RANK=str(rank))
    assert done.returncode, f"nothing has come to {place}"
    until = time.monotonic() + 20
    while ranks := ranks_in(folder):  # of a killed launcher: they end by themselves
        assert time.monotonic() < until, f"{ranks} live on"
        time.sleep(0.1)


def ranks_in(folder: Path) -> list[str]:
    """Processes of the drop-in that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"bridge_args.pretrain_gpt" in words and os.readlink(process / "cwd") == str(folder):
                found.append(process.name)
        except OSError:
            continue
    return found


def contents(checkpoint: Path) -> dict[str, bytes]:
    """Everything in a checkpoint by name, bit for bit.

    Without the states of random numbers: a resumed run has drawn the seed of its data loader once more, as
    Megatron-LM's has.
    """
    reader = importlib.import_module("torch.distributed.checkpoint").FileSystemReader(checkpoint)
    stored: dict[Any, Any] = reader.read_metadata().storage_data
    found = {}
    for index, part in stored.items():
        if not index.fqn.startswith("rng_state"):
            data = (checkpoint / part.relative_path).read_bytes()
            found[f"{index.fqn} {index.offset}"] = data[part.offset : part.offset + part.length]
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = run(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "ckpt"


@pytest.mark.parametrize("chain", CHAINS, ids=", ".join)
def test_it_goes_on(chain: list[str], undisturbed: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    save = tmp_path / "ckpt"
    for name in chain:
        whom, rank, place = PLACES[name]
        step = (checkpoints.last_whole(save) or 0) + 2
        killed(tmp_path, whom, rank, place.format(step=step))
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    ours, theirs = (contents(checkpoints.folder_of(folder, 6)) for folder in (save, undisturbed))
    assert len(ours) > 50
    assert ours == theirs
    assert not list((save / "bridge_args").glob("earlier")), "the same command is no other start"


def test_the_last_checkpoint_is_saved_once(undisturbed: Path) -> None:
    """And each is whole; what is next to the checkpoints is kept."""
    assert checkpoints.last_whole(undisturbed) == 6
    assert not (undisturbed / checkpoints.ASIDE).exists()


def test_a_lost_file_is_seen(undisturbed: Path, tmp_path: Path) -> None:
    importlib.import_module("shutil").copytree(undisturbed, tmp_path / "ckpt")
    shard = tmp_path / "ckpt" / "iter_0000006" / "__1_0.distcp"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert checkpoints.last_whole(tmp_path / "ckpt") == 4
