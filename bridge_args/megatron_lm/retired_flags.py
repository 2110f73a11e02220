"""Flags that Megatron-LM dropped, and what to write instead.

From the history of Megatron-LM's own ``arguments.py`` (``megatron/training/arguments.py`` since 2024), every commit of
it; flags that lasted only days and never were in a release are here where a script may have them. A flag that is still
known and refused, such as ``--checkpoint-activations``, is in the catalogs; those say too which version dropped a flag
since 0.11, the oldest one that has a catalog.
"""

from __future__ import annotations

from typing import Final

# Said of several.
_DEFAULT: Final = "leave it out: Megatron-LM always does so now"
_ALWAYS: Final = "leave it out: it is on unless {off} is given"
_LOGGED: Final = "leave it out: Megatron-LM always logs it now"
_RETRO: Final = "leave it out: only pretrain_retro.py read it"
_RETRIEVER: Final = "leave it out: only retrieval models read it"
_DATA: Final = "leave it out: data is read as tools/preprocess_data.py writes it; name it with --data-path"
_FULL: Final = "with --recompute-granularity full"
_GENERATES: Final = "leave it out: only text generation read it"

# The month in which Megatron-LM lost it -> flag -> what to write.
_BY_MONTH: Final[dict[str, dict[str, str]]] = {
    "2025-02": {
        "--moe-router-topk-limited-devices": "write --moe-router-num-groups with the expert-parallel size and "
        "--moe-router-group-topk with this number",
        "--renormalize-blend-weights": _DEFAULT,
        "--standalone-embedding-stage": "write --pipeline-model-parallel-layout, whose first stage is 'E' alone",
    },
    "2024-09": {
        "--align-param-gather": _ALWAYS.format(off="--no-align-param-gather"),
        "--delay-param-gather": _ALWAYS.format(off="--no-align-param-gather"),
        "--no-delay-grad-reduce": "write --no-align-grad-reduce",
    },
    "2024-08": {
        "--local_rank": "leave it out: the launcher sets LOCAL_RANK",
        "--log-batch-size-to-tensorboard": _LOGGED,
        "--no-log-learnig-rate-to-tensorboard": _LOGGED,
    },
    "2024-07": {
        "--enable-one-logger": _ALWAYS.format(off="--no-one-logger"),
        "--one-logger-entity": "leave it out: one-logger takes no entity",
    },
    "2024-05": {
        "--moe-token-dropping": "leave it out: it did nothing; tokens are dropped with --moe-expert-capacity-factor",
    },
    "2024-03": {
        "--retro-return-doc-ids": _RETRO,
        "--retro-workdir": _RETRO,
        "--use-gpu-initialization": _ALWAYS.format(off="--use-cpu-initialization"),
    },
    "2024-01": {
        "--bias-swiglu-fusion": _ALWAYS.format(off="--no-bias-swiglu-fusion"),
        "--enable-onelogger": _ALWAYS.format(off="--no-one-logger"),
        "--moe-loss-coeff": "write --moe-aux-loss-coeff",
        "--moe-router-type": "write --moe-router-load-balancing-type",
    },
    "2023-11": {
        "--expert-parallel": "write --expert-model-parallel-size with the number of ranks to divide experts among",
        "--mmap-warmup": "leave it out: it only read data files into the cache of the system first",
        "--model-spec": "write --spec",
        "--no-query-key-layer-scaling": "leave it out: scaling is off unless --apply-query-key-layer-scaling is given",
        "--overlap-p2p-communication": _ALWAYS.format(off="--no-overlap-p2p-communication"),
        "--retro-fix-sub-epoch": _RETRO,
        "--retro-split-constraint": _RETRO,
        "--retro-split-preprocessing": _RETRO,
    },
    "2023-10": {
        "--embedding-weights-in-fp32": "leave it out: it was a workaround for runs that differed, and was removed; "
        "--deterministic-mode makes runs repeatable",
        "--tp-comm-bulk-dgrad": _ALWAYS.format(off="--disable-tp-comm-bulk-dgrad"),
        "--tp-comm-bulk-wgrad": _ALWAYS.format(off="--disable-tp-comm-bulk-wgrad"),
        "--tp-comm-split-ag": _ALWAYS.format(off="--disable-tp-comm-overlap-ag"),
        "--tp-comm-split-rs": _ALWAYS.format(off="--disable-tp-comm-overlap-rs"),
    },
    "2023-09": {
        "--DDP-impl": "leave it out: 'local' is the only one now",
        "--data-impl": "leave it out: the format is found out from the files; 'mmap' is the only one now",
        "--fp8-e4m3": "write --fp8-format e4m3",
        "--fp8-hybrid": "write --fp8-format hybrid",
        "--layernorm-epsilon": "write --norm-epsilon",
        "--moe-frequency": "write --moe-layer-freq",
        "--no-contiguous-buffers-in-local-ddp": "leave it out: gradients always lie in contiguous buffers now",
    },
    "2023-06": {
        "--multi-query-attention": "write --group-query-attention --num-query-groups 1",
    },
    "2022-05": {
        "--checkpoint-granularity": "write --recompute-granularity",
        "--checkpoint-method": f"write --recompute-method {_FULL}",
        "--checkpoint-num-layers": f"write --recompute-num-layers and --recompute-method uniform {_FULL}",
        "--distribute-checkpointed-activations": f"write --distribute-saved-activations {_FULL}",
        "--distribute-recomputed-activations": f"write --distribute-saved-activations {_FULL}",
    },
    "2022-04": {
        "--checkpoint-attention": "write --recompute-granularity selective",
        "--model-parallel-memory-opt": "write --sequence-parallel",
    },
    "2022-03": {
        "--activations-checkpoint-method": f"write --recompute-method {_FULL}",
        "--activations-checkpoint-num-layers": f"write --recompute-num-layers {_FULL}",
    },
    "2022-02": {
        "--deallocate-pipeline-outputs": _DEFAULT,
        "--override-lr-scheduler": "write --override-opt_param-scheduler",
        "--standalone-embed-stage": "write --pipeline-model-parallel-layout, whose first stage is 'E' alone",
        "--use-checkpoint-lr-scheduler": "write --use-checkpoint-opt_param-scheduler",
    },
    "2022-01": {
        "--end-wd": "write --end-weight-decay",
        "--img-dim": "leave it out: only vision models read it; they have --img-h and --img-w",
        "--start-wd": "write --start-weight-decay",
        "--wd-incr-style": "write --weight-decay-incr-style",
    },
    "2021-09": {
        "--async-tensor-model-parallel-allreduce": _ALWAYS.format(off="--no-async-tensor-model-parallel-allreduce"),
        "--async-tensor-parallel-allreduce": _ALWAYS.format(off="--no-async-tensor-model-parallel-allreduce"),
    },
    "2021-08": {
        "--empty-unused-memory-each-iter": "write --empty-unused-memory-level 1",
        "--use-contiguous-buffers-in-ddp": "leave it out: gradients always lie in contiguous buffers now",
    },
    "2021-07": {
        "--no-log-memory-to-tensorboard": "leave it out: memory is logged only with --log-memory-to-tensorboard",
    },
    "2021-03": {
        "--faiss-use-gpu": _RETRIEVER,
        "--fp32-allreduce": "write --accumulate-allreduce-grads-in-fp32",
        "--log-zeros": "write --log-num-zeros-in-grad",
        "--report-topk-accuracies": _RETRIEVER,
    },
    "2021-02": {
        "--bias-dropout-fusion": _ALWAYS.format(off="--no-bias-dropout-fusion"),
        "--bias-gelu-fusion": _ALWAYS.format(off="--no-bias-gelu-fusion"),
        "--min-scale": "write --min-loss-scale",
        "--pool-type": _RETRIEVER,
        "--projection-dim": _RETRIEVER,
        "--scaled-masked-softmax-fusion": _ALWAYS.format(off="--no-masked-softmax-fusion"),
        "--scaled-upper-triang-masked-softmax-fusion": _ALWAYS.format(off="--no-masked-softmax-fusion"),
        "--scatter-gather-tensors-in-pipeline": _ALWAYS.format(off="--no-scatter-gather-tensors-in-pipeline"),
        "--shared-query-context-model": _RETRIEVER,
        "--virtual-pipeline-model-parallel-size": "write --num-virtual-stages-per-pipeline-rank",
    },
    "2021-01": {
        "--dataloader_type": "write --dataloader-type",
        "--no-scaled-masked-softmax-fusion": "write --no-masked-softmax-fusion",
    },
    "2020-12": {
        "--inter-layer-model-parallel-size": "write --pipeline-model-parallel-size",
        "--intra-layer-model-parallel-size": "write --tensor-model-parallel-size",
        "--lr-warmup-percent": "write --lr-warmup-fraction, which counts from 0 to 1",
        "--num-microbatches": "write --global-batch-size: micro-batch size x data-parallel size x this number",
        "--num-microbatches-in-minibatch": "write --global-batch-size: micro-batch size x data-parallel size x this "
        "number",
        "--num-unique-layers": "leave it out: layers that share weights are gone",
        "--param-sharing-style": "leave it out: layers that share weights are gone",
        "--use-pipelining": "write --pipeline-model-parallel-size",
    },
    "2020-07": {
        "--erf-gelu": "leave it out: GELU is computed with erf unless --openai-gelu is given",
        "--ict-one-sent": _RETRIEVER,
    },
    "2020-04": {
        "--data-loader": _DATA,
        "--genfile": _GENERATES,
        "--input-data-sizes-file": _DATA,
        "--out-seq-length": _GENERATES,
        "--sample-input-file": _GENERATES,
        "--sample-output-file": _GENERATES,
        "--strict-lambada": "leave it out: only evaluation read it",
    },
    "2020-03": {
        "--cache-dir": "leave it out: no tokenizer of Megatron-LM takes it",
        "--deep-init": "leave it out: output layers always start with a deviation scaled by the depth",
        "--eval-batch-size": "leave it out: evaluation has the micro-batch size of training",
        "--fp32-embedding": "leave it out: --bf16 or --fp16 hold for all weights",
        "--fp32-layernorm": "leave it out: --bf16 or --fp16 hold for all weights",
        "--fp32-tokentypes": "leave it out: --bf16 or --fp16 hold for all weights",
        "--intermediate-size": "write --ffn-hidden-size",
        "--load-openai": "leave it out: checkpoints are converted with tools/checkpoint/convert.py",
        "--loose-json": _DATA,
        "--max-preds-per-seq": "leave it out: only BERT read it",
        "--presplit-sentences": _DATA,
        "--pretrained-bert": "leave it out: only BERT read it",
        "--resume-dataloader": "leave it out: data always goes on where the checkpoint was saved",
        "--skip-mmap-warmup": "leave it out: data files are not read beforehand",
        "--text-key": _DATA,
        "--tokenizer-model-type": "write --tokenizer-type",
        "--tokenizer-path": "write --tokenizer-model",
        "--train-data": "write --train-data-path, or --data-path with --split",
        "--valid-data": "write --valid-data-path, or --data-path with --split",
        "--test-data": "write --test-data-path, or --data-path with --split",
        "--vocab": "write --vocab-file",
    },
    "2019-10": {
        "--lazy-loader": _DATA,
        "--use-npy-data-loader": _DATA,
        "--use-tfrecords": _DATA,
        "--val-data-path": "write --valid-data-path",
    },
    "2019-04": {
        "--epochs": "write --train-iters or --train-samples: Megatron-LM does not count epochs",
        "--load-optim": _ALWAYS.format(off="--no-load-optim"),
        "--load-rng": _ALWAYS.format(off="--no-load-rng"),
        "--save-iters": "write --save-interval",
        "--save-optim": _ALWAYS.format(off="--no-save-optim"),
        "--save-rng": _ALWAYS.format(off="--no-save-rng"),
    },
}

_POST_TRAINING: Final = "leave it out: only ModelOpt's models read it"
_SPECULATIVE: Final = "leave it out: ModelOpt's own configuration of a model says it now"
_ENCODER: Final = "leave it out: encoders have no ranks of their own any more"
_ROLLOUTS: Final = "leave it out: rollouts always come from a server of Megatron-LM's own now"
_PATTERN: Final = "write --hybrid-layer-pattern, with a letter for each layer"
_BUFFER: Final = "leave it out: --inference-dynamic-batching-buffer-size-gb says how much memory there is"
_UNLESS: Final = "leave it out: it is {} unless {} is given"

# Dropped by a version that has a catalog; ``write`` and a flag alone: only the name is another one.
INSTEAD: Final[dict[str, str]] = {
    "--s3-cache-path": "write --object-storage-cache-path",
    "--encoder-tensor-model-parallel-size": _ENCODER,
    "--encoder-pipeline-model-parallel-size": _ENCODER,
    "--pipeline-model-parallel-split-rank": _ENCODER,
    "--use-custom-fsdp": "write --use-megatron-fsdp",
    "--keep-fp8-transpose-cache-when-using-custom-fsdp": "write --keep-fp8-transpose-cache",
    "--export-num-medusa-heads": _SPECULATIVE,
    "--export-eagle-algorithm": _SPECULATIVE,
    "--export-num-eagle-layers": _SPECULATIVE,
    "--export-draft-vocab-size": _SPECULATIVE,
    "--export-num-mtp": _SPECULATIVE,
    "--export-freeze-mtp": _SPECULATIVE,
    "--load-model-opt-format": _POST_TRAINING,
    "--inference-dynamic-batching-chunk-size": "write --inference-dynamic-batching-block-size",
    "--grpo-default-temperature": "write --rl-default-temperature",
    "--grpo-default-top-p": "write --rl-default-top-p",
    "--rl-calculate-intra-group-similarity": "leave it out: it is no longer measured",
    "--no-rl-calculate-intra-group-similarity": "leave it out: it is no longer measured",
    "--rl-sequence-packing-bin-size": "leave it out: sequences are packed into bins of --seq-length tokens",
    "--retriever-seq-length": _RETRIEVER,
    "--inference-dynamic-batching-buffer-guaranteed-fraction": _BUFFER,
    "--inference-dynamic-batching-buffer-overflow-factor": _BUFFER,
    "--inference-dynamic-batching-max-requests-override": "write --inference-dynamic-batching-max-requests",
    "--inference-dynamic-batching-max-tokens-override": "write --inference-dynamic-batching-max-tokens",
    "--retro-project-dir": _RETRO,
    "--retro-add-retriever": _RETRO,
    "--retro-cyclic-train-iters": _RETRO,
    "--retro-encoder-layers": _RETRO,
    "--retro-encoder-hidden-dropout": _RETRO,
    "--retro-encoder-attention-dropout": _RETRO,
    "--retro-num-neighbors": _RETRO,
    "--retro-num-retrieved-chunks": _RETRO,
    "--retro-attention-gate": _RETRO,
    "--retro-no-verify-neighbor-count": _RETRO,
    "--teacher-model-config": "write --export-kd-teacher-model-config",
    "--moe-extended-tp": "leave it out: experts are divided as --expert-tensor-parallel-size says",
    "--no-async-tensor-model-parallel-allreduce": "leave it out: nothing of Megatron Core reads it",
    "--disable-async-tensor-model-parallel-allreduce": "leave it out: nothing of Megatron Core reads it",
    "--moe-use-legacy-grouped-gemm": "leave it out: --moe-grouped-gemm has one way only now",
    "--langrl-inference-server-type": _ROLLOUTS,
    "--langrl-inference-server-conversation-template": _ROLLOUTS,
    "--langrl-external-server": _ROLLOUTS,
    "--no-langrl-external-server": _ROLLOUTS,
    "--rl-offload-kv-cache-during-training": "write --rl-kv-cache-management-mode offload",
    "--no-rl-offload-kv-cache-during-training": _UNLESS.format("off", "--rl-kv-cache-management-mode offload"),
    "--rl-remove-kv-cache-during-training": "write --rl-kv-cache-management-mode recompute",
    "--no-rl-remove-kv-cache-during-training": _UNLESS.format("off", "--rl-kv-cache-management-mode recompute"),
    "--rl-reset-cuda-graphs": _UNLESS.format("on", "--rl-persist-cuda-graphs"),
    "--no-rl-reset-cuda-graphs": "write --rl-persist-cuda-graphs",
    "--legacy-tokenizer": "leave it out: tokenizers are always those of Megatron Core",
    "--inference-max-batch-size": "write --inference-max-requests",
    "--disable-chunked-prefill": _UNLESS.format("off", "--enable-chunked-prefill"),
    "--hybrid-attention-ratio": _PATTERN,
    "--hybrid-mlp-ratio": _PATTERN,
    "--muon-use-nesterov": "write --muon-nesterov",
    "--use-legacy-models": "leave it out: models are always those of Megatron Core",
    "--no-scatter-gather-tensors-in-pipeline": "leave it out: nothing read it",
    "--tiktoken-special-tokens": "write --tokenizer-special-tokens",
    "--tokenizer-hf-use-fast": _UNLESS.format("on", "--tokenizer-hf-no-use-fast"),
    "--tokenizer-hf-include-special-tokens": _UNLESS.format("on", "--tokenizer-hf-no-include-special-tokens"),
    "--inference-dynamic-batching-cuda-graph-max-tokens": "leave it out: inference chooses the number itself",
    "--rl-num-parallel-generations": "write --rl-generation-lag, with the batches that generation may be ahead",
    "--rl-num-parallel-generation-batches": "write --rl-generation-lag, with this number less one",
    "--rl-generation-batch-size": "leave it out: it is that of the trainer",
    "--rl-parallel-generation-tasks": "write --rl-generation-lag, with the batches that generation may be ahead",
    "--moe-ncclep-static-shape": "write --moe-expert-rank-capacity-factor, which fixes the shapes",
    "--no-stream-ckpt-dequant": "leave it out: nothing reads it",
    "--disable-stream-ckpt-dequant": "leave it out: nothing reads it",
}

# Flag -> the month in which Megatron-LM lost it before 0.11, and what to write.
RETIRED: Final[dict[str, tuple[str, str]]] = {
    flag: (month, instead) for month, flags in _BY_MONTH.items() for flag, instead in flags.items()
}

_MONTHS: Final = "January February March April May June July August September October November December".split()
_RELEASE: Final = "2020-04"  # v1.0: names from before are those of many programs


def remedy_of(flag: str) -> str:
    """What to write instead of a flag of old, and until when there was one; empty where there never was."""
    if flag not in RETIRED:
        return ""
    month, instead = RETIRED[flag]
    year, number = month.split("-")
    return f"{instead}; Megatron-LM had it until {_MONTHS[int(number) - 1]} {year}"


def is_telling(flag: str) -> bool:
    """Does the flag tell a command line of an old Megatron-LM from that of another program?"""
    return flag in RETIRED and RETIRED[flag][0] > _RELEASE
