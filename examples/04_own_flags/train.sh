#!/bin/bash
# A run with a fork of Megatron-LM that has two flags of its own: --router-noise and --run-owner.
GPUS_PER_NODE=8

ARGS=(
    --num-layers 12
    --hidden-size 768
    --ffn-hidden-size 3072
    --num-attention-heads 12
    --seq-length 1024
    --max-position-embeddings 1024
    --num-experts 8
    --moe-router-topk 2
    --router-noise 0.05              # ours
    --run-owner "speech team"        # ours
    --disable-bias-linear
    --micro-batch-size 4
    --global-batch-size 64
    --train-iters 1000
    --lr 3e-4
    --lr-decay-style constant
    --bf16
    --eval-interval 100
    --mock-data
    --tokenizer-type NullTokenizer
    --vocab-size 50256
)

torchrun --nproc-per-node "$GPUS_PER_NODE" pretrain_gpt.py "${ARGS[@]}"
