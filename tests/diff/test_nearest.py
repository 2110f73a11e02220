"""The nearest recipe of Bridge: a recipe with a few changes is found again, with exactly these changes as overrides."""

from __future__ import annotations

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
    assert found.name == name and found.title.startswith("nemotronh 8b pretraining")
    assert {one.path: one.right.value for one in found.compared.differences} == CHANGES
    assert len(found.compared.of("numbers")) == 2
    assert set(found.overrides) == {
        "optimizer.lr=0.00071", "train.global_batch_size=96", "logger.log_interval=3", 'checkpoint.save=/mine',
        "ddp.bucket_size=12345", 'logger.tensorboard_dir="/tb \\${x}"',
    } and found.unsaid == ()  # fmt: skip


@pytest.mark.parametrize("bridge", VERSIONS)
def test_every_recipe_is_nearest_to_itself(bridge: str) -> None:
    held, left_out = recipes._held(bridge)
    assert len(held) >= 10 and left_out > 0
    name = sorted(held)[0]
    found = nearest(translated(from_text(held[name], "run.yaml"), Asked(bridge=bridge)))
    assert (found.name, found.compared.differences, found.among) == (name, (), len(held))


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
    run = translated(from_text("train: {train_iters: 5}\nmodel: {num_layers: 2}\n", "run.yaml"), Asked(bridge="0.4.2"))
    with pytest.raises(UserError, match="no recipes of Bridge 0.4.2 are known; there are those of 0.3.1, 0.6.2"):
        nearest(run)
