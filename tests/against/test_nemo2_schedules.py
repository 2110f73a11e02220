"""The rate of learning at every step: what NeMo 2.0's own schedulers set, and what Bridge's does with our settings."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nemo2_recipes import recipe, translated_from

from bridge_args.bridge import installed
from bridge_args.mapping.translation import Translation
from bridge_args.pairs.pairs import chosen_versions

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("BRIDGE_ARGS_NEMO2_PYTHON") or (sys.executable if importlib.util.find_spec("nemo") else "")
HERE = chosen_versions()
RATE, STEPS = 2e-3, 40
SAME: dict[str, tuple[str, dict[str, Any]]] = {
    "cosine": ("CosineAnnealingScheduler", {"warmup_steps": 5, "constant_steps": 0, "min_lr": 1e-5}),
    "cosine, held": ("CosineAnnealingScheduler", {"warmup_steps": 5, "constant_steps": 8, "min_lr": 1e-5}),
    "linear": ("WarmupAnnealingScheduler", {"warmup_steps": 6, "min_lr": 1e-5}),
    "constant": ("WarmupPolicyScheduler", {"warmup_steps": 7}),
    "constant, at once": ("WarmupPolicyScheduler", {"warmup_steps": 0}),
    "constant, held": ("WarmupHoldPolicyScheduler", {"warmup_steps": 4, "hold_steps": 9}),
    "hold and fall": ("WarmupHoldAnnealScheduler", {"warmup_ratio": 0.1, "hold_ratio": 0.5, "min_lr": 1e-4}),
    "hold and fall, square root": (
        "WarmupHoldAnnealScheduler",
        {"warmup_ratio": 0.125, "hold_ratio": 0.4, "decay_schedule": "one_minus_square_root"},
    ),
    "fall": ("WarmupHoldAnnealScheduler", {"min_lr": 1e-4}),
    "polynomial": ("PolynomialDecayAnnealingScheduler", {"min_lr": 1e-4}),
    "polynomial, held": ("PolynomialHoldDecayAnnealingScheduler", {"power": 1.0}),
    "Noam, at once": ("NoamAnnealingScheduler", {"d_model": 64, "warmup_steps": 0}),
}
BUT_THE_FIRST = {"Noam": ("NoamAnnealingScheduler", {"d_model": 64, "warmup_steps": 5})}
LOST: dict[str, tuple[str, dict[str, Any]]] = {
    "InverseSquareRootAnnealingScheduler": ("InverseSquareRootAnnealingScheduler", {}),
    "SquareAnnealingScheduler": ("SquareAnnealingScheduler", {}),
    "SquareRootAnnealingScheduler": ("SquareRootAnnealingScheduler", {}),
    "NoamHoldAnnealingScheduler": ("NoamHoldAnnealingScheduler", {}),
    "T5InverseSquareRootAnnealingScheduler": ("T5InverseSquareRootAnnealingScheduler", {}),
    "square": ("PolynomialDecayAnnealingScheduler", {"power": 2.0}),
    "to nothing": (
        "WarmupHoldAnnealScheduler",
        {"hold_ratio": 0.4, "decay_schedule": "one_minus_square_root", "min_lr": 1e-4},
    ),
    "falls at once": ("WarmupHoldAnnealScheduler", {"warmup_ratio": 0.1}),
    "below": ("NoamAnnealingScheduler", {"d_model": 4096, "warmup_steps": 5, "min_lr": 1e-3}),
}  # fmt: skip


def translation(one: tuple[str, dict[str, Any]], folder: Path) -> Translation:
    made = recipe()
    made["trainer"]["max_steps"] = STEPS
    made["optim"]["config"]["lr"] = RATE
    made["optim"]["lr_scheduler"] = {"_target_": f"nemo.lightning.pytorch.optim.lr_scheduler.{one[0]}", **one[1]}
    return translated_from(made, folder, HERE.bridge)


def losses(t: Translation) -> list[str]:
    return [finding.message for finding in t.losses if "has no schedule like" in finding.message]


def of_bridge(t: Translation) -> list[float]:
    from bridge_args.training import container

    config = container.to_container(t)
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.0, "weight_decay": 0.0}])
    scheduler = container._import("training.optim")._get_scheduler(config.optimizer, config.scheduler, optimizer)
    found = []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        scheduler.step(config.train.global_batch_size)
    return found


@cache
def of_nemo() -> dict[str, Any]:
    asked = {**SAME, **BUT_THE_FIRST, **LOST}
    program = ROOT / "tests" / "helpers" / "nemo2_rates.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    text = json.dumps([[*one, RATE, STEPS] for one in asked.values()])
    done = subprocess.run(
        [PYTHON, program, "/dev/stdin"], input=text, capture_output=True, text=True, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(asked, json.loads(done.stdout), strict=True))


@pytest.mark.skipif(not PYTHON, reason="needs nemo-toolkit, here or at BRIDGE_ARGS_NEMO2_PYTHON")
@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None or bool(installed.missing(HERE.bridge)), reason="needs Megatron Bridge"
)
@pytest.mark.parametrize("name", [*SAME, *BUT_THE_FIRST])
def test_every_step_has_the_rate_of_nemo(name: str, tmp_path: Path) -> None:
    t = translation({**SAME, **BUT_THE_FIRST}[name], tmp_path)
    assert losses(t) == []
    first = name in BUT_THE_FIRST
    assert first == any("the first step has the rate 0" in finding.message for finding in t.findings)
    theirs, ours = of_nemo()[name], of_bridge(t)
    assert len(theirs) == len(ours) == STEPS
    assert ours[first:] == pytest.approx(theirs[first:], rel=1e-12, abs=1e-18)


@pytest.mark.parametrize("name", LOST)
def test_what_has_no_equal_is_told_with_the_reason(name: str, tmp_path: Path) -> None:
    t = translation(LOST[name], tmp_path)
    (told,) = losses(t)
    assert told.count(": ") >= 2
    assert next(one for one in t.assignments if one.path == "scheduler.lr_decay_style").value == "constant"


def test_a_schedule_that_nemo_does_not_have(tmp_path: Path) -> None:
    t = translation(("MySchedule", {"warmup_steps": 3}), tmp_path)
    assert {"MySchedule._target_", "MySchedule.warmup_steps"} <= {name for one in t.losses for name in one.arguments}
