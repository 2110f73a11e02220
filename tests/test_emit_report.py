"""report: the same content in four formats, and nothing a user typed breaks one of them."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any, get_args

import pytest
from by_hand import assignment, translation
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_args.emit.report import Format, report
from bridge_args.findings import Excerpt, Finding
from bridge_args.mapping.rows import FATES, Row
from bridge_args.mapping.translation import Origin, Outcome, Translation
from bridge_args.megatron_lm.resolve import Setting
from bridge_args.values import Member, Symbol
from bridge_args.words import Place


def outcome(name: str, fate: Any, reason: str = "", paths: tuple[str, ...] = (), **row: Any) -> tuple[str, Outcome]:
    return name, Outcome(name, fate, paths, reason, True, Row(name, fate, paths, reason=reason, area="x", **row))


def example() -> Translation:
    words = "--num-layers 4 --global-batch-size 8 --lr 1e-5 --lr-warmup-init 0.1 --no-load-rng"
    return translation(
        [
            assignment("model.num_layers", 4, Origin("flag", ("num_layers",), "--num-layers 4")),
            assignment(
                "train.global_batch_size",
                16,
                Origin("derived", ("global_batch_size",), "--global-batch-size 8", {"micro_batch_size": 2}),
            ),
            assignment(
                "model.params_dtype", Symbol("torch.bfloat16"), Origin("derived", ("bf16",), "", {"bf16": True})
            ),
            assignment("train.eval_iters", 50, Origin("default", ("eval_iters",))),
        ],
        words=[*words.split(), "--distributed-backend", "nccl", "--num-layerz", "3"],
        derived={"global_batch_size": Setting(16, "derived", {"micro_batch_size": 2})},
        findings=[
            Finding("no-equivalent", "--lr = 1e-05 is lost: Bridge has no rate.", "leave it out", ("lr",)),
            Finding("unresolved-variable", "$X is not set", place=Place("a.sh", 3), excerpt=Excerpt("--a $X", 4, 6)),
            Finding("assumed-world-size", "8 is assumed"),
        ],
        outcomes=dict(
            [
                outcome("num_layers", "to", paths=("model.num_layers",), note="Counts every layer."),
                outcome("global_batch_size", "to", paths=("train.global_batch_size",)),
                outcome("lr", "no_equivalent", "Bridge has no rate."),
                outcome("lr_warmup_init", "feeds", feeds=("max_lr",)),
                outcome("distributed_backend", "launcher", "Say it to torchrun."),
            ]
        ),
    )


def test_text() -> None:
    assert (
        report(example())
        == """\
Errors (1): Megatron-LM or Bridge would stop with this command line.
  --num-layerz is not an argument of Megatron-LM 0.16.1; did you mean --num-layers?
      --distributed-backend nccl --num-layerz 3
                                 ^^^^^^^^^^^^

Lost (1): Bridge will not do this; decide whether you can do without.
  --lr = 1e-05 is lost: Bridge has no rate; leave it out

Check (2): This is not what the command line says at first sight.
  a.sh:3: $X is not set
      --a $X
          ^^
  --global-batch-size 8 becomes 16, because of micro_batch_size=2

For your information (3)
  8 is assumed
  --num-layers: Counts every layer.
  --distributed-backend: Say it to torchrun.

What becomes of the arguments
  --num-layers 4              model.num_layers = 4
  --global-batch-size 8       train.global_batch_size = 16         derived
  --lr 1e-5                   no equivalent
  --lr-warmup-init 0.1        used up                              used for max_lr
  --no-load-rng               unknown
  --distributed-backend nccl  for the launcher
                              model.params_dtype = torch.bfloat16  derived from bf16=True
                              train.eval_iters = 50                Megatron-LM's default

6 arguments given, 4 settings written; 1 error, 1 lost, 2 to check, 3 notes (Megatron-LM 0.16.1 to Megatron Bridge \
0.3.1, pretrain_gpt.py, 8 GPUs)
"""
    )


def test_json() -> None:
    data = json.loads(report(example(), "json"))
    assert data["schema"] == 1
    assert data["counts"] == {"arguments": 6, "settings": 4, "errors": 1, "lost": 1, "check": 2, "notes": 3}
    assert data["versions"] == {"megatron_lm": "0.16.1", "bridge": "0.3.1"}
    assert data["arguments"][0] == {
        "argument": "num_layers",
        "flag": "--num-layers",
        "words": ["--num-layers", "4"],
        "value": 4,
        "fate": "to",
        "paths": ["model.num_layers"],
        "reason": "",
        "row": "mappings/x.yaml:0",
    }
    assert data["settings"][2]["value"] == {"_target_": "torch.bfloat16", "_call_": False}
    assert data["settings"][2]["shown"] == "torch.bfloat16"
    assert data["settings"][2]["origin"]["inputs"] == {"bf16": True}
    assert data["findings"][2]["place"] == {"source": "a.sh", "line": 3, "column": 1}


def test_json_has_no_numbers_json_does_not_know() -> None:
    t = translation({"optimizer.lr": float("inf"), "optimizer.min_lr": float("nan"), "model.x": Member("a.B", "c", 1)})
    data = json.loads(report(t, "json"), parse_constant=lambda text: pytest.fail(text))
    assert [setting["value"] for setting in data["settings"][:2]] == ["inf", "nan"]


@pytest.mark.parametrize("format", get_args(Format))
def test_every_format_says_everything(format: Format) -> None:
    text = report(example(), format).replace("\\_", "_").replace("\\$", "$")
    for said in ["num-layerz", "Bridge has no rate", "$X is not set", "8 is assumed", "Counts every layer", "torchrun"]:
        assert said in text
    assert all(path in text for path in ["model.num_layers", "train.eval_iters", "model.params_dtype"])


@pytest.mark.parametrize("format", get_args(Format))
def test_nothing_given(format: Format) -> None:
    assert report(translation(), format)


@pytest.mark.parametrize("format", ["TEXT", "", "yaml", None])
def test_another_format_is_refused(format: Any) -> None:
    with pytest.raises(ValueError, match="text, json, markdown, html"):
        report(translation(), format)


def hostile(text: str) -> Translation:
    return translation(
        [assignment("checkpoint.save", text, Origin("derived", ("save",), text, {text: text}))],
        words=[f"--save={text}", "--num-layers", "2", "--hidden-size", "8"],
        findings=[Finding("no-equivalent", text, text, (text,), Place(text, 1), Excerpt(text, 0, len(text)))],
        outcomes=dict(
            [
                outcome("save", "to", text, ("checkpoint.save",), note=f"Say {text}"),
                outcome("hidden_size", "not_yet", text),
            ]
        ),
        environment={"A": text},
    )


HOSTILE = st.text() | st.sampled_from(
    [
        "<script>alert(1)</script>",
        "&amp;",
        '"',
        "'",
        "|",
        "a|b`c``d",
        "\x1b[31m",
        "\r\n",
        "](x)",
        "<!--",
        "]]>",
        "\u202e",
    ]
)


@settings(deadline=None)
@given(HOSTILE)
def test_nothing_typed_reaches_the_terminal_as_a_control(text: str) -> None:
    written = report(hostile(text))
    assert all(char.isprintable() or char == "\n" for char in written)


@settings(deadline=None)
@given(HOSTILE)
def test_every_row_of_a_markdown_table_has_its_cells(text: str) -> None:
    for line in report(hostile(text), "markdown").split("\n"):
        if line.startswith("|"):
            assert line.replace("\\\\", "").replace("\\|", "").count("|") == 4, line


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page_of(text: str) -> Page:
    page = Page()
    page.feed(report(hostile(text), "html"))
    page.close()
    assert page.open == []
    return page


@settings(deadline=None)
@given(HOSTILE)
def test_nothing_typed_becomes_html(text: str) -> None:
    assert page_of(text).tags == page_of("plain").tags


def test_the_page_needs_no_network() -> None:
    names = [name for _, attrs in page_of("plain").tags for name, _ in attrs]
    assert not {"src", "href", "action"} & set(names)
    assert "http" not in report(example(), "html")


@settings(deadline=None)
@given(HOSTILE)
def test_json_keeps_what_was_typed(text: str) -> None:
    data = json.loads(report(hostile(text), "json"))
    assert data["settings"][0]["value"] == text
    assert data["environment"] == {"A": text}


def test_every_fate_can_be_said() -> None:
    names = ["num_layers", "hidden_size", "seq_length", "lr", "seed", "save", "load"]
    words = [word for name in names for word in ("--" + name.replace("_", "-"), "1")]
    t = translation(words=words, outcomes=dict(outcome(n, f, "Because.") for n, f in zip(names, FATES, strict=True)))
    for format in get_args(Format):
        assert report(t, format)
    assert {entry["fate"] for entry in json.loads(report(t, "json"))["arguments"]} == set(FATES)
