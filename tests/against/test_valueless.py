"""A setting that Bridge counts with and that has no value is named, with where it is written; the real Bridge stops."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("torch")

from small import SMALL_TEXT

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
        "train.micro_batch_size",
    ],
)
def test_what_has_no_value_is_named(path: str, config: dict[str, Any]) -> None:
    without = copy.deepcopy(config)
    section, _, name = path.partition(".")
    without[section][name] = None
    with pytest.raises(container.BridgeRejects) as rejected:
        container.build(without, 1, {})
    assert path in rejected.value.message and rejected.value.paths == (path,)


def test_a_model_of_nemos_without_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = {
        "_target_": "nemo.collections.llm.gpt.model.llama.LlamaModel",
        "config": {"_target_": "nemo.collections.llm.gpt.model.llama.Llama31Config8B", "num_layers": 2},
    }
    file = tmp_path / "model.yaml"
    file.write_text(yaml.safe_dump(made))
    assert main(["validate", str(file)]) == 1
    err = capsys.readouterr().err
    assert "batch_size" in err.splitlines()[-1] and "write " in err.splitlines()[-1]
