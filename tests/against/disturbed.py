"""Runs of the drop-in that are disturbed in the middle of a save, and what their checkpoints hold."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

WORDS = (
    "--transformer-impl local --no-gradient-accumulation-fusion --no-persist-layer-norm --num-layers 2 "
    "--hidden-size 32 --num-attention-heads 2 --seq-length 16 --max-position-embeddings 16 --mock-data "
    "--tokenizer-type NullTokenizer --vocab-size 100 --micro-batch-size 1 --global-batch-size 4 --train-iters 6 "
    "--eval-iters 0 --eval-interval 100 --log-interval 1 --lr 1e-3 --save ckpt --load ckpt --save-interval 2"
).split()

TORCHRUN = "torch.distributed.run --standalone --nproc-per-node 2".split()

# Run by every process before anything else, in the first attempt of a launcher: when a file is opened for writing, if
# need be after a beginning of it is there, kills a process, or raises an error.
KILLER = """
import os, re, signal, sys

place = os.environ.get("KILL_AT", "")
attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
if place and attempt == "0" and os.environ.get("RANK") == os.environ["KILL_RANK"]:
    torn, pattern = place.startswith("torn "), place.removeprefix("torn ")
    rank, launcher, reached = os.getpid(), os.getppid(), []

    def kill(event, args):
        if event != "open" or reached or not args[1] or args[1][0] not in "wax" or not re.search(pattern, str(args[0])):
            return
        reached.append(True)
        if torn:
            with open(args[0], "wb") as file:
                file.write(b"_target_: PK")
        if os.environ["KILL_WHOM"] == "nobody":
            raise RuntimeError("a fault, on purpose")
        os.kill(launcher if os.environ["KILL_WHOM"] == "launcher" else rank, signal.SIGKILL)
        if os.getpid() != rank:  # a child that writes tensors
            os._exit(9)
        signal.pause()

    sys.addaudithook(kill)
"""


def run(
    folder: Path, launcher: Sequence[str] = TORCHRUN, words: Sequence[str] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Starts the drop-in in a folder, where a ``sitecustomize.py`` may be."""
    env = {**os.environ, "CUDA_DEVICE_MAX_CONNECTIONS": "1", "BRIDGE_ARGS_CPU": "1", **variables}
    env["PYTHONPATH"] = os.pathsep.join([str(folder), str(ROOT)])
    command = [sys.executable, "-m", *launcher, "-m", "bridge_args.pretrain_gpt", *WORDS, *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=150, check=False)


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
