"""What both programs accept and stop at when they are set up or first run is told at translation, with a way out.

A translation of every case says so, and names the arguments; where Bridge is installed, some cases are trained on the
emulated CPU: the command line stops where the case says, and trains once the remedy is followed. Where there is a
checkout (``MEGATRON_LM_CHECKOUT``), Megatron-LM's own program does the same. ``BRIDGE_ARGS_STOPS=all`` trains all of
them.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bridge_args
from bridge_args.emulation import placeholders
from bridge_args.mapping.sections.tokenizer import READ_ONLY
from bridge_args.mapping.translation import Translation
from bridge_args.pairs.pairs import chosen_versions
from bridge_args.versions import holds
from tests.against.late_cases import BASE, CASES, ENV, SOME, Late
from tests.against.stage import Ran, Stage

CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")
ASKED = os.environ.get("BRIDGE_ARGS_STOPS", "")

needs_bridge = pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron.bridge is absent")
needs_checkout = pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout")


def chosen() -> list[str]:
    if not ASKED or ASKED.isdigit():
        return list(SOME)
    return list(CASES) if ASKED == "all" else [name for name in CASES if name in ASKED.split(",")]


def environment(more: str) -> dict[str, str]:
    return {**ENV, **dict(pair.split("=") for pair in more.split())}


def translate(case: Late, words: str, env: str, bridge: str | None = "0.3.1") -> Translation:
    argv = f"{BASE} {words}".split()
    return bridge_args.translate(
        argv, case.nproc, megatron_lm="0.16.1", bridge=bridge, env=environment(env), program=case.program
    )


def late(t: Translation) -> list[tuple[str, ...]]:
    return [finding.arguments for finding in t.findings if finding.kind == "stops-later"]


@pytest.mark.parametrize("name", list(CASES))
def test_it_is_told(name: str) -> None:
    case = CASES[name]
    t = translate(case, case.words, case.env)
    assert not t.errors
    assert late(t) == [case.arguments]
    (finding,) = (finding for finding in t.findings if finding.kind == "stops-later")
    assert "(megatron/" in finding.message and finding.level == "warning"


@pytest.mark.parametrize("name", list(CASES))
def test_nothing_is_told_once_it_is_mended(name: str) -> None:
    case = CASES[name]
    t = translate(case, case.remedied, case.remedied_env)
    assert not t.errors and late(t) == []


def test_a_variable_that_may_be_there_is_a_note() -> None:
    words = f"{BASE} --apply-query-key-layer-scaling".split()
    t = bridge_args.translate(words, 1, megatron_lm="0.16.1", bridge="0.3.1")
    assert late(t) == []
    assert [finding.kind for finding in t.findings if "NVTE_APPLY_QK_LAYER_SCALING" in finding.message] == [
        "environment"
    ]


@needs_bridge
@pytest.mark.parametrize("name", sorted(READ_ONLY))
def test_bridge_cannot_build_its_old_tokenizer(name: str, tmp_path: Path) -> None:
    """Three classes set a property that their base class gives no setter."""
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1, "<|endoftext|>": 2}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    (tmp_path / "words.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    with placeholders.absent_packages():
        module = importlib.import_module("megatron.bridge.training.tokenizers.tokenizer")
    if holds("bridge >=0.5", chosen_versions()):
        pytest.skip("its tokenizers are Megatron Core's since 0.5")
    vocabulary = "vocab.json" if name == "GPT2BPETokenizer" else "words.txt"
    config = module.TokenizerConfig(
        tokenizer_type=name,
        legacy_tokenizer=True,
        vocab_file=str(tmp_path / vocabulary),
        merge_file=str(tmp_path / "merges.txt"),
    )
    with pytest.raises(AttributeError, match=f"'{READ_ONLY[name]}' .* has no setter"):
        module.build_tokenizer(config)


# ------------------------------------------------------------------------------------ rehearsed


@pytest.fixture(scope="module")
def stages() -> Iterator[dict[str, Stage]]:
    both = {"bridge": Stage("bridge"), "megatron_lm": Stage("megatron_lm", CHECKOUT)}
    yield both
    for stage in both.values():
        stage.close()


def run(stage: Stage, case: Late, words: str, env: str, **options: Any) -> Ran:
    t = translate(case, words, env, bridge=None)
    return stage.run(
        bridge_args.to_run_config(t), t.words, case.nproc, env=environment(env), program=case.program, **options
    )


SIDES = [
    pytest.param("bridge", marks=needs_bridge),
    pytest.param("megatron_lm", marks=[needs_bridge, needs_checkout]),
]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", chosen())
def test_it_stops_and_the_remedy_trains(name: str, side: str, stages: dict[str, Stage]) -> None:
    case = CASES[name]
    if side == "bridge" and not case.bridge:
        pytest.skip("Bridge does not get there on a CPU")
    stopped = run(stages[side], case, case.words, case.env)
    assert stopped.steps == 0 or "qk_clip" in stopped.where, stopped
    assert stopped.error and stopped.where.startswith(case.where), stopped
    trained = run(stages[side], case, case.remedied, case.remedied_env)
    assert (trained.steps, trained.error) == (1, ""), trained
