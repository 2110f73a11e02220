#!/bin/bash
# One node of 8 GPUs, restarts, a log folder, memory near the GPUs.
export CUDA_DEVICE_MAX_CONNECTIONS=1
GPUS_PER_NODE=8
CHECKPOINT_PATH=${CHECKPOINT_PATH:-/checkpoints/gpt}

DISTRIBUTED_ARGS=(
    --nproc_per_node $GPUS_PER_NODE
    --nnodes 1
    --max-restarts 3
    --log-dir logs --redirects 3
    --master_addr localhost
    --master_port 6000
)
MODEL_ARGS=(
    --num-layers 24 --hidden-size 2048 --num-attention-heads 16
    --seq-length 4096 --max-position-embeddings 4096
    --micro-batch-size 1 --global-batch-size 256 --train-iters 5000
    --lr 3e-4 --lr-decay-style cosine --eval-interval 500 --bf16
)

numactl --cpunodebind=0 --membind=0 torchrun ${DISTRIBUTED_ARGS[@]} pretrain_gpt.py \
    ${MODEL_ARGS[@]} \
    --mock-data --tokenizer-type NullTokenizer --vocab-size 50256 \
    --save "$CHECKPOINT_PATH" --save-interval 1000
