"""Real Megatron-LM's training curves are the judge: a rehearsal of the same command line gives the same bits.

Loss, gradient norm and learning rate of every iteration are compared exactly. Six cases run by default;
``BRIDGE_ARGS_CURVES=all`` runs every recorded one, ``BRIDGE_ARGS_CURVES=rope,dp2`` those named.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from recorded import curve, curve_names, curves_folder

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ("gpt_default", "rope", "llama_like", "bf16", "lr_cosine_warmup", "grad_accumulation")
COMPARED = ("iteration", "lm_loss", "grad_norm", "learning_rate", "global_batch_size", "consumed_samples", "skipped")

# Bridge 0.3.1 cannot do what these command lines say; the translation tells the user so.
DIFFERENT = {
    "cpu_init": "Bridge overwrites model.use_cpu_initialization (models/model_provider.py, get_model)",
}

pytestmark = pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron.bridge is not installed")


def chosen() -> list[str]:
    asked = os.environ.get("BRIDGE_ARGS_CURVES", "")
    if asked and asked != "all":
        return asked.split(",")
    if not asked:
        return list(DEFAULT)
    return curve_names()


def rehearse(argv: list[str], folder: Path, nproc: int = 1, *options: str) -> list[dict[str, Any]]:
    """The records of a rehearsal in ``folder``."""
    own = ["--format", "json", "--nproc", str(nproc), "--real-folders"]  # some go on from what an earlier one saved
    command = [sys.executable, "-m", "bridge_args", "rehearse", *own, *options]
    result = subprocess.run(
        [*command, "--", *argv],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def compared(records: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(record[key] for key in COMPARED) for record in records if "split" not in record]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory with copies of the data files, which the command lines name relative to it."""
    for item in (curves_folder() / "data").iterdir():
        (shutil.copytree if item.is_dir() else shutil.copyfile)(item, tmp_path / item.name)
    return tmp_path


def known(name: str) -> Any:
    """A case, expected to differ where Bridge does."""
    marks = [pytest.mark.xfail(reason=DIFFERENT[name], strict=True)] if name in DIFFERENT else []
    return pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", [known(name) for name in chosen()])
def test_same_bits(name: str, data: Path) -> None:
    recorded = curve(name)
    for earlier in recorded.get("earlier_argv") or ():
        rehearse(earlier, data, recorded["nproc"])
    records = rehearse(recorded["argv"], data, recorded["nproc"])
    assert compared(records) == compared(recorded["curve"])


def test_the_first_steps_of_the_full_run(data: Path) -> None:
    """--steps keeps schedule and data: the records are those of the full run."""
    recorded = curve("lr_cosine_warmup")
    records = rehearse(recorded["argv"], data, 1, "--steps", "4")
    assert compared(records) == compared(recorded["curve"][:4])


def test_test_loss_is_megatrons(data: Path) -> None:
    """The validation loss is not: Bridge shuffles its validation set (``data/loaders.py``), Megatron-LM does not."""
    recorded = curve("gpt_default")
    records = rehearse(recorded["argv"], data)
    of_test = [record for record in records if record.get("split") == "test"]
    assert of_test == [record for record in recorded["evaluations"] if record["split"] == "test"]
