#!/usr/bin/env bash
# No launcher: one process.
cd "$(dirname "$0")"
MODEL_ARGS=(
    --num-layers 24 --hidden-size 2048 --num-attention-heads 16
    --seq-length 4096 --max-position-embeddings 4096
    --micro-batch-size 1 --global-batch-size 256 --train-iters 5000
    --lr 3e-4 --lr-decay-style cosine --eval-interval 500 --bf16
)
CUDA_VISIBLE_DEVICES=0 python3 -u pretrain_gpt.py ${MODEL_ARGS[@]} --mock-data --tokenizer-type NullTokenizer --vocab-size 50256
