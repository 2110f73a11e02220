"""``verify`` on the recorded command lines: the same run is called identical, a broken translation by its cause.

With ``MEGATRON_LM_CHECKOUT`` naming a checkout, Megatron-LM's own program is the other side. Without one
Bridge's run of the unbroken translation is, so that the search for a cause is tried everywhere.
``BRIDGE_ARGS_VERIFY=all`` takes every recorded case and every break, ``BRIDGE_ARGS_VERIFY=rope,dropout`` those named.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recorded import TRAINED, command_lines, curve, curve_names, curves_folder

import bridge_args
from bridge_args.mapping.translation import Translation
from bridge_args.pairs.pairs import chosen_versions, megatron_version, usual_megatron_lm
from bridge_args.verify import page, sides
from bridge_args.verify import verify as module
from bridge_args.verify.changed import change
from bridge_args.verify.verify import Request, Verification, verify
from bridge_args.versions import holds, number

CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")
ASKED = os.environ.get("BRIDGE_ARGS_VERIFY", "")
VERSION = megatron_version(CHECKOUT) if CHECKOUT else usual_megatron_lm()
# Whose recorded command lines are run; their curves hold for that version only.
RECORDED = VERSION if VERSION in TRAINED else TRAINED[0]

needs_bridge = pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron.bridge is absent")
needs_checkout = pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout")
pytestmark = needs_bridge


def chosen(default: tuple[str, ...], every: list[str]) -> list[str]:
    if not ASKED:
        return list(default)
    return every if ASKED == "all" else [name for name in every if name in ASKED.split(",")]


def translate(words: Any, world_size: int) -> Translation:
    return bridge_args.translate(
        list(words), world_size=world_size, megatron_lm=VERSION, read=lambda path: Path(path).read_text()
    )


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with copies of the data files that the command lines name."""
    for item in (curves_folder() / "data").iterdir():
        (shutil.copytree if item.is_dir() else shutil.copyfile)(item, tmp_path / item.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def verified(argv: list[str], nproc: int, folder: Path, **options: Any) -> Verification:
    t = translate(argv, nproc)
    assert not t.errors
    request = Request(CHECKOUT or str(folder), folder / "work", device="cpu", **options)
    return verify(t, translate, request, lambda line: None)


# ------------------------------------------------------------------------------- the same run

CPU_CASES = curve_names(RECORDED)
# Bridge overwrites model.use_cpu_initialization; nothing but the initial weights differs at first.
DIFFERENT = ("cpu_init",)


@needs_checkout
@pytest.mark.parametrize("name", chosen(("rope", "tp2"), [name for name in CPU_CASES if name not in DIFFERENT]))
def test_identical(name: str, data: Path) -> None:
    recorded = curve(name, RECORDED)
    for earlier in recorded.get("earlier_argv") or ():
        verified(earlier, recorded["nproc"], data)
    result = verified(recorded["argv"], recorded["nproc"], data)
    assert page.verdict(result) == "identical", page.text_of(result)
    assert result.comparison.steps == len(recorded["curve"])
    if RECORDED == VERSION:
        figures = [(step["lm_loss"], step["grad_norm"]) for step in result.megatron_lm.steps]
        assert figures == [(step["lm_loss"], step["grad_norm"]) for step in recorded["curve"]]
    assert result.comparison.settings_compared > 250
    assert not result.comparison.weights
    assert not result.comparison.batches


@needs_checkout
@pytest.mark.parametrize("name", chosen((), list(DIFFERENT)))
def test_not_the_same_and_the_translation_said_so(name: str, data: Path) -> None:
    recorded = curve(name, RECORDED)
    result = verified(recorded["argv"], recorded["nproc"], data)
    assert page.verdict(result).startswith("differs from step 1")
    assert result.comparison.weights
    assert any("use_cpu_initialization" in difference.name for difference in result.comparison.settings)
    assert any("use-cpu-initialization" in loss for loss in result.losses)


# More than the recorded cases have: layers of Transformer Engine (stood in for on a CPU), and kinds of parallelism
# together. Words that come later win.
SMALL = (
    "--num-layers 4 --hidden-size 64 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 32 --mock-data "
    "--tokenizer-type NullTokenizer --vocab-size 1023 --micro-batch-size 2 --global-batch-size 8 --train-iters 4 "
    "--eval-iters 1 --eval-interval 1000 --log-interval 1 --lr 2e-3 --position-embedding-type rope --swiglu "
    "--normalization RMSNorm --disable-bias-linear --untie-embeddings-and-output-weights --bf16 "
    "--attention-dropout 0 --hidden-dropout 0"
)
MOE = "--num-experts 4 --moe-router-topk 2 --moe-ffn-hidden-size 32 --moe-aux-loss-coeff 1e-2"
MLA = (
    "--multi-latent-attention --q-lora-rank 32 --kv-lora-rank 16 --qk-head-dim 16 --qk-pos-emb-head-dim 8 "
    "--v-head-dim 16 --qk-layernorm"
)
TOGETHER = {
    "te": (1, ""),
    "te dropout": (1, "--attention-dropout 0.1 --hidden-dropout 0.1"),
    "te cp2": (2, "--context-parallel-size 2"),
    "te cp2 tp2 sp": (4, "--context-parallel-size 2 --tensor-model-parallel-size 2 --sequence-parallel"),
    "te mla": (1, MLA),
    "te mla moe mtp": (1, f"{MLA} {MOE} --mtp-num-layers 1"),
    "te tp2 sp pp2 vpp2": (
        4,
        "--tensor-model-parallel-size 2 --sequence-parallel --pipeline-model-parallel-size 2 "
        "--num-virtual-stages-per-pipeline-rank 2",
    ),
    "te dp4 distopt overlap": (4, "--use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather"),
    "te moe tp2 ep2": (
        4,
        f"{MOE} --tensor-model-parallel-size 2 --sequence-parallel --expert-model-parallel-size 2 "
        "--expert-tensor-parallel-size 1 --moe-token-dispatcher-type alltoall --use-distributed-optimizer",
    ),
    "te moe ep4 grouped": (4, f"{MOE} --expert-model-parallel-size 4 --moe-grouped-gemm"),
    "te recompute pp2": (
        2,
        "--pipeline-model-parallel-size 2 --recompute-granularity full --recompute-method uniform "
        "--recompute-num-layers 1",
    ),
}


@needs_checkout
@pytest.mark.parametrize("name", chosen(("te cp2",), list(TOGETHER)))
def test_identical_together(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    nproc, words = TOGETHER[name]
    result = verified([*SMALL.split(), *words.split()], nproc, tmp_path)
    assert page.verdict(result) == "identical", page.text_of(result)
    assert (result.comparison.steps, len(result.bridge.ranks)) == (4, nproc)
    assert not result.comparison.weights
    assert not result.comparison.batches


# Real command lines, scaled down as `verify --shrink` does it: whatever a line says that one CPU can run is compared.
LINES = {row["id"].rpartition("/")[2]: row["case"] for row in command_lines(VERSION) if row["result"]["accepted"]}


@needs_checkout
@pytest.mark.parametrize("name", chosen(tuple(LINES)[-1:], list(LINES)))
def test_a_line_of_the_functional_tests_scaled_down(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    case = LINES[name]

    def translated(words: Any, world_size: int) -> Translation:
        return bridge_args.translate(
            list(words), world_size=world_size, megatron_lm=VERSION, env=case["env"], program=case["entry"]
        )

    t = translated(case["argv"], case["world_size"])
    request = Request(CHECKOUT, tmp_path / "work", steps=3, shrink=True, device="cpu")
    result = verify(t, translated, request, lambda line: None)
    assert page.verdict(result) == "identical", page.text_of(result)
    assert not result.comparison.weights


# HybridModel: `*` attention, `-` a dense layer, `E` experts, `/` multi-token prediction, `|` between pipeline stages.
LLAMA = "--group-query-attention --num-query-groups 2 --ffn-hidden-size 176"
ROUTED = f"{MOE} --moe-token-dispatcher-type alltoall --moe-z-loss-coeff 1e-3"
HYBRID = {
    "dense": (1, "*-*-", LLAMA),
    "dense dropout": (1, "*-*-", f"{LLAMA} --attention-dropout 0.1 --hidden-dropout 0.1"),
    "qk norm": (1, "*-*-", f"{LLAMA} --qk-layernorm"),
    "recompute": (
        1, "*-*-", f"{LLAMA} --recompute-granularity full --recompute-method uniform --recompute-num-layers 1",
    ),
    "experts": (1, "*E*E", ROUTED),
    "both": (1, "*-*E", ROUTED),
    "mtp": (1, "*-*-/*-", LLAMA),
    "mtp experts": (1, "*-*E/*-", ROUTED),
    "tp2": (2, "*-*-", f"{LLAMA} --tensor-model-parallel-size 2 --sequence-parallel"),
    "pp2": (2, "*-|*-", f"{LLAMA} --pipeline-model-parallel-size 2"),
    "ep2": (2, "*E*E", f"{ROUTED} --expert-model-parallel-size 2"),
    "dp2 distopt overlap": (
        2, "*-*-", f"{LLAMA} --use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather",
    ),
}  # fmt: skip
HAS_HYBRID = pytest.mark.skipif(
    number(VERSION) < number("0.19") or not holds("bridge >=0.6", chosen_versions()),
    reason="neither pretrain_hybrid.py of Megatron-LM 0.19 nor Bridge 0.6's HybridModelProvider",
)


@needs_checkout
@HAS_HYBRID
@pytest.mark.parametrize("name", chosen(("both",), list(HYBRID)))
def test_hybrid_models(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    nproc, pattern, words = HYBRID[name]
    at = SMALL.split().index("--num-layers")
    argv = [*SMALL.split()[:at], *SMALL.split()[at + 2 :], "--hybrid-layer-pattern", pattern, *words.split()]

    def translated(given: Any, world_size: int) -> Translation:
        return bridge_args.translate(
            list(given), world_size=world_size, megatron_lm=VERSION, program="pretrain_hybrid.py"
        )

    t = translated(argv, nproc)
    assert not t.errors
    result = verify(t, translated, Request(CHECKOUT, tmp_path / "work", device="cpu"), lambda line: None)
    assert page.verdict(result) == "identical", page.text_of(result)
    assert not result.comparison.weights


HANDED_OVER = {
    "from bf16": (1, ""),
    "from fp32 dropout": (1, "--no-bf16 --attention-dropout 0.1 --hidden-dropout 0.1"),
    "from dp2 distopt": (2, "--use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather"),
    "from tp2 sp": (2, "--tensor-model-parallel-size 2 --sequence-parallel --use-distributed-optimizer"),
    "from pp2": (2, "--pipeline-model-parallel-size 2"),
    "from moe ep2": (2, f"{MOE} --expert-model-parallel-size 2"),
    "from mla mtp": (1, f"{MLA} --mtp-num-layers 1"),
}


@needs_checkout
@pytest.mark.parametrize("name", chosen(("from dp2 distopt",), list(HANDED_OVER)))
def test_a_run_of_megatron_lm_goes_on_in_bridge(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides load the checkpoint that Megatron-LM has written: weights, optimizer, schedule, place in the data."""
    monkeypatch.chdir(tmp_path)
    nproc, words = HANDED_OVER[name]
    argv = [word for word in [*SMALL.split(), *words.split()] if word != "--no-bf16"]
    if "--no-bf16" in words:
        argv.remove("--bf16")
    result = verified(argv, nproc, tmp_path, hand_over_at=2)
    assert page.verdict(result) == "identical", page.text_of(result)
    assert [step["iteration"] for step in result.bridge.steps] == [3, 4]
    assert not result.comparison.weights


# ------------------------------------------------------------------------- broken translations

# What is broken: the command line, what Bridge runs with instead, the setting to be named, the step that differs first.
BREAKS: dict[str, tuple[str, tuple[str, ...], str, int]] = {
    "optimizer": ("gpt_default", ("optimizer.adam_beta2=0.95",), "optimizer.adam_beta2", 3),
    "scheduler": ("lr_cosine_warmup", ("optimizer.min_lr=1e-3",), "optimizer.min_lr", 4),
    "dataset": ("data_eod", ("dataset.reset_position_ids=false",), "dataset.reset_position_ids", 1),
    "model init": ("gpt_default", ("model.init_method_std=0.03",), "model.init_method_std", 1),
    "precision": ("bf16", ("mixed_precision.grad_reduce_in_fp32=false",), "mixed_precision.grad_reduce_in_fp32", 1),
    "tokenizer size": ("vocab_padding", ("tokenizer.vocab_size=901",), "tokenizer.vocab_size", 1),
    "vocabulary padding": ("vocab_padding", ("model.vocab_size=1152",), "model.vocab_size", 1),
    "MoE router": ("moe_topk2_aux", ("model.moe_aux_loss_coeff=0.1",), "model.moe_aux_loss_coeff", 1),
    "dropout": ("gpt_default", ("model.hidden_dropout=0.0",), "model.hidden_dropout", 1),
    "split": ("data_single", ("dataset.split='50,30,20'",), "dataset.split", 1),
    "batch": ("gpt_default", ("train.global_batch_size=16",), "train.global_batch_size", 1),
}  # fmt: skip


@pytest.fixture
def other_side(monkeypatch: pytest.MonkeyPatch, data: Path) -> Callable[[], None]:
    """Without a checkout, Bridge's run of the unbroken translation is what the broken one is compared with."""

    def install() -> None:
        if CHECKOUT:
            return
        (data / "pretrain_gpt.py").touch()

        def run(setup: sides.Setup, stand_in_for: Any) -> sides.Seen:
            unbroken = bridge_args.to_run_config(translate(sides.words_for("megatron_lm", setup), setup.nproc))
            return sides.run_bridge(setup, unbroken, "megatron_lm")

        monkeypatch.setattr(module, "run_megatron_lm", run)

    return install


@pytest.mark.parametrize("what", chosen(("optimizer", "MoE router", "split"), list(BREAKS)))
def test_the_cause_is_named(what: str, data: Path, other_side: Callable[[], None]) -> None:
    name, overrides, path, step = BREAKS[what]
    other_side()
    result = verified(curve(name, RECORDED)["argv"], 1, data, steps=step + 2, changed=change(None, "", overrides))
    assert result.comparison.verdict == "differs", page.text_of(result)
    assert result.cause is not None
    assert [suspect.path for suspect in result.cause.settings] == [path], page.text_of(result)
    found = re.match(rf"differs from step (\d+), first cause {re.escape(path)} is ", page.verdict(result))
    assert found and step - 1 <= int(found[1]) <= step, page.verdict(result)  # rounding may show it one step earlier
