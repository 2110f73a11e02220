"""Hybrid models of shares: the pattern is the one that the older Megatron-LM lays its layers out by."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from bridge_args.modernize import move
from bridge_args.modernize.letters import letters_of
from bridge_args.modernize.plan import Plan
from bridge_args.source.read import from_argv
from bridge_args.steps import Asked

SMALL = (
    "torchrun --nproc-per-node 1 pretrain_mamba.py --hidden-size 64 --num-attention-heads 4 --seq-length 128 "
    "--max-position-embeddings 128 --micro-batch-size 1 --mock-data --tokenizer-type NullTokenizer --vocab-size 128 "
    "--lr 1e-4 --train-iters 10 --position-embedding-type none "
    "--spec megatron.core.models.mamba.mamba_layer_specs mamba_stack_spec"
)


def moved(words: str, before: str = "0.16.1", after: str = "0.19.0") -> Plan:
    source = from_argv([*SMALL.split(), *words.split()])
    return move.of_source(source, Asked(megatron_lm=before), after)


# As Megatron-LM 0.16.1 lays them out.
SHARES = {
    "--num-layers 4": "MMMM",
    "--num-layers 10 --hybrid-attention-ratio 0.2": "MMM*MM*MMM",
    "--num-layers 10 --hybrid-attention-ratio 0.2 --hybrid-mlp-ratio 0.3": "MM-*M-*MM-",
    "--num-layers 9 --hybrid-mlp-ratio 0.34": "MM-MM-MM-",
    "--num-layers 3 --hybrid-attention-ratio 1.0": "***",
}


@pytest.mark.parametrize("words", SHARES)
def test_shares_become_letters(words: str) -> None:
    plan = moved(words)
    assert plan.is_same_run, (plan.left, plan.refused)
    assert plan.argv[plan.argv.index("--hybrid-layer-pattern") + 1] == SHARES[words]
    assert not {"--num-layers", "--hybrid-attention-ratio", "--hybrid-mlp-ratio"} & set(plan.argv)
    assert plan.front[-1].words == ("pretrain_hybrid.py",)


@pytest.mark.parametrize("said", ["--hybrid-override-pattern M-M*", "--hybrid-override-pattern=M-M*"])
@pytest.mark.parametrize("before", ["0.16.1", "0.18.2"])
def test_the_old_name_of_a_pattern(said: str, before: str) -> None:
    layers = "--num-layers 4 " if before == "0.16.1" else ""
    plan = moved(f"{layers}{said} --seed 5", before)
    assert plan.is_same_run, (plan.left, plan.refused)
    at = plan.argv.index("--hybrid-layer-pattern")
    assert plan.argv[at + 1 : at + 3] == ["M-M*", "--seed"] and "--num-layers" not in plan.argv


def test_what_needs_no_pattern_has_none() -> None:
    assert "--hybrid-layer-pattern" not in moved("--num-layers 4", "0.15.3", "0.16.1").argv
    plan = moved("--hybrid-layer-pattern M-M*", "0.17.1", "0.18.2")
    assert not [item for item in plan.items if item.is_changed and "pattern" in item.dest]


OLD = os.environ.get("MEGATRON_LM_OLD", "")
ALLOCATION = Path(OLD, "megatron/core/ssm/mamba_hybrid_layer_allocation.py")


@pytest.mark.skipif(not OLD or not ALLOCATION.is_file(), reason="MEGATRON_LM_OLD is not set")
def test_the_older_one_lays_out_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("allocation_of_the_older_one", ALLOCATION)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    for name in ("megatron", "megatron.core", "megatron.core.utils"):  # of which it uses one to write to the log
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(log_single_rank=lambda *words: None))
    spec.loader.exec_module(module)
    if not hasattr(module, "allocate_layers"):
        pytest.skip("it has no shares any more")
    for layers in range(1, 70):
        for attention in range(21):
            for dense in range(21 - attention):
                shares = attention / 20, dense / 20
                if sum(shares) <= 1:
                    assert letters_of(layers, *shares) == "".join(module.allocate_layers(layers, *shares)), shares
