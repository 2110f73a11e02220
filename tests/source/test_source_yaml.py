"""YAML becomes the words it stands for: functional tests, the MoE model zoo, ``--yaml-cfg``. Nothing is executed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from recorded import command_lines

from bridge_args.pairs.pairs import usual_megatron_lm
from bridge_args.source.read import from_file, from_text
from bridge_args.source.source import Source, SourceError
from bridge_args.source.yaml.model_args import _by_xargs
from bridge_args.source.yaml.nodes import Mapping, YamlProblem, entries, item, read

CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")

TEST = """\
ENV_VARS:
  CUDA_DEVICE_MAX_CONNECTIONS: 1
  CUBLAS_WORKSPACE_CONFIG: :4096:8
  SKIP_PYTEST: 1
TEST_TYPE: regular
MODEL_ARGS:
  # comments mean nothing
  --num-layers: 12
  --bf16: true
  --lr: 4.5e-4  # as it is written
  --load: ${CHECKPOINT_LOAD_PATH}/model
  --wandb-project: ""
  --moe-layer-freq: ([0]*1+[1]*11)
  --recompute-modules: "[mla_up_proj mlp]"
"""
SIZES = "  --tensor-model-parallel-size: {}\n  --pipeline-model-parallel-size: {}\n  --expert-model-parallel-size: {}\n"


def source(text: str, name: str = "model_config.yaml", **kwargs: object) -> Source:
    return from_text(text, name, **kwargs)  # type: ignore[arg-type]


def words(text: str, **kwargs: object) -> list[str]:
    return [word.text for word in source(text, **kwargs).command.argv]


def refused(text: str, name: str = "model_config.yaml") -> str:
    with pytest.raises(SourceError) as problem:
        source(text, name)
    return str(problem.value)


def value_of(value: str, **variables: str) -> list[str]:
    """The words that stand for one value in a functional test."""
    return words(f"TEST_TYPE: regular\nMODEL_ARGS:\n  --flag: {value}\n", variables=variables)[1:]


# ---------------------------------------------------------------- functional tests


def test_a_functional_test() -> None:
    assert words(TEST) == [
        "--num-layers", "12", "--bf16", "--lr", "4.5e-4", "--load", "${CHECKPOINT_LOAD_PATH}/model",
        "--moe-layer-freq", "([0]*1+[1]*11)", "--recompute-modules", "mla_up_proj", "mlp",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("true", []),
        ('"true"', []),
        ("false", ["false"]),
        ("", []),
        ("0", ["0"]),
        ("1e-5", ["1e-5"]),
        ("99,1,0", ["99,1,0"]),
        ("two words", ["two words"]),
        ("[a b]", ["a", "b"]),
        ("[a, b]", ["a", "b"]),
        ('"[384 384 97656250]"', ["384", "384", "97656250"]),
        ("([0]*3+[1]*11)", ["([0]*3+[1]*11)"]),
        (r"Et*2\\|\\(tt\\|\\)*5t\\|tmL", ["Et*2|(tt|)*5t|tmL"]),
        ("Et*2|(tt|)*5t|tmL", ["Et*2|(tt|)*5t|tmL"]),
        ("M-M*-", ["M-M*-"]),
        ("\"'quoted'\"", ["quoted"]),
        ('a"b c"d', ["ab cd"]),
        ("a2a+p2p", ["a2a+p2p"]),
    ],
)
def test_values_as_the_runner_reads_them(value: str, expected: list[str]) -> None:
    assert value_of(value) == expected


def test_an_empty_text_leaves_the_flag_out() -> None:
    assert words('TEST_TYPE: regular\nMODEL_ARGS:\n  --a: ""\n  --b: 1\n') == ["--b", "1"]


def test_a_value_that_no_program_takes_is_an_error_with_its_line() -> None:
    found = source("TEST_TYPE: regular\nMODEL_ARGS:\n  --a: it's\n  --b: x; y\n  --c: 1\n")
    assert [word.text for word in found.command.argv] == ["--a", "--b", "x; y", "--c", "1"]
    assert [(f.level, f.place and f.place.line) for f in found.findings if f.kind == "unreadable-source"] == [
        ("error", 3)
    ]
    found = source('TEST_TYPE: regular\nMODEL_ARGS:\n  --a: "x\\ny"\n')
    assert any("several lines" in f.message and f.level == "error" for f in found.findings)
    found = source("TEST_TYPE: regular\nMODEL_ARGS:\n  --a: x;y\n  --b: $(touch x)\n")
    assert any("--a" in f.message and f.level == "error" for f in found.findings)
    assert not Path("x").exists()


def test_a_repeated_key_counts_once_and_is_told() -> None:
    found = source("TEST_TYPE: regular\nMODEL_ARGS:\n  --a: 1\n  --b: 2\n  --a: 3\n")
    assert [word.text for word in found.command.argv] == ["--a", "3", "--b", "2"]
    assert any("--a is also in line 3" in finding.message for finding in found.findings)


def test_places_are_those_of_the_file() -> None:
    argv = source(TEST).command.argv
    assert [(str(word.place), word.place and word.place.column) for word in argv[:3]] == [
        ("model_config.yaml:8", 3),
        ("model_config.yaml:8", 17),
        ("model_config.yaml:9", 3),
    ]
    layer = next(word for word in argv if word.text == "${CHECKPOINT_LOAD_PATH}/model")
    assert (layer.place and layer.place.line, layer.unresolved) == (11, ("CHECKPOINT_LOAD_PATH",))


def test_variables_and_what_is_not_known() -> None:
    found = source(TEST, variables={"CHECKPOINT_LOAD_PATH": "/ckpt"})
    assert "/ckpt/model" in [word.text for word in found.command.argv]
    assert not any(finding.kind == "unresolved-variable" for finding in found.findings)
    told = [finding for finding in source(TEST).findings if finding.kind == "unresolved-variable"]
    assert [str(finding.place) for finding in told] == ["model_config.yaml:11"]
    assert "--set CHECKPOINT_LOAD_PATH=VALUE" in told[0].remedy


def test_a_variable_may_be_a_list() -> None:
    assert value_of("$DATA_BLEND", DATA_BLEND="[0.6 /a 0.4 /b]") == ["0.6", "/a", "0.4", "/b"]


def test_what_the_runner_sets_before_the_first_run() -> None:
    assert value_of("${REPEAT}") == ["1"]
    assert value_of("${REPEAT}", REPEAT="3") == ["3"]


def test_environment_without_what_is_the_runners_own() -> None:
    assert source(TEST).environment == {"CUDA_DEVICE_MAX_CONNECTIONS": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


def test_before_script_is_told_and_not_run() -> None:
    found = source(TEST + "BEFORE_SCRIPT: |\n  pip uninstall -y transformer_engine\n")
    assert any(f.kind == "not-read" and "pip uninstall" in f.message for f in found.findings)


def test_merged_flags_come_first_and_own_ones_win() -> None:
    text = "TEST_TYPE: regular\nBASE: &base\n  --a: 1\n  --b: 2\nMODEL_ARGS:\n  <<: *base\n  --b: 3\n  --c: 4\n"
    assert words(text) == ["--a", "1", "--b", "3", "--c", "4"]


def test_several_runs_are_listed_and_one_is_picked() -> None:
    text = TEST + "MODEL_ARGS_2:\n  --num-layers: 24\n"
    message = refused(text)
    assert "holds 2 runs; choose one with --command N" in message
    assert "2  line 15: MODEL_ARGS_2" in message
    assert words(text, number=2) == ["--num-layers", "24"]
    with pytest.raises(SourceError, match="there is no command 3"):
        words(text, number=3)


@pytest.mark.parametrize(
    ("more", "variables", "ranks"),
    [
        ("", {}, (8, 1)),
        (SIZES.format(8, 4, 1), {}, (8, 4)),
        (SIZES.format(1, 4, 16), {}, (8, 8)),
        ("", {"GPUS_PER_NODE": "2"}, (2, 1)),
        ("", {"GPUS_PER_NODE": "4", "NUM_NODES": "3"}, (4, 3)),
        ("MODEL_ENV_VARS:\n  MODEL_ARGS:\n    GPUS_PER_NODE: 2\n", {}, (2, 1)),
    ],
    ids=["the runner's default", "TP x PP", "EP x PP", "--set", "--set both", "the file"],
)
def test_number_of_gpus(more: str, variables: dict[str, str], ranks: tuple[int, int]) -> None:
    options = source(TEST + more, variables=variables).command.launcher_options
    assert (options["nproc_per_node"], options["nnodes"]) == ranks


def write_checkout(root: Path, model: str, spec: str, product: str) -> Path:
    case = root / "tests" / "functional_tests" / "test_cases" / model / "small" / "model_config.yaml"
    recipes = root / "tests" / "test_utils" / "recipes" / "h100"
    case.parent.mkdir(parents=True)
    recipes.mkdir(parents=True)
    case.write_text(TEST)
    (recipes / "some.yaml").write_text(
        f"spec:\n  model: {model}\n{spec}products:\n"
        f"  - test_case: [small]\n    products:\n      - environment: [dev]\n{product}"
    )
    return case


def test_the_recipe_beside_a_test_says_program_and_gpus(tmp_path: Path) -> None:
    spec = '  nodes: 2\n  gpus: 8\n  script: |\n    ARGUMENTS=("TRAINING_SCRIPT_PATH=pretrain_mamba.py")\n'
    command = from_file(str(write_checkout(tmp_path, "hybrid", spec, "        gpus: [4]\n"))).command
    assert command.program == "pretrain_mamba.py"
    assert command.launcher_options == {"nproc_per_node": 4, "nnodes": 2}


def test_hybrid_models_and_the_launcher_of_newer_versions(tmp_path: Path) -> None:
    spec = '  script: |\n    ARGUMENTS=("TRAINING_SCRIPT_PATH=pretrain_hybrid.py")\n'
    file = write_checkout(tmp_path, "hybrid", spec, "")
    assert from_file(str(file)).command.program == "pretrain_hybrid.py"
    assert source(TEST + "  --hybrid-override-pattern: M*\n").command.program == "pretrain_mamba.py"
    assert source(TEST).command.program == "pretrain_gpt.py"
    assert (source(TEST).command.launcher, source(TEST + "LAUNCHER: ft_launcher\n").command.launcher) == (
        "torchrun",
        "ft_launcher",
    )


def test_tests_of_other_models_are_refused(tmp_path: Path) -> None:
    spec = '  script: |\n    ARGUMENTS=("TRAINING_SCRIPT_PATH=pretrain_bert.py")\n'
    file = write_checkout(tmp_path, "bert", spec, "")
    with pytest.raises(
        SourceError, match=r"is for pretrain_bert\.py; only pretrain_gpt\.py, pretrain_mamba\.py and"
    ) as problem:
        from_file(str(file))
    assert problem.value.commands == 0
    shutil.rmtree(tmp_path / "tests" / "test_utils")
    with pytest.raises(SourceError, match=r"is for pretrain_bert\.py"):
        from_file(str(file))


def test_runs_that_are_no_training_are_refused() -> None:
    assert "MODE inference, not of training" in refused(TEST + "MODE: inference\n")
    assert "trainer.max_steps is not a flag" in refused("TEST_TYPE: x\nMODEL_ARGS:\n  trainer.max_steps: 3\n")
    assert "model_config.yaml:2: MODEL_ARGS holds no flags" in refused("TEST_TYPE: x\nMODEL_ARGS:\n")


@pytest.mark.skipif(shutil.which("xargs") is None, reason="there is no xargs")
@given(st.text(st.sampled_from("ab'\"\\ é|(*"), min_size=1, max_size=12))
@example("'a  b' c")
@example("a\\")
@example("''")
@settings(max_examples=150, deadline=None)
def test_xargs_is_the_judge(text: str) -> None:
    done = subprocess.run(["xargs"], input=text + "\n", capture_output=True, text=True, check=False)
    ours = _by_xargs(text)
    assert (ours is None) == (done.returncode != 0)
    assert ours is None or ours == done.stdout.rstrip("\n")


# ---------------------------------------------------------------- the MoE model zoo


def test_a_model_zoo_file() -> None:
    text = """\
ENV_VARS:
  NCCL_NVLS_ENABLE: 0
MODEL_ARGS: &all
  --tensor-model-parallel-size: ${TP}
  --finetune: false
  --use-mcore-models: true
  --recompute-modules: mla_up_proj mlp
  --moe-layer-freq: "'([0]*3+[1]*58)'"
  --save: ${OUTPUT_PATH}/checkpoints
  --rampup-batch-size: [1, 2, 3]
"""
    found = source(text, variables={"TP": "2"})
    assert [word.text for word in found.command.argv] == [
        "--tensor-model-parallel-size", "2", "--use-mcore-models", "--recompute-modules", "mla_up_proj", "mlp",
        "--moe-layer-freq", "([0]*3+[1]*58)", "--save", "${OUTPUT_PATH}/checkpoints",
        "--rampup-batch-size", "1", "2", "3",
    ]  # fmt: skip
    assert found.environment == {"NCCL_NVLS_ENABLE": "0"}
    assert found.command.launcher is None
    saved = next(word for word in found.command.argv if "OUTPUT_PATH" in word.text)
    assert saved.unresolved == ("OUTPUT_PATH",)
    assert [(f.kind, f.place and f.place.line) for f in found.findings] == [("unresolved-variable", 9)]


# ---------------------------------------------------------------- --yaml-cfg

CONFIG = """\
language_model:
  num_layers: 24
  num_query_groups: 8
  layernorm_zero_centered_gamma: True
  add_bias_linear: False
  activation_func: {activation}
  bias_swiglu_fusion: True
  num_moe_experts: 4
  init_method: null
  persist_layer_norm: False
  moe_token_dropping: False
model_parallel:
  tensor_model_parallel_size: 2
  sequence_parallel: yes
  overlap_p2p_comm: False
  batch_p2p_comm: True
micro_batch_size: 2
rampup_batch_size: [32, 32, 65324160]
swiglu: True
group_query_attention: False
lr: 2.5e-4
data_path: /a /b
train_iters: null
"""


def test_a_config_file() -> None:
    assert words(CONFIG.format(activation="swiglu")) == [
        "--num-layers", "24", "--group-query-attention", "--num-query-groups", "8", "--apply-layernorm-1p",
        "--disable-bias-linear", "--swiglu", "--num-experts", "4", "--no-persist-layer-norm",
        "--tensor-model-parallel-size", "2", "--sequence-parallel", "--no-overlap-p2p-communication",
        "--micro-batch-size", "2", "--rampup-batch-size", "32", "32", "65324160", "--lr", "2.5e-4",
        "--data-path", "/a", "/b",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("activation", "flag"),
    [("squaredrelu", "--squared-relu"), ("gelu", "--no-bias-gelu-fusion"), ("swiglu", "--swiglu")],
)
def test_the_activation_is_that_of_the_model(activation: str, flag: str) -> None:
    found = {"--squared-relu", "--no-bias-gelu-fusion", "--swiglu"}.intersection(
        words(CONFIG.format(activation=activation))
    )
    assert found == {flag}


def test_what_no_flag_says_is_named() -> None:
    text = "language_model:\n  num_layers: 2\n  my_own: 3\n  hidden_dropout: null\nmodel_parallel:\n  num_layers: 4\n"
    found = source(text)
    messages = [str(finding) for finding in found.findings]
    assert any(
        f"model_config.yaml:3: no flag of Megatron-LM {usual_megatron_lm()} says my_own: 3, hidden_dropout: null" in m
        for m in messages
    )
    assert any(f.level == "error" and "refuses a setting in two sections" in f.message for f in found.findings)


# ---------------------------------------------------------------- what it is, and what it is not


def test_yaml_is_known_by_what_is_in_it() -> None:
    assert words(TEST, name="<stdin>")[:2] == ["--num-layers", "12"]
    script = "#!/bin/bash\n# MODEL_ARGS:\npython pretrain_gpt.py --num-layers 3\n"
    assert words(script, name="odd.yaml") == ["--num-layers", "3"]


@pytest.mark.parametrize("text", ["", "a: 1\n", "- a\n- b\n", "just text\n", "[[[[", "a: {b: c"])
def test_an_unknown_yaml_gives_one_message(text: str) -> None:
    message = refused(text)
    assert message.count("\n") == 0
    assert "is none of the YAML files read here" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("MODEL_ARGS: !!python/object/apply:os.system [touch x]\n", ":1: the tag !!python/object/apply:os.system"),
        ("MODEL_ARGS: !mine {}\n", ":1: the tag !mine"),
        ("MODEL_ARGS:\n  --a: " + "[" * 50000, ":2: "),  # libyaml may stop first, in its own words
        ("MODEL_ARGS: " + "{a: " * 5000, ":1: more than 100 levels"),
        ("MODEL_ARGS: &a\n  --b: *a\n", ":2: *a is not known here"),
        ("MODEL_ARGS:\n  --a: 1\n---\nx: 1\n", ":3: a second document"),
        ("MODEL_ARGS:\n  --a: {b: c}\n", ":2: a value is a word or a list of words"),
        ("MODEL_ARGS:\n  --a: b: c\n", ":2: not readable as YAML"),
        ("MODEL_ARGS:\n  --a: \x07\n", "not readable as YAML"),
        ("MODEL_ARGS:\n  <<: 3\n  --a: 1\n", ":2: << takes a mapping"),
        ("MODEL_ARGS:\n" + "  --a: 1\n" * 120_000, "characters; no YAML of more than"),
    ],
    ids=[
        "python tag",
        "own tag",
        "deep lists",
        "deep maps",
        "itself",
        "two",
        "map",
        "syntax",
        "control",
        "merge",
        "large",
    ],
)
def test_hostile_files_are_refused_at_once(text: str, said: str) -> None:
    begin = time.process_time()
    assert said in refused(text)
    assert time.process_time() - begin < 2
    assert not Path("x").exists()


@pytest.mark.parametrize("first", ["{}", "{x: 1}"], ids=["of nothing", "of something"])
def test_merges_are_not_multiplied(first: str) -> None:
    text = f"a0: &a0 {first}\n"
    text += "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12))
    root = read(text, "bomb.yaml")
    assert isinstance(root, Mapping)
    last = item(root, "a11")
    assert isinstance(last, Mapping)
    begin = time.process_time()
    with pytest.raises(YamlProblem, match="entries are merged"):
        entries(last)
    assert time.process_time() - begin < 1


# ---------------------------------------------------------------- Megatron-LM's own files

PLACES = {
    "DATA_PATH": "/data",
    "DATA_CACHE_PATH": "/data/cache",
    "CHECKPOINT_SAVE_PATH": "/data/checkpoints/save",
    "CHECKPOINT_LOAD_PATH": "/data/checkpoints/load",
    "TENSORBOARD_PATH": "/data/tensorboard",
    "WANDB_EXPERIMENT": "functional-test",
    "WANDB_SAVE_PATH": "/data/wandb",
    "DATA_BLEND": "[0.6 /data/blend/first_text_document 0.4 /data/blend/second_text_document]",
}


def recorded_cases() -> list[tuple[str, dict[str, object]]]:
    rows = [row for row in command_lines() if row["file"] == "functional"]
    return [(name, row["case"]) for row in rows for name in (row["id"], *row["case"].get("same_command_line", ()))]


@pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout")
def test_recorded_command_lines_word_for_word() -> None:
    differing, read_files = [], 0
    for name, case in recorded_cases():
        file = Path(CHECKOUT, "tests/functional_tests/test_cases", *name.split("/")[1:], "model_config.yaml")
        number = None
        if not file.is_file():  # ..._2 is a second run of one file
            folder, _, last = file.parent.name.rpartition("_")
            file, number = file.parent.parent / folder / file.name, int(last) if last.isdigit() else None
        if not file.is_file():
            continue
        try:
            found = from_file(str(file), PLACES, number=number)
        except SourceError as problem:
            assert problem.commands and problem.commands > 1, problem
            found = from_file(str(file), PLACES, number=1)
        read_files += 1
        options = found.command.launcher_options
        ranks = int(options["nproc_per_node"]) * int(options["nnodes"])
        ours = ([word.text for word in found.command.argv], ranks, found.command.program)
        if ours != (case["argv"], case["world_size"], case["entry"]):
            differing.append(name)
    assert differing == []
    assert read_files > 0


@pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout")
def test_every_functional_test_of_a_checkout_is_read_or_told() -> None:
    read_files = 0
    for file in sorted(Path(CHECKOUT, "tests", "functional_tests").rglob("*.yaml")):
        try:
            found = from_file(str(file))
        except SourceError as problem:
            assert problem.commands is not None, problem  # never unreadable
            continue
        read_files += 1
        assert not any(finding.kind == "unreadable-source" for finding in found.findings), file
        for word in found.command.argv:
            assert word.place and file.read_text().splitlines()[word.place.line - 1].strip()
    assert read_files > 100
