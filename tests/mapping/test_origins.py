"""Where a setting that a builder decides comes from: the arguments that bring it about, and no others."""

from __future__ import annotations

import json
import re

import pytest
from small import SMALL

import bridge_args
from bridge_args.emit.layout import origin_of
from bridge_args.mapping.translation import Translation

LATENT = "--multi-latent-attention --q-lora-rank 32 --v-head-dim 64"
FILLED = "--fim-data --fim-prefix-token <p> --fim-eod-token <|endoftext|>"
SAMPLES = "--train-samples 1000 --rampup-batch-size 4 4 100 --global-batch-size 8 --lr-warmup-samples 100"

# words beside a small model, setting, where it comes from
ORIGINS = {
    "handed on": (LATENT, "model.v_head_dim", "--v-head-dim 64"),
    "handed on, another of the same builder": (LATENT, "model.q_lora_rank", "--q-lora-rank 32"),
    "the default of Megatron-LM, opened by a flag": (
        LATENT,
        "model.kv_lora_rank",
        "derived from multi_latent_attention=True",
    ),
    "the class": (LATENT, "model._target_", "derived from multi_latent_attention=True"),
    "as nobody said otherwise": ("--swiglu", "model.bias_activation_fusion", "Megatron-LM's default"),
    "an activation": ("--swiglu --bf16", "model.activation_func", "derived from swiglu=True"),
    "one of two that each would do": ("--swiglu --bf16", "model.gated_linear_unit", "--swiglu"),
    "what follows from a flag is not named beside it": ("--bf16", "mixed_precision", "derived from bf16=True"),
    "a default that was typed, and that the value holds": (
        FILLED,
        "dataset.fim_extra_tokens",
        "derived from fim_data=True, fim_prefix_token=<p>, fim_eod_token=<|endoftext|>",
    ),
    "iterations of samples": (
        SAMPLES,
        "train.train_iters",
        "derived from train_samples=1000, rampup_batch_size=[4, 4, 100]",
    ),
    "a switch of keyword arguments": (
        "--tokenizer-type HuggingFaceTokenizer --tokenizer-model /m --trust-remote-code",
        "tokenizer.hf_tokenizer_kwargs",
        "derived from trust_remote_code=True",  # the tokenizer of nobody's choice has it too
    ),
}


def translation(words: str) -> Translation:
    small = list(SMALL)
    if "--train-samples" in words:
        at = small.index("--train-iters")
        del small[at : at + 2]
    return bridge_args.translate([*small, *words.split()], 1, "0.16.1", "0.3.1")


@pytest.mark.parametrize(("words", "path", "origin"), ORIGINS.values(), ids=ORIGINS.keys())
def test_origin(words: str, path: str, origin: str) -> None:
    t = translation(words)
    found = {assignment.path: assignment for assignment in t.assignments}
    assert origin_of(t, found[path]) == origin


def test_an_argument_has_a_part_in_its_own_settings_only() -> None:
    data = bridge_args.report(translation(LATENT), "json")
    paths = {one["flag"]: one["paths"] for one in json.loads(data)["arguments"]}
    assert paths["--q-lora-rank"] == ["model.q_lora_rank"]
    assert paths["--v-head-dim"] == ["model.v_head_dim"]


def test_a_builder_is_named_with_its_line() -> None:
    t = translation("--bf16")
    (step,) = (one.origin.step for one in t.assignments if one.path == "mixed_precision")
    assert step is not None and step.place.startswith("bridge_args/mapping/sections/precision.py:")


def test_what_is_lost_is_not_said_to_be_bridges_default() -> None:
    text = bridge_args.report(translation("--full-validation"), "text")
    assert re.search(r"--full-validation +no equivalent\n", text)
