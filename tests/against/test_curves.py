"""Real Megatron-LM's training curves are the judge: a rehearsal of the same command line gives the same bits.

Loss, gradient norm and learning rate of every iteration are compared exactly, for the Megatron-LM that goes with the
installed Bridge, and for 0.16.1, whose runs are the same with every later Bridge. Some cases run by default;
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
from recorded import TRAINED, curve, curve_names, curves_folder

from bridge_args.pairs.pairs import chosen_versions, usual_megatron_lm
from bridge_args.versions import holds

ROOT = Path(__file__).resolve().parents[2]
COMPARED = ("iteration", "lm_loss", "grad_norm", "learning_rate", "global_batch_size", "consumed_samples", "skipped")

# What runs by default: of the version that goes with the Bridge, and of an older one.
DEFAULT = ("gpt_default", "rope", "llama_like", "bf16", "lr_cosine_warmup", "grad_accumulation")
OLDER = ("gpt_default", "moe_topk2_aux", "rampup")

# What a Bridge cannot do of what these command lines say; the translation tells the user so.
DIFFERENT = {
    "cpu_init": (
        "bridge >=0.3",
        "Bridge overwrites model.use_cpu_initialization (models/model_provider.py, get_model)",
    ),
}

pytestmark = pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron.bridge is not installed")


def chosen() -> list[tuple[str, str]]:
    """Version and name of the runs to repeat."""
    usual = usual_megatron_lm()
    asked = os.environ.get("BRIDGE_ARGS_CURVES", "")
    found = []
    for version in dict.fromkeys(("0.16.1", *(version for version in TRAINED if version == usual))):
        names = curve_names(version)
        wanted = names if asked == "all" else asked.split(",") if asked else DEFAULT if version == usual else OLDER
        found += [(version, name) for name in wanted if name in names]
    return found


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


def known(version: str, name: str) -> Any:
    """A case, expected to differ where Bridge does."""
    since, reason = DIFFERENT.get(name, ("", ""))
    marks = [pytest.mark.xfail(reason=reason, strict=True)] if since and holds(since, chosen_versions()) else []
    return pytest.param(version, name, marks=marks, id=f"{version}-{name}")


@pytest.mark.parametrize(("version", "name"), [known(*one) for one in chosen()])
def test_same_bits(version: str, name: str, data: Path) -> None:
    recorded = curve(name, version)
    own = ("--megatron-lm", version)
    for earlier in recorded.get("earlier_argv") or ():
        rehearse(earlier, data, recorded["nproc"], *own)
    records = rehearse(recorded["argv"], data, recorded["nproc"], *own)
    assert compared(records) == compared(recorded["curve"])


def test_the_first_steps_of_the_full_run(data: Path) -> None:
    """--steps keeps schedule and data: the records are those of the full run."""
    recorded = curve("lr_cosine_warmup")
    records = rehearse(recorded["argv"], data, 1, "--steps", "4", "--megatron-lm", "0.16.1")
    assert compared(records) == compared(recorded["curve"][:4])


def test_test_loss_is_megatrons(data: Path) -> None:
    """The validation loss is not: Bridge shuffles its validation set (``data/loaders.py``), Megatron-LM does not."""
    recorded = curve("gpt_default")
    records = rehearse(recorded["argv"], data, 1, "--megatron-lm", "0.16.1")
    of_test = [record for record in records if record.get("split") == "test"]
    assert of_test == [record for record in recorded["evaluations"] if record["split"] == "test"]
