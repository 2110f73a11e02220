"""What every argument of Megatron-LM 0.16.1 does to Bridge 0.3.1's settings: one line of ``rows.expected`` each.

A row that says something else, or two that were exchanged, is a change of that file, for people to look at.
``pytest tests/mapping/test_rows.py --update-cases`` writes it anew.
"""

# ruff: noqa: E501  a base on one line can be compared with its neighbours

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pytest

import bridge_args
from bridge_args.explain.facts import probes
from bridge_args.megatron_lm import catalog
from bridge_args.megatron_lm.catalog import Argument

EXPECTED: Final = Path(__file__).with_name("rows.expected")
CATALOG: Final = catalog.load("0.16.1")
_SMALL: Final = (
    "--num-layers 8 --hidden-size 64 --num-attention-heads 8 --seq-length 128 --max-position-embeddings 128"
    " --micro-batch-size 1 --global-batch-size 16 --train-iters 10 --lr 1e-3 --eval-interval 10 --save-interval 5"
    " --tokenizer-type NullTokenizer --vocab-size 100"
)
# Runs in which some arguments have a meaning and others have none; the first in which a flag changes a setting counts.
BASES: Final[Mapping[str, tuple[str, str]]] = {
    "plain": ("pretrain_gpt.py", _SMALL),
    "bf16": ("pretrain_gpt.py", f"{_SMALL} --bf16 --swiglu --use-distributed-optimizer --use-mcore-models"),
    "moe": ("pretrain_gpt.py", f"{_SMALL} --bf16 --num-experts 8 --expert-model-parallel-size 2 --moe-grouped-gemm"),
    "mla": ("pretrain_gpt.py", f"{_SMALL} --bf16 --multi-latent-attention --position-embedding-type rope"),
    "hybrid": ("pretrain_mamba.py", f"{_SMALL} --bf16 --hybrid-override-pattern M*M-M*M- --spec megatron.core.models.mamba.mamba_layer_specs mamba_stack_spec"),
    "saving": ("pretrain_gpt.py", f"{_SMALL} --save /save --load /load --fp16 --profile --inprocess-restart"),
    "fp8": ("pretrain_gpt.py", f"{_SMALL} --bf16 --fp8-format hybrid --transformer-impl transformer_engine"),
    "pipeline": ("pretrain_gpt.py", f"{_SMALL} --bf16 --pipeline-model-parallel-size 2 --untie-embeddings-and-output-weights"),
    "interleaved": ("pretrain_gpt.py", f"{_SMALL} --bf16 --pipeline-model-parallel-size 4 --num-virtual-stages-per-pipeline-rank 2 --overlap-p2p-communication-warmup-flush"),
    "tensor": ("pretrain_gpt.py", f"{_SMALL} --bf16 --tensor-model-parallel-size 2 --sequence-parallel --recompute-granularity full --recompute-method uniform --recompute-num-layers 1"),
    "optimizer": ("pretrain_gpt.py", f"{_SMALL} --bf16 --use-distributed-optimizer --overlap-grad-reduce --use-precision-aware-optimizer"),
    "samples": ("pretrain_gpt.py", f"{_SMALL.replace('--train-iters 10', '--train-samples 160')} --bf16"),
    "clamped": ("pretrain_gpt.py", f"{_SMALL} --bf16 --quick-geglu --disable-bias-linear"),
    "unfused": ("pretrain_gpt.py", f"{_SMALL} --bf16 --no-bias-gelu-fusion --no-gradient-accumulation-fusion"),
    "data": ("pretrain_gpt.py", f"{_SMALL.replace('NullTokenizer --vocab-size 100', 'HuggingFaceTokenizer --tokenizer-model /m --vocab-size 100')} --data-path 0.3 /a 0.7 /b --split 90,5,5 --fim-data"),
    "mock": ("pretrain_gpt.py", f"{_SMALL} --mock-data --fp16 --async-save --log-straggler"),
    "groups": ("pretrain_gpt.py", f"{_SMALL} --bf16 --num-experts 8 --moe-router-num-groups 4 --moe-router-group-topk 2 --moe-router-topk 2 --moe-router-score-function sigmoid --moe-token-dispatcher-type alltoall --moe-expert-capacity-factor 1.0"),
}  # fmt: skip


@lru_cache(maxsize=None)
def settings(base: str, words: tuple[str, ...] = ()) -> Mapping[str, Any] | None:
    """The settings written for a base and some more words; None where Megatron-LM refuses them."""
    program, text = BASES[base]
    t = bridge_args.translate(
        [*text.split(), *words], 8, "0.16.1", "0.3.1", {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}, program, _read
    )
    return None if t.errors else {one.path: one.value for one in t.assignments}


def _read(name: str) -> str:
    return "1.0 /a"


def meaning(argument: Argument) -> str:
    """The words that were tried, and the settings that came to be others."""
    refused = True
    for base in BASES:
        before = settings(base)
        assert before is not None, base
        for values in probes(argument):
            words = (argument.flags[0], *values)
            after = settings(base, words)
            if after is None:
                continue
            refused = False
            names = sorted(path for path in before.keys() | after.keys() if _differs(before, after, path))
            if names:
                changed = ", ".join(f"{path}={after.get(path, '(not written)')}" for path in names)
                return f"{' '.join(words)} [{base}]: {changed}"
            break
    return f"{argument.flags[0]}: {'refused in all of them' if refused else 'no setting changes'}"


def _differs(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> bool:
    return (path in before) != (path in after) or before.get(path) != after.get(path)


def test_every_row_means_what_it_meant(request: pytest.FixtureRequest) -> None:
    made = {argument.dest: f"{argument.dest}: {meaning(argument)}" for argument in CATALOG.arguments}
    text = "".join(f"{line}\n" for _, line in sorted(made.items()))
    if request.config.getoption("--update-cases"):
        EXPECTED.write_text(text, encoding="utf-8")
    expected = EXPECTED.read_text(encoding="utf-8").splitlines()
    differing = [f"- {old}\n+ {new}" for old, new in zip(expected, text.splitlines(), strict=False) if old != new]
    assert not differing, "\n".join(differing)
    assert len(expected) == len(made)


def test_rows_that_are_exchanged_are_seen() -> None:
    """Two settings of one type that no default tells apart."""
    lines = EXPECTED.read_text(encoding="utf-8").splitlines()
    pinned = {line.partition(":")[0]: line.partition("]: ")[2] for line in lines}
    assert "optimizer.decoupled_lr=" in pinned["decoupled_lr"]
    assert "optimizer.decoupled_min_lr=" in pinned["decoupled_min_lr"]
    assert pinned["mscale"].startswith("model.mscale=") and pinned["mscale_all_dim"].startswith("model.mscale_all_dim=")
