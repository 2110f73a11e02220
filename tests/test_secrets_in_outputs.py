"""Unique marks are planted wherever a source can hold a secret; no output of any command shows one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import bridge_args
from bridge_args.drop_in import provenance
from bridge_args.source.read import from_file
from bridge_args.steps import Asked, translated

SMALL = (
    "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 64 --max-position-embeddings 64 "
    "--micro-batch-size 1 --global-batch-size 1 --train-iters 1 --lr 1e-4 --mock-data --tokenizer-type NullTokenizer "
    "--vocab-size 128 --bf16 --eval-interval 1"
)
SCRIPT = f"""#!/bin/bash
#SBATCH --nodes=1 --gpus-per-node=1 --export=ALL,NGC_API_KEY=mark00sbatch
# comment: WANDB_API_KEY=mark01comment
export WANDB_API_KEY=mark02export
export HF_TOKEN='mark03quoted' GITHUB_TOKEN="mark04double"
PART=mark05; export AWS_SECRET_ACCESS_KEY="${{PART}}pieced"
DB_PASSWORD=mark06plain
export ENDPOINT=https://me:mark07url@store.example/x
export NEPTUNE_API_TOKEN=${{NEPTUNE_API_TOKEN:-mark08default}}
KEYS=(API_KEY=mark09array)
wandb login mark10login
LOGIN=mark11login
wandb login --relogin $LOGIN
huggingface-cli login --token mark12flag --add-to-git-credential
curl -s -H "Authorization: Bearer mark13bearer" https://x.example/start
echo "machine api.wandb.ai login user password mark14netrc" > /tmp/nowhere.$$
cat > /dev/null <<EOF
password: mark15document
EOF
. ./more.sh
torchrun --nproc-per-node 1 pretrain_gpt.py {SMALL} \\
    --wandb-project demo --wandb-exp-name "run-$WANDB_API_KEY" --wandb-save-dir "/w/$DB_PASSWORD" \\
    --unknown-api-key mark16unknown --num-layerz $HF_TOKEN \\
    --tensorboard-dir "/tb/$MORE_SECRET" --save 's3://id:mark17save@bucket/x' --save-interval 1
"""
MORE = "export MORE_SECRET=mark18sourced\n"
YAML = """\
ENV_VARS:
  WANDB_API_KEY: mark20yaml
MODEL_ARGS:
  --num-layers: 2
  --hidden-size: 64
  --num-attention-heads: 4
  --seq-length: 64
  --max-position-embeddings: 64
  --micro-batch-size: 1
  --train-iters: 1
  --lr: 1e-4
  --mock-data: true
  --tokenizer-type: NullTokenizer
  --vocab-size: 128
  --eval-interval: 1
  --wandb-project: demo
  --wandb-exp-name: x-mark20yaml
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.sh").write_text(SCRIPT)
    (tmp_path / "good.sh").write_text(SCRIPT.replace("--unknown-api-key mark16unknown --num-layerz $HF_TOKEN", ""))
    (tmp_path / "more.sh").write_text(MORE)
    (tmp_path / "run.yaml").write_text(YAML)
    two = SCRIPT + SCRIPT.split("\n. ./more.sh\n")[1].replace("demo", "mark19second --api-token mark21second")
    (tmp_path / "two.sh").write_text(two)
    return tmp_path


def said(folder: Path, *words: str) -> str:
    """Everything a command prints, on both streams."""
    done = subprocess.run(
        [sys.executable, "-m", "bridge_args", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(bridge_args.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def marks_in(text: str) -> set[str]:
    import re

    return set(re.findall(r"mark\d\d(?:\w+)?", text))


# What was typed as it is and a setting needs is in the result, and only there.
NEEDED = {"mark17save"}


@pytest.mark.parametrize("format", ("text", "json", "markdown", "html"))
def test_no_report_shows_one(folder: Path, format: str) -> None:
    for source in ("train.sh", "run.yaml"):
        text = said(folder, "report", source, "--format", format)
        assert marks_in(text) - {"mark05", "mark11login"} == set()
        assert "***" in text


@pytest.mark.parametrize("format", ("yaml", "overrides", "run-config", "recipe", "argv", "json"))
def test_results_hold_only_what_was_typed_and_is_needed(folder: Path, format: str) -> None:
    assert marks_in(said(folder, "translate", "good.sh", "--format", format)) <= NEEDED
    assert marks_in(said(folder, "translate", "run.yaml", "--format", format)) == set()


def test_errors_and_lists_of_commands_show_none(folder: Path) -> None:
    assert marks_in(said(folder, "translate", "train.sh")) == set()
    listed = said(folder, "translate", "two.sh")
    assert "--command N" in listed
    assert marks_in(listed) <= {"mark19second"}  # the name of a project
    assert marks_in(said(folder, "translate", "--", *SMALL.split(), "--my-token", "mark30word")) == set()
    assert marks_in(said(folder, "translate", "--wandb-api-key", "mark31option")) == set()
    assert marks_in(said(folder, "explain", "--api-key=mark32asked")) == set()
    assert marks_in(said(folder, "translate", "nowhere.sh", "--set", "A_KEY=mark33set")) == set()


def test_audit_and_dry_run_show_none(folder: Path) -> None:
    for format in ("text", "json"):
        assert marks_in(said(folder, "audit", ".", "--format", format)) <= {"mark19second"}
    shown = said(folder, "launch", "good.sh", "--dry-run", "--accept", "save")
    assert marks_in(shown) == set()
    assert "$WANDB_API_KEY" in shown or "${WANDB_API_KEY}" in shown


def test_a_setting_refers_to_the_variable_and_has_its_value_in_the_run(folder: Path) -> None:
    t = translated(from_file(str(folder / "run.yaml")), Asked())
    config = bridge_args.to_run_config(t)
    assert config["logger"]["wandb_exp_name"] == "x-${oc.env:WANDB_API_KEY}"
    assert bridge_args.to_run_config(t, t.run_environment)["logger"]["wandb_exp_name"] == "x-mark20yaml"
    assert "++" not in "".join(word for word in bridge_args.to_overrides(t) if "mark20" in word)


def test_what_a_run_keeps_of_itself_holds_none(folder: Path) -> None:
    t = bridge_args.translate(
        [*SMALL.split(), "--wandb-project", "p", "--wandb-exp-name", "mark40env"],
        world_size=1,
        env={"WANDB_API_KEY": "mark40env", "HOME": "/root"},
    )
    texts = provenance.texts_of(t, [*t.words, "--accept", "x"])
    assert set(texts) >= {"run_config.yaml", "report.txt", "report.json", "command.txt"}
    for text in texts.values():
        assert marks_in(text) == set()
    assert json.loads(texts["report.json"])["environment"] == {"WANDB_API_KEY": "***", "HOME": "/root"}


def test_findings_of_the_library_show_none() -> None:
    words = [*SMALL.split(), "--hf-token", "mark50typed", "--num-layerz", "https://u:mark51typed@h"]
    t = bridge_args.translate(words, world_size=1)
    assert t.errors
    assert marks_in("".join(map(str, t.findings))) == set()
    assert all(finding.excerpt.text[finding.excerpt.start] == "-" for finding in t.errors if finding.excerpt)


def test_a_short_value_does_not_replace_settings() -> None:
    t = bridge_args.translate([*SMALL.split(), "--wandb-exp-name", "a1"], world_size=1, env={"MY_KEY": "a1"})
    assert bridge_args.to_run_config(t)["logger"]["wandb_exp_name"] == "a1"
