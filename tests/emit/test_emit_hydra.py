"""to_overrides: Hydra's parser reads every override back the same, Bridge's function does what it says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from by_hand import DATASET, GPT, HERE, MOCK, NEEDED, assignment, translation
from containers import comparable, loaded
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from test_emit_yaml import SCALARS, TEXTS, same

from bridge_args.emit.config_yaml import to_yaml
from bridge_args.emit.hydra import literal, to_overrides, to_shell, unsayable
from bridge_args.values import Built, Member, Partial, Symbol
from bridge_args.versions import holds

FLASH = Member("megatron.core.transformer.enums.AttnBackend", "flash", 1)
# The list of enum members that a Bridge has among its settings.
GRAPHS, ATTN, MLP = (
    (
        "model.cuda_graph_modules",
        *(Member("megatron.core.transformer.enums.CudaGraphModule", *of) for of in (("attn", 1), ("mlp", 2))),
    )
    if holds("bridge >=0.5", HERE)
    else (
        "model.cuda_graph_scope",
        *(Member("megatron.core.transformer.enums.CudaGraphScope", *of) for of in (("attn", 2), ("mlp", 3))),
    )
)
FAULT_TOLERANCE = "megatron.bridge.training.config.FaultToleranceConfig"
MIXED_PRECISION = "megatron.bridge.training.mixed_precision.MixedPrecisionConfig"
MLA = "megatron.bridge.models.mla_provider.MLAModelProvider"

KEYS = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_.-]*\Z").filter(
    lambda key: key.lower() not in {"null", "true", "false", "inf", "nan"}
)
PLAIN = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)


def plain(value: Any) -> Any:
    """What Hydra's parser found, without its notes on quotes."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def read(override: str) -> dict[str, Any]:
    """An override as Hydra parses it and OmegaConf resolves it."""
    (parsed,) = OverridesParser.create().parse_overrides([override])
    tree = OmegaConf.create({})
    OmegaConf.update(tree, parsed.key_or_group, parsed.value(), force_add=True)
    found = OmegaConf.to_container(tree, resolve=True)
    assert isinstance(found, dict)
    return found


@settings(deadline=None, max_examples=150)
@given(PLAIN)
def test_hydra_reads_back_what_is_written(value: Any) -> None:
    assert same(read(f"x={literal(value)}"), {"x": value})


@settings(deadline=None, max_examples=100)
@given(PLAIN)
def test_several_readings_are_survived(value: Any) -> None:
    assert same(OmegaConf.to_container(OmegaConf.create(read(f"x={literal(value, 2)}")), resolve=True), {"x": value})


@settings(deadline=None, max_examples=150)
@given(TEXTS.filter(lambda text: "${" not in text))
def test_hydras_own_parser_finds_the_text(text: str) -> None:
    (parsed,) = OverridesParser.create().parse_overrides([f"x={literal(text)}"])
    assert plain(parsed.value()) == text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("/data/text_document", "/data/text_document"),
        ("a,b", '"a,b"'),
        ('say "a"', r'"say \"a\""'),
        ("it's", '"it\'s"'),
        ("ends\\", r'"ends\\"'),
        ("12", '"12"'),
        ("NULL", '"NULL"'),
        ("", '""'),
        (1e-5, "1e-05"),
        (float("inf"), "inf"),
        (True, "true"),
        (None, "null"),
        ([1, [2.5, "x y"]], '[1,[2.5,"x y"]]'),
        ({"a": {}}, "{a:{}}"),
    ],
)
def test_literals(value: Any, written: str) -> None:
    assert literal(value) == written


@pytest.mark.parametrize("key", ["", "true", "a b", "é", "1", 1, "a'b"])
def test_a_key_hydra_cannot_write_is_refused(key: Any) -> None:
    with pytest.raises(ValueError, match="no way to write"):
        literal({key: 1})


# Bash ---------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])), min_size=1, max_size=4))
def test_bash_sees_one_word_for_each_override(texts: list[str]) -> None:
    t = translation([assignment("checkpoint.save", text) for text in texts])
    assert len(to_overrides(t)) == len(texts)
    script = f'for word in {to_shell(t)}; do printf "%s\\0" "$word"; done'
    shown = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout.decode()
    assert shown.split("\0")[:-1] == to_overrides(t)


def test_one_override_per_line() -> None:
    t = translation({"train.train_iters": 5, "checkpoint.save": "a b"})
    assert to_shell(t) == "train.train_iters=5 \\\n" + "'checkpoint.save=\"a b\"'"


# What is written ----------------------------------------------------------------------------------------------------


def test_overrides() -> None:
    t = translation(
        {
            "train.train_iters": 5,
            "model._target_": GPT,
            "model.attention_backend": FLASH,
            "model.window_size": (128, 0),
            "dataset._target_": DATASET,
            "dataset.random_seed": 1,
            "tokenizer.hf_tokenizer_kwargs": {"use_fast": True},
            "mixed_precision": "bf16_mixed",
            "ft.enable_ft_package": True,
        },
        classes={"ft": FAULT_TOLERANCE},
    )
    assert to_overrides(t) == [
        "train.train_iters=5",
        "model=null",
        f"++model._target_={GPT}",
        "++model.attention_backend={_target_:megatron.core.transformer.enums.AttnBackend,_call_:true,_args_:[1]}",
        "++model.window_size=[128,0]",
        "dataset=null",
        f"++dataset._target_={DATASET}",
        "++dataset.random_seed=1",
        "++tokenizer.hf_tokenizer_kwargs={use_fast:true}",
        f"++ft={{_target_:{FAULT_TOLERANCE},enable_ft_package:true}}",
        "mixed_precision=bf16_mixed",
    ]
    assert unsayable(t) == ()


def test_what_cannot_be_said_is_named() -> None:
    t = translation(
        {
            "train.train_iters": 5,
            "model.activation_func": Symbol("torch.nn.functional.silu"),
            "tokenizer.hf_tokenizer_kwargs": {"a b": 1},
        }
    )
    assert to_overrides(t) == ["train.train_iters=5"]
    found = unsayable(t)
    assert [finding.kind for finding in found] == ["overrides-cannot-say"] * 2
    assert "model.activation_func = torch.nn.functional.silu" in found[0].message
    assert all("recipe" in finding.remedy for finding in found)
    assert found[0].arguments == ("activation_func",)


# Bridge as the judge ------------------------------------------------------------------------------------------------


here = partial(translation, versions=HERE)


@pytest.fixture(scope="module")
def overridden() -> Callable[..., Any]:
    """A container after Bridge's own function has applied overrides to it."""
    from bridge_args.training import container

    try:
        module = container._import("training.utils.omegaconf_utils")
    except container.BridgeMissing as missing:
        pytest.skip(str(missing))
    return lambda t, **said: module.process_config_with_overrides(loaded(t), **said)


CASES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "numbers": ({"train.train_iters": 5, "optimizer.lr": 1e-5, "model.num_layers": 3, "train.manual_gc": True}, {}),
    "enum members": (
        {"model.attention_backend": FLASH, "train.exit_signal": Member("signal.Signals", "SIGUSR1", 10)},
        {},
    ),
    "a list of enum members": ({GRAPHS: [ATTN, MLP]}, {}),
    "a list of enum members, class named": (
        {"model._target_": GPT, GRAPHS: [ATTN, MLP]},
        {},
    ),
    "dtypes": ({"model.params_dtype": Symbol("torch.bfloat16"), "model.pipeline_dtype": Symbol("torch.bfloat16")}, {}),
    "a function where there was none": ({"model.init_method": Symbol("torch.nn.init.ones_")}, {}),
    "a partial function": ({"model.init_method": Partial("torch.nn.init.normal_", {"mean": 0.0, "std": 0.5})}, {}),
    "lists": ({"model.moe_layer_freq": [0, 1], "dataset.blend": [["a,b", "${c}/d"], [0.25, 0.75]]}, {}),
    "a setting that is no field": ({"dataset.skip_getting_attention_mask_from_dataset": False}, {}),
    "texts": (
        {"checkpoint.save": "a b'\"\\", "checkpoint.load": r"\${x}$y", "logger.wandb_exp_name": "1"},
        {},
    ),
    "the same class of model": ({"model._target_": GPT, "model.hidden_size": 128, "model.softmax_type": "${x}"}, {}),
    "another class of model": ({"model._target_": MLA, "model.q_lora_rank": 7}, {"model": MLA}),
    "the same class of dataset": ({"dataset._target_": DATASET, "dataset.split": "1,${x},2"}, {}),
    "another class of dataset": ({"dataset._target_": MOCK, "dataset.num_workers": 1}, {"dataset": MOCK}),
    "a section Bridge leaves out": ({"ft.enable_ft_package": True}, {"ft": FAULT_TOLERANCE}),
    "a section with dtypes": (
        {"mixed_precision.params_dtype": Symbol("torch.bfloat16"), "mixed_precision.bf16": True},
        {"mixed_precision": MIXED_PRECISION},
    ),
    "a named section": ({"mixed_precision": "bf16_mixed"}, {}),
    "a built section": ({"mixed_precision": Built(MIXED_PRECISION, {"fp16": True})}, {}),
    "a mapping": ({"tokenizer.hf_tokenizer_kwargs": {"use_fast": True, "x": {"y": [1]}}}, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_bridge_arrives_at_the_configuration(name: str, overridden: Callable[..., Any]) -> None:
    settings, classes = CASES[name]
    t = here({**NEEDED, **settings}, classes=classes)
    assert unsayable(t) == ()
    reached = comparable(overridden(here(NEEDED), cli_overrides=to_overrides(t)))
    compare(name, reached, comparable(loaded(here({**NEEDED, **settings}, classes=classes))))


@pytest.mark.parametrize("name", CASES)
def test_bridge_arrives_there_by_merging_the_yaml(name: str, overridden: Callable[..., Any], tmp_path: Path) -> None:
    settings, classes = CASES[name]
    t = here({**NEEDED, **settings}, classes=classes)
    file = tmp_path / "settings.yaml"
    file.write_text(to_yaml(t), encoding="utf-8")
    start = here(NEEDED, classes={section: of for section, of in classes.items() if section in ("model", "dataset")})
    reached = comparable(overridden(start, config_filepath=str(file)))
    compare(name, reached, comparable(loaded(here({**NEEDED, **settings}, classes=classes))))


@pytest.mark.parametrize("name", CASES)
def test_bridge_loads_the_whole_yaml(name: str, overridden: Callable[..., Any], tmp_path: Path) -> None:
    from megatron.bridge.training.config import ConfigContainer
    from megatron.bridge.utils.instantiate_utils import InstantiationMode

    settings, classes = CASES[name]
    file = tmp_path / "run_config.yaml"
    file.write_text(to_yaml(here({**NEEDED, **settings}, classes=classes), full=True), encoding="utf-8")
    reached = comparable(ConfigContainer.from_yaml(str(file), mode=InstantiationMode.STRICT))
    assert reached == comparable(loaded(here({**NEEDED, **settings}, classes=classes)))


def compare(name: str, reached: dict[str, Any], wanted: dict[str, Any]) -> None:
    if name.startswith("a list of enum members") and isinstance(
        reached[GRAPHS][1][0], str
    ):  # by name; Megatron Core makes members of them when it finalizes
        assert reached.pop(GRAPHS)[1] == ["attn", "mlp"]
        assert [member.name for member in wanted.pop(GRAPHS)[1]] == ["attn", "mlp"]
    assert reached == wanted
    assert not any(isinstance(value, dict) and "_target_" in value for _, value in reached.values())


def test_bridge_puts_functions_back(overridden: Callable[..., Any]) -> None:
    """The reason why they are not among the overrides; when this fails, Bridge has learned it."""
    start = here(NEEDED)
    spec = "++model.transformer_layer_spec={_target_:megatron.bridge.models.gpt_provider.local_layer_spec,_call_:false}"
    reached = overridden(start, cli_overrides=[spec]).model
    assert reached.transformer_layer_spec is loaded(start).model.transformer_layer_spec


def test_the_activation_arrives_where_bridge_takes_it(overridden: Callable[..., Any]) -> None:
    t = here({**NEEDED, "model.activation_func": Symbol("torch.nn.functional.silu")})
    reached = overridden(here(NEEDED), cli_overrides=to_overrides(t)).model.activation_func
    assert (reached is loaded(t).model.activation_func) == (unsayable(t) == ())


def test_bridge_leaves_the_name_of_an_enum_member_a_text(overridden: Callable[..., Any]) -> None:
    """The reason why members are written as mappings."""
    reached = overridden(here(NEEDED), cli_overrides=["model.attention_backend=flash"])
    assert reached.model.attention_backend == "flash"


def test_question_marks_arrive(overridden: Callable[..., Any]) -> None:
    t = here({**NEEDED, "checkpoint.save": "???"})
    assert overridden(here(NEEDED), cli_overrides=to_overrides(t)).checkpoint.save == "???"


def test_every_key_is_one_hydra_accepts() -> None:
    t = here({**NEEDED, **CASES["numbers"][0]})
    assert all(re.match(r"(\+\+)?[a-z_0-9.]+=", text) for text in to_overrides(t))
    assert len(OverridesParser.create().parse_overrides(to_overrides(t))) == len(to_overrides(t))
