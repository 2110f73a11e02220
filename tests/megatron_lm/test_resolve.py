"""Effective arguments: against recorded ones of Megatron-LM 0.16 to 0.19, and how they are explained."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from derive_cases import argv, environment, errors, meaning, run_of
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import RECORDED, command_lines

from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm import derive
from bridge_args.megatron_lm.derive.registry import CONTEXT, REGISTERED, Derivation
from bridge_args.megatron_lm.parse import parse
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs, plan, resolve
from bridge_args.values import Symbol

# Names of the recorded namespace that we leave out, or keep under another meaning, and why.
LEFT_OUT = {
    "rank": "the same command line runs on every rank",
    "world_size": "an input, MegatronArgs.world_size",
    "consumed_train_samples": "where a run is, not what was asked for",
    "consumed_valid_samples": "where a run is, not what was asked for",
    "skipped_train_samples": "where a run is, not what was asked for",
    "iteration": "where a run is, not what was asked for",
    "model_type": "always encoder_or_decoder",
    "train_iters": "stays None where the length is given in samples; train_iters_from_samples has it, tested below",
    "num_query_groups": "None without --group-query-attention; what the model gets is tested below",
    "_is_global_batch_size_explicitly_specified": "what was typed, which is in Given",
    "modelopt_enabled": "whether a checkpoint or a teacher of ModelOpt was found, in files",
}


@lru_cache(maxsize=1)
def recorded() -> tuple[list[Any], list[Any]]:
    """Recorded command lines: those Megatron-LM accepts (maybe without flags it does not know), and the others."""
    accepted, refused = [], []
    for row in [{**row, "version": version} for version in RECORDED for row in command_lines(version)]:
        result = row["result"]
        if result["accepted"] or result.get("accepted_after_dropping"):
            accepted.append(pytest.param(row, id=row["id"]))
        if not result["accepted"]:
            refused.append(pytest.param(row, id=row["id"]))
    return accepted, refused


def resolved(row: Mapping[str, Any], words: list[str]) -> tuple[MegatronArgs, list[str]]:
    """The effective arguments of a recorded command line, and everything wrong with it."""
    case, catalog = row["case"], catalogs.load(row["version"])
    given = parse(words, catalog)
    args = resolve(given, run_of(catalog, case["world_size"], case["env"], program=case["entry"])).args
    wrong = [str(finding) for finding in given.findings if finding.level == "error"] + errors(args)
    if case.get("device_capability", [9, 0])[0] > 9:  # checks are those of an H100, which needs one connection
        wrong = [finding for finding in wrong if "CUDA_DEVICE_MAX_CONNECTIONS" not in finding]
    return args, wrong


def plain(value: object) -> object:
    """As the recordings write it: dtypes by name, tuples as lists."""
    if isinstance(value, Symbol):
        return value.path
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("row", recorded()[0])
def test_equal_to_megatron_lm(row: dict[str, Any]) -> None:
    result = row["result"]
    args, wrong = resolved(row, result.get("argv_after_dropping") or row["case"]["argv"])
    assert wrong == []

    expected = {**result["args"], **result["args_after_setup"]}
    ours = {name: plain(args[name]) if name in args else "(not there)" for name in expected if name not in LEFT_OUT}
    differing = {
        name: (value, expected[name])
        for name, value in ours.items()
        if value != expected[name] or type(value) is not type(expected[name])
    }
    assert differing == {}

    derived = result["derived"]
    assert (args["train_iters"] or args["train_iters_from_samples"]) == derived["train_iters"]
    assert args["num_microbatches"] == derived["num_microbatches_at_start"]
    assert args["expert_data_parallel_size"] == derived["expert_data_parallel_size"]
    if "transformer" in result:
        assert (args["num_query_groups"] or args["num_attention_heads"]) == result["transformer"]["num_query_groups"]


@pytest.mark.parametrize("row", recorded()[1])
def test_refused_by_megatron_lm(row: dict[str, Any]) -> None:
    assert resolved(row, row["case"]["argv"])[1] != []


def test_sources_and_inputs() -> None:
    args = meaning("--tensor-model-parallel-size 2 --sequence-parallel", world_size=16)
    assert args.settings["tensor_model_parallel_size"].source == "given"
    assert args.settings["sequence_parallel"].source == "given"
    assert args.settings["weight_decay"].source == "default"
    copies = args.settings["data_parallel_size"]
    assert (copies.value, copies.source) == (8, "derived")
    assert copies.inputs == {
        "world_size": 16,
        "tensor_model_parallel_size": 2,
        "pipeline_model_parallel_size": 1,
        "context_parallel_size": 1,
    }


def test_a_typed_value_that_is_changed_keeps_its_place() -> None:
    setting = meaning("--sequence-parallel").settings["sequence_parallel"]
    assert (setting.value, setting.source) == (False, "derived")
    assert setting.typed is not None
    assert setting.typed.flag == "--sequence-parallel"


def test_the_programs_default_stands_in_for_none() -> None:
    setting = meaning("--vocab-file v --merge-file m", without="--tokenizer-type").settings["tokenizer_type"]
    assert (setting.value, setting.source) == ("GPT2BPETokenizer", "default")


def test_one_mistake_is_one_finding() -> None:
    assert errors(meaning("", without="--hidden-size")) == ["--hidden-size is missing; add --hidden-size with a number"]
    assert len(errors(meaning("--context-parallel-size 0 --cp-comm-type a2a+p2p"))) == 1


def test_what_the_parser_could_not_read_is_not_found_missing() -> None:
    catalog = catalogs.load("0.16.1")
    given = parse(argv("--mock-data --num-layers many"), catalog)
    args = resolve(given, run_of(catalog, 8, environment({}))).args
    assert [finding.kind for finding in given.findings] == ["bad-value"]
    assert args.findings == ()


def test_a_finding_shows_the_users_words() -> None:
    (finding,) = meaning("--mock-data --global-batch-size 20").findings
    assert finding.excerpt is not None
    marked = finding.excerpt.text[finding.excerpt.start : finding.excerpt.end]
    assert marked == "--global-batch-size 20"
    assert finding.arguments == ("global_batch_size", "micro_batch_size")


@pytest.mark.parametrize(
    ("env", "whole", "kinds"),
    [
        pytest.param({}, True, ["invalid-command-line"], id="an environment without the variable"),
        pytest.param(None, True, ["environment"], id="an environment that nobody told"),
        pytest.param({"NCCL_ALGO": "Ring"}, False, ["environment"], id="an environment known in part"),
        pytest.param({"CUDA_DEVICE_MAX_CONNECTIONS": "1"}, True, [], id="the variable is set"),
        pytest.param({"CUDA_DEVICE_MAX_CONNECTIONS": "1"}, False, [], id="the part that is known has it"),
        pytest.param({"CUDA_DEVICE_MAX_CONNECTIONS": "32"}, True, ["environment"], id="a value for newer GPUs"),
    ],
)
def test_a_missing_variable(env: Mapping[str, str] | None, whole: bool, kinds: list[str]) -> None:
    catalog = catalogs.load("0.16.1")
    given = parse(argv("--mock-data --tensor-model-parallel-size 2"), catalog)
    args = resolve(given, run_of(catalog, 8, env, whole)).args
    assert [finding.kind for finding in args.findings] == kinds


@pytest.mark.parametrize(
    ("words", "without", "says"),
    [
        ("--mock-data", "--eval-interval", "without --eval-interval Megatron-LM stops before the first step"),
        ("", "", "without data Megatron-LM stops before the first step; Bridge trains on mock data"),
        ("--mock-data", "", ""),
        ("--train-data-path a", "", ""),
    ],
    ids=["no evaluation interval", "no data", "made-up data that was asked for", "data"],
)
def test_what_stops_megatron_lm_later_is_a_warning(words: str, without: str, says: str) -> None:
    late = [finding for finding in meaning(words, without=without).findings if finding.kind == "stops-later"]
    assert [finding.level for finding in late] == (["warning"] if says else [])
    assert all(says in str(finding) for finding in late)


def test_nothing_is_changed_in_place() -> None:
    catalog = catalogs.load("0.16.1")
    before = copy.deepcopy(catalog.defaults)
    fsdp = "--use-torch-fsdp2 --no-gradient-accumulation-fusion --untie-embeddings-and-output-weights"
    first = meaning(fsdp)
    assert first["high_priority_stream_groups"] == ["dp_cp"]
    assert meaning("")["high_priority_stream_groups"] == []
    assert catalog.defaults == before


def known_names() -> set[str]:
    """Every argument of every version."""
    return {name for version in catalogs.versions() for name in catalogs.load(version).defaults}


def test_every_parameter_is_known() -> None:
    derived = {step.name for step in REGISTERED if isinstance(step, Derivation)}
    known = known_names() | derived | set(CONTEXT)
    assert {(step.name, name) for step in REGISTERED for name in step.reads if name not in known} == set()


def test_derivations_of_arguments_are_of_arguments() -> None:
    known = known_names()
    assert {s.name for s in REGISTERED if isinstance(s, Derivation) and s.argument and s.name not in known} == set()


def test_every_flag_we_speak_of_exists() -> None:
    flags = {flag for version in catalogs.versions() for flag in catalogs.load(version).by_flag}
    spoken = set()
    for file in Path(derive.__file__).parent.glob("*.py"):
        spoken |= set(re.findall(r"--[a-z][a-z0-9-]*[a-z0-9]", file.read_text()))
    assert spoken - flags == set()


@pytest.mark.parametrize("version", catalogs.versions())
def test_every_version_resolves(version: str) -> None:
    words = "--tensor-model-parallel-size 2 --sequence-parallel --swiglu --disable-bias-linear --num-experts 4"
    words += " --pipeline-model-parallel-size 2 --num-layers-per-virtual-pipeline-stage 2 --use-distributed-optimizer"
    args = meaning(words, version=version)
    assert errors(args) == []
    assert args["data_parallel_size"] == 2
    assert args["virtual_pipeline_model_parallel_size"] == 2
    assert args["ffn_hidden_size"] == 128
    assert args["padded_vocab_size"] == 256


@pytest.mark.parametrize("version", catalogs.versions())
def test_a_plan_is_in_order(version: str) -> None:
    seen: set[str] = set()
    names = {step.name for step in plan(version) if isinstance(step, Derivation)}
    for step in plan(version):
        assert {name for name in step.reads if name in names and name != step.name} <= seen
        seen.update(step.sets)


CATALOG = catalogs.load("0.16.1")
ARGUMENTS = [argument for argument in CATALOG.arguments if argument.action == "store"]
SWITCHES = [argument.flags[0] for argument in CATALOG.arguments if argument.action != "store"]


@st.composite
def some_words(draw: st.DrawFn) -> list[str]:
    """A few arguments with values of the right kind, sensible or not."""
    words = list(draw(st.lists(st.sampled_from(SWITCHES), max_size=4)))
    for argument in draw(st.lists(st.sampled_from(ARGUMENTS), max_size=4)):
        options = [
            str(value) for value in argument.choices or argument.members or ("-1", "0", "1", "3", "8", "[0,1]*4")
        ]
        count = argument.nargs if isinstance(argument.nargs, int) else 1
        words += [argument.flags[0], *draw(st.lists(st.sampled_from(options), min_size=count, max_size=count))]
    return words


@settings(max_examples=400, deadline=None)
@given(some_words(), st.sampled_from((1, 8, 12)))
def test_no_words_make_it_fail(words: list[str], world_size: int) -> None:
    for typed in (words, argv() + words):
        args = resolve(parse(typed, CATALOG), run_of(CATALOG, world_size, {})).args
        assert set(CATALOG.defaults) <= set(args.settings)
