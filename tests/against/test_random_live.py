"""Command lines that nobody wrote: the built-in resolver agrees with Megatron-LM's own parser and ``validate_args``.

``MEGATRON_LM_CHECKOUT`` names a checkout of core_v0.16.1. ``BRIDGE_ARGS_RANDOM`` says how many command lines (default
40), ``BRIDGE_ARGS_SEED`` which ones. All are asked in one process of the checkout.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from bridge_args.checkout import ask
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.catalog import Argument
from bridge_args.megatron_lm.parse import parse
from bridge_args.megatron_lm.resolvers import of_checkout
from bridge_args.megatron_lm.run import Run
from bridge_args.versions import Versions

CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")
COUNT = int(os.environ.get("BRIDGE_ARGS_RANDOM", "40"))
SEED = int(os.environ.get("BRIDGE_ARGS_SEED", "1"))

pytestmark = pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout")

# Arguments that ask for a file, a package, other hardware or another kind of run; not what is compared here.
LEFT_OUT = (
    "rl_", "grpo_", "langrl_", "inference_", "export_", "modelopt", "yaml_cfg", "perform_rl_step", "help", "kitchen_",
    "heterogeneous_", "result_rejected_tracker_filename", "te_precision_config_file", "replication", "msc", "spec",
    "non_persistent", "use_legacy_models", "enable_gpt_oss", "checkpoint_activations", "batch_size", "warmup",
    "model_parallel_size", "fake_process_group", "use_checkpoint_args", "phase_transition", "local_rank",
)  # fmt: skip
BASE = {
    "--num-layers": "8", "--hidden-size": "64", "--num-attention-heads": "8", "--seq-length": "128",
    "--max-position-embeddings": "128", "--micro-batch-size": "1", "--global-batch-size": "16", "--train-iters": "10",
    "--lr": "1e-3", "--eval-interval": "10", "--tokenizer-type": "NullTokenizer", "--vocab-size": "100",
    "--mock-data": "",
}  # fmt: skip
ENV = {"CUDA_DEVICE_MAX_CONNECTIONS": "1", "NCCL_ALGO": "Ring", "NVTE_CPU_OFFLOAD_V1": "1"}


def drawn(rng: random.Random, arguments: list[Argument]) -> list[str]:
    """A command line of the base and up to six more arguments, with values that fit their types."""
    words = [word for pair in BASE.items() for word in pair if word]
    for argument in rng.sample(arguments, rng.randint(1, 6)):
        words.append(rng.choice(argument.flags))
        if argument.action == "store":
            count = argument.nargs if isinstance(argument.nargs, int) else rng.choice((1, 2)) if argument.nargs else 1
            words += [value(rng, argument) for _ in range(count)]
    return words


def value(rng: random.Random, argument: Argument) -> str:
    if argument.choices or argument.members:
        return str(rng.choice(argument.choices or argument.members or ()))
    if argument.type == "int":
        return str(rng.choice((0, 1, 2, 4, 8, 64, 128)))
    if argument.type == "float":
        return rng.choice(("0", "0.1", "0.5", "1.0", "2"))
    if argument.type == "bool":
        return rng.choice(("", "yes"))
    return rng.choice(("1", "2", "text"))


def test_random_command_lines_mean_the_same() -> None:
    catalog = catalogs.load("0.16.1")
    pool = [a for a in catalog.arguments if not a.dest.startswith(LEFT_OUT) and a.requires != "nvidia_kitchen"]
    rng = random.Random(SEED)
    lines = [drawn(rng, pool) for _ in range(COUNT)]
    answers = ask.effective(CHECKOUT, [ask.Case(tuple(words), 8, ENV) for words in lines])
    compared = of_checkout.compare(
        [(parse(words, catalog), Run(Versions(catalog.version, "0.3.1"), catalog, 8, ENV)) for words in lines], answers
    )
    differing: list[Any] = []
    accepted = 0
    for words, answer, (_, _, disagreements) in zip(lines, answers, compared, strict=True):
        accepted += "error" not in answer
        real = [d for d in disagreements if not stricter(d, answer)]
        if real:
            differing.append((" ".join(words[len(BASE) * 2 - 1 :]), real, answer.get("error")))
    assert not differing, "\n".join(map(str, differing))
    assert accepted > COUNT // 10  # else nothing was compared


def stricter(disagreement: Any, answer: dict[str, Any]) -> bool:
    """Megatron-LM's parser and validate_args accept, and its builders behind them refuse: that is ours to say too."""
    return disagreement.argument == "(accepted)" and "error" not in answer
