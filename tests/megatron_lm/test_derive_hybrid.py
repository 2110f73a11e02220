"""Patterns of layers: what they say of the run, what Megatron-LM stops at, and recorded lines of its own tests."""

from __future__ import annotations

from typing import Any

import pytest
from derive_cases import errors, meaning, run_of
from recorded import command_lines

from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.derive.hybrid import depths_of
from bridge_args.megatron_lm.parse import parse
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs, resolve

VERSIONS = ("0.17.1", "0.18.2", "0.19.0")
SPEC = {"0.17.1": "mamba.mamba_layer_specs mamba_stack_spec", "0.18.2": "hybrid.hybrid_layer_specs hybrid_stack_spec"}


def hybrid(words: str, version: str = "0.19.0", *, spec: bool = True) -> MegatronArgs:
    program = "pretrain_mamba.py" if version == "0.17.1" else "pretrain_hybrid.py"
    if spec and version in SPEC:
        words += f" --spec megatron.core.models.{SPEC[version]}"
    rope = "--position-embedding-type rope"
    return meaning(f"{words} {rope}", without="--num-layers", program=program, version=version)


SAID_BY_PATTERN = (
    "hybrid_layer_pattern hybrid_override_pattern mtp_hybrid_override_pattern num_layers encoder_num_layers "
    "mtp_num_layers virtual_pipeline_model_parallel_size transformer_pipeline_model_parallel_size "
    "multi_latent_attention is_hybrid_model overlap_p2p_comm align_param_gather"
).split()
LINES = [
    pytest.param(version, row, id=row["id"])
    for version in VERSIONS
    for row in command_lines(version)
    if row["result"].get("args", {}).get("hybrid_layer_pattern")
]


def test_there_are_recorded_lines() -> None:
    assert len(LINES) == 17


@pytest.mark.parametrize(("version", "row"), LINES)
def test_equal_to_megatron_lm(version: str, row: dict[str, Any]) -> None:
    case, catalog, expected = row["case"], catalogs.load(version), row["result"]["args"]
    given = parse(case["argv"], catalog)
    run = run_of(catalog, case["world_size"], case["env"], program=case["entry"])
    args = resolve(given, run).args
    assert {name: args[name] for name in SAID_BY_PATTERN} == {name: expected[name] for name in SAID_BY_PATTERN}
    assert not any(finding.level == "error" for finding in given.findings)


# words -> what is derived
SAID = {
    "a letter a layer": ("--hybrid-layer-pattern M-*E", {"num_layers": 4, "mtp_num_layers": None}),
    "stages are no layers": (
        "--hybrid-layer-pattern M-|*- --pipeline-model-parallel-size 2",
        {"num_layers": 4, "virtual_pipeline_model_parallel_size": None},
    ),
    "more segments than stages": (
        "--hybrid-layer-pattern M-|*-|M-|*- --pipeline-model-parallel-size 2",
        {"num_layers": 8, "virtual_pipeline_model_parallel_size": 2},
    ),
    "an empty segment": (
        "--hybrid-layer-pattern M-*-| --pipeline-model-parallel-size 2",
        {"num_layers": 4, "virtual_pipeline_model_parallel_size": None},
    ),
    "layers that predict": ("--hybrid-layer-pattern *-*-/*-/*-", {"num_layers": 4, "mtp_num_layers": 2}),
    "a mark with nothing behind it": ("--hybrid-layer-pattern *-*-/", {"num_layers": 4, "mtp_num_layers": None}),
    "the pattern wins": ("--hybrid-layer-pattern *-/*- --mtp-num-layers 3", {"mtp_num_layers": 1}),
    "the old pattern": ("--hybrid-override-pattern *-", {"hybrid_layer_pattern": "*-", "num_layers": 2}),
    "the old pattern of predicted tokens": (
        "--hybrid-layer-pattern *- --mtp-num-layers 2 --mtp-hybrid-override-pattern *-",
        {"hybrid_layer_pattern": "*-/*-/*-", "mtp_hybrid_override_pattern": None, "mtp_num_layers": 2},
    ),
    "uneven stages without marks": (
        "--hybrid-layer-pattern *-*-*- --pipeline-model-parallel-size 2 --decoder-first-pipeline-num-layers 2",
        {"num_layers": 6, "virtual_pipeline_model_parallel_size": None, "decoder_first_pipeline_num_layers": 2},
    ),
}  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("spoken", SAID)
def test_what_a_pattern_says(spoken: str, version: str) -> None:
    words, expected = SAID[spoken]
    args = hybrid(words, version)
    assert errors(args) == []
    assert {name: args[name] for name in expected} == expected


# words -> what we say
REFUSED = {
    "a letter that is none": ("--hybrid-layer-pattern M*X", "has X, which is no kind of layer"),
    "stages among predicting layers": ("--hybrid-layer-pattern *-/*|-", "has |, which is no kind of layer"),
    "predicting layers that differ": ("--hybrid-layer-pattern *-/*-/*", "predicts tokens by *- and by *"),
    "segments that stages do not divide": (
        "--hybrid-layer-pattern M|M|M --pipeline-model-parallel-size 2",
        "has 3 segments, which pipeline 2 does not divide",
    ),
    "segments on one stage": ("--hybrid-layer-pattern M-|*-|M-", "with 3 virtual stages a rank"),
    "both names of the pattern": ("--hybrid-layer-pattern M --hybrid-override-pattern M", "are the same"),
    "a layout beside it": (
        "--hybrid-layer-pattern M|M --pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Et|tL",
        "--pipeline-model-parallel-layout cannot be used with --hybrid-layer-pattern",
    ),
    "virtual stages beside it": (
        "--hybrid-layer-pattern M|M --pipeline-model-parallel-size 2 --num-layers-per-virtual-pipeline-stage 1",
        "--num-layers-per-virtual-pipeline-stage cannot be used with --hybrid-layer-pattern",
    ),
    "the loss counted as a layer": (
        "--hybrid-layer-pattern MM --account-for-loss-in-pipeline-split",
        "--account-for-loss-in-pipeline-split cannot be used with",
    ),
    "uneven stages beside marks": (
        "--hybrid-layer-pattern M|MM --pipeline-model-parallel-size 2 --decoder-first-pipeline-num-layers 1",
        "--decoder-first-pipeline-num-layers cannot be used with",
    ),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("spoken", REFUSED)
def test_what_megatron_lm_stops_at(spoken: str, version: str) -> None:
    words, says = REFUSED[spoken]
    assert any(says in error for error in errors(hybrid(words, version)))


@pytest.mark.parametrize(
    ("pattern", "since"), [("G-", "0.17.1"), ("D-", "0.18.2"), ("+-", "0.19.0")], ids=lambda value: value
)
@pytest.mark.parametrize("version", VERSIONS)
def test_letters_of_a_version(pattern: str, since: str, version: str) -> None:
    args = hybrid(f"--hybrid-layer-pattern {pattern}", version)
    is_known = VERSIONS.index(version) >= VERSIONS.index(since)
    assert any("is no kind of layer" in error for error in errors(args)) != is_known
    if is_known:
        assert args["multi_latent_attention"] is (pattern != "G-")


def test_kinds_of_attention_exclude_each_other() -> None:
    assert any("* and D" in error for error in errors(hybrid("--hybrid-layer-pattern *-D-", "0.18.2")))
    assert any("* and + D" in error for error in errors(hybrid("--hybrid-layer-pattern *+D", "0.19.0")))


@pytest.mark.parametrize(("version", "needed"), [("0.17.1", True), ("0.18.2", True), ("0.19.0", False)])
def test_the_specification_is_needed_before_0_19(version: str, needed: bool) -> None:
    said = errors(hybrid("--hybrid-layer-pattern *-", version, spec=False))
    assert any("needs --spec" in error and SPEC[version] in error for error in said) if needed else said == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--num-layers 2", "the model has no layers"),
        ("--hybrid-layer-pattern *-* --pipeline-model-parallel-size 2", "3 layers of --hybrid-layer-pattern cannot"),
    ],
)
def test_what_the_model_stops_at(words: str, says: str) -> None:
    args = hybrid(words)
    assert errors(args) == []
    assert [finding.message for finding in args.findings if finding.kind == "stops-later" and says in finding.message]


def test_depths() -> None:
    assert [depths_of(pattern) for pattern in ("", "M", "M/", "M/M", "M/M/M", "/M")] == [0, 0, 0, 1, 2, 1]
