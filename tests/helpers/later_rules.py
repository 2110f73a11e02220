"""Rules that differ between Megatron-LM 0.14 and later: words, the versions that refuse them, a part of what we say.

All other versions in ``ASKED`` accept the words. What a version does not have as a flag it is not asked about.
"""

from __future__ import annotations

from typing import NamedTuple

ASKED = ("0.16.1", "0.17.1", "0.18.2", "0.19.0", "main-2026-08-22")
OLDER = ("0.14.0", "0.15.3")
ENV = {"CUDA_DEVICE_MAX_CONNECTIONS": "1", "NVTE_CPU_OFFLOAD_V1": "1"}

_16, _17, _18, _19, _20 = ASKED[:1], ASKED[1:], ASKED[2:], ASKED[3:], ASKED[4:]
_TO_17, _TO_18, _TO_19 = ASKED[:2], ASKED[:3], ASKED[:4]

EXPERTS = "--num-experts 4 --disable-bias-linear"
GATED = (
    "--experimental-attention-variant gated_delta_net --linear-attention-freq 2 --linear-conv-kernel-dim 4 "
    "--linear-key-head-dim 16 --linear-value-head-dim 16 --linear-num-key-heads 2 --linear-num-value-heads 2"
)
SPARSE = "--experimental-attention-variant dsa --multi-latent-attention --no-rope-fusion"
OPTIMIZED = "--transformer-impl inference_optimized --normalization RMSNorm --disable-bias-linear"
OVERLAP = (
    f"{EXPERTS} --overlap-moe-expert-parallel-comm --expert-model-parallel-size 2 --moe-token-dispatcher-type alltoall"
)
FP8 = "--fp8-format hybrid --fp8-recipe mxfp8"
FUSER = "--use-transformer-engine-op-fuser"
OFFLOAD = "--fine-grained-activation-offloading --offload-modules"
CLAMP = f"{EXPERTS} --swiglu --activation-func-clamp-value"


class Rule(NamedTuple):
    """``built`` are versions that refuse only behind what a checkout is asked, when the model is built."""

    words: str
    refused: tuple[str, ...]
    says: str
    built: tuple[str, ...] = ()


RULES = {
    # experts
    "width of no experts": Rule("--moe-ffn-hidden-size 32", ASKED, "needs experts"),
    "width of experts in every second layer": Rule(
        "--moe-ffn-hidden-size 32 --moe-layer-freq 2", _TO_17, "--moe-ffn-hidden-size needs experts"
    ),
    "bias with scores of another kind": Rule(
        f"{EXPERTS} --moe-router-enable-expert-bias --moe-router-score-function sqrtsoftplus", (), ""
    ),
    "shared experts beside the flexible dispatcher": Rule(
        f"{EXPERTS} --expert-model-parallel-size 2 --moe-token-dispatcher-type flex "
        "--moe-shared-expert-intermediate-size 64 --moe-shared-expert-overlap",
        _TO_17,
        "--moe-shared-expert-overlap needs --moe-token-dispatcher-type alltoall, not flex",
    ),
    "padding without FP8": Rule(
        f"{EXPERTS} --moe-router-padding-for-quantization", ASKED, "needs --fp8-format or --fp4-format"
    ),
    "DeepEP with another dispatcher": Rule(
        f"{EXPERTS} --moe-enable-deepep --moe-token-dispatcher-type alltoall",
        ASKED,
        "needs --moe-token-dispatcher-type flex",
    ),
    "capacity of ranks with DeepEP": Rule(
        f"{EXPERTS} --moe-expert-rank-capacity-factor 1.5 {FUSER}", _18, "needs --moe-flex-dispatcher-backend hybridep"
    ),
    "capacity of ranks without fused operations": Rule(
        f"{EXPERTS} --moe-expert-rank-capacity-factor 1.5 --moe-flex-dispatcher-backend hybridep", _18, "op-fuser"
    ),
    "capacity of ranks with grouped tensors": Rule(
        f"{EXPERTS} --moe-expert-rank-capacity-factor 1.5 --moe-flex-dispatcher-backend hybridep "
        "--moe-grouped-gemm --moe-use-grouped-tensor",
        (),
        "",
    ),
    "capacity of ranks": Rule(
        f"{EXPERTS} --moe-expert-rank-capacity-factor 1.5 --moe-flex-dispatcher-backend hybridep {FUSER}", (), ""
    ),
    "pages without a capacity": Rule(f"{EXPERTS} --moe-paged-stash", _18, "needs --moe-expert-rank-capacity-factor"),
    "experts in one tensor, one by one": Rule(
        f"{EXPERTS} --moe-single-grouped-weight", _18, "--moe-single-grouped-weight needs --moe-grouped-gemm"
    ),
    "experts in one tensor of bf16": Rule(
        f"{EXPERTS} --moe-single-grouped-weight --moe-grouped-gemm {FUSER}", ("0.18.2",), "--fp8-recipe mxfp8"
    ),
    "experts in one tensor, not fused": Rule(
        f"{EXPERTS} --moe-single-grouped-weight --moe-grouped-gemm {FP8}", _19, "--moe-single-grouped-weight needs --"
    ),
    "biases of experts in one tensor": Rule(
        f"{EXPERTS} --moe-single-grouped-bias --moe-grouped-gemm {FUSER}",
        _18,
        "does not work with --disable-bias-linear",
    ),
    "grouped tensors, one by one": Rule(f"{EXPERTS} --moe-use-grouped-tensor", _20, "needs --moe-grouped-gemm"),
    "NCCL with another dispatcher": Rule(
        f"{EXPERTS} --moe-flex-dispatcher-backend ncclep", _19, "ncclep needs --moe-token-dispatcher-type flex"
    ),
    "tokens in MXFP8": Rule(f"{EXPERTS} --moe-dispatch-fwd-dtype mxfp8", _20, "--moe-dispatch-fwd-dtype mxfp8 needs"),
    "two numbers of multiprocessors": Rule(
        f"{EXPERTS} --moe-deepep-num-sms 8 --moe-hybridep-num-sms 16", _19, "have become one number"
    ),
    "three numbers of multiprocessors": Rule(
        f"{EXPERTS} --moe-deepep-num-sms 8 --moe-hybridep-num-sms 16 --moe-flex-dispatcher-num-sms 8", (), ""
    ),
    # experts' communication
    "overlap with recomputed experts": Rule(
        f"{OVERLAP} --bf16 --recompute-granularity selective --recompute-modules moe", _17, "no --recompute-modules moe"
    ),
    "overlap with a predicted layer": Rule(
        f"{OVERLAP} --bf16 --position-embedding-type rope --mtp-num-layers 1",
        _TO_17,
        "pipeline parallelism, where there is",
    ),
    "overlap with no predicted layer": Rule(
        f"{OVERLAP} --bf16 --mtp-num-layers 0", _TO_18, "--mtp-num-layers 1 or none"
    ),
    "overlap with local graphs": Rule(
        f"{OVERLAP} --bf16 --cuda-graph-impl local --moe-pad-experts-for-cuda-graph-inference", _TO_17, "--overlap-moe"
    ),
    "gradients twice later": Rule(
        f"{OVERLAP} --bf16 --overlap-dispatch-backward-with-experts-wgrad", _18, "does not work with --overlap-moe"
    ),
    "later gradients without overlap": Rule("--delay-wgrad-compute", ASKED, "needs --overlap-moe-expert-parallel-comm"),
    "later gradients in graphs": Rule(
        f"{OVERLAP} --bf16 --delay-wgrad-compute --use-distributed-optimizer --overlap-grad-reduce "
        "--cuda-graph-impl transformer_engine --cuda-graph-scope attn --no-gradient-accumulation-fusion",
        _17,
        "--no-gradient-accumulation-fusion",
    ),
    # graphs
    "parts of an iteration": Rule(
        "--cuda-graph-impl full_iteration --no-check-for-nan-in-loss-and-grad --cuda-graph-modules attn",
        _18,
        "all modules",
    ),
    "an iteration that looks for NaNs": Rule("--cuda-graph-impl full_iteration", _18, "cannot look for NaNs"),
    "experts in graphs without experts": Rule(
        "--cuda-graph-impl local --cuda-graph-scope moe_router", ASKED, "moe and moe_router need experts"
    ),
    "dropout in recomputed graphs": Rule(
        "--cuda-graph-impl local --cuda-graph-scope attn --recompute-granularity selective",
        ASKED,
        "a graph cannot recompute core_attn with random numbers",
    ),
    "experts of no size in graphs": Rule(
        f"{EXPERTS} --expert-model-parallel-size 2 --cuda-graph-impl local", _TO_17, "--moe-pad-experts-for-cuda-graph"
    ),
    "no graphs of inference": Rule(
        "--cuda-graph-impl local --inference-dynamic-batching-num-cuda-graphs 0",
        _17,
        "must be at least 1, or -1, not 0",
    ),
    "blocks of inference in FP8": Rule(
        f"--cuda-graph-impl local --inference-cuda-graph-scope block {FP8}", _18, "inference_optimized"
    ),
    "shared experts in shards, captured and recomputed": Rule(
        f"{EXPERTS} --tensor-parallel-num-weight-shards 2 --cuda-graph-impl local --cuda-graph-modules moe_router "
        "--recompute-granularity selective --recompute-modules shared_experts --moe-shared-expert-intermediate-size 64 "
        "--fp8-format hybrid --hidden-dropout 0",
        _19,
        "cannot recompute shared experts in FP8",
    ),
    # recomputation and offloading
    "unknown modules": Rule("--recompute-granularity selective --recompute-modules it", ASKED, "does not know it"),
    "norms of no delta net": Rule(
        "--recompute-granularity selective --recompute-modules gdn_norm_out", ASKED, "--recompute-modules"
    ),
    "norms of a delta net": Rule(
        f"{GATED} --recompute-granularity selective --recompute-modules gdn_norm_out",
        _TO_18,
        "does not know gdn_norm_out",
    ),
    "offloading of nothing": Rule("--fine-grained-activation-offloading", ASKED, "needs --offload-modules"),
    "offloading of unknown modules": Rule(f"{OFFLOAD} it", ASKED, "--offload-modules does not know it"),
    "offloading of fused groups": Rule(
        f"{OFFLOAD} fused_group_mlp {FUSER}", ("0.18.2",), "does not know fused_group_mlp"
    ),
    "offloading of groups that are not fused": Rule(f"{OFFLOAD} fused_group_mlp", ASKED, "--offload-modules"),
    "offloading inside of recomputed experts": Rule(
        f"{EXPERTS} {OFFLOAD} moe_act --recompute-granularity selective --recompute-modules moe", _19, "computes again"
    ),
    "offloading of a negative size": Rule(
        f"{OFFLOAD} core_attn --min-offloaded-tensor-size -1", _19, "--min-offloaded-tensor-size must be at least 0"
    ),
    "offloading of more than all": Rule(
        f"{OFFLOAD} core_attn --activation-offload-fraction 2", _19, "must be from 0 to 1, not 2.0"
    ),
    "offloading in local graphs": Rule(f"{OFFLOAD} core_attn --cuda-graph-impl local", _18, "with CUDA graphs needs"),
    "offloading of experts in local graphs": Rule(
        f"{EXPERTS} {OFFLOAD} moe_act --cuda-graph-impl local --cuda-graph-scope attn", ("0.18.2",), "not local"
    ),
    "offloading of layers in graphs": Rule(
        "--cpu-offloading-num-layers 2 --cuda-graph-impl local", ASKED, "cannot be combined with --cuda-graph-impl"
    ),
    # attention
    "delta net with divided sequences": Rule(
        f"{GATED} --context-parallel-size 2", _TO_17, "cannot be combined with context parallelism"
    ),
    "heads of a delta net among too many ranks": Rule(
        f"{GATED} --tensor-model-parallel-size 2 --context-parallel-size 2", ASKED, "context"
    ),
    "sparse attention with biases": Rule(SPARSE, _19, "has no biases"),
    "sparse attention with divided sequences": Rule(
        f"{SPARSE} --disable-bias-linear --context-parallel-size 2", ASKED, "context parallelism"
    ),
    "sparse attention with gathered sequences": Rule(
        f"{SPARSE} --disable-bias-linear --context-parallel-size 2 --cp-comm-type all_gather",
        _TO_18,
        "cannot be combined with context parallelism",
    ),
    "the same results by any version": Rule(
        "--batch-invariant-mode --attention-backend flash --attention-dropout 0 --bf16",
        _19,
        "--flash-attention-version",
    ),
    "the same results in fp32": Rule(
        "--batch-invariant-mode --attention-backend flash --attention-dropout 0 --flash-attention-version 3",
        _20,
        "--bf16",
    ),
    "no products": Rule("--gdp-num-householder 0", _20, "--gdp-num-householder must be at least 1"),
    # the model
    "fused norms of another kind": Rule("--fused-residual-rmsnorm", _17, "needs --normalization RMSNorm"),
    "a base model of no width": Rule(
        "--use-mup --mup-base-hidden-size 0", _17, "--mup-base-hidden-size must be at least"
    ),
    "a clamp of nothing": Rule(f"{CLAMP} 0", _20, "must be above 0, not 0.0"),
    "a clamp without experts": Rule("--swiglu --activation-func-clamp-value 1", _20, "needs experts"),
    "output in FP8": Rule("--fp8-output-proj --fp8-format hybrid", _18, "--fp8-output-proj needs --fp8-recipe mxfp8"),
    "streams in a pipeline": Rule(
        "--enable-mhc-connections --pipeline-model-parallel-size 2",
        _20,
        "does not work with --pipeline-model-parallel-size",
    ),
    "recomputed streams that are not there": Rule(
        "--recompute-granularity selective --recompute-modules mhc", ASKED, "--recompute-modules"
    ),
    # inference
    "experts for inference": Rule(
        f"{OPTIMIZED} {EXPERTS} --moe-router-dtype fp32", ("0.16.1",), "no --num-experts", _16
    ),
    "experts for inference with another router": Rule(
        f"{OPTIMIZED} {EXPERTS}", ASKED, "inference_optimized needs", _16
    ),
    "gated experts for inference": Rule(
        f"{OPTIMIZED} {EXPERTS} --moe-router-dtype fp32 --swiglu",
        ("0.16.1", "0.18.2", "0.19.0"),
        "inference_optimized needs",
        _16,
    ),
    "kernels of inference in training": Rule(
        "--inference-disable-triton-nvls-kernels", _17, "needs --transformer-impl inference_optimized"
    ),
    # ranks and the optimizer
    "shards with averages": Rule(
        "--tensor-parallel-num-weight-shards 2 --ddp-average-in-collective", _19, "needs no --ddp-average-in-collective"
    ),
    "shards of MXFP8": Rule(
        f"--tensor-parallel-num-weight-shards 2 --use-distributed-optimizer {FP8}", _19, "needs --fp8-param-gather"
    ),
    "moments on every rank": Rule("--use-precision-aware-optimizer", _TO_19, "needs --use-distributed-optimizer"),
    "moments among ranks": Rule("--use-precision-aware-optimizer --use-distributed-optimizer", (), ""),
    "modules in shards": Rule("--gtp-remat-opt-in-modules it", _20, "does not know it"),
    # reinforcement learning
    "graphs that are kept without graphs": Rule(
        "--perform-rl-step --rl-persist-cuda-graphs", _17, "--rl-persist-cuda-graphs needs --cuda-graph-impl"
    ),
    "an offloaded cache": Rule(
        "--perform-rl-step --rl-kv-cache-management-mode offload", _17, "offload needs --rl-persist-cuda-graphs"
    ),
    "generations at a time": Rule(
        "--perform-rl-step --rl-num-parallel-generations 4",
        _17,
        "--rl-num-parallel-generations needs --rl-partial-rollouts",
    ),
    "ahead of training": Rule("--perform-rl-step --rl-generation-lag 1", _19, "needs --rl-partial-rollouts"),
    "rollouts taken one by one": Rule(
        "--perform-rl-step --rl-consumption-granularity R", _19, "--rl-consumption-granularity R is not there"
    ),
    "groups handed in": Rule("--perform-rl-step --rl-submission-granularity G", _20, "needs --rl-partial-rollouts"),
    "requests on their way": Rule(
        "--perform-rl-step --rl-partial-rollouts --rl-max-inflight-requests 0", _20, "must be at least 1, not 0"
    ),
}

# What versions before 0.16 refuse.
OLDER_RULES = {
    "groups of experts in fp32": Rule(f"{EXPERTS} --moe-grouped-gemm", OLDER, "--moe-grouped-gemm needs --bf16"),
    "biases of experts": Rule("--num-experts 4", OLDER[:1], "experts have no biases"),
    "fewer groups than ranks": Rule(
        "--group-query-attention --num-query-groups 1 --tensor-model-parallel-size 2",
        OLDER,
        "not a multiple of tensor 2",
    ),
    "layers for no stage": Rule("--decoder-first-pipeline-num-layers 4", (), ""),
    "two switches for graphs": Rule("--enable-cuda-graph --external-cuda-graph", OLDER, "exclude each other"),
    "graphs and full recomputation": Rule(
        "--external-cuda-graph --recompute-granularity full --recompute-method uniform --recompute-num-layers 1",
        OLDER,
        "does not work with --recompute-granularity full",
    ),
    "graphs and selective recomputation": Rule(
        "--enable-cuda-graph --recompute-granularity selective", OLDER, "recompute"
    ),
}
