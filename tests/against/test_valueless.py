"""A setting that Bridge counts with and that has no value is named, with where it is written; the real Bridge stops."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from nemo2_recipes import recipe, written
from small import SMALL_TEXT

from bridge_args.bridge import installed
from bridge_args.cli.main import main
from bridge_args.emit.run_config import to_run_config
from bridge_args.source.read import from_text
from bridge_args.steps import Asked, translated
from bridge_args.training import container

try:
    container._import("training.config")
except container.BridgeMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return to_run_config(translated(from_text(SMALL_TEXT, "train.sh"), Asked(world_size=1)))


@pytest.mark.parametrize(
    "path",
    [
        "model.num_layers",
        "model.num_attention_heads",
        "model.pipeline_model_parallel_size",
        "model.init_method_std",
        "model.seq_length",
    ],
)
def test_what_has_no_value_is_named(path: str, config: dict[str, Any]) -> None:
    without = copy.deepcopy(config)
    section, _, name = path.partition(".")
    without[section][name] = None
    with pytest.raises(container.BridgeRejects) as rejected:
        container.build(without, 1, {})
    assert path in rejected.value.message and rejected.value.paths == (path,)


def test_a_run_of_nemos_without_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = recipe()
    del made["data"]
    assert main(["validate", written(made, tmp_path), "--bridge", installed.version() or ""]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert "train.global_batch_size" in told and "'NoneType' and 'int'" not in told.partition("(")[0]
