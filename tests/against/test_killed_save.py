"""A run that is killed in the middle of a save goes on from its last complete checkpoint, as if nothing had been.

Two ranks of a CPU. A run is killed at a place in its first save, the relaunch in its next one, and so on; the last one
ends, and its last checkpoint has the bits of that of a run nobody has disturbed.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import time
from pathlib import Path

import pytest
from disturbed import KILLER, contents, run

from bridge_args.checkpoint import layout
from bridge_args.checkpoint import mend as checkpoints
from bridge_args.training.ranks import free_port

TP2 = ["--tensor-model-parallel-size", "2"]

pytestmark = pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron.bridge is not installed")

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
CHAINS = [["torn run_config.yaml", "tensors"]]
if os.environ.get("BRIDGE_ARGS_ALL_KILL_POINTS"):
    CHAINS += [
        ["torn tracker", "index", "torn metadata.json"],
        ["tracker", "Megatron-LM's tracker", "run_config.yaml"],
    ]


def killed(folder: Path, whom: str, rank: int, place: str) -> None:
    done = run(folder, words=TP2, KILL_AT=place, KILL_WHOM=whom, KILL_RANK=str(rank))
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


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = run(folder, words=TP2)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "ckpt"


@pytest.mark.parametrize("chain", CHAINS, ids=", ".join)
def test_it_goes_on(chain: list[str], undisturbed: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    save = tmp_path / "ckpt"
    for name in chain:
        whom, rank, place = PLACES[name]
        step = (layout.last_whole(save) or 0) + 2
        killed(tmp_path, whom, rank, place.format(step=step))
    done = run(tmp_path, words=TP2)
    assert done.returncode == 0, done.stderr[-3000:]
    ours, theirs = (contents(layout.folder_of(folder, 6)) for folder in (save, undisturbed))
    assert len(ours) > 50
    assert ours == theirs
    assert not list((save / "bridge_args").glob("earlier")), "the same command is no other start"


@pytest.mark.skipif(importlib.util.find_spec("nvidia_resiliency_ext") is None, reason="ft_launcher is not installed")
def test_ft_launcher_starts_a_killed_rank_again(undisturbed: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    _, rank, place = PLACES["torn run_config.yaml"]
    launcher = "nvidia_resiliency_ext.fault_tolerance.launcher --nproc-per-node 2 --max-restarts 1 --rdzv-backend c10d"
    timeouts = "--ft-rank-section-timeouts setup:600,step:180,checkpointing:420 --ft-rank-out-of-section-timeout 300"
    done = run(
        tmp_path,
        [*launcher.split(), "--rdzv-endpoint", f"localhost:{free_port()}", *timeouts.split()],
        [*TP2, "--enable-ft-package"],
        KILL_AT=place.format(step=4),
        KILL_WHOM="rank",
        KILL_RANK=str(rank),
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    assert "the checkpoint of iteration 4 in ckpt is not complete: going on from iteration 2" in said
    assert "FT: initialized" in said and "FT: closed" in said
    ours, theirs = (contents(layout.folder_of(folder, 6)) for folder in (tmp_path / "ckpt", undisturbed))
    assert ours == theirs


@pytest.mark.skipif(
    importlib.util.find_spec("nvidia_resiliency_ext") is None, reason="in-process restart: not installed"
)
def test_in_process_restart_goes_on_after_a_fault_in_a_save(tmp_path: Path) -> None:
    """One rank: with gloo, which cannot be interrupted, the others would be ended."""
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    done = run(
        tmp_path,
        "torch.distributed.run --standalone --nproc-per-node 1".split(),
        ["--inprocess-restart", "--inprocess-active-world-size", "1"],
        KILL_AT=PLACES["run_config.yaml"][2].format(step=4),
        KILL_WHOM="nobody",
        KILL_RANK="0",
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    assert said.count("a fault, on purpose") > 0
    assert said.count("the checkpoint of iteration 4 in ckpt is not complete: going on from iteration 2") == 1
    losses = re.findall(r"\] iteration +\d+/.*?lm loss: (\S+)", said)
    assert len(losses) == 8, "six iterations, two of them twice"
    assert losses[2:4] == losses[4:6]
    assert layout.last_whole(tmp_path / "ckpt") == 6


def test_the_last_checkpoint_is_saved_once(undisturbed: Path) -> None:
    """And each is whole; what is next to the checkpoints is kept."""
    assert layout.last_whole(undisturbed) == 6
    assert not (undisturbed / checkpoints.ASIDE).exists()


def test_a_lost_file_is_seen(undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "ckpt")
    shard = tmp_path / "ckpt" / "iter_0000006" / "__1_0.distcp"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert layout.last_whole(tmp_path / "ckpt") == 4
