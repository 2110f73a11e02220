"""Runs of the drop-in that are disturbed in the middle of a save, and what their checkpoints hold."""

from __future__ import annotations

import importlib
import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from functools import cache
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


def contents(checkpoint: Path) -> dict[str, object]:
    """Everything in a checkpoint by name: tensors bit for bit, and what Megatron Core has pickled by its values.

    A pickle names an object that stands in it twice by a number, and after loading two equal texts are two objects.

    Without the states of random numbers: a resumed run has drawn the seed of its data loader once more, as
    Megatron-LM's has.
    """
    reader = importlib.import_module("torch.distributed.checkpoint").FileSystemReader(checkpoint)
    stored: dict[Any, Any] = reader.read_metadata().storage_data
    found = {}
    for index, part in stored.items():
        if not index.fqn.startswith("rng_state"):
            data = (checkpoint / part.relative_path).read_bytes()
            bits = data[part.offset : part.offset + part.length]
            found[f"{index.fqn} {index.offset}"] = pickled(bits) if index.fqn.startswith("common_state") else bits
    return found


class _Named:
    """An object by its class, and what it was made of."""

    def __init__(self, *made_of: object) -> None:
        self.said: list[object] = [made_of]

    def __setstate__(self, state: object) -> None:
        self.said.append(state)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Named) and (type(self).__name__, self.said) == (type(other).__name__, other.said)

    def __hash__(self) -> int:
        return hash(type(self).__name__)


@cache
def _named(name: str) -> type[_Named]:
    return type(name, (_Named,), {})


class _Values(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _named(f"{module}.{name}")

    def persistent_load(self, name: object) -> object:
        return name


def pickled(bits: bytes) -> object:
    """The values in what ``torch.save`` has written; the bits of its tensors stand beside them."""
    with zipfile.ZipFile(io.BytesIO(bits)) as archive:
        values = [
            _Values(io.BytesIO(archive.read(name))).load() for name in archive.namelist() if name.endswith(".pkl")
        ]
        return values, {name: archive.read(name) for name in archive.namelist() if "/data/" in name}
