"""The real containers of two runs differ where `diff` says, and nowhere else but in what Bridge works out from that."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import Any

import pytest

import bridge_args
from bridge_args.diff.compare import compare

pytestmark = pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron.bridge is not installed")

LINE = (
    "--num-layers 4 --hidden-size 64 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 32 "
    "--micro-batch-size 1 --global-batch-size 8 --train-iters 50 --lr 1e-3 --mock-data --tokenizer-type NullTokenizer "
    "--vocab-size 99 --eval-interval 5 --eval-iters 1"
).split()
# What Bridge itself works out when it validates (config.py, transformer_config.py), by what it is made of.
WORKED_OUT = {
    "scheduler.lr_decay_steps", "scheduler.lr_warmup_steps", "scheduler.wd_incr_steps", "scheduler.wsd_decay_steps",
    "model.init_method", "model.output_layer_init_method", "model.embedding_init_method",
    "model.embedding_init_method_std",
}  # fmt: skip


def fields(container: Any) -> dict[str, Any]:
    """``section.field`` to value of the real objects."""
    found = {}
    for section in dataclasses.fields(container):
        value = getattr(container, section.name)
        if dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                found[f"{section.name}.{field.name}"] = getattr(value, field.name, None)
    return found


@pytest.mark.parametrize(
    "words",
    [
        "--lr 2e-3 --log-interval 7",
        "--num-layers 6 --swiglu --disable-bias-linear",
        "--group-query-attention --num-query-groups 2 --seed 5",
        "--lr-warmup-iters 3 --lr-decay-style cosine --weight-decay 0.1 --clip-grad 0.5",
        "--tokenizer-type NullTokenizer --vocab-size 200 --num-workers 1",
        "--recompute-granularity full --recompute-method uniform --recompute-num-layers 1",
    ],
)
def test_the_real_containers_differ_there(words: str) -> None:
    runs = [bridge_args.translate(line, world_size=1) for line in (LINE, [*LINE, *words.split()])]
    said = {one.path for one in compare(*runs).differences}
    one, other = (fields(bridge_args.to_container(t)) for t in runs)
    real = {path for path in one if not callable(one[path]) and _differs(one[path], other.get(path))}
    callables = {path for path in said if callable(one.get(path))}
    assert said - real - callables == set()
    assert real - said - WORKED_OUT == set()


def _differs(one: Any, other: Any) -> bool:
    try:
        return bool(one != other) and repr(one) != repr(other)
    except (TypeError, ValueError, RuntimeError):
        return False
