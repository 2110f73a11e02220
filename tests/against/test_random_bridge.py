"""What a translation lets pass, Bridge accepts: made-up command lines, judged by Bridge's own validation.

Switches and choices of the catalog are put together by chance, with a few sizes that open what others need.
``BRIDGE_ARGS_RANDOM=N`` makes N of them, ``BRIDGE_ARGS_SEED=N`` others.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

pytest.importorskip("torch")

import bridge_args
from bridge_args.megatron_lm import catalog
from bridge_args.training import container
from bridge_args.versions import holds

try:
    container._import("training.config")
except container.BridgeMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)

COUNT = int(os.environ.get("BRIDGE_ARGS_RANDOM", "40"))
SEED = int(os.environ.get("BRIDGE_ARGS_SEED", "0"))
BASE = (
    "--num-layers 4 --hidden-size 64 --num-attention-heads 4 --seq-length 64 --max-position-embeddings 64 "
    "--micro-batch-size 1 --train-iters 10 --lr 1e-3 --eval-interval 10 --mock-data --tokenizer-type NullTokenizer "
    "--vocab-size 100"
).split()
SIZES = [
    text.split()
    for text in (
        "--num-experts 4",
        "--num-query-groups 2",
        "--tensor-model-parallel-size 2",
        "--pipeline-model-parallel-size 2",
        "--context-parallel-size 2",
        "--expert-model-parallel-size 2",
        "--num-layers-per-virtual-pipeline-stage 1",
        "--moe-router-topk 2",
        "--moe-shared-expert-intermediate-size 64",
        "--mtp-num-layers 1",
        "--recompute-granularity full --recompute-method uniform --recompute-num-layers 1",
        "--global-batch-size 8",
        "--window-size 8,0",
        "--q-lora-rank 32",
    )
]
ENV = {"NCCL_ALGO": "Ring", "CUDA_DEVICE_MAX_CONNECTIONS": "1"}


def choices() -> list[list[str]]:
    """Every switch, and every choice of those that have some."""
    made = []
    for argument in catalog.load("0.16.1").arguments:
        if not argument.flags:
            continue
        flag = argument.flags[0]
        if argument.action in ("store_true", "store_false"):
            made.append([flag])
        made += [[flag, str(choice)] for choice in argument.choices or argument.members or ()]
    return made


def lines() -> Iterator[list[str]]:
    chance, every = random.Random(SEED), choices()
    for _ in range(COUNT):
        sizes = chance.sample(SIZES, chance.randint(0, 4))
        yield [*BASE, *(word for part in (*sizes, *chance.sample(every, chance.randint(1, 3))) for word in part)]


def refusal(words: list[str]) -> str | None:
    """What Bridge says against a line of which the translation says nothing; None where they agree."""
    translation = bridge_args.translate(words, world_size=8, megatron_lm="0.16.1", env=ENV)
    if translation.errors or any(finding.kind == "stops-later" for finding in translation.findings):
        return None
    try:
        bridge_args.to_container(translation)
    except container.BridgeRejects as rejection:
        return rejection.message
    return None


def test_what_is_let_pass_is_accepted() -> None:
    refused = {" ".join(words[len(BASE) :]): message for words in lines() if (message := refusal(words))}
    assert refused == {}


@pytest.mark.parametrize("flag", ["--enable-cuda-graph", "--external-cuda-graph"])
def test_the_old_switches_of_cuda_graphs_choose_and_go(flag: str) -> None:
    assert refusal([*BASE, flag]) is None
    t = bridge_args.translate([*BASE, flag], world_size=8, megatron_lm="0.16.1")
    told = [error.kind for error in t.errors]
    local = flag == "--enable-cuda-graph" and holds("bridge >=0.6", t.versions)
    assert told == (["bridge-rejects"] if local else [])
    reached = {assignment.path for assignment in t.assignments}
    assert "model.cuda_graph_impl" in reached
    assert not reached & {"model.enable_cuda_graph", "model.external_cuda_graph"}


def test_a_refusal_is_seen() -> None:
    """With an environment that Bridge does not accept, of which nothing was said."""
    translation = bridge_args.translate([*BASE, "--deterministic-mode"], world_size=8, env=ENV)
    with pytest.raises(container.BridgeRejects, match="NCCL_ALGO"):
        container.build(bridge_args.to_run_config(translation), 8, {})
