"""Functional tests of an older Megatron-LM, moved by ``modernize``: both programs train the same steps, bit for bit.

``MEGATRON_LM_OLD`` names a checkout whose command lines are moved, ``MEGATRON_LM_CHECKOUT`` a newer one. Each line is
scaled down for a CPU, on the number of processes that its parallel sizes want, four at most. One line is taken, or with
``BRIDGE_ARGS_MOVED=all`` all of them, with ``BRIDGE_ARGS_MOVED=moe/a#1,gpt/b#1`` those named.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from functional import functional_tests

from bridge_args.errors import UserError
from bridge_args.pairs.pairs import megatron_version
from bridge_args.source.source import Source
from bridge_args.steps import Asked, translated
from bridge_args.verify import versions
from bridge_args.verify.moved import lines, proof_of

OLD, NEW = os.environ.get("MEGATRON_LM_OLD", ""), os.environ.get("MEGATRON_LM_CHECKOUT", "")
WANTED = os.environ.get("BRIDGE_ARGS_MOVED", "")
pytestmark = pytest.mark.skipif(
    not OLD or not NEW or find_spec("megatron") is None,
    reason="MEGATRON_LM_OLD, MEGATRON_LM_CHECKOUT or megatron.bridge is missing",
)
STEPS = 3
MOST_PROCESSES = 4
# Why a line cannot be compared, or not on a CPU, by what is said of it.
CAUSES = {
    "is another": "scaled down it is not the same run, and that is told",
    "CUDA_DEVICE_MAX_CONNECTIONS": "FSDP is not emulated, and what is left of the line wants one connection",
    "NVTE_FUSED_ATTN": "the line's own variables stop both versions",
    "error injection": "the line stops itself",
    "FLA is not installed": "a package that only GPUs have",
    "--hierarchical-context-parallel-sizes": "not scaled down together with --context-parallel-size",
}


def chosen() -> dict[str, tuple[Source, int]]:
    if not OLD or not NEW:
        return {}
    found = {name: (source, ranks) for name, source, ranks in functional_tests(OLD)}
    if WANTED:
        return {name: case for name, case in found.items() if WANTED == "all" or name in WANTED.split(",")}
    return dict(list(found.items())[-1:])


CASES = chosen()


def processes(source: Source, ranks: int) -> int:
    """As many as the kinds of parallelism of this line want, four at most."""
    args = translated(source, Asked(megatron_version(OLD), world_size=ranks, env=source.environment or {})).args
    names = "tensor_model_parallel_size pipeline_model_parallel_size context_parallel_size".split()
    wanted = 1
    for size in [*(args[name] for name in names), args["expert_model_parallel_size"]]:
        wanted *= min(int(str(size)), 2)
    return min(wanted, MOST_PROCESSES)


@pytest.mark.parametrize("name", CASES)
def test_a_moved_line_trains_the_same(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source, ranks = CASES[name]
    nproc = processes(source, ranks)
    asked = Asked(OLD, world_size=ranks, env=source.environment or {})
    request = versions.Request(OLD, NEW, tmp_path, STEPS, shrink=True, nproc=nproc, device="cpu")
    try:
        made = proof_of(source, asked, request, False, print)
    except UserError as problem:
        for said, cause in CAUSES.items():
            if said in str(problem):
                pytest.skip(cause)
        raise
    if any(word.text == "--error-injection-rate" for word in source.command.argv):
        pytest.skip(CAUSES["error injection"])
    print("\n".join(lines(made)))
    found = made.comparison
    assert (found.verdict, found.weights, found.batches) == ("identical", (), ())
    assert found.steps == STEPS and found.weights_compared > 10
