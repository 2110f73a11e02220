"""What no setting of Bridge says, and a start of ours does: Megatron-LM's own program and Bridge are the same run.

``BRIDGE_ARGS_VERIFY=all`` takes every case, ``BRIDGE_ARGS_VERIFY=ramp,spec`` those named; else the cheapest one runs.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

import bridge_args
from bridge_args.emit.run_config import to_run_config
from bridge_args.mapping.translation import Translation
from bridge_args.verify import page
from bridge_args.verify.verify import Request, Verification, verify

CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")
ASKED = os.environ.get("BRIDGE_ARGS_VERIFY", "")

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron.bridge is absent"),
    pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout"),
]

SMALL = (
    "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 32 --mock-data "
    "--tokenizer-type NullTokenizer --vocab-size 1023 --micro-batch-size 2 --eval-iters 1 --eval-interval 1000 "
    "--log-interval 1 --lr 2e-3 --position-embedding-type rope --swiglu --disable-bias-linear "
    "--untie-embeddings-and-output-weights --bf16 --attention-dropout 0 --hidden-dropout 0"
)
STEPS = "--global-batch-size 4 --train-iters 4"
PRECISION = f"{STEPS} --use-distributed-optimizer --use-precision-aware-optimizer"
RAMP = "--global-batch-size 12 --rampup-batch-size 4 4 30 --train-samples 101"
# Layers of somebody's own: queries and keys with norms in the first layer alone.
LAYERS = """
from megatron.core.extensions.transformer_engine import TENorm
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_with_transformer_engine_spec as layer_with
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules

layer = layer_with(qk_layernorm=True)
block = TransformerBlockSubmodules(layer_specs=[layer, layer_with(qk_layernorm=False)], layer_norm=TENorm)
"""

CASES = {
    # the ends of made-up documents are far apart
    "mask": (1, f"{STEPS} --mtp-num-layers 1 --eod-mask-loss --seq-length 512 --max-position-embeddings 512"),
    "decay": (1, f"{STEPS} --normalization LayerNorm --qk-layernorm --apply-wd-to-qk-layernorm --weight-decay 0.5"),
    "buckets": (2, f"{STEPS} --use-distributed-optimizer --overlap-grad-reduce --ddp-num-buckets 5"),
    "ramp": (
        1,
        f"{RAMP} --lr-decay-samples 95 --lr-warmup-samples 17 --min-lr 1e-5 --lr-decay-style cosine "
        "--start-weight-decay 0.01 --end-weight-decay 0.1 --weight-decay-incr-style linear",
    ),
    "spec": (1, f"{STEPS} --spec layers_of_mine layer"),
    "spec of a block": (1, f"{STEPS} --spec layers_of_mine block"),
    "precision": (1, PRECISION),
    "precision bf16": (1, f"{PRECISION} --main-grads-dtype bf16 --exp-avg-dtype bf16 --exp-avg-sq-dtype bf16"),
    "precision fp8": (1, f"{PRECISION} --main-params-dtype fp16 --exp-avg-dtype fp8 --exp-avg-sq-dtype fp16"),
    "interpolation": (1, f"{STEPS} --rotary-seq-len-interpolation-factor 2"),
}  # fmt: skip


def chosen(default: tuple[str, ...]) -> list[str]:
    if not ASKED:
        return list(default)
    return list(CASES) if ASKED == "all" else [name for name in CASES if name in ASKED.split(",")]


def translate(words: Any, world_size: int) -> Translation:
    return bridge_args.translate(list(words), world_size=world_size, env={"CUDA_DEVICE_MAX_CONNECTIONS": "1"})


def verified(name: str, folder: Path, **options: Any) -> Verification:
    nproc, words = CASES[name]
    t = translate([*SMALL.split(), *words.split()], nproc)
    assert not t.errors
    return verify(t, translate, Request(CHECKOUT, folder / "work", device="cpu", **options), lambda line: None)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "layers_of_mine.py").write_text(LAYERS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", chosen(("mask",)))
def test_the_same_run(name: str, here: Path) -> None:
    result = verified(name, here)
    assert page.verdict(result) == "identical", page.text_of(result)
    assert result.comparison.steps == len(result.megatron_lm.steps) > 3
    assert not result.comparison.weights
    assert not result.comparison.batches


@pytest.mark.parametrize("name", [name for name in chosen(()) if name in ("mask", "decay")])
def test_the_configuration_alone_is_another_run(name: str, here: Path) -> None:
    """As a script of Bridge's own would train with it, which the translation says."""
    t = translate([*SMALL.split(), *CASES[name][1].split()], 1)
    assert [finding.kind for finding in t.number_losses] == ["needs-drop-in"]
    result = verified(name, here, changed=lambda config: to_run_config(t), own=True)
    assert result.comparison.verdict == "differs"
