"""``verify A --against B`` without a checkout: Bridge trains both; the same run is shown, what differs is named."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from bridge_args.cli.main import main

LINE = (
    "torchrun --nproc-per-node 1 pretrain_gpt.py --num-layers 1 --hidden-size 32 --num-attention-heads 2 "
    "--seq-length 16 --max-position-embeddings 16 --mock-data --tokenizer-type NullTokenizer --vocab-size 99 "
    "--micro-batch-size 1 --global-batch-size 2 --train-iters 2 --eval-iters 0 --eval-interval 9 --lr 2e-3 "
    "--attention-dropout 0"
)
WITH_BRIDGE = pytest.mark.skipif(find_spec("megatron") is None, reason="needs Bridge")


@WITH_BRIDGE
def test_a_script_its_configuration_and_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script, config = tmp_path / "train.sh", tmp_path / "run.yaml"
    script.write_text(LINE + "\n")
    assert main(["translate", str(script), "--format", "run-config", "-o", str(config)]) == 0
    assert main(["verify", str(script), "--against", str(config)]) == 0
    assert "proven: identical in 2 steps" in capsys.readouterr().out
    config.write_text(config.read_text().replace("weight_decay: 0.01", "weight_decay: 0.5"))
    assert main(["verify", str(script), "--against", str(config)]) == 1
    told = capsys.readouterr().out
    assert "not proven: differs at step 2, in lm_loss" in told
    assert "  optimizer.weight_decay: 0.01 in the first, 0.5 in the other\n" in told


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--hand-over-at", "2"], "--hand-over-at is for Megatron-LM's program"),
        (["--against-megatron-lm", "x/y"], "--against-megatron-lm is for Megatron-LM's program"),
        (["--override", "train.train_iters=1"], "it takes no settings of Bridge's beside"),
        (["--format", "json"], "prints text"),
    ],
)
def test_what_does_not_go_together(
    words: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "train.sh"
    script.write_text(LINE + "\n")
    assert main(["verify", str(script), "--against", str(script), *words]) == 1
    assert why in capsys.readouterr().err


@WITH_BRIDGE
def test_runs_of_other_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = tmp_path / "one.sh", tmp_path / "two.sh"
    one.write_text(LINE + "\n")
    two.write_text(LINE.replace("--nproc-per-node 1", "--nproc-per-node 2") + "\n")
    assert main(["verify", str(one), "--against", str(two)]) == 1
    assert "the two are for 1 process and 2 processes, which are no one run" in capsys.readouterr().err
