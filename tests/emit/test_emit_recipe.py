"""to_recipe: valid Python that builds the same container as the run config."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import pytest
from by_hand import NEEDED, assignment, translation
from containers import comparable, loaded
from hypothesis import given, settings
from hypothesis import strategies as st
from test_emit_hydra import CASES, FAULT_TOLERANCE, FLASH, here
from test_emit_yaml import SCALARS, TEXTS, same

import bridge_args
from bridge_args.emit.recipe import _expression, _Names, to_recipe
from bridge_args.mapping.translation import Origin
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.source.read import from_path
from bridge_args.steps import Asked, translated
from bridge_args.values import Built, Member, Partial, Symbol

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
    """The configuration for 8 GPUs; everything else is the default of Bridge."""
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
    from bridge_args.training import container

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
    exec(to_recipe(here({**NEEDED, **said}, classes=classes)), module)
    wanted = loaded(here({**NEEDED, **said}, classes=classes))
    assert comparable(module["pretrain_config"]()) == comparable(wanted)


# Nothing that a user types becomes code -------------------------------------------------------------------------------

SMALL = """--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 64 --max-position-embeddings 64
    --micro-batch-size 1 --global-batch-size 1 --train-iters 1 --lr 1e-4 --mock-data --tokenizer-type NullTokenizer
    --vocab-size 128""".split()
HOSTILE = (
    "os import getcwd\nopen('x','w')\nfrom os",
    "a'b",
    'a"b',
    '"""\nimport os\n"""',
    "x)\nimport os\n(",
    "${oc.env:HOME}",
    "\\",
    "\r\nimport os",
    "\x0cimport os",
    "\u2028import os",
    "\x00",
    "\ud800",
    "{}",
    "# no",
    "__import__('os')",
    "lambda: 0",
    "torch.float32;import os",
    "ｏｓ.ｓｙｓｔｅｍ",
)
# What a recipe is made of; a name is called or looked up only where Bridge's classes are built.
KINDS = (
    "Module Expr Constant ImportFrom Import alias FunctionDef arguments Return Assign Call keyword Attribute Name Load "
    "Store List Dict BinOp Add Mult UnaryOp USub"
).split()


def strange(source: str) -> list[str]:
    """What is in a recipe and does not belong into one."""
    tree = ast.parse(source)
    found = [type(node).__name__ for node in ast.walk(tree) if type(node).__name__ not in KINDS]
    *head, function = tree.body
    assert isinstance(function, ast.FunctionDef) and function.name == "pretrain_config"
    assert isinstance(head[0], ast.Expr) and isinstance(head[0].value, ast.Constant)
    modules = [node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in head[1:]]  # type: ignore[attr-defined]
    own = ("functools", "signal", "pathlib", "enum", "torch", "os.path",
           "megatron.bridge.", "megatron.core.", "megatron.training.config.")  # fmt: skip
    found += [module for module in modules if not (module or "").startswith(own)]
    names = {alias.asname or alias.name for node in head[1:] for alias in node.names}  # type: ignore[attr-defined]
    names |= {"config", "float"}
    found += [node.id for node in ast.walk(function) if isinstance(node, ast.Name) and node.id not in names]
    return found


def texts() -> list[str]:
    """Arguments that take a text, and flags for them."""
    arguments = catalogs.load("0.16.1").arguments
    return [one.flags[0] for one in arguments if one.action == "store" and one.type in (None, "str")]


@pytest.mark.parametrize("flag", texts())
def test_no_text_of_an_argument_becomes_code(flag: str) -> None:
    recipes = 0
    for value in HOSTILE:
        for words in [[flag, value]] if len(value) > 8 else [[f"{flag}={value}"], [flag, value, value]]:
            t = bridge_args.translate([*SMALL, *words], world_size=1)
            if t.errors:
                continue
            recipes += 1
            assert strange(to_recipe(t)) == []
    assert recipes or flag == "--spec" or flag in _REFUSED, flag


# Refused for other reasons: the value is a number, a file to read, or one of a few words, or the flag needs another.
_REFUSED = frozenset(
    flag for flag in texts()
    if bridge_args.translate([*SMALL, flag, "plain"], world_size=1).errors
)  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("program", ["pretrain_gpt.py", "pretrain_mamba.py"])
def test_spec_takes_names(value: str, program: str) -> None:
    for words in ([value, "x"], ["x", value], [value]):
        t = bridge_args.translate([*SMALL, "--spec", *words], world_size=1, program=program)
        assert any("--spec" in str(finding) for finding in t.errors)


def test_spec_is_imported_by_its_name() -> None:
    t = bridge_args.translate([*SMALL, "--spec", "own.layers", "mine"], world_size=1)
    assert 'import_module(module_path=["own.layers", "mine"])' in to_recipe(t)
    one = bridge_args.translate([*SMALL, "--spec", "own.layers.mine"], world_size=1)
    assert ["takes a module" in str(finding) for finding in one.errors] == [True]


SCRIPTS = sorted(
    path
    for folder in ("examples", "tests/launch")
    for path in (Path(__file__).resolve().parents[2] / folder).glob("*/*")
    if path.suffix in (".sh", ".sbatch", ".slurm") and not path.name.startswith("expected")
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_recipe_of_every_script_is_what_a_recipe_is_made_of(path: Path) -> None:
    try:
        t = translated(from_path(str(path), number=1), Asked())
    except ValueError:
        return
    if not t.errors:
        assert strange(to_recipe(t)) == []


def test_rows_of_a_users_own_write_no_code(tmp_path: Path) -> None:
    """Whatever setting a table of a fork's flags leads to: its value is a text, or it is refused."""
    settings = ("model._target_", "model.activation_func", "model.params_dtype", "mixed_precision", "model.init_method")
    for path in (*settings, "checkpoint.save", "model.attention_backend", "dataset._target_"):
        table = tmp_path / "own.yaml"
        table.write_text(f"title: Own\nabout: Own rows.\narguments:\n  wandb_entity: {path}\n")
        for value in (*HOSTILE, "os.system"):
            try:
                t = bridge_args.translate(
                    [*SMALL, "--wandb-entity", value], world_size=1, mappings=str(table), read=lambda name: ""
                )
            except ValueError:
                continue
            if not t.errors:
                assert strange(to_recipe(t)) == []


@pytest.mark.parametrize("path", ["os; import x", "a.b()", "", "a..b", ".a", "a.", "a b", "class", "a.if", "1a", "a\n"])
def test_only_a_name_is_a_symbol(path: str) -> None:
    with pytest.raises(ValueError):
        Symbol(path)
    with pytest.raises(ValueError):
        Built(path, {})
    with pytest.raises(ValueError):
        Partial(path, {})
    with pytest.raises(ValueError):
        Member(path, "a", 1)
    with pytest.raises(ValueError):
        _Names().of(path)
