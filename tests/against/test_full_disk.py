"""A disk that is full in the middle of a save: one message, and the last complete checkpoint goes on."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge_args.drop_in.hooks import disk_refuses

ROOT = Path(__file__).resolve().parents[2]
WORDS = (
    "--transformer-impl local --no-gradient-accumulation-fusion --no-persist-layer-norm --num-layers 2 "
    "--hidden-size 32 --num-attention-heads 2 --seq-length 16 --max-position-embeddings 16 --mock-data "
    "--tokenizer-type NullTokenizer --vocab-size 100 --micro-batch-size 1 --train-iters 4 --eval-iters 0 "
    "--eval-interval 100 --log-interval 1 --lr 1e-3 --save disk/ckpt --load disk/ckpt --save-interval 2"
).split()

needs_bridge = pytest.mark.skipif(
    importlib.util.find_spec("megatron") is None, reason="megatron.bridge is not installed"
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for one checkpoint and a half, in ``disk``; root may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def drop_in(folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_DEVICE_MAX_CONNECTIONS": "1", "BRIDGE_ARGS_CPU": "1"}
    env.pop("BRIDGE_ARGS_TRACEBACK", None)  # of these tests, not of a user
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "bridge_args.pretrain_gpt", *WORDS]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=150, check=False)


@needs_bridge
def test_one_message_and_the_run_goes_on(small_disk: Path) -> None:
    stopped = drop_in(small_disk.parent)
    assert stopped.returncode == 1
    # torch.save, in the middle of a tensor, does not say why
    reason = "No space left on device|the file could not be written"
    message = (
        rf"the checkpoint of iteration 4 could not be written to disk/ckpt \(({reason}); 0 MiB were free on its "
        r"disk\); the last complete one is that of iteration 2\n"
    )
    assert len(re.findall(message, stopped.stderr)) == 1, stopped.stderr
    assert "bridge_args/pretrain_gpt.py" not in stopped.stderr, "no traceback of ours"
    checkpoints = sorted(entry.name for entry in (small_disk / "ckpt").glob("iter_*"))
    assert checkpoints == ["iter_0000002"]
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    resumed = drop_in(small_disk.parent)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert "successfully loaded checkpoint from disk/ckpt" in resumed.stdout + resumed.stderr
    assert (small_disk / "ckpt" / "latest_checkpointed_iteration.txt").read_text() == "4"


class Gathered(BaseException):
    """Like ``torch.distributed.checkpoint.api.CheckpointException``."""

    def __init__(self, what: str, failures: dict[int, tuple[BaseException, object]]) -> None:
        super().__init__(what, failures)
        self.failures = failures


FULL = RuntimeError("Worker failure: [Errno 28] No space left on device")


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(122, "x"), "Disk quota exceeded"),
        (FULL, "No space left on device"),
        (Gathered("write", {0: (ValueError("x"), None), 3: (FULL, None)}), "No space left on device"),
        (Gathered("write", {}), ""),
        (Gathered("write", {0: (ValueError("x"), None)}), None),
        (Gathered("read", {0: (FULL, None)}), None),
        (RuntimeError("[enforce fail] PytorchStreamWriter failed writing file"), "the file could not be written"),
        (
            RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 7 vs 5"),
            "the file could not be written",
        ),
        (KeyError("iteration"), None),
        (RuntimeError("unexpected pos of a layer"), None),
    ],
)
def test_why_a_save_failed(error: BaseException, why: str | None) -> None:
    assert disk_refuses(error) == why


# Files that may have so many bytes and no more: what torch raises, and what we make of it.
LIMITED = """
import resource, signal, sys, torch
from bridge_args.drop_in.hooks import disk_refuses

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
tensor = torch.arange(20_000).float()

def into_a_stream():
    with open("stream", "wb") as stream:
        torch.save(tensor, stream)
        torch.save(tensor, stream)

for room in range(1, 160_000, 997):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    for save in (lambda: torch.save(tensor, "path"), into_a_stream):
        try:
            save()
        except (OSError, RuntimeError) as error:
            sys.stdout.write(f"{error}\\n" if disk_refuses(error) is None else "")
            alone = type(error)(*error.args)  # as it comes from another rank: without what it followed
            sys.stdout.write(f"{alone}\\n" if disk_refuses(alone) is None else "told\\n")
"""


@needs_bridge
def test_wherever_torch_meets_the_end_of_the_disk(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100, check=True
    )
    assert set(done.stdout.splitlines()) == {"told"}, done.stdout
    assert done.stdout.count("told") > 200
