"""Flags that known forks of Megatron-LM have and Megatron-LM never had, and what Megatron-LM calls the same.

From the forks' own argument files as of 2026; names that many programs have are left out.
"""

from __future__ import annotations

from functools import cache
from typing import Final

_FLAGS: Final = {
    "Megatron-DeepSpeed": (
        "--abort-on-unmet-fused-kernel-constraints --aml-data-download-path --checkpoint-in-cpu --codecarbon-dir "
        "--contigious-checkpointing --cpu-optimizer --cpu_torch_adam --create-moe-param-group "
        "--curriculum-learning-legacy --data-efficiency-curriculum-learning --deepspeed "
        "--deepspeed-activation-checkpointing --deepspeed_config --deepspeed_mpi --disable-mem-efficient-ln "
        "--disable-moe-token-dropping --disable-moe-top2-2nd-expert-sampling --ds-inference "
        "--ds-sequence-parallel-fpdt --ds-sequence-parallel-fpdt-chunk-size --ds-sequence-parallel-fpdt-offloading "
        "--ds-sequence-parallel-size --ds_fused_adam --embed-layernorm --enable-expert-tensor-parallelism "
        "--enable-zbh1-exact-semantics --enable-zbh1-pipeline --expert-interval --force-ds-sequence-parallel "
        "--glu-activation --hidden-size-teacher --kd --kd-alpha-ce --kd-beta-ce --kd-temp --kill-switch-file "
        "--kill-switch-path --load-teacher --log-level-replica --log-optimizer-states-to-tensorboard "
        "--loss-on-targets-only --lr-decay-tokens --lr-warmup-tokens --mean-noise-span-length "
        "--memory-centric-tiled-linear --mlp-type --moe-eval-capacity-factor --moe-expert-parallel-size "
        "--moe-min-capacity --moe-train-capacity-factor --mos --no-load-lr-state --no-pipeline-parallel "
        "--noise-density --num-attention-heads-teacher --num-experts-switch --num-experts-teacher "
        "--num-key-value-heads --num-layers-teacher --pad-vocab-size-to --partition-activations --pp-partition-method "
        "--profile-backward --profile_steps --random-ltd --remote-device --repeated-dataloader --reset-iteration "
        "--return-data-index --reweight-loss-based-on-position-frequency --rotary-position-embeddings-theta "
        "--scattered-embeddings --skip-train-iteration-range --split-transformers --sync-tp-duplicated-parameters "
        "--synchronize-each-layer --test-weighted-split-paths --test-weighted-split-paths-path --tile-factor "
        "--tokenizer-name-or-path --topk --train-data-exact-num-epochs --train-desc-path --train-doc-idx-path "
        "--train-idx-path --train-sample-idx-path --train-shuffle-idx-path --train-tokens "
        "--train-weighted-split-paths --train-weighted-split-paths-path --universal-checkpoint --use-bnb-optimizer "
        "--use-dataset-only --use-flash-attn-builder --use-flash-attn-triton --use-flash-attn-v1 --use-flash-attn-v2 "
        "--use-pin-memory --use-tutel --valid-num-workers --valid-weighted-split-paths "
        "--valid-weighted-split-paths-path --zero-allgather-bucket-size --zero-contigious-gradients "
        "--zero-reduce-bucket-size --zero-reduce-scatter --zero-stage"
    ),
    "Pai-Megatron-Patch": (
        "--allow-missing-vision-projection-checkpoint --attention-head-type "
        "--convert-checkpoint-from-megatron-to-transformers --cpu-offloading --cvcuda-image-processing "
        "--dataloader-save --dataloader-seq-length --disable-bias-attn-fc --disable-bias-linear-fc "
        "--disable-parallel-output --disable-vision-class-token --embed-layernorm --enable-shared-expert "
        "--expert-interval --extra-vocab-size --freeze-LM --freeze-ViT --freeze-clip-vision-tower --freeze-llm "
        "--glu-activation --language-model-type --max-num-tiles --max-padding-length --mm-projector-type "
        "--mm-use-im-patch-token --mm-use-im-start-end --mm-vision-select-layer --moe --moe-eval-capacity-factor "
        "--moe-expert-parallel-size --moe-input-feature-slicing --moe-min-capacity --moe-topk "
        "--moe-train-capacity-factor --n-head-kv --num-shared-experts --online-evaluation-config "
        "--optimizer-offload-auto-threshold --optimizer-offload-chunk-size --optimizer-offload-policy "
        "--patch-tokenizer-type --qk-nope-head-dim --qk-rope-head-dim --rotary-scale-factor --router-type "
        "--shared-moe-ffn-hidden-size --sliding-window --tokenizer-prompt-format --train-mode --transformer-timers "
        "--transformer-type --tune-mm-mlp-adapter --use-alibi-mask --use-llama2-rotary-position-embeddings "
        "--use-mistral-rotary-position-embeddings --use-normhead --use-te --use-thumbnail --use-tiling --use-tutel "
        "--vision-model-type --vision-tower --z-loss-weight"
    ),
    "MindSpeed": (
        "--adaptive-cp-dynamic-attn-mask --adaptive-cp-manually-set-mask-list --adaptive-cp-only-reschedule "
        "--adaptive-cp-without-coarse --adaptive-memory-optimization --adaptive-recompute-device-size "
        "--adaptive-recompute-device-swap --adaptive-recompute-profiling-step --add-dense-bias --add-eos-token "
        "--add-output-layer-bias --add-rmsnorm-offset --aiqos --aiqos-enable-roce --aiqos-mode --aiqos-schedule "
        "--alibi-diagonal-opposite --alibi-fusion-attn-type --alternative-prompt --ampipe-degree "
        "--ampipe-tp-sp-comm-overlap --apply-rope-no-in-complex --async-log-allreduce --attention-mask-on-cpu "
        "--attention-mask-type --attn-logit-softcapping --auto-settings --auto-settings-log-level "
        "--auto-settings-ranks --auto-settings-type --auto-settings-work-dir --automated-pipeline "
        "--automated-pipeline-perf --balanced-moe-experts --balanced-moe-hot-expert-num --beta-fast --beta-slow "
        "--chain-of-thought --cla-share-factor --coc-fused-kernel --coc-mode --coc-parallel-num --compress-activation "
        "--compress-dense --compress-optimizer --compress-ratios --compress-rope-theta --context-parallel-algo "
        "--context-parallel-cache-interval --context-parallel-kv-cache-policy --cp-attention-mask-type "
        "--cp-window-size --cut-max-seqlen --dataset-additional-keys --dataset-impl --dim-model-base "
        "--disable-gloo-group --dist-train --distributed-optimizer-no-replica --dpo-beta --dpo-label-smoothing "
        "--dpo-loss-type --drop-thinking --dualpipev-dw-detach --dynamic-factor --ema-decay "
        "--embedding-multiplier-scale --enable-backward-overlap-ag-with-matmul --enable-dsa-indexer "
        "--enable-elastic-training --enable-expert-placement --enable-fine-grained-expert-placement "
        "--enable-hbmfault-repair --enable-hf2mg-convert --enable-high-availability --enable-mg2hf-convert "
        "--enable-mhc --enable-mla-absorb --enable-mla-scale-kv-lora --enable-mla-scale-q-lora "
        "--enable-overlap-ag-with-matmul --enable-overlap-matmul-with-rs --enable-recompute-layers-per-pp-rank "
        "--enable-share-memory --enable-thinking --enable-token-rearrange-opt --enable-worker-reboot --enable-zero3 "
        "--expert-interval --expert-placement-freq --fc-type --fill-neg-inf --fine-grained-expert-placement-thre "
        "--first-k-dense-replace --fix-router --fix-sub-seq-length --fp8-reuse-quantized-weight --fsdp2-config-path "
        "--full-shuffle-instruction-dataset --geglu --gelu-tanh --gemm-gradient-accumulation-fusion --hc-eps "
        "--hc-mult --hc-sinkhorn-iters --hccl-ep-group-buffer-adaptive-factor --hccl-group-buffer "
        "--hccl-group-buffer-adaptive --hccl-op-mode --hccl-slice-size --hf-cfg-dir --hf-chat-template "
        "--hf-datasets-params --hf-save-dir --high-freq-factor --index-head-dim --index-n-heads "
        "--index-share-for-mtp-iteration --index-skip-topk-offset --index-topk --index-topk-freq --index-topk-pattern "
        "--indexer-loss-coeff --indexer-qk-quant-scheme --init-norm-weight-in-fp32 --input-embeds-norm --input-jitter "
        "--input-layernorm-in-fp32 --instruction-template --interleave-probs --interleave-sliding-window "
        "--is-instruction-dataset --is-pairwise-dataset --kl-loss-reduction --kl-loss-weight --kl-temperature "
        "--kv-compress --kv-head-repeat-before-uly-alltoall --layerwise-disaggregated-training --layerzero "
        "--layerzero-config --load-checkpoint-loosely --long-factor --long-mscale --longrope-freqs-type "
        "--lora-ckpt-filter --lora-fusion --lora-load --lora-modules-to-save --lora-register-forward-hook "
        "--loss-chunk-size --loss-compute-mode --low-freq-factor --lu-lora-final-layer-index --lu-lora-lr "
        "--lu-lora-lr-ratio --mamba-chunk-size --mamba-d-conv --mamba-d-ssm --mamba-expand --mbs-idx "
        "--megatron-cp-in-bnsd --mg-save-dir --mix-strategy --mla-fa-divide-qk --mla-fa-without-pad --mla-mm-split "
        "--mla-swap-core-attn-out --mla-up-proj-tp-overlap --mla-zero-memory --moba-calc-method --moba-chunk-size "
        "--moba-topk --model-type-hf --moe-adaptive-recompute-activation --moe-adaptive-recompute-activation-scale "
        "--moe-allgather-overlap-comm --moe-alltoall-mc2 --moe-alltoall-overlap-comm --moe-bmm-mc2 "
        "--moe-comm-aux-loss-coeff --moe-device-level-aux-loss-coeff --moe-dynamic-padding --moe-fb-overlap "
        "--moe-intermediate-size --moe-model-type --moe-no-drop --moe-permutation-async-comm "
        "--moe-revert-type-after-topk --moe-tp-extend-ep --moe-train-capacity-factor --moe-unperm2-mem-optim-swap "
        "--moe-use-sinkhorn --moe-zero-memory --moe-zero-memory-num-layers --mtp-mem-efficient-logits --mtp-spec "
        "--multi-head-latent-attention --n-group --n-hash-layers --n-shared-experts --nd1-dim1-size --nd2-dim1-size "
        "--neat-pack --next-tockens --no-chat-template --no-cut-token --no-enable-linear-qkv --no-pad-to-seq-lengths "
        "--no-post-layer-norm --no-qad-enable --no-shared-storage --no-shuffle --no-use-gmm-fp8 --no-use-rts "
        "--no-use-sparse-c8-indexer --noisy-gate-policy --noop-layers --norm-topk-prob --npu-datadump "
        "--npu-deterministic --num-layer-list --num-zero-experts --o2-gradient --o2-optimizer "
        "--only-convert-last-checkpoint --op-cal-tflops --optimization-level --optimize-send-recv-comm "
        "--optimize-vpp-send-recv-comm --optimized-mbs-list --optimized-mbs-mode --optimizer-selection "
        "--origin-postprocess --original-seq-len --output-layer-slice-num --output-logit-softcapping "
        "--output-multiplier-scale --pad-to-multiple-of --pad-vocab-size-to --padded-base-length --padded-samples "
        "--param-and-grad-buffer-pad --partial-rotary-factor --pipe-experts-multi-data --pipe-experts-multi-stream "
        "--pipeline-num-transformer-layers --post-norm --pp-schedule-list --pre-tockens --pref-ftx "
        "--print-expert-load --prof-file --profile-data-simplification --profile-export-type --profile-level "
        "--profile-record-shapes --profile-save-path --profile-with-cpu --profile-with-memory --profile-with-stack "
        "--prompt-type-path --qad-enable --qad-teacher-load --qat-quant-block-size --qat-scheme --qk-nope-head-dim "
        "--qk-rope-head-dim --quant-grads --quant-states --query-pre-attn-scalar --reasoning-effort "
        "--recompute-activation-function --recompute-activation-function-num-layers --recompute-in-advance "
        "--recompute-in-bubble --recompute-mla-up-proj --recompute-module-list --recompute-norm "
        "--recompute-norm-num-layers --recompute-type --ref-model --refer-model-iter --reset-bucket-group-order "
        "--reuse-fp32-param --reward-tokens --rmsnorm-weight-in-fp32 --rope-factor --rope-scaling-beta-fast "
        "--rope-scaling-beta-slow --rope-scaling-mscale --rope-scaling-mscale-all-dim "
        "--rope-scaling-original-max-position-embeddings --rope-scaling-type --rope-theta --routed-scaling-factor "
        "--router-gating-in-fp32 --save-layer-by-layer --save-lora-to-hf --save-memory-ratio --scale-depth "
        "--scale-emb --scale-fmt --seq-aux --shape-order --share-kvstates --shared-expert-gate "
        "--shared-expert-gate-output-dimension --short-factor --short-mscale --skip-bias-add --sliding-window "
        "--sliding-window-size --smart-swap --sparse-mode --square-alibi-mask --swap-attention --swap-layer-input "
        "--swap-modules --swap-optimizer --swap-optimizer-times --swiglu-limit --target-nnodes --task-data-path "
        "--te-comparison-with-bf16 --te-comparison-with-cpu --te-gmm-mode --tokenizer-name-or-path "
        "--tokenizer-not-use-fast --tokenizer-padding-side --topk-group --topk-softmax-in-fp32 --tp-2d --tp-x --tp-y "
        "--trans-hot-expert-group-num --ttp-dump-dir --ttp-dump-timeout-seconds --ttp-enabled "
        "--ttp-heartbeat-interval-ms --ttp-heartbeat-timeout-ms --ttp-max-dump-ckpt-to-keep --ttp-max-missed-count "
        "--ttp-save-optimizer --ttp-save-rng --ttp-server-ip --ttp-server-port --ttp-wait-dump-file-timeout "
        "--ulysses-degree-in-cp --unaligned-linear --use-ascend-coc --use-ascend-mc2 --use-cp-send-recv-overlap "
        "--use-deter-comp --use-dsa-absorb --use-ema --use-fused-lightning-indexer "
        "--use-fused-lightning-indexer-kl-loss --use-fused-lightning-indexer-loss --use-fused-mhc "
        "--use-fused-moe-token-permute-and-unpermute --use-fused-ring-attention-update --use-fused-rmsnorm "
        "--use-fused-rotary-pos-emb --use-fused-sparse-flash-attention --use-fused-swiglu --use-fusion-attn-v2 "
        "--use-glm-rope --use-global-aux-loss --use-kv-cache --use-mc2 --use-moba-attn "
        "--use-multiparameter-pipeline-model-parallel --use-nanopipe --use-nanopipe-swap --use-nd-matmul "
        "--use-pipe-experts --use-sparse-flash-attn --use-triton-gdn --use-triton-mhc --use-triton-swiglu-limit "
        "--use-ulysses-allgather-kv --virtual-optimizer --yarn-scaling-factor"
    ),
    "Megatron-LLaMA": (
        "--RMSNorm --causal-lm --distributed-checkpointing --last-bucket-split-count "
        "--overlapped-distributed-optimizer --reduce-bucket-size --tokenizer-name-or-path --verify-grad-order"
    ),
    "swiss-ai/Megatron-LM": (
        "--ademamix-alpha --ademamix-alpha-warmup --ademamix-beta3 --ademamix-beta3-warmup --goldfish-h --goldfish-k "
        "--goldfish-loss --input-embeddings-multiplier --layernorm-init --log-params-norm-per-param "
        "--no-attn-layernorm --no-final-layernorm --no-mlp-layernorm --post-layer-norm --qknorm-impl --trigger-path "
        "--xielu --xiprelu --xiprelup"
    ),
    "ROCm/Megatron-LM": ("--disable-te-fused-rope"),
}

# What does the same in Megatron-LM, where something does.
_INSTEAD: Final = {
    "--RMSNorm": "write --normalization RMSNorm",
    "--attn-logit-softcapping": "Megatron-LM has nothing like it",
    "--context-parallel-algo": "write --cp-comm-type: p2p for a ring, a2a for Ulysses",
    "--cpu-optimizer": "write --optimizer-cpu-offload",
    "--create-moe-param-group": "leave it out",
    "--deepspeed": "leave it out: Megatron-LM does not use DeepSpeed",
    "--deepspeed-activation-checkpointing": "write --recompute-granularity full with --recompute-method uniform",
    "--deepspeed_config": "leave it out: Megatron-LM does not use DeepSpeed; its batch sizes, precision and clipping "
    "have arguments of Megatron-LM",
    "--deepspeed_mpi": "leave it out: Megatron-LM does not use DeepSpeed",
    "--disable-te-fused-rope": "write --no-rope-fusion",
    "--ds-sequence-parallel-size": "write --context-parallel-size with --cp-comm-type a2a",
    "--ds_fused_adam": "leave it out: Adam is fused",
    "--enable-expert-tensor-parallelism": "write --expert-tensor-parallel-size",
    "--first-k-dense-replace": "write --moe-layer-freq: ([0]*K+[1]*N)",
    "--glu-activation": "write --swiglu in place of 'swiglu'",
    "--moe-eval-capacity-factor": "leave it out: evaluation has the capacity factor of training",
    "--moe-expert-parallel-size": "write --expert-model-parallel-size",
    "--moe-intermediate-size": "write --moe-ffn-hidden-size",
    "--moe-topk": "write --moe-router-topk",
    "--moe-tp-extend-ep": "write --expert-tensor-parallel-size 1",
    "--moe-train-capacity-factor": "write --moe-expert-capacity-factor",
    "--multi-head-latent-attention": "write --multi-latent-attention",
    "--n-group": "write --moe-router-num-groups",
    "--n-head-kv": "write --group-query-attention with --num-query-groups",
    "--n-shared-experts": "write --moe-shared-expert-intermediate-size",
    "--no-pipeline-parallel": "leave it out: there is none without --pipeline-model-parallel-size",
    "--num-key-value-heads": "write --group-query-attention with --num-query-groups",
    "--num-shared-experts": "write --moe-shared-expert-intermediate-size",
    "--optimizer-offload-policy": "write --optimizer-cpu-offload",
    "--overlapped-distributed-optimizer": "write --use-distributed-optimizer --overlap-grad-reduce "
    "--overlap-param-gather",
    "--pad-vocab-size-to": "write --padded-vocab-size",
    "--patch-tokenizer-type": "write --tokenizer-type HuggingFaceTokenizer",
    "--qk-nope-head-dim": "write --qk-head-dim",
    "--qk-rope-head-dim": "write --qk-pos-emb-head-dim",
    "--rope-factor": "write --rotary-scaling-factor",
    "--rope-theta": "write --rotary-base",
    "--rotary-position-embeddings-theta": "write --rotary-base",
    "--routed-scaling-factor": "write --moe-router-topk-scaling-factor",
    "--skip-train-iteration-range": "write --iterations-to-skip",
    "--sliding-window": "write --window-size",
    "--sliding-window-size": "write --window-size",
    "--swap-optimizer": "write --optimizer-cpu-offload",
    "--tokenizer-name-or-path": "write --tokenizer-model with --tokenizer-type HuggingFaceTokenizer",
    "--topk": "write --moe-router-topk",
    "--topk-group": "write --moe-router-group-topk",
    "--train-tokens": "write --train-samples: this number / sequence length",
    "--lr-decay-tokens": "write --lr-decay-samples: this number / sequence length",
    "--lr-warmup-tokens": "write --lr-warmup-samples: this number / sequence length",
    "--universal-checkpoint": "write --ckpt-format torch_dist, which loads into any layout",
    "--use-flash-attn-builder": "write --attention-backend flash",
    "--use-flash-attn-triton": "write --attention-backend flash",
    "--use-flash-attn-v1": "write --attention-backend flash",
    "--use-flash-attn-v2": "write --attention-backend flash",
    "--use-fused-moe-token-permute-and-unpermute": "write --moe-permute-fusion",
    "--use-fused-ring-attention-update": "leave it out: it only makes the fork faster",
    "--use-fused-rmsnorm": "leave it out: it only makes the fork faster",
    "--use-fused-rotary-pos-emb": "leave it out: fused unless --no-rope-fusion is given",
    "--use-fused-swiglu": "leave it out: fused unless --no-bias-swiglu-fusion is given",
    "--use-llama2-rotary-position-embeddings": "write --position-embedding-type rope",
    "--use-mistral-rotary-position-embeddings": "write --position-embedding-type rope",
    "--z-loss-weight": "write --moe-z-loss-coeff",
    "--zero-allgather-bucket-size": "write --ddp-bucket-size",
    "--zero-reduce-bucket-size": "write --ddp-bucket-size",
    "--zero-stage": "write --use-distributed-optimizer for stage 1, --use-megatron-fsdp for 2 and 3, nothing for 0",
}


@cache
def _forks() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for fork, flags in _FLAGS.items():
        for flag in flags.split():
            found[flag] = (*found.get(flag, ()), fork)
    return found


def remedy_of(flag: str) -> str:
    """Which fork has the flag, and what to do; empty where none known here has."""
    forks = _forks().get(flag, ())
    if not forks:
        return ""
    whose = f"it is a flag of {' and '.join(forks)}"
    return f"{_INSTEAD[flag]}; {whose}" if flag in _INSTEAD else f"{whose}; leave it out if you can do without"
