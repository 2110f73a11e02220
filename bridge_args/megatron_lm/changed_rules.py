"""Rules by which the same words of a command line mean something else from a version of Megatron-LM on.

The values themselves are computed in ``derive/``, by functions with a condition on the version; here is what is said of
them to people. An argument that is new, gone or has another default is none of these: the catalogs have it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bridge_args.records import Record
from bridge_args.versions import number


class Rule(Record):
    """One rule.

    Attributes:
        since: the first series that has the new meaning.
        flags: whose meaning it is.
        values: arguments, and values that Megatron-LM computes under names of its own, that are others because of it.
        says: the new meaning, a sentence.
        see: where in Megatron-LM it can be verified.
    """

    since: str
    flags: tuple[str, ...]
    values: tuple[str, ...]
    says: str
    see: str

    def holds(self, version: str) -> bool:
        """Has this version the new meaning?"""
        return number(version) >= number(self.since)


RULES: Final = (
    Rule(
        "0.14",
        ("--enable-cuda-graph", "--external-cuda-graph"),
        ("te_rng_tracker",),
        "CUDA graphs of Transformer Engine's layers turn --te-rng-tracker on.",
        "megatron/training/arguments.py validate_args",
    ),
    Rule(
        "0.16",
        ("--async-save",),
        ("async_save",),
        "--async-save saves in the background only together with --use-persistent-ckpt-worker.",
        "megatron/training/arguments.py validate_args",
    ),
    Rule(
        "0.17",
        ("--skip-train",),
        ("no_load_optim",),
        "--skip-train with --perform-rl-step loads the state of the optimizer unless --no-load-optim is given.",
        "megatron/training/arguments.py validate_args",
    ),
    Rule(
        "0.18",
        ("--rampup-batch-size",),
        ("batch_size_steps", "train_iters_from_samples", "num_microbatches"),
        "--rampup-batch-size is ignored: every batch has --global-batch-size samples. --step-batch-size-schedule takes "
        "its place.",
        "megatron/core/num_microbatches_calculator.py StepBatchsizeNumMicroBatchesCalculator",
    ),
    Rule(
        "0.18",
        ("--vocab-size", "--tokenizer-type"),
        ("padded_vocab_size",),
        "A NullTokenizer of --vocab-size N has N tokens, of which the last one ends a document; it had N + 1.",
        "megatron/core/tokenizers/utils/build_tokenizer.py build_tokenizer",
    ),
    Rule(
        "0.18",
        ("--optimizer", "--use-distributed-optimizer"),
        ("optimizer", "use_distributed_optimizer", "use_layer_wise_distributed_optimizer"),
        "Optimizers other than adam and sgd are divided by layers with --use-distributed-optimizer; dist_muon is muon "
        "with it.",
        "megatron/training/arguments.py validate_args",
    ),
    Rule(
        "0.18",
        ("--use-megatron-fsdp",),
        ("use_distributed_optimizer",),
        "--use-megatron-fsdp turns --use-distributed-optimizer on.",
        "megatron/training/arguments.py validate_args",
    ),
    Rule(
        "0.18",
        ("--use-nccl-ub",),
        ("fsdp_manual_registration",),
        "--use-nccl-ub with --use-megatron-fsdp turns --fsdp-manual-registration on.",
        "megatron/training/arguments.py validate_args",
    ),
    Rule(
        "0.18",
        ("--reuse-grad-buf-for-mxfp8-param-ag",),
        ("reuse_grad_buf_for_mxfp8_param_ag",),
        "--reuse-grad-buf-for-mxfp8-param-ag has no effect with --use-megatron-fsdp.",
        "megatron/training/arguments.py validate_args",
    ),
    Rule(
        "0.18",
        ("--cuda-graph-scope",),
        ("cuda_graph_impl",),
        "--cuda-graph-scope is another way to write --cuda-graph-modules; full_iteration in it is --cuda-graph-impl "
        "full_iteration.",
        "megatron/training/arguments.py _normalize_cuda_graph_modules_args",
    ),
    Rule(
        "0.19",
        ("--use-nccl-ub",),
        ("fsdp_double_buffer",),
        "--use-nccl-ub with --use-megatron-fsdp turns --fsdp-double-buffer on.",
        "megatron/training/arguments.py validate_args",
    ),
    Rule(
        "0.19",
        ("--grad-reduce-in-bf16",),
        ("megatron_fsdp_grad_comm_dtype",),
        "--grad-reduce-in-bf16 does not change what Megatron FSDP sends; --megatron-fsdp-grad-comm-dtype does.",
        "megatron/training/arguments.py validate_args",
    ),
)


class Computed(Record):
    """Something that is computed in another way while all arguments are the same.

    Attributes:
        since: the first series that computes it so.
        name: what is computed.
        before, after: of what it is.
        concerns: is it computed in a run with these effective values, which it gets by name?
        says: the difference, a sentence.
        see: where in Megatron-LM it can be verified.
    """

    since: str
    name: str
    before: str
    after: str
    concerns: Callable[[Callable[[str], object]], bool]
    says: str
    see: str


def _experts_on_ranks(value: Callable[[str], object]) -> bool:
    sizes = value("tensor_model_parallel_size"), value("expert_tensor_parallel_size")
    return bool(value("num_experts")) and any(size not in (None, 1) for size in sizes)


COMPUTED: Final = (
    Computed(
        "0.19",
        "grad_norm",
        "the experts of the first tensor-parallel rank only",
        "all experts",
        _experts_on_ranks,
        "With experts and tensor parallelism the gradient norm, by which gradients are clipped, counts all experts.",
        "megatron/core/tensor_parallel/layers.py param_is_not_tensor_parallel_duplicate; "
        "megatron/core/extensions/transformer_engine.py",
    ),
)


def computed_otherwise(before: str, after: str) -> tuple[Computed, ...]:
    """What the later version computes in another way."""
    return tuple(one for one in COMPUTED if number(before) < number(one.since) <= number(after))
