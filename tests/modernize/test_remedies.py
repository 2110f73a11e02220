"""What keeps a run the same where one argument has taken the place of another."""

from __future__ import annotations

import pytest

from bridge_args.modernize import move
from bridge_args.modernize.plan import Plan
from bridge_args.source.read import from_argv
from bridge_args.steps import Asked

SMALL = (
    "torchrun --nproc-per-node 2 pretrain_gpt.py --num-layers 2 --hidden-size 64 --num-attention-heads 4 "
    "--seq-length 128 --max-position-embeddings 128 --micro-batch-size 1 --mock-data --tokenizer-type NullTokenizer "
    "--vocab-size 128 --lr 1e-4 --train-iters 10"
)
FLEX = "--num-experts 4 --moe-token-dispatcher-type flex --bf16 --expert-model-parallel-size 2"


def moved(words: str, before: str) -> Plan:
    return move.of_source(from_argv([*SMALL.split(), *words.split()]), Asked(megatron_lm=before), "0.19.0")


@pytest.mark.parametrize(
    ("words", "before", "added"),
    [
        ("--async-save --save /x --save-interval 5", "0.14.0", "--use-persistent-ckpt-worker"),
        ("--optimizer dist_muon", "0.16.1", ""),
        (f"{FLEX} --moe-flex-dispatcher-backend deepep", "0.16.1", "--moe-deepep-num-sms 20"),
        (f"{FLEX} --moe-flex-dispatcher-backend hybridep", "0.16.1", "--moe-hybridep-num-sms 16"),
    ],
)
def test_the_words_that_mean_the_same(words: str, before: str, added: str) -> None:
    plan = moved(words, before)
    assert plan.is_same_run, (plan.left, plan.refused)
    new = [" ".join(item.words) for item in plan.items if not item.was and item.dest != "enable_msc"]
    assert [one for one in new if "sms" in one or "worker" in one] == ([added] if added else [])


def test_what_is_computed_in_another_way_is_told() -> None:
    """All arguments are the same, and the gradient norm is not: seen when both were trained."""
    words = "--num-experts 4 --disable-bias-linear --tensor-model-parallel-size 2 --sequence-parallel"
    (left,) = moved(f"{words} --expert-tensor-parallel-size 1", "0.18.2").left
    assert left.argument == "grad_norm" and "counts all experts" in left.why
    assert not moved(words, "0.18.2").is_same_run and moved("--num-experts 4", "0.18.2").is_same_run
    source = from_argv([*SMALL.split(), *words.split(), "--expert-tensor-parallel-size", "1"])
    assert move.of_source(source, Asked(megatron_lm="0.17.1"), "0.18.2").is_same_run
