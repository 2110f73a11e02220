#!/bin/bash
export CUDA_DEVICE_MAX_CONNECTIONS=1
MODEL_ARGS=(
    --num-layers 24 --hidden-size 2048 --num-attention-heads 16
    --seq-length 4096 --max-position-embeddings 4096
    --micro-batch-size 1 --global-batch-size 256 --train-iters 5000
    --lr 3e-4 --lr-decay-style cosine --eval-interval 500 --bf16
)

ft_launcher \
    --rdzv_backend=c10d --rdzv_endpoint=127.0.0.1:29500 \
    --nnodes=1 --nproc_per_node=8 --max-restarts=3 \
    --ft-rank_section_timeouts=setup:600,step:180,checkpointing:420 \
    --ft-rank_out_of_section_timeout=300 \
    pretrain_gpt.py ${MODEL_ARGS[@]} \
    --mock-data --tokenizer-type NullTokenizer --vocab-size 50256 \
    --enable-ft-package
