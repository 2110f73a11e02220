"""to_yaml: what is written is read back the same, by PyYAML and by OmegaConf."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from by_hand import GPT, MOCK, NEEDED, assignment, translation
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from bridge_args.emit.config_yaml import flow, scalar, to_yaml
from bridge_args.emit.run_config import to_run_config
from bridge_args.mapping.translation import Origin
from bridge_args.values import Built, Member, Partial, Symbol, to_plain

TEXTS = st.text() | st.sampled_from(
    [
        "1e-05",
        "yes",
        "off",
        "null",
        "~",
        "0x1F",
        "1_000",
        "12:30",
        "2020-01-01",
        "1.",
        ".5",
        "nan",
        ".inf",
        "",
        " a ",
        "a: b",
    ]
    + [
        "# x",
        "- x",
        "a #b",
        "???",
        "a\nb",
        "\x85",
        "\ufeff",
        "'",
        '"',
        "\\",
        "${a}",
        "\\${a}",
        "${",
        "=",
        "<<",
        "!tag",
        "&a",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS.filter(lambda k: k != "???"), inner, max_size=4),
)


def same(one: Any, other: Any) -> bool:
    """Equal in value and type, nan to nan."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other)


@settings(deadline=None)
@given(PLAIN)
def test_omegaconf_reads_back_what_is_written(plain: Any) -> None:
    read = OmegaConf.to_container(OmegaConf.create(f"x: {flow(plain)}  # a comment"), resolve=True)
    assert same(read, {"x": plain})


@settings(deadline=None)
@given(PLAIN)
def test_several_readings_are_survived(plain: Any) -> None:
    once = OmegaConf.to_container(OmegaConf.create(f"x: {flow(plain, 2)}"), resolve=True)
    assert same(OmegaConf.to_container(OmegaConf.create(once), resolve=True), {"x": plain})


@settings(deadline=None)
@given(PLAIN.filter(lambda plain: "${" not in repr(plain)))
def test_pyyaml_reads_back_what_is_written(plain: Any) -> None:
    assert same(yaml.safe_load(f"x: {flow(plain)}  # a comment"), {"x": plain})


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1e-5, "1.0e-05"),
        (1e20, "1.0e+20"),
        (0.1, "0.1"),
        (-math.inf, "-.inf"),
        (math.nan, ".nan"),
        (32, "32"),
        (True, "true"),
        (None, "null"),
        ("/data/run-1_text.bin", "/data/run-1_text.bin"),
        ("1e-05", '"1e-05"'),
        ("On", '"On"'),
        ("", '""'),
        ("$HOME", '"$HOME"'),
        ("${HOME}", r'"\\${HOME}"'),
        ("a\u2028b", r'"a\u2028b"'),
    ],
)
def test_scalars(value: Any, written: str) -> None:
    assert scalar(value) == written


@settings(deadline=None)
@given(st.text(), st.text())
def test_comments_never_break_the_document(text: str, key: str) -> None:
    origins = [Origin("flag", ("save",), text), Origin("derived", ("save",), "", {key: text})]
    for origin in origins:
        t = translation([assignment("checkpoint.save", "/here", origin), assignment("train.train_iters", 5, origin)])
        read = yaml.safe_load(to_yaml(t))
        assert read == {"checkpoint": {"save": "/here"}, "train": {"train_iters": 5}} or "$" in repr(read)


@settings(deadline=None)
@given(st.lists(st.text()))
def test_the_command_at_the_head_never_breaks_the_document(words: list[str]) -> None:
    t = translation({"train.train_iters": 5}, words=words)
    assert yaml.safe_load(to_yaml(t)) == {"train": {"train_iters": 5}}


def test_every_line_says_where_it_comes_from() -> None:
    t = translation(
        [
            assignment("train.train_iters", 500, Origin("flag", ("train_iters",), "--train-iters 500")),
            assignment("train.eval_iters", 50, Origin("default", ("eval_iters",))),
            assignment(
                "model.virtual_pipeline_model_parallel_size",
                2,
                Origin("derived", ("virtual_pipeline_model_parallel_size",), "", {"num_layers": 8, "world_size": 8}),
            ),
            assignment("model.attention_backend", Member("megatron.core.transformer.enums.AttnBackend", "flash", 1)),
        ],
        words=["--train-iters", "500"],
    )
    assert to_yaml(t).splitlines() == [
        "# For Megatron Bridge 0.3.1, from a Megatron-LM 0.16.1 command line, 8 GPUs:",
        "#     pretrain_gpt.py --train-iters 500",
        "",
        "train:",
        "  train_iters: 500  # --train-iters 500",
        "  eval_iters: 50  # Megatron-LM's default, Bridge has 100",
        "model:",
        "  virtual_pipeline_model_parallel_size: 2  # derived from num_layers=8, world_size=8",
        "  attention_backend: {_target_: megatron.core.transformer.enums.AttnBackend, _call_: true, _args_: [1]}"
        "  # --attention_backend AttnBackend.flash",
    ]


def test_a_section_bridge_leaves_out_names_its_class() -> None:
    fault_tolerance = "megatron.bridge.training.config.FaultToleranceConfig"
    t = translation({"ft.enable_ft_package": True}, classes={"ft": fault_tolerance})
    assert yaml.safe_load(to_yaml(t)) == {"ft": {"_target_": fault_tolerance, "enable_ft_package": True}}


def test_a_section_that_is_only_opened_is_written() -> None:
    straggler = "megatron.bridge.training.config.StragglerDetectionConfig"
    t = translation(classes={"straggler": straggler})
    assert yaml.safe_load(to_yaml(t)) == {"straggler": {"_target_": straggler}}


def test_settings_that_merging_would_leave_as_they_are_say_so() -> None:
    t = translation(
        {
            "model.activation_func": Symbol("torch.nn.functional.silu"),
            "model.num_layers": 2,
            "dataset._target_": MOCK,
        },
        classes={"dataset": MOCK},
    )
    lines = to_yaml(t).splitlines()
    told = [lines[index + 1].split(":")[0].strip() for index, line in enumerate(lines) if line.startswith("  # ")]
    assert told == ["activation_func"]
    assert f"dataset: {{}}  # {MOCK}; merging does not change the class" in lines


def test_nothing_to_say_is_an_empty_mapping() -> None:
    assert OmegaConf.to_container(OmegaConf.create(to_yaml(translation()))) == {}


def test_long_mappings_take_several_lines() -> None:
    value = Built(
        "megatron.core.transformer.spec_utils.ModuleSpec",
        {"module": Symbol("megatron.core.transformer.identity_op.IdentityOp"), "params": {"a": [1, 2]}},
    )
    text = to_yaml(translation({"model.transformer_layer_spec": value}))
    assert yaml.safe_load(text) == {"model": {"transformer_layer_spec": to_plain(value)}}
    assert max(map(len, text.splitlines())) < 160


@pytest.mark.parametrize("full", [False, True])
def test_values_are_those_of_the_run_config(full: bool) -> None:
    t = translation(
        {
            **NEEDED,
            "model.init_method": Partial("torch.nn.init.normal_", {"mean": 0.0, "std": 1e-5}),
            "model.params_dtype": Symbol("torch.bfloat16"),
            "model._target_": GPT,
            "mixed_precision": "bf16_mixed",
            "tokenizer.hf_tokenizer_kwargs": {"use_fast": True, "x": "1e5"},
        }
    )
    read, config = yaml.safe_load(to_yaml(t, full)), to_run_config(t)
    if full:
        assert read == config
    else:
        for section, settings in read.items():
            whole = config[section]
            assert settings == (whole if section == "mixed_precision" else {key: whole[key] for key in settings})
            assert len(settings) < 20


def test_full_says_what_is_bridges_default() -> None:
    lines = to_yaml(translation({**NEEDED, "train.train_iters": 7}), full=True).splitlines()
    assert "  train_iters: 7  # --train_iters 7" in lines
    assert "  eval_iters: 100  # Bridge's default" in lines
    assert "ft: null  # Bridge's default" in lines
