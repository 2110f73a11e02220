"""Rehearse: what is started, what is shown; with processes that stand in for training."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import bridge_args
from bridge_args.rehearse import rehearse as module
from bridge_args.rehearse.rehearse import RehearsalError, plan, rehearse
from bridge_args.training import processes

SMALL = [
    "--num-layers", "2", "--hidden-size", "64", "--num-attention-heads", "4", "--seq-length", "32",
    "--max-position-embeddings", "32", "--micro-batch-size", "2", "--global-batch-size", "64", "--train-iters", "500",
    "--lr", "1e-3", "--mock-data", "--tokenizer-type", "NullTokenizer", "--vocab-size", "1023", "--eval-interval", "10",
    "--transformer-impl", "local", "--no-persist-layer-norm",
]  # fmt: skip
STEP = {
    "iteration": 1, "lm_loss": 6.934055805206299, "grad_norm": 1.25, "learning_rate": 0.001,
    "global_batch_size": 64, "consumed_samples": 64, "loss_scale": 1.0, "skipped": 0,
}  # fmt: skip


def translation(world_size: int = 1) -> bridge_args.Translation:
    return bridge_args.translate(SMALL, world_size=world_size)


def run_instead(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """A rehearsal starts this program, with the plan's path as its argument."""
    monkeypatch.setattr(
        processes, "_command", lambda name, plan_file, nproc, emulate: [sys.executable, "-c", code, str(plan_file)]
    )


def test_exactly_what_the_command_line_says() -> None:
    planned = plan(translation())
    assert planned.plan.run_config == bridge_args.to_run_config(translation())
    assert (planned.plan.steps, planned.nproc, planned.shrunk, planned.adapted) == (None, 1, (), ())


def test_steps_leave_the_schedule_alone() -> None:
    planned = plan(translation(), steps=3)
    assert planned.plan.steps == 3
    assert planned.plan.run_config["train"]["train_iters"] == 500


def test_shrink_has_one_process_and_few_steps() -> None:
    planned = plan(translation(64), shrink=True)
    assert (planned.plan.steps, planned.nproc) == (20, 1)
    assert planned.plan.run_config["train"]["global_batch_size"] == 8


def test_many_processes_are_not_started_unasked() -> None:
    with pytest.raises(RehearsalError, match="for 32 processes; add --shrink .* or --nproc 32"):
        plan(translation(32))
    assert plan(translation(32), nproc=32).nproc == 32


def test_another_number_of_processes() -> None:
    with pytest.raises(RehearsalError, match="is for 2 processes, so 4 cannot .* --world-size 4"):
        plan(translation(2), nproc=4)


@pytest.mark.parametrize("format", ["json", "text"])
def test_records_are_shown(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [{"replaced": ["NCCL: gloo"]}, STEP, {**STEP, "iteration": 2, "lm_loss": 6.5}]
    lines.append({"split": "valid", "iteration": 2, "lm_loss": 6.25})
    text = "\n".join(json.dumps(line) for line in lines)
    run_instead(monkeypatch, f"import sys; print({text!r}); print('noise'); print('training log', file=sys.stderr)")
    out, err = io.StringIO(), io.StringIO()
    assert rehearse(translation(), format=format, out=out, err=err) == 0
    assert "replaced: NCCL: gloo" in err.getvalue()
    assert "training log" not in out.getvalue() + err.getvalue()
    if format == "json":
        assert [json.loads(line) for line in out.getvalue().splitlines()] == lines[1:]
    else:
        shown = out.getvalue().splitlines()
        assert shown[0] == "step     1  loss 6.9341  grad norm 1.2500  lr 1.000e-03  batch 64"
        assert shown[2] == "valid loss after step 2: 6.2500"
        assert "┤" in shown[3]


def test_an_error_is_shown_once_and_passes_on_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    error = json.dumps({"error": "ValueError: no data", "where": "megatron/core/x.py:7"})
    run_instead(monkeypatch, f"import sys; print({error!r}); print({error!r}); sys.exit(3)")
    err = io.StringIO()
    assert rehearse(translation(), out=io.StringIO(), err=err) == 3
    assert err.getvalue().count("ValueError: no data") == 1
    assert "training stopped: ValueError: no data (at megatron/core/x.py:7)" in err.getvalue()


def test_a_crash_without_words_shows_the_end_of_the_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run_instead(monkeypatch, "import sys; print('out of luck', file=sys.stderr); sys.exit(9)")
    err = io.StringIO()
    log = tmp_path / "log"
    assert rehearse(translation(), log=str(log), out=io.StringIO(), err=err) == 9
    assert "exit code 9" in err.getvalue() and "    out of luck" in err.getvalue()
    assert log.read_text() == "out of luck\n"


def test_the_launcher_of_this_process_is_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("RANK", "5")
    environment = processes._environment({"NCCL_ALGO": "Ring"}, emulate=True)
    assert "WORLD_SIZE" not in environment and "RANK" not in environment
    assert environment["NCCL_ALGO"] == "Ring"


def test_stopping_early_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stops reading does not leave training behind."""
    run_instead(monkeypatch, f"import time; print({json.dumps(STEP)!r}, flush=True); time.sleep(60)")
    records = module.run(plan(translation()))
    assert next(records)["iteration"] == 1
    records.close()  # type: ignore[attr-defined]  # a generator


def test_a_picture_without_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run_instead(monkeypatch, f"print({json.dumps(STEP)!r})")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    err = io.StringIO()
    assert rehearse(translation(), plot=str(tmp_path / "x.png"), out=io.StringIO(), err=err) == 0
    assert "pip install matplotlib" in err.getvalue()


# ------------------------------------------------------------------------------------ devices


@pytest.mark.parametrize(
    ("device", "gpus", "nproc", "emulated"),
    [("auto", 0, 4, True), ("auto", 4, 4, False), ("cpu", 8, 4, True), ("cuda", 1, 1, False)],
)
def test_the_gpu_is_used_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, device: Any, gpus: int, nproc: int, emulated: bool
) -> None:
    monkeypatch.setattr(processes, "_gpus", lambda: gpus)
    assert processes.on_cpu(device, nproc) is emulated


@pytest.mark.parametrize(
    ("device", "gpus", "nproc", "said"),
    [("cuda", 0, 1, "no GPU is visible"), ("auto", 1, 2, "2 processes need 2 GPUs, and this machine has 1")],
)
def test_too_few_gpus(monkeypatch: pytest.MonkeyPatch, device: Any, gpus: int, nproc: int, said: str) -> None:
    monkeypatch.setattr(processes, "_gpus", lambda: gpus)
    with pytest.raises(RehearsalError, match=said):
        processes.on_cpu(device, nproc)


def test_nothing_is_emulated_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_gpus", lambda: 1)
    on_gpu = plan(translation())
    assert on_gpu.plan.emulate is False
    assert on_gpu.adapted == ()
    assert not (on_gpu.plan.transformer_engine or on_gpu.plan.apex_layer_norm)
    assert (
        "CUDA_VISIBLE_DEVICES" not in processes._environment({}, emulate=False) or "CUDA_VISIBLE_DEVICES" in os.environ
    )
    assert "torch.distributed.run" in processes._command("m", Path("plan"), 1, False)
