"""What ``modernize`` makes of a version's own functional tests: the newer program takes it, and makes the same run.

``MEGATRON_LM_OLD`` names a checkout whose command lines are moved, ``MEGATRON_LM_CHECKOUT`` a newer one. Each is asked
once, with its own parser and ``validate_args``. And GPT models of the newer one train like the hybrid ones that they
become: two of them, or with ``BRIDGE_ARGS_HYBRID=all`` all.
"""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from functional import functional_tests

from bridge_args.checkout import ask
from bridge_args.emit.releases import of_run
from bridge_args.errors import UserError
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm.changed_environment import VARIABLES
from bridge_args.modernize import hybrid, move
from bridge_args.modernize.plan import Plan
from bridge_args.pairs.pairs import megatron_version
from bridge_args.source.read import from_argv
from bridge_args.source.source import Source
from bridge_args.steps import Asked, translated
from bridge_args.verify import versions
from bridge_args.verify.compare import Comparison
from bridge_args.verify.moved import proof_of
from bridge_args.words import as_words

OLD, NEW = os.environ.get("MEGATRON_LM_OLD", ""), os.environ.get("MEGATRON_LM_CHECKOUT", "")
pytestmark = pytest.mark.skipif(not NEW, reason="MEGATRON_LM_CHECKOUT is not set")


@pytest.mark.skipif(not OLD, reason="MEGATRON_LM_OLD is not set")
def test_functional_tests_of_the_older_one() -> None:
    moved: list[tuple[str, Source, int, Plan]] = []
    told: dict[str, str] = {}
    for name, source, ranks in functional_tests(OLD):
        asked = Asked(megatron_version(OLD), world_size=ranks, env=source.environment or {})
        try:
            moved.append((name, source, ranks, move.of_source(source, asked, megatron_version(NEW))))
        except UserError as error:
            told[name] = str(error).splitlines()[0]
    old = ask.effective(OLD, [_case(source, ranks, None) for _, source, ranks, _ in moved])
    new = ask.effective(NEW, [_case(source, ranks, plan.argv) for _, source, ranks, plan in moved])
    wrong: dict[str, Any] = {}
    same = 0
    for (name, source, ranks, plan), before, after in zip(moved, old, new, strict=True):
        if "error" in before:
            told[name] = before["error"]["message"]
            continue
        if "error" in after:
            if not plan.refused:
                wrong[name] = after["error"]["message"]
            told[name] = f"{after['error']['message']} ({len(plan.refused)} told)"
            continue
        found = of_run(
            _translation(source, ranks, OLD, before, None), _translation(source, ranks, NEW, after, plan.argv)
        )
        listed = {left.argument for left in plan.left} | plan.said_otherwise
        differing = [(one.argument, one.before, one.after) for one in found.values if one.argument not in listed]
        if differing:
            wrong[name] = differing
        same += plan.is_same_run
    print(f"{len(moved)} moved, {same} the same run; told: {len(told)}")
    for name, why in told.items():
        print(f"  {name}: {why}")
    assert wrong == {}
    assert same > len(moved) / 2


def _case(source: Source, ranks: int, argv: list[str] | None) -> ask.Case:
    words = tuple(word.text for word in source.command.argv) if argv is None else tuple(argv)
    return ask.Case(words, ranks, source.environment or {})


def _translation(
    source: Source, ranks: int, checkout: str, answer: dict[str, Any], argv: list[str] | None
) -> Translation:
    if argv is not None:
        source = source._replace(command=source.command._replace(argv=as_words(argv)))
    asked = Asked(checkout, world_size=ranks, env=source.environment or {})
    with patch.object(ask, "effective", lambda *_, **__: [answer]):
        return translated(source, asked)


@pytest.mark.skipif(not OLD, reason="MEGATRON_LM_OLD is not set")
def test_checkouts_are_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words are tried on our own rules; then each checkout says that it agrees."""
    words = f"{COMMON} --num-layers 2 {LLAMA}".split()
    env = {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}
    wanted = move.of_source(from_argv(words), Asked(megatron_version(OLD), env=env), megatron_version(NEW))
    asked: list[str] = []
    effective = ask.effective
    monkeypatch.setattr(
        ask,
        "effective",
        lambda checkout, *more, **named: (asked.append(checkout), effective(checkout, *more, **named))[1],
    )
    found = move.of_source(from_argv(words), Asked(OLD, env=env), NEW)
    assert found.items == wanted.items and found.is_same_run
    assert asked == [OLD, NEW]


# Variables that one of two versions reads and the other one does not, and why no script has to change for it.
NOT_CONCERNED = {
    "new arguments ask for it": "NVTE_CPU_OFFLOAD_V1 NCCL_PROTO CUDA_GRAPHS_USE_NODE_PRIORITY "
    "NVTE_CUTEDSL_FUSED_GROUPED_MLP FP4_RECIPE TRITON_CACHE_AUTOTUNING TORCH_CPP_LOG_LEVEL NVSHMEM_MAX_CTAS "
    "TORCH_UCC_BLOCKING_WAIT UCC_CL_BASIC_TLS UCC_EC_CUDA_STREAM_TASK_MODE UCX_NET_DEVICES UCX_RNDV_THRESH UCX_TLS "
    "NSYS_UCP_COMM_PARAMS NCCL_NVLS_ENABLE TORCH_NCCL_USE_TENSOR_REGISTER_ALLOCATOR_HOOK CUDA_GRAPH_CAPTURE_FREEZE_GC "
    "MEGATRON_NVSHMEM_ALLOW_UNSUPPORTED_VERSION",
    "only told to others": "SLURM_JOBID SLURM_LOCALID SLURM_NTASKS SLURM_PROCID LOCAL_WORLD_SIZE HF_TOKEN "
    "NO_VCS_VERSION TORCH_CUDA_ARCH_LIST",
    "no pretraining": "LANGRL_LOG_DIR LANGRL_LOG_PREFIX MEGATRON_RL_INFERENCE_SERVER_PORT",
}
VARIABLE = re.compile(r"(?:environ(?:\.\w+)?|getenv)[\[(]\s*['\"]([A-Za-z_]\w*)")


@pytest.mark.skipif(not OLD, reason="MEGATRON_LM_OLD is not set")
def test_every_variable_that_only_one_of_them_reads_is_known() -> None:
    old, new = (
        {
            name
            for file in sorted(Path(checkout, "megatron").rglob("*.py"))
            for name in VARIABLE.findall(file.read_text())
        }
        for checkout in (OLD, NEW)
    )
    known = {name for rule in VARIABLES for name in (*rule.names, *rule.becomes)}
    assert old ^ new <= {*known, *" ".join(NOT_CONCERNED.values()).split()}


# GPT models that train on a CPU, and become hybrid ones: no step may differ in a bit.
COMMON = (
    "--no-gradient-accumulation-fusion --no-persist-layer-norm --hidden-size 64 --num-attention-heads 4 "
    "--seq-length 32 --max-position-embeddings 32 --mock-data --tokenizer-type NullTokenizer --vocab-size 1023 "
    "--micro-batch-size 2 --global-batch-size 8 --train-iters 6 --eval-iters 2 --eval-interval 1000 --log-interval 1 "
    "--lr 2e-3 --init-method-std 0.1 --ckpt-format torch_dist"
)
ROPE = (
    "--attention-dropout 0 --hidden-dropout 0 --position-embedding-type rope --no-rope-fusion --swiglu "
    "--normalization RMSNorm --disable-bias-linear"
)
LLAMA = (
    f"{ROPE} --untie-embeddings-and-output-weights --group-query-attention --num-query-groups 2 --ffn-hidden-size 176 "
    "--norm-epsilon 1e-6"
)
MOE = (
    f"{ROPE} --num-experts 4 --moe-ffn-hidden-size 96 --moe-router-topk 2 --moe-token-dispatcher-type alltoall "
    "--moe-aux-loss-coeff 1e-2 --moe-grouped-gemm"
)
TWO = "torchrun --nproc-per-node 2 pretrain_gpt.py"
HYBRIDS = {
    "dense": f"--num-layers 2 {LLAMA}",
    "mixed": f"--num-layers 2 {MOE} --moe-layer-freq [0,1]",
    "biases, dropout, learned positions": "--num-layers 2",
    "experts": f"--num-layers 2 {MOE}",
    "predicted tokens": f"--num-layers 2 {LLAMA} --mtp-num-layers 1",
    "two predicted tokens": f"--num-layers 2 {LLAMA} --mtp-num-layers 2",
    "experts, and predicted tokens": f"--num-layers 2 {MOE} --moe-layer-freq [0,1] --mtp-num-layers 1",
    "layers without positions": f"--num-layers 2 {LLAMA} --no-rope-freq 2",
    "latent attention": f"--num-layers 2 {ROPE} --multi-latent-attention",
    "bf16": f"--num-layers 2 {LLAMA} --bf16",
    "norms of queries and keys": f"--num-layers 2 {LLAMA} --qk-layernorm",
    "recomputed": f"--num-layers 2 {LLAMA} --recompute-granularity full --recompute-method uniform "
    "--recompute-num-layers 1",
    "tensor parallel": f"{TWO} --num-layers 2 {LLAMA} --tensor-model-parallel-size 2",
    "pipeline": f"{TWO} --num-layers 2 {LLAMA} --pipeline-model-parallel-size 2",
    "virtual pipeline": f"{TWO} --num-layers 4 {LLAMA} --pipeline-model-parallel-size 2 "
    "--num-layers-per-virtual-pipeline-stage 1",
    "layout": f"{TWO} --num-layers 3 {LLAMA} --pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Et|ttL",
    "expert parallel": f"{TWO} --num-layers 2 {MOE} --expert-model-parallel-size 2",
    "distributed optimizer": f"{TWO} --num-layers 2 {LLAMA} --bf16 --use-distributed-optimizer --overlap-grad-reduce "
    "--overlap-param-gather",
}
SOME = list(HYBRIDS)[: None if os.environ.get("BRIDGE_ARGS_HYBRID") == "all" else 2]


@pytest.mark.skipif(find_spec("megatron") is None, reason="megatron.bridge is not installed")
@pytest.mark.parametrize("name", SOME)
def test_a_gpt_model_and_its_hybrid_one(name: str, tmp_path: Path) -> None:
    found = trained(name, tmp_path)
    assert found.steps == 6 and found.weights_compared > 10


@pytest.mark.skipif(find_spec("megatron") is None, reason="megatron.bridge is not installed")
@pytest.mark.parametrize("name", SOME)
def test_a_gpt_run_goes_on_as_a_hybrid_one(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its checkpoint under other names, even where Megatron-LM would convert it itself."""
    monkeypatch.setattr(hybrid, "loads_gpt", lambda pattern: False)
    found = trained(name, tmp_path, hand_over_at=3)
    assert found.steps == 3 and found.weights_compared > 10


def trained(name: str, folder: Path, hand_over_at: int | None = None) -> Comparison:
    words = HYBRIDS[name].split()
    at = words.index("--num-layers")
    source = from_argv([*words[:at], *COMMON.split(), *words[at:]])
    request = versions.Request(NEW, NEW, folder, device="cpu", weight_of=hybrid.weight_of, hand_over_at=hand_over_at)
    found = proof_of(source, Asked(megatron_lm=NEW), request, True, print).comparison
    assert (found.verdict, found.weights, found.batches) == ("identical", (), ())
    return found
