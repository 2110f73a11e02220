"""Checkpoints converted from the command line, in a folder that is not the checkout's, and what became of them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ALL = os.environ.get("BRIDGE_ARGS_CONVERT") == "all"
CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")


def command(folder: Path, *words: object, code: int = 0, log: str = "") -> str:
    """Runs ``bridge-args``; returns what it has said.

    Processes that save a checkpoint may hold its streams longer than it lives: they are files.
    """
    out = folder / "said.txt"
    with out.open("w") as said:
        done = subprocess.run(
            [sys.executable, "-m", "bridge_args", *map(str, words)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            timeout=900,
        )
    text = out.read_text()
    assert done.returncode == code, f"{' '.join(map(str, words))}\n{text}"
    return text


def checkpoint(folder: Path, action: str, *words: object, code: int = 0) -> str:
    return command(folder, "checkpoint", action, *words, "--device", "cpu", code=code)


def sums(folder: Path) -> dict[str, str]:
    """Of every file below."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def tensors(folder: Path) -> dict[str, Any]:
    """Of all files of safetensors."""
    from safetensors.torch import load_file

    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def assert_same(ours: dict[str, Any], theirs: dict[str, Any], without: Iterable[str] = ()) -> None:
    """Bit for bit, and of one type."""
    import torch

    assert ours.keys() ^ theirs.keys() == set(without)
    for name in ours.keys() & theirs.keys():
        assert ours[name].dtype == theirs[name].dtype, name
        assert torch.equal(ours[name], theirs[name]), name
