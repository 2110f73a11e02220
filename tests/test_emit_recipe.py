"""to_recipe: valid Python that builds the same container as the run config."""

from __future__ import annotations

import ast
import math
from typing import Any

import pytest
from by_hand import NEEDED, assignment, translation
from hypothesis import given, settings
from hypothesis import strategies as st
from test_emit_hydra import CASES, FAULT_TOLERANCE, FLASH, comparable, loaded
from test_emit_yaml import SCALARS, TEXTS, same

from bridge_args.emit.recipe import _expression, _Names, to_recipe
from bridge_args.mapping.translation import Origin
from bridge_args.values import Built, Partial, Symbol

PLAIN = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=20)


@settings(deadline=None)
@given(PLAIN, st.integers(0, 60))
def test_values_as_source(value: Any, indent: int) -> None:
    assert same(eval(f"({_expression(value, _Names(), indent)}\n)"), value)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0, 1, True, 1.0, math.inf]), min_size=9, max_size=20))
def test_runs_in_lists(values: list[Any]) -> None:
    assert same(eval(_expression(values, _Names())), values)


@settings(deadline=None)
@given(st.text(), TEXTS)
def test_it_is_python_whatever_the_user_typed(comment: str, value: str) -> None:
    t = translation(
        [
            assignment("checkpoint.save", value, Origin("flag", ("save",), comment)),
            assignment("checkpoint.load", [value] * 30, Origin("derived", ("load",), comment, {"save": value})),
        ],
        words=[comment],
    )
    ast.parse(to_recipe(t))


def test_a_recipe() -> None:
    t = translation(
        {
            "train.train_iters": 5,
            "model.num_layers": 4,
            "model.attention_backend": FLASH,
            "model.activation_func": Symbol("torch.nn.functional.silu"),
            "model.moe_layer_freq": [0] * 3 + [1] * 9,
            "model.init_method": Partial("torch.nn.init.normal_", {"mean": 0.0, "std": 0.02}),
            "ft.enable_ft_package": True,
        },
        classes={"ft": FAULT_TOLERANCE},
    )
    assert (
        to_recipe(t)
        == '''\
"""Megatron-LM 0.16.1 arguments as a recipe for Megatron Bridge 0.3.1."""

from functools import partial

import torch
from megatron.bridge.models.gpt_provider import GPTModelProvider
from megatron.bridge.training.config import (
    CheckpointConfig,
    ConfigContainer,
    FaultToleranceConfig,
    GPTDatasetConfig,
    LoggerConfig,
    OptimizerConfig,
    SchedulerConfig,
    TrainingConfig,
)
from megatron.bridge.training.tokenizers.config import TokenizerConfig
from megatron.core.transformer.enums import AttnBackend


def pretrain_config() -> ConfigContainer:
    """The configuration for 8 GPUs; what is not named here is as Bridge has it."""
    return ConfigContainer(
        train=TrainingConfig(
            train_iters=5,  # --train_iters 5
        ),
        model=GPTModelProvider(
            num_layers=4,  # --num_layers 4
            attention_backend=AttnBackend.flash,  # --attention_backend AttnBackend.flash
            activation_func=torch.nn.functional.silu,  # --activation_func torch.nn.functional.silu
            moe_layer_freq=[0] * 3 + [1] * 9,  # --moe_layer_freq [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1]
            # --init_method partial(torch.nn.init.normal_, mean=0.0, std=0.02)
            init_method=partial(torch.nn.init.normal_, mean=0.0, std=0.02),
        ),
        optimizer=OptimizerConfig(),
        scheduler=SchedulerConfig(),
        dataset=GPTDatasetConfig(),
        logger=LoggerConfig(),
        tokenizer=TokenizerConfig(),
        checkpoint=CheckpointConfig(),
        ft=FaultToleranceConfig(
            enable_ft_package=True,  # --enable_ft_package True
        ),
    )
'''
    )


def test_two_things_of_one_name() -> None:
    names = _Names()
    first, second = names.of("a.one.Thing"), names.of("b.two.Thing")
    assert (first, second) == ("Thing", "Thing_of_two")
    assert list(names.imports()) == ["from a.one import Thing", "from b.two import Thing as Thing_of_two"]


def test_a_setting_the_constructor_does_not_take() -> None:
    source = to_recipe(translation({"scheduler.lr_warmup_steps": 10}))
    assert "    config.scheduler.lr_warmup_steps = 10  # --lr_warmup_steps 10\n    return config\n" in source


def test_a_name_that_is_no_keyword() -> None:
    t = translation({"model.transformer_layer_spec": Built("a.Spec", {"class": 1, "x": Symbol("b.Other.method")})})
    assert 'transformer_layer_spec=Spec(x=Other.method, **{"class": 1})' in to_recipe(t)


@pytest.mark.parametrize("name", [*CASES, "functions"])
def test_executed_it_is_the_container_of_the_run_config(name: str) -> None:
    from bridge_args.bridge import container

    functions = {
        "model.activation_func": Symbol("torch.nn.functional.silu"),
        "model.transformer_layer_spec": Symbol("megatron.bridge.models.gpt_provider.local_layer_spec"),
    }
    said, classes = CASES.get(name, (functions, {}))
    try:
        container._import("training.config")
    except container.BridgeMissing as missing:
        pytest.skip(str(missing))
    module: dict[str, Any] = {}
    exec(to_recipe(translation({**NEEDED, **said}, classes=classes)), module)
    wanted = loaded(translation({**NEEDED, **said}, classes=classes))
    assert comparable(module["pretrain_config"]()) == comparable(wanted)
