"""Translations that the tests of reports have in common."""

from __future__ import annotations

from typing import Any

from by_hand import assignment, translation
from hypothesis import strategies as st

from bridge_args.findings import Excerpt, Finding
from bridge_args.mapping.rows import Row
from bridge_args.mapping.translation import Origin, Outcome, Translation
from bridge_args.megatron_lm.resolvers.built_in import Setting
from bridge_args.values import Symbol
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


def in_a_script() -> tuple[Translation, str]:
    """A script of two files' words: the flags in line 2 and 3, one value written in line 1."""
    text = "LAYERS=4\ntrain --num-layers $LAYERS \\\n\t--lr 1e-5 --no-load-rng\n"
    t = translation(
        [assignment("model.num_layers", 4, Origin("flag", ("num_layers",), "--num-layers 4"))],
        words="--num-layers 4 --lr 1e-5 --no-load-rng".split(),
        outcomes=dict([outcome("num_layers", "to", paths=("model.num_layers",)), outcome("lr", "not_yet", "Later.")]),
        findings=[Finding("not-yet", "--lr is lost", arguments=("lr",))],
    )
    at = [(2, 7), (1, 8), (3, 2), (3, 7), (3, 12)]
    return t._replace(places=tuple(Place("train.sh", *place) for place in at)), text


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
