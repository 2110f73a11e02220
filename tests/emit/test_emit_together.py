"""Real command lines through every format: all of them describe the same configuration."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from containers import comparable, loaded, untouched
from hydra.core.override_parser.overrides_parser import OverridesParser

from bridge_args import Translation, report, to_argv, to_overrides, to_recipe, to_run_config, to_yaml, translate
from bridge_args.emit.hydra import unsayable

SMALL = (
    "--num-layers 4 --hidden-size 64 --num-attention-heads 4 --seq-length 128 --max-position-embeddings 128"
    " --micro-batch-size 1 --mock-data --tokenizer-type NullTokenizer --vocab-size 99 --lr 1e-4 --train-iters 10"
    " --eval-interval 5"
)
COMMANDS = {
    "gpt": SMALL,
    "llama": f"{SMALL} --bf16 --swiglu --normalization RMSNorm --position-embedding-type rope --disable-bias-linear"
    " --group-query-attention --num-query-groups 2 --untie-embeddings-and-output-weights --attention-backend flash",
    "mixture of experts": f"{SMALL} --num-experts 4 --moe-layer-freq ([0]*1+[1]*3) --expert-model-parallel-size 2",
    "data and checkpoints": f"{SMALL.replace('--mock-data', '--data-path 0.3 /a,b 0.7 /c=d')} --save /e --load /e"
    " --save-interval 5 --split 90,9,1",
}


def of(name: str) -> Translation:
    t = translate(COMMANDS[name].split(), world_size=8)
    assert t.errors == ()
    return t


@pytest.fixture(scope="module")
def merging() -> Any:
    from bridge_args.training import container

    try:
        return container._import("training.utils.omegaconf_utils").process_config_with_overrides
    except container.BridgeMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("name", COMMANDS)
def test_overrides_yaml_and_recipe_give_one_configuration(name: str, merging: Any, tmp_path: Path) -> None:
    t = of(name)
    wanted = comparable(loaded(t))
    module: dict[str, Any] = {}
    exec(to_recipe(t), module)
    assert comparable(module["pretrain_config"]()) == wanted

    file = tmp_path / "settings.yaml"
    file.write_text(to_yaml(t), encoding="utf-8")
    unsaid = {finding.message.partition(" = ")[0] for finding in unsayable(t)}
    said = {path: value for path, value in wanted.items() if path not in unsaid}
    for merged in (
        comparable(merging(untouched(t), cli_overrides=to_overrides(t))),
        comparable(merging(untouched(t), config_filepath=str(file))),
    ):
        assert {path: value for path, value in merged.items() if path not in unsaid} == said
        assert all(merged[path] != wanted[path] for path in unsaid), "Bridge has learned to merge functions"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_normalised_command_line_means_the_same(name: str) -> None:
    t = of(name)
    again = translate(to_argv(t), world_size=8)
    assert to_run_config(again) == to_run_config(t)
    assert to_argv(again) == to_argv(t)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_whole_yaml_is_the_run_config(name: str) -> None:
    assert yaml.safe_load(to_yaml(of(name), full=True)) == to_run_config(of(name))


def test_every_format_works_on_what_there_is_when_the_command_line_is_wrong() -> None:
    t = translate([*SMALL.split(), "--num-layerz", "3", "--lr", "fast", "--bf16", "true"], world_size=8)
    assert len(t.errors) >= 3
    assert yaml.safe_load(to_yaml(t))["model"]["num_layers"] == 4
    assert OverridesParser.create().parse_overrides(to_overrides(t))
    assert "--num-layerz" not in to_argv(t)
    ast.parse(to_recipe(t))
    assert json.loads(report(t, "json"))["counts"]["fix"] == len(t.errors)


def test_nothing_at_all() -> None:
    t = translate([], bridge="0.3.1")
    assert to_argv(t) == []
    yaml.safe_load(to_yaml(t))
    OverridesParser.create().parse_overrides(to_overrides(t))
    ast.parse(to_recipe(t))
    assert report(t)
