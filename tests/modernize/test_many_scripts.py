"""A folder of scripts, moved at once; and what is said of lines, in SARIF."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge_args.cli.main import main

SMALL = (
    "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 128 --max-position-embeddings 128 "
    "--micro-batch-size 1 --mock-data --tokenizer-type NullTokenizer --vocab-size 128 --lr 1e-4 --train-iters 10"
)
MOVE = ("--megatron-lm", "0.18.2", "--to-megatron-lm", "0.19.0")


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "scripts"
    folder.mkdir()
    deepep = "--num-experts 4 --moe-token-dispatcher-type flex --moe-flex-dispatcher-backend deepep"
    for name, text in {
        "same.sh": f"torchrun pretrain_gpt.py {SMALL}\n",
        "moved.sh": f"torchrun pretrain_gpt.py {SMALL} \\\n    --rl-generation-batch-size 4\n",
        "refused.sh": f"torchrun pretrain_gpt.py {SMALL} --no-such-flag\n",
        "none.sh": "echo hello\n",
        "more.sh": f"torchrun pretrain_gpt.py {SMALL} {deepep}\n",
    }.items():
        (folder / name).write_text(text)
    return folder


def test_each_file_by_itself(scripts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_text() for path in scripts.iterdir()}
    assert main(["modernize", "scripts", *MOVE, "--format", "json"]) == 1
    said = json.loads(capsys.readouterr().out)
    status = {Path(file["name"]).name: file["status"] for file in said["sources"]}
    assert status == {
        "same.sh": "as it was",
        "moved.sh": "moved",
        "more.sh": "moved",
        "refused.sh": "refused",
        "none.sh": "no Megatron-LM command",
    }
    assert said["summary"]["moved"] == 2
    assert {path.name: path.read_text() for path in scripts.iterdir()} == before
    assert main(["modernize", "scripts", *MOVE, "--write"]) == 1
    after = {path.name: path.read_text() for path in scripts.iterdir()}
    assert {name for name, text in after.items() if before.get(name) != text} == {
        "moved.sh", "moved.sh.bak", "more.sh", "more.sh.bak",
    }  # fmt: skip
    assert "--moe-deepep-num-sms 20" in after["more.sh"] and "--rl-generation" not in after["moved.sh"]


def test_check_tells_that_something_has_to_change(scripts: Path) -> None:
    (scripts / "refused.sh").unlink()
    assert main(["modernize", "scripts", *MOVE]) == 0
    assert main(["modernize", "scripts", *MOVE, "--check"]) == 1
    assert main(["modernize", "scripts", *MOVE, "--write"]) == 0
    for backup in scripts.glob("*.bak"):
        backup.unlink()
    assert main(["modernize", "scripts", "--megatron-lm", "0.19.0", "--to-megatron-lm", "0.19.0", "--check"]) == 0


def test_sarif_of_modernize(scripts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    variables = "export NCCL_ALGO=Tree NVTE_ALLOW_NONDETERMINISTIC_ALGO=0"
    (scripts / "told.sh").write_text(f"{variables}\ntorchrun pretrain_gpt.py {SMALL} --deterministic-mode\n")
    main(["modernize", "scripts", *MOVE, "--format", "sarif"])
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    found = {
        (one["ruleId"], place["artifactLocation"]["uri"], place.get("region", {}).get("startLine"))
        for one in run["results"]
        for place in (one["locations"][0]["physicalLocation"],)
    }
    assert ("variables", "scripts/told.sh", None) in found
    assert ("changes", "scripts/moved.sh", 2) in found and ("refused", "scripts/refused.sh", None) in found
    assert all(run["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] == one["ruleId"] for one in run["results"])


def test_sarif_of_audit(scripts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["audit", "scripts", "--megatron-lm", "0.18.2", "--format", "sarif"])
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    found = {
        (one["ruleId"], place["artifactLocation"]["uri"], place["region"]["startLine"])
        for one in run["results"]
        for place in (one["locations"][0]["physicalLocation"],)
        if "region" in place
    }
    assert ("unknown-argument", "scripts/refused.sh", 1) in found
    assert not any(one["level"] == "note" for one in run["results"])


@pytest.mark.parametrize(
    "words", [["scripts", "--prove"], ["scripts/same.sh", "--format", "sarif"]], ids=["prove", "sarif of a file"]
)
def test_what_a_folder_does_not_take(words: list[str], scripts: Path) -> None:
    assert main(["modernize", *words, *MOVE]) == 2 or main(["modernize", *words, *MOVE]) == 1
