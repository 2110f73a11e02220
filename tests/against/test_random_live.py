"""Command lines that nobody wrote: the built-in resolver agrees with Megatron-LM's own parser and ``validate_args``.

``MEGATRON_LM_CHECKOUT`` names a checkout. ``BRIDGE_ARGS_RANDOM`` says how many command lines (default 40),
``BRIDGE_ARGS_SEED`` which ones. All are asked in one process of the checkout.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from random_lines import BASE, lines

from bridge_args.checkout import ask
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.parse import parse
from bridge_args.megatron_lm.resolvers import of_checkout
from bridge_args.megatron_lm.run import Run
from bridge_args.pairs.pairs import megatron_version
from bridge_args.versions import Versions

CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")
COUNT = int(os.environ.get("BRIDGE_ARGS_RANDOM", "40"))
SEED = int(os.environ.get("BRIDGE_ARGS_SEED", "1"))

pytestmark = pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout")

ENV = {"CUDA_DEVICE_MAX_CONNECTIONS": "1", "NCCL_ALGO": "Ring", "NVTE_CPU_OFFLOAD_V1": "1"}


def test_random_command_lines_mean_the_same() -> None:
    catalog = catalogs.load(megatron_version(CHECKOUT))
    drawn = lines(CHECKOUT, catalog, COUNT, SEED)
    answers = ask.effective(CHECKOUT, [ask.Case(tuple(words), 8, ENV) for words in drawn])
    compared = of_checkout.compare(
        [(parse(words, catalog), Run(Versions(catalog.version, "0.3.1"), catalog, 8, ENV)) for words in drawn], answers
    )
    differing: list[Any] = []
    accepted = 0
    for words, answer, (_, _, disagreements) in zip(drawn, answers, compared, strict=True):
        accepted += "error" not in answer
        real = [d for d in disagreements if not stricter(d, answer)]
        if real:
            differing.append((" ".join(words[len(BASE) * 2 - 1 :]), list(map(str, real)), answer.get("error")))
    print(f"{COUNT} command lines, {accepted} accepted, {len(differing)} differ")
    assert not differing, "\n".join(map(str, differing))
    assert accepted > COUNT // 10  # else nothing was compared


def stricter(disagreement: Any, answer: dict[str, Any]) -> bool:
    """Megatron-LM's parser and validate_args accept, and its builders behind them refuse: that is ours to say too."""
    return disagreement.argument == "(accepted)" and "error" not in answer
