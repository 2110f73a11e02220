#!/bin/bash
# Latent attention as in DeepSeek V3, small, with one multi-token-prediction layer.
ARGS=(--multi-latent-attention --q-lora-rank 768 --kv-lora-rank 256 --qk-head-dim 64 --qk-pos-emb-head-dim 32)
ARGS+=(--v-head-dim 64 --rope-type yarn --rotary-scaling-factor 40 --mscale 1.0 --mscale-all-dim 1.0)
ARGS+=(--qk-layernorm --mtp-num-layers 1 --mtp-loss-scaling-factor 0.3)

export CUDA_DEVICE_MAX_CONNECTIONS=1
torchrun --nproc-per-node=4 pretrain_gpt.py --num-layers=16 --hidden-size=1024 --num-attention-heads=16 \
    --ffn-hidden-size=4096 --seq-length=4096 --max-position-embeddings=163840 --position-embedding-type=rope \
    --normalization=RMSNorm --swiglu --disable-bias-linear --untie-embeddings-and-output-weights \
    --attention-dropout=0.0 --hidden-dropout=0.0 "${ARGS[@]}" \
    --bf16 --micro-batch-size=2 --global-batch-size=64 --train-iters=1000 --lr=2e-4 --eval-interval=100 \
    --recompute-granularity=selective --recompute-modules mla_up_proj mlp \
    --mock-data --tokenizer-type=NullTokenizer --vocab-size=129279
