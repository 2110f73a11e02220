"""A command line from settings of Bridge: its translation is those settings, or what it cannot say is told."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import golden
import pytest

import bridge_args
from bridge_args.cli.main import main
from bridge_args.diff.compare import compare
from bridge_args.inverse.correct import command_line
from bridge_args.mapping.convert import CONVERSIONS, INVERSES
from bridge_args.mapping.translation import Translation
from bridge_args.source.read import from_text
from bridge_args.steps import Asked, translated

SAMPLE = list(golden.sample("BRIDGE_ARGS_INVERSE", 90))
LINE = (
    "--num-layers 4 --hidden-size 64 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 32 "
    "--micro-batch-size 1 --global-batch-size 8 --train-iters 50 --lr 1e-3 --mock-data --tokenizer-type NullTokenizer "
    "--vocab-size 99 --eval-interval 5 --eval-iters 1 --bf16"
).split()


def of(text: str, **asked: Any) -> Translation:
    return translated(from_text(text, "run_config.yaml"), Asked(**asked))


@pytest.mark.parametrize(("version", "row"), SAMPLE, ids=[f"{version} {row['id']}" for version, row in SAMPLE])
def test_there_and_back_is_the_same_run(version: str, row: dict[str, Any]) -> None:
    there = golden.translated(version, row)
    if there.errors:
        pytest.skip("no configuration is written of it")
    config = of(bridge_args.to_yaml(there, full=True), bridge=golden.PAIRS[version], world_size=there.world_size)
    back = command_line(config, version)
    assert [str(finding) for finding in back.findings] == []
    again = golden.translated(version, row, list(back.translation.words))
    assert compare(there, again).differences == ()


@pytest.mark.parametrize(
    "words",
    [
        "--swiglu --group-query-attention --num-query-groups 2 --normalization RMSNorm --disable-bias-linear",
        "--squared-relu --no-bias-gelu-fusion --untie-embeddings-and-output-weights --attention-backend flash",
        "--data-path 0.3 /a 0.7 /b --split 90,5,5 --data-cache-path /c --num-workers 0",
        "--train-data-path /a --valid-data-path /b --test-data-path /c",
        "--pipeline-model-parallel-size 2 --num-virtual-stages-per-pipeline-rank 2",
        "--use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather --ddp-bucket-size 40000000",
        "--num-experts 4 --moe-router-topk 2 --moe-aux-loss-coeff 1e-2 --moe-router-load-balancing-type aux_loss",
        "--recompute-granularity full --recompute-method uniform --recompute-num-layers 1 --profile",
        "--lr-decay-style cosine --lr-warmup-iters 3 --min-lr 1e-5 --weight-decay 0.1 --clip-grad 0.5",
        "--no-save-optim --save /s --save-interval 5 --load /l --finetune --no-load-rng",
    ],
)
def test_what_is_said_in_several_ways(words: str) -> None:
    data = [word for word in LINE if word != "--mock-data"] if "data-path /" in words or "0.3" in words else LINE
    there = bridge_args.translate([*data, *words.split()], world_size=2)
    assert not there.errors
    back = command_line(of(bridge_args.to_yaml(there), bridge=there.versions.bridge, world_size=2))
    assert [str(finding) for finding in back.findings] == []
    assert compare(there, back.translation).differences == ()


def test_what_megatron_lm_cannot_say_is_told_at_its_line() -> None:
    text = bridge_args.to_yaml(bridge_args.translate(LINE, world_size=1))
    head = "train:\n  train_sync_interval: 3\n  manual_gc_eval: 7\n"
    assert "train:\n" in text
    back = command_line(of(text.replace("train:\n", head), world_size=1))
    told = [str(finding) for finding in back.findings]
    assert len(told) == 1 and "train.manual_gc_eval = 7 is lost: no argument of Megatron-LM" in told[0], told
    assert told[0].startswith("run_config.yaml:")


def test_every_conversion_has_its_inverse() -> None:
    assert CONVERSIONS.keys() == INVERSES.keys()
    values = {
        "not": True, "switch": True, "single": ["a"], "joined_by_spaces": ["a", "b"], "minutes_to_seconds": 3,
        "none_when_empty": ["a"], "integer": "7", "integers": ["1", "2"],
    }  # fmt: skip
    for name, value in values.items():
        assert INVERSES[name](CONVERSIONS[name](value)) == value


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, script = tmp_path / "run.yaml", tmp_path / "run.sh"
    words = [*LINE, "--save", "/a b/$X", "--save-interval", "5"]
    file.write_text(bridge_args.to_yaml(bridge_args.translate(words, world_size=2)), encoding="utf-8")
    assert main(["translate", str(file), "--format", "script", "--world-size", "2", "-o", str(script)]) == 0
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    capsys.readouterr()
    assert main(["diff", str(file), str(script)]) == 0
    assert "are the same in all" in capsys.readouterr().err
    assert main(["translate", str(file), "--format", "argv", "--world-size", "2"]) == 0
    assert "/a b/$X" in shlex.split(capsys.readouterr().out)
    assert main(["translate", str(script), "--format", "script"]) == 0


def test_a_variable_stays_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run.yaml"
    text = bridge_args.to_yaml(bridge_args.translate(LINE, world_size=1))
    save = "checkpoint:\n  save: ${oc.env:HOME_OF_RUNS}/a\n  save_interval: 5\n"
    at = text.index("checkpoint:\n") if "checkpoint:\n" in text else len(text)
    file.write_text(text[:at] + save + text[at:].removeprefix("checkpoint:\n"), encoding="utf-8")
    main(["translate", str(file), "--format", "argv"])
    assert '--save "${HOME_OF_RUNS}/a"' in capsys.readouterr().out
