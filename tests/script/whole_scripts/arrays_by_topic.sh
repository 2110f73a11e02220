#!/bin/bash
# One array for each topic, as most published scripts have it.
set -euo pipefail

export CUDA_DEVICE_MAX_CONNECTIONS=1

GPUS_PER_NODE=${GPUS_PER_NODE:-8}
MASTER_ADDR=${MASTER_ADDR:-localhost}
MASTER_PORT=${MASTER_PORT:-6000}
NNODES=${NNODES:-1}
NODE_RANK=${NODE_RANK:-0}
WORLD_SIZE=$((GPUS_PER_NODE * NNODES))

CHECKPOINT_PATH=${1:-/ckpt/gpt}
DATA_PATH=${2:-"0.7 /data/books_text 0.3 /data/web_text"}

DISTRIBUTED_ARGS=(
    --nproc_per_node "$GPUS_PER_NODE"
    --nnodes "$NNODES"
    --node_rank "$NODE_RANK"
    --master_addr "$MASTER_ADDR"
    --master_port "$MASTER_PORT"
)
MODEL_ARGS=(
    --num-layers 24        # 1.3B
    --hidden-size 2048
    --num-attention-heads 16
    --seq-length 2048
    --max-position-embeddings 2048
)
TP=2
PP=$((WORLD_SIZE >= 16 ? 2 : 1))
TRAINING_ARGS=(
    --micro-batch-size 4
    --global-batch-size $((4 * WORLD_SIZE / (TP * PP)))
    --train-iters 500000
    --lr 6.0e-5 --min-lr 6.0e-6 --lr-decay-style cosine
    --weight-decay 0.1 --adam-beta1 0.9 --adam-beta2 0.95 --clip-grad 1.0
    --bf16
)
PARALLEL_ARGS=(--tensor-model-parallel-size ${TP} --pipeline-model-parallel-size ${PP})
if (( PP > 1 )); then
    PARALLEL_ARGS+=(--num-layers-per-virtual-pipeline-stage 6)
fi
OUTPUT_ARGS=(
    --save "$CHECKPOINT_PATH" --load "$CHECKPOINT_PATH"
    --log-interval 100 --eval-iters 10
    ${TENSORBOARD:+--tensorboard-dir "$CHECKPOINT_PATH/tb"}
)

torchrun "${DISTRIBUTED_ARGS[@]}" pretrain_gpt.py \
    "${MODEL_ARGS[@]}" \
    "${TRAINING_ARGS[@]}" \
    "${PARALLEL_ARGS[@]}" \
    --data-path $DATA_PATH \
    "${OUTPUT_ARGS[@]}"
