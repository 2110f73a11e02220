"""Command lines that mean something else from a version of Megatron-LM on: one for each of its rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from bridge_args.megatron_lm.changed_rules import RULES


class Example(NamedTuple):
    """Words beside a small model that the rule is about, and others beside which nothing changes."""

    says: str
    words: str
    without: str = ""

    def argv(self, small: Sequence[str], words: str) -> list[str]:
        """The small model with these words; its length is given once."""
        at = small.index("--train-iters")
        length = [] if "--train-samples" in words else small[at : at + 2]
        return [*small[:at], *length, *small[at + 2 :], *words.split()]


_SAVE = "--save /checkpoints --save-interval 5"
_FSDP = "--use-megatron-fsdp --ckpt-format fsdp_dtensor --no-gradient-accumulation-fusion --use-distributed-optimizer"
_SHARDED = f"{_FSDP} --data-parallel-sharding-strategy optim_grads_params"
_SAMPLES = "--train-samples 1000 --global-batch-size 16"
_GRAPHS = "--no-check-for-nan-in-loss-and-grad --cuda-graph-impl local --cuda-graph-scope"
_EXAMPLES = (
    ("--external-cuda-graph",),
    (f"{_SAVE} --async-save", _SAVE),
    ("--skip-train --load /checkpoints --perform-rl-step", "--skip-train --load /checkpoints"),
    (f"{_SAMPLES} --rampup-batch-size 8 8 100", _SAMPLES),
    ("--vocab-size 128", "--vocab-size 127"),
    ("--optimizer dist_muon", "--optimizer adam"),
    (_SHARDED.replace(" --use-distributed-optimizer", ""), _SHARDED),
    (f"{_SHARDED} --use-nccl-ub --fsdp-double-buffer", _SHARDED),
    (
        f"{_SHARDED} --fp8-format hybrid --fp8-recipe mxfp8 --fp8-param-gather --reuse-grad-buf-for-mxfp8-param-ag",
        _SHARDED,
    ),
    (f"{_GRAPHS} full_iteration", f"{_GRAPHS} attn"),
    (f"{_SHARDED} --use-nccl-ub", _SHARDED),
    (f"{_SHARDED} --grad-reduce-in-bf16 --bf16", f"{_SHARDED} --bf16"),
)
EXAMPLES: Final = tuple(Example(rule.says, *example) for rule, example in zip(RULES, _EXAMPLES, strict=True))
