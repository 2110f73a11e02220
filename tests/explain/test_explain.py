"""explain: facts about an argument, and arguments found by words."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge_args import translate
from bridge_args.cli.main import main
from bridge_args.explain import FORMATS, about, dest_of, found, pages, search
from bridge_args.mapping import table as tables
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.versions import Versions

VERSIONS = Versions("0.16.1", "0.3.1")
CATALOG = catalogs.load("0.16.1")
TRANSLATE = partial(translate, world_size=8, megatron_lm="0.16.1", bridge="0.3.1")


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("router top k", "moe_router_topk"),
        ("moe-router-topkk", "moe_router_topk"),
        ("tp size", "tensor_model_parallel_size"),
        ("gbs", "global_batch_size"),
        ("learning rate", "lr"),
        ("rope theta", "rotary_base"),
        ("save every", "save_interval"),
        ("grad clip", "clip_grad"),
        ("checkpoint.save_interval", "save_interval"),  # a setting of Bridge
        ("hook of the ADLR cluster", "adlr_autoresume"),  # only in a reason
        ("Number Layers", "num_layers"),
    ],
)
def test_words_find(query: str, best: str) -> None:
    hits = search(query, VERSIONS)
    assert hits[0].argument == best, [hit.argument for hit in hits]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("--moe-router-topkk", "--moe-router-topk"),
        ("num_layer", "--num-layers"),
        ("--tensor-parallel-size", "--tensor-model-parallel-size"),
        ("lr-warmpu-iters", "--lr-warmup-iters"),
        ("--Hidden_Size", "--hidden-size"),
    ],
)
def test_a_misspelt_flag_comes_first(query: str, meant: str) -> None:
    hits = search(query, VERSIONS)
    assert hits[0].flag == meant
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_flags_of_old_and_of_forks_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--DDP-impl", "--zero-stage"]) == 1
    said = capsys.readouterr().err
    assert "--DDP-impl; leave it out: 'local' is the only one now; Megatron-LM had it until September 2023" in said
    assert "--zero-stage; write --use-distributed-optimizer" in said and "Megatron-DeepSpeed" in said


@pytest.mark.parametrize("query", ["", "  ", "--", "no-such-thing", "router zzzzz", "é"])
def test_words_that_are_nowhere_find_nothing(query: str) -> None:
    assert search(query, VERSIONS) == []


def test_every_argument_is_found_by_its_name() -> None:
    for dest in CATALOG.defaults:
        assert dest in [hit.argument for hit in search(dest.replace("_", " "), VERSIONS, limit=10)], dest


def test_an_example_becomes_something() -> None:
    facts = about("moe_router_topk", VERSIONS, TRANSLATE)
    assert facts.example is not None
    assert facts.example.words == ("--moe-router-topk", "4")
    assert facts.example.becomes == ("model.moe_router_topk = 4",)
    facts = about("expert_model_parallel_size", VERSIONS, TRANSLATE)
    assert facts.example is not None
    assert facts.example.beside == ("--num-experts", "8")  # it means nothing without experts


def test_what_is_derived() -> None:
    facts = about("num_layers_per_virtual_pipeline_stage", VERSIONS)
    assert "virtual_pipeline_model_parallel_size" in facts.derived
    assert facts.row is not None
    assert facts.row.feeds == ("virtual_pipeline_model_parallel_size",)


def test_what_derives_it() -> None:
    facts = about("kv_channels", VERSIONS)
    page = pages([facts])
    assert (
        "  derived: computed by derive/attention.py kv_channels\n"
        "    Width of one head; hidden size / heads by default.\n"
        "    from hidden_size, num_attention_heads\n"
        "    see megatron/training/arguments.py validate_args\n"
    ) in page
    assert json.loads(pages([facts], "json"))[0]["derivation"] == {
        "function": "derive/attention.py kv_channels",
        "from": ["hidden_size", "num_attention_heads"],
        "see": ["megatron/training/arguments.py validate_args"],
    }
    assert about("hybrid_layer_pattern", Versions("0.17.1", "0.3.1")).step is not None
    plain = about("lr", VERSIONS)
    assert plain.step is None and plain.derived_from == () and "computed by" not in pages([plain])
    assert json.loads(pages([plain], "json"))[0]["derivation"] is None


def test_an_argument_of_another_version() -> None:
    old = next(dest for dest in catalogs.load("0.11.0").defaults if dest not in CATALOG.defaults)
    facts = about(old, VERSIONS, TRANSLATE)
    assert "0.16.1" not in facts.having
    assert facts.example is None
    assert old in pages([facts])


def test_every_argument_has_a_page_and_most_have_an_example() -> None:
    dests = list(CATALOG.defaults)[::12]
    facts = [about(dest, VERSIONS, TRANSLATE) for dest in dests]
    assert len(json.loads(pages(facts, "json"))) == len(facts)
    for format in FORMATS:
        assert all(dest in pages([one], format).replace("\\_", "_") for dest, one in zip(dests, facts, strict=True))
    assert sum(one.example is not None for one in facts) > 0.8 * len(facts)


def test_page_as_text() -> None:
    page = pages([about("seq_length", VERSIONS, TRANSLATE)])
    row = tables.load(VERSIONS).rows["seq_length"]
    assert "  --seq-length: int\n  Megatron-LM 0.16.1 default: None\n" in page
    assert f"({row.place})" in page
    assert all(f"-> {path} (" in page for path in row.to)
    assert "  for example --seq-length 2" in page


@pytest.mark.parametrize("function", [lambda f: pages([], f), lambda f: found("x", [], f)])
def test_another_format_is_refused(function: Any) -> None:
    with pytest.raises(ValueError, match="text, json, markdown"):
        function("html")


@pytest.mark.parametrize("name", ["moe_router_topk", "moe-router-topk", "--moe-router-topk", "--moe_router_topk"])
def test_names(name: str) -> None:
    assert dest_of(name, CATALOG) == "moe_router_topk"


@pytest.mark.parametrize(
    "words", [["--moe-router-topk"], ["moe_router_topk"], ["--", "--moe-router-topk"], ["moe_router_topk"] * 2]
)
def test_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *words]) == 0
    out = capsys.readouterr().out
    assert out.startswith("moe_router_topk\n")
    assert out.count("-> model.moe_router_topk") == 1


def test_command_searches(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["router top k"], ["router", "top", "k"]):
        assert main(["explain", *words]) == 0
        assert capsys.readouterr().out.splitlines()[1].split() == ["--moe-router-topk", "model.moe_router_topk"]
    assert main(["explain", "--format", "json", "router top k"]) == 0
    assert json.loads(capsys.readouterr().out)["found"][0]["argument"] == "moe_router_topk"
    assert main(["explain", "--format", "json", "lr", "seed", "zzzz"]) == 1  # one document all the same
    assert [page["argument"] for page in json.loads(capsys.readouterr().out)] == ["lr", "seed"]
    assert main(["explain", "--format", "markdown", "lr", "rope theta"]) == 0
    out = capsys.readouterr().out
    assert "## `lr`" in out
    assert "| `--rotary-base` |" in out


def test_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 1
    assert main(["explain", "--bridge", "9.9", "lr"]) == 1
    assert "no schema of Megatron Bridge 9.9" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["check", "--moe-router-topk"])


def test_without_a_row_settings_of_its_name_are_told() -> None:
    facts = about("mtp_use_repeated_layer", VERSIONS)
    assert facts.row is None and facts.namesakes == {"model.mtp_use_repeated_layer": ("0.4.2", "0.5.1", "0.6.2")}
    assert "a setting of its name: model.mtp_use_repeated_layer (Bridge 0.4.2, 0.5.1, 0.6.2)\n" in pages([facts])
    assert facts.data()["settings_of_its_name"] == {"model.mtp_use_repeated_layer": ["0.4.2", "0.5.1", "0.6.2"]}
    assert about("lr", VERSIONS).namesakes == {}


def test_a_file_is_no_argument(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run_config.yaml"
    file.write_text("train: {train_iters: 5}\n", encoding="utf-8")
    assert main(["explain", str(file)]) != 0
    assert f"{file} is a file, and explain tells of one argument" in capsys.readouterr().err
