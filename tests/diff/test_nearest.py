"""The nearest recipe of Bridge: a recipe with a few changes is found again, with exactly these changes as overrides."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge_args.cli.main import main
from bridge_args.diff import nearest as recipes
from bridge_args.diff.nearest import FOLDER, nearest
from bridge_args.errors import UserError
from bridge_args.source.read import from_text
from bridge_args.steps import Asked, translated

VERSIONS = sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz"))
CHANGES = {
    "optimizer.lr": 0.00071, "train.global_batch_size": 96, "logger.log_interval": 3, "checkpoint.save": "/mine",
    "ddp.bucket_size": 12345, "logger.tensorboard_dir": "/tb ${x}",
}  # fmt: skip


def changed(bridge: str, name: str) -> str:
    config: dict[str, Any] = yaml.safe_load(recipes._held(bridge)[0][name])
    for path, value in CHANGES.items():
        section, _, setting = path.partition(".")
        config[section][setting] = value.replace("${", "\\${") if isinstance(value, str) else value
    return yaml.safe_dump(config)


@pytest.mark.parametrize("bridge", VERSIONS)
def test_a_recipe_with_six_changes(bridge: str) -> None:
    name = next(name for name in recipes._held(bridge)[0] if "nemotronh_8b" in name)
    run = translated(from_text(changed(bridge, name), "run.yaml"), Asked(bridge=bridge, world_size=8))
    found = nearest(run)
    assert found.name == name and found.title.startswith("Nemotron-H 8B pretraining")
    assert {one.path: one.right.value for one in found.compared.differences} == CHANGES
    assert len(found.compared.of("numbers")) == 2
    assert set(found.overrides) == {
        "optimizer.lr=0.00071", "train.global_batch_size=96", "logger.log_interval=3", 'checkpoint.save=/mine',
        "ddp.bucket_size=12345", 'logger.tensorboard_dir="/tb \\${x}"',
    } and found.unsaid == ()  # fmt: skip


@pytest.mark.parametrize("bridge", VERSIONS)
def test_every_recipe_is_nearest_to_itself(bridge: str) -> None:
    held, _ = recipes._held(bridge)
    assert len(held) >= 50
    name = sorted(held)[0]
    found = nearest(translated(from_text(held[name], "run.yaml"), Asked(bridge=bridge)))
    assert (found.name, found.compared.differences, found.among) == (name, (), len(held))


SCRIPT = """torchrun --nproc-per-node 8 pretrain_gpt.py \\
  --num-layers 32 --hidden-size 4096 --ffn-hidden-size 14336 --num-attention-heads 32 \\
  --group-query-attention --num-query-groups 8 --seq-length 8192 --max-position-embeddings 8192 \\
  --position-embedding-type rope --rotary-base 500000 --normalization RMSNorm --norm-epsilon 1e-5 --swiglu \\
  --disable-bias-linear --untie-embeddings-and-output-weights --attention-dropout 0 --hidden-dropout 0 --bf16 \\
  --tensor-model-parallel-size 2 --micro-batch-size 1 --global-batch-size 128 --train-iters 5000 \\
  --lr 3e-4 --min-lr 3e-5 --lr-decay-style cosine --lr-warmup-iters 200 --weight-decay 0.1 --clip-grad 1.0 \\
  --mock-data --tokenizer-type NullTokenizer --vocab-size 128256 --use-distributed-optimizer
"""


@pytest.mark.parametrize("bridge", VERSIONS)
def test_a_script_of_llama_3_8b(bridge: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "train.sh"
    file.write_text(SCRIPT, encoding="utf-8")
    assert main(["diff", str(file), "--nearest-recipe", "--bridge", bridge]) == 1
    out, err = capsys.readouterr()
    told = [line for line in err.splitlines() if line.startswith("Llama 3 8B pretraining")]
    assert told and "change the numbers" in told[0] and "more that neither run reads" in told[0]
    assert "train.global_batch_size=128\n" in out and "model.num_layers" not in out and "hidden_size" not in out
    assert ("of this Bridge could not be read: " in err) is bool(recipes._held(bridge)[1])
    assert "decided by the machine" not in out


def test_what_nothing_reads_is_no_difference_of_the_numbers() -> None:
    bridge = VERSIONS[-1]
    name = next(name for name in recipes._held(bridge)[0] if "llama3_8b" in name)
    config: dict[str, Any] = yaml.safe_load(recipes._held(bridge)[0][name])
    config["optimizer"]["muon_momentum"] = 0.5  # it is Adam in both
    run = translated(from_text(yaml.safe_dump(config), "run.yaml"), Asked(bridge=bridge))
    (one,) = nearest(run).compared.differences
    assert (one.path, one.group) == ("optimizer.muon_momentum", "nothing")


@pytest.mark.skipif(not os.environ.get("BRIDGE_ARGS_RECIPES"), reason="takes minutes; BRIDGE_ARGS_RECIPES=all")
@pytest.mark.parametrize("bridge", VERSIONS)
def test_the_short_list_has_the_nearest(bridge: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [SCRIPT, SCRIPT.replace("4096", "2048").replace("14336", "8192"), SCRIPT.replace("32", "48")]
    for line in lines:
        run = translated(from_text(line, "train.sh"), Asked(bridge=bridge))
        short = nearest(run)
        monkeypatch.setattr(recipes, "SHORTLIST", 1000)
        assert nearest(run).name == short.name
        monkeypatch.undo()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bridge = VERSIONS[-1]
    name = next(name for name in recipes._held(bridge)[0] if "nemotronh_8b" in name)
    file = tmp_path / "run.yaml"
    file.write_text(changed(bridge, name), encoding="utf-8")
    assert main(["diff", str(file), "--nearest-recipe", "--bridge", bridge]) == 1
    out, err = capsys.readouterr()
    assert "optimizer.lr=0.00071\n" in out and "; 6 settings differ, 2 change the numbers" in err
    assert main(["diff", str(file), "--nearest-recipe", "--bridge", bridge, "--format", "json"]) == 1


def test_a_version_without_recipes() -> None:
    run = translated(from_text("train: {train_iters: 5}\nmodel: {num_layers: 2}\n", "run.yaml"), Asked(bridge="0.2.2"))
    with pytest.raises(UserError, match=f"no recipes of Bridge 0.2.2 are known; there are those of {VERSIONS[0]}, "):
        nearest(run)


@pytest.mark.parametrize("bridge", VERSIONS)
def test_a_recipe_by_its_name(
    bridge: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = next(name for name in recipes._held(bridge)[0] if "nemotronh_8b" in name)
    (tmp_path / "run.yaml").write_text(changed(bridge, whole))
    monkeypatch.chdir(tmp_path)
    for name in (whole, whole.rpartition(".")[2]):
        assert main(["diff", "--bridge", bridge, name, "run.yaml", "--format", "json"]) == 1
        told = json.loads(capsys.readouterr().out)
        assert {one["path"]: one["sides"][1]["value"] for one in told["differences"]} == CHANGES
        assert main(["diff", "--bridge", bridge, name, whole]) == 0
    capsys.readouterr()
    assert main(["diff", "--bridge", bridge, f"{name[:-7]}_x_config", "run.yaml"]) == 1
    assert f"near it: {name}" in capsys.readouterr().err
    Path(name).write_text("learning rate\n")  # a file of that name is a file
    assert main(["diff", "--bridge", bridge, name, "run.yaml"]) == 1
    assert "near it" not in capsys.readouterr().err


def test_a_checkout_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pretrain_gpt.py").write_text("")
    assert main(["diff", str(tmp_path), "pretrain_gpt.py --num-layers 2"]) == 1
    assert "is a checkout of Megatron-LM, not a run; `bridge-args versions A B`" in capsys.readouterr().err
