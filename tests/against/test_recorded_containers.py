"""What Megatron-LM accepts, the real Bridge accepts translated: its ConfigContainer is built and validates itself.

On a machine with no GPU and no Transformer Engine this also shows that the placeholders are enough for every recorded
command line.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

import pytest
from recorded import command_lines

import bridge_args
from bridge_args.pairs.pairs import chosen_versions
from bridge_args.versions import holds

pytestmark = pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron.bridge is not installed")

# The translation says it before Bridge does: Bridge before 0.5 refuses flash attention in deterministic mode, and
# cannot build its old GPT2BPETokenizer. That comes after the container, which alone would not show it.
REFUSED_BY_BRIDGE = {
    "core_v0.16.1/moe/gpt3_mcore_tp2_cp2_pp2_ep2_te_4experts2parallel_dp_last",
    "core_v0.16.1/gpt/gpt3_weekly_dgx_h100_mcore_tp1_pp1_fp8_no_model_parallel",
    "core_v0.16.1/hybrid/hybrid_mr_mcore_te_tp1_pp1_cp1_dgx_a100_1N8G",
}


def recorded() -> Iterator[dict[str, Any]]:
    for row in command_lines():
        if row["result"]["accepted"] or row["result"].get("accepted_after_dropping"):
            yield row


def outcome(row: dict[str, Any]) -> str:
    case, result = row["case"], row["result"]
    translation = bridge_args.translate(
        result.get("argv_after_dropping") or case["argv"],
        world_size=case["world_size"],
        env=case.get("env") or {},
        program=case.get("entry") or "pretrain_gpt.py",
        megatron_lm="0.16.1",
    )
    if translation.errors:
        return translation.errors[0].kind
    try:
        bridge_args.to_container(translation)
    except Exception as error:  # whatever it is, it is the outcome
        return f"{type(error).__name__}: {error}"
    return "accepted"


def in_a_fork(row: dict[str, Any], answers: Any) -> None:
    """Validation prints, and some of it leaves marks in Megatron Core; both end with this process."""
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    answers.put((row["id"], outcome(row)))


def test_bridge_accepts_what_megatron_lm_accepts() -> None:
    rows = list(recorded())
    outcome(rows[0])  # imports once, here
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    found: dict[str, str] = {}
    for row in rows:
        process = context.Process(target=in_a_fork, args=(row, answers))
        process.start()
        name, said = answers.get(timeout=120)
        process.join()
        found[name] = said
    refused = REFUSED_BY_BRIDGE if holds("bridge <0.5", chosen_versions()) else ()
    wanted = {row["id"]: "bridge-rejects" if row["id"] in refused else "accepted" for row in rows}
    assert {name: said for name, said in found.items() if said != wanted[name]} == {}
