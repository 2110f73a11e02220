"""``bridge-args modernize``: what it prints, exits with, and refuses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bridge_args.cli.main import main

SMALL = (
    "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 128 --max-position-embeddings 128 "
    "--micro-batch-size 1 --mock-data --tokenizer-type NullTokenizer --vocab-size 128 --lr 1e-4 --train-iters 10"
)
MOVE = ("--megatron-lm", "0.16.1", "--to-megatron-lm", "0.19.0")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.sh"
    path.write_text(
        f"export HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyz012345\ntorchrun pretrain_gpt.py {SMALL} --moe-extended-tp\n"
    )
    return path


def test_a_diff_that_patch_takes(script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = script.read_text()
    assert main(["modernize", str(script), *MOVE]) == 0
    out, err = capsys.readouterr()
    assert script.read_text() == before and sorted(path.name for path in tmp_path.iterdir()) == ["train.sh"]
    assert "abcdefghijklmnop" not in out + err
    assert "leave out --moe-extended-tp: experts are divided" in err and "nothing was trained" in err
    (tmp_path / "plain.sh").write_text(before.partition("\n")[2])
    assert main(["modernize", str(tmp_path / "plain.sh"), *MOVE]) == 0
    subprocess.run(["patch", "-s", str(tmp_path / "plain.sh")], input=capsys.readouterr().out, text=True, check=True)
    assert main(["modernize", str(tmp_path / "plain.sh"), "--megatron-lm", "0.19.0", "--to-megatron-lm", "0.19.0"]) == 0
    assert capsys.readouterr().out == ""


def test_write_keeps_what_was(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = script.read_text()
    assert main(["modernize", str(script), *MOVE, "--write"]) == 0
    assert script.with_name("train.sh.bak").read_text() == before
    assert "--moe-extended-tp" not in script.read_text() and "hf_abcdefghijklmnop" in script.read_text()
    assert "is changed; " in capsys.readouterr().err


def test_json(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["modernize", str(script), *MOVE, "--format", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["same_run"] and said["commands"][0]["from"] == "0.16.1"
    assert [change["was"] for change in said["commands"][0]["changes"] if change["was"]] == [
        ["--vocab-size", "128"], ["--moe-extended-tp"],
    ]  # fmt: skip


def test_what_cannot_be_kept_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["modernize", *MOVE, "--", *SMALL.split(), "--use-megatron-fsdp", "--ckpt-format", "fsdp_dtensor"]) == 1
    assert "not the same: use_distributed_optimizer was False and is True" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["x.sh", "--to-megatron-lm", "9.9"], "9.9"),
        (["--to-megatron-lm", "0.16.1", "--megatron-lm", "0.19.0", "--", *SMALL.split()], "is older than 0.19.0"),
        (["--write", *MOVE, "--", *SMALL.split()], "--write changes a file"),
        (["--prove", *MOVE, "--", *SMALL.split()], "name a checkout with --megatron-lm CHECKOUT"),
        (["--hand-over-at", "3", *MOVE, "--", *SMALL.split()], "--hand-over-at is for --prove"),
        (["none.sh", *MOVE], "none.sh"),
        ([*MOVE, "--", "--num-layers", "x"], "Megatron-LM 0.16.1 refuses this command line"),
    ],
)
def test_wrong_use(
    words: list[str], why: str, script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(script.parent)
    script.rename("x.sh")
    assert main(["modernize", *words]) in (1, 2)
    assert why in capsys.readouterr().err
