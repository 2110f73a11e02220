"""A Translation of a file that is no command line: another format's names, through rows, into every output."""

from __future__ import annotations

import json
import shlex

import pytest
import yaml

import bridge_args
from bridge_args.bridge import installed
from bridge_args.emit.argv import to_argv
from bridge_args.emit.report import report
from bridge_args.errors import UserError
from bridge_args.mapping.settings import Stated, translated
from bridge_args.mapping.table import from_files
from bridge_args.mapping.translation import Translation
from bridge_args.pairs.pairs import chosen_versions
from bridge_args.training import added
from bridge_args.training.added import Added
from bridge_args.versions import holds
from bridge_args.words import Place

HERE = chosen_versions()

TABLE = b"""
title: A format of its own
about: Names that Megatron-LM does not have.
sections:
  mixed_precision: {opened_by: precision.plugin}
arguments:
  trainer.max_steps: train.train_iters
  trainer.val_check_interval:
    bridge <0.4: train.eval_interval
    bridge >=0.4: validation.eval_interval
  trainer.devices: {launcher: The launcher starts so many processes.}
  trainer.save_top_k: {no_equivalent: Bridge keeps the newest ones only., changes: logs}
  data.seq_length: [model.seq_length, dataset.seq_length]
  data.micro_batch_size: train.micro_batch_size
  data.global_batch_size: train.global_batch_size
  data.seed: dataset.random_seed
  data.packed: [dataset.reset_position_ids, dataset.reset_attention_mask, dataset.eod_mask_loss]
  model.layers: model.num_layers
  model.hidden: model.hidden_size
  model.heads: model.num_attention_heads
  model.tied: {to: model.share_embeddings_and_output_weights}
  model.dropout: model.hidden_dropout
  optim.lr: optimizer.lr
"""
LINES = {
    "trainer.max_steps": 20,
    "trainer.val_check_interval": 5,
    "trainer.devices": 8,
    "trainer.save_top_k": 3,
    "data.seq_length": 64,
    "data.micro_batch_size": 1,
    "data.global_batch_size": 8,
    "data.seed": 7,
    "data.packed": False,
    "model.layers": 2,
    "model.hidden": 64,
    "model.heads": 4,
    "optim.lr": 1e-3,
    "optim.nobody_knows": "x",
}


@pytest.fixture(scope="module")
def moved() -> Translation:
    stated = [
        Stated(name, value, f"{name.rpartition('.')[2]}: {value}", Place("run.yaml", line, 1))
        for line, (name, value) in enumerate(LINES.items(), start=3)
    ]
    return translated(
        stated,
        made_from="a configuration of its own",
        table=from_files([("its own", TABLE)], HERE),
        bridge=HERE.bridge,
        world_size=8,
        defaults={"model.tied": False, "model.dropout": 0.25, "trainer.max_steps": -1},
    )


def test_its_settings_go_through_rows(moved: Translation) -> None:
    assert {one.path: one.value for one in moved.assignments} == {
        "train.train_iters": 20,
        f"{'train' if holds('bridge <0.4', HERE) else 'validation'}.eval_interval": 5,
        "train.micro_batch_size": 1,
        "train.global_batch_size": 8,
        "dataset.random_seed": 7,
        "dataset.reset_position_ids": False,
        "dataset.reset_attention_mask": False,
        "dataset.eod_mask_loss": False,
        "model.seq_length": 64,
        "dataset.seq_length": 64,
        "model.num_layers": 2,
        "model.hidden_size": 64,
        "model.num_attention_heads": 4,
        "model.share_embeddings_and_output_weights": False,
        "model.hidden_dropout": 0.25,
        "optimizer.lr": 1e-3,
    }
    assert (moved.outcomes["trainer.devices"].fate, moved.outcomes["trainer.save_top_k"].fate) == (
        "launcher",
        "no_equivalent",
    )


def test_what_is_lost_is_told_at_its_line(moved: Translation) -> None:
    told = [str(finding).splitlines()[0] for finding in moved.losses]
    assert told == [
        "run.yaml:6: trainer.save_top_k = 3 is lost: Bridge keeps the newest ones only. This changes logs and files "
        "only.",
        "run.yaml:16: optim.nobody_knows = 'x' is lost: no mapping table has it",
    ]
    assert [finding.arguments for finding in moved.number_losses] == [("optim.nobody_knows",)]


def test_every_format_takes_it(moved: Translation) -> None:
    text = bridge_args.to_yaml(moved)
    assert text.startswith(f"# For Megatron Bridge {moved.versions.bridge}, from a configuration of its own, 8 GPUs.\n")
    assert "  train_iters: 20  # max_steps: 20\n" in text
    assert "  hidden_dropout: 0.25  # the default of a configuration of its own, Bridge has 0.1\n" in text
    sparse, full = yaml.safe_load(text), yaml.safe_load(bridge_args.to_yaml(moved, full=True))
    for section, settings in sparse.items():
        assert settings.items() <= full[section].items()
    assert full["model"].items() >= {"seq_length": 64, "hidden_dropout": 0.25}.items()
    overrides = "".join(f"{shlex.quote(word)}\n" for word in bridge_args.to_overrides(moved))
    assert "train.train_iters=20" in overrides and "hidden_dropout=0.25" in overrides
    recipe = bridge_args.to_recipe(moved)
    compile(recipe, "recipe", "exec")
    assert recipe.startswith(
        f'"""A configuration of its own as a recipe for Megatron Bridge {moved.versions.bridge}."""'
    )


def test_every_report_takes_it(moved: Translation) -> None:
    data = json.loads(report(moved, "json"))
    assert data["made_from"] == "a configuration of its own" and data["program"] == ""
    assert [(row["argument"], row["place"]["line"]) for row in data["arguments"]][:2] == [
        ("trainer.max_steps", 3),
        ("trainer.val_check_interval", 4),
    ]
    for format in ("text", "markdown", "html"):
        said = report(moved, format, sources={"run.yaml": "a: 1\n"} if format == "html" else None)  # type: ignore[arg-type]
        assert f"a configuration of its own to Megatron Bridge {moved.versions.bridge}" in said and "save_top_k" in said
        assert "Megatron-LM" not in said and "command line" not in said, format


def test_what_is_about_megatrons_program_refuses(moved: Translation) -> None:
    with pytest.raises(UserError, match="the format argv needs a command line of Megatron-LM, and this is a conf"):
        to_argv(moved)
    assert added.of(moved) == Added()


def test_bridge_builds_it(moved: Translation) -> None:
    pytest.importorskip("torch")
    if missing := installed.missing(HERE.bridge):
        pytest.skip(str(missing))
    from bridge_args.training.container import to_container

    complete = moved._replace(world_size=1)
    config = to_container(complete)
    assert (config.model.num_layers, config.train.train_iters, config.optimizer.lr) == (2, 20, 1e-3)
