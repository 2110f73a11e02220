#!/bin/bash
# A Llama-style model on one node of 8 GPUs, as it is started with Megatron-LM.
# It trains on mock data, so nothing has to be downloaded.
export CUDA_DEVICE_MAX_CONNECTIONS=1

GPUS_PER_NODE=8
NUM_NODES=1

MODEL_ARGS=(
    --num-layers 16
    --hidden-size 2048
    --ffn-hidden-size 8192
    --num-attention-heads 32
    --group-query-attention
    --num-query-groups 8
    --seq-length 4096
    --max-position-embeddings 4096
    --position-embedding-type rope
    --rotary-base 500000
    --normalization RMSNorm
    --norm-epsilon 1e-5
    --swiglu
    --disable-bias-linear
    --untie-embeddings-and-output-weights
    --attention-dropout 0.0
    --hidden-dropout 0.0
    --init-method-std 0.02
)

TRAINING_ARGS=(
    --bf16
    --micro-batch-size 2
    --global-batch-size 128
    --train-iters 10000
    --lr 3e-4
    --min-lr 3e-5
    --lr-decay-style cosine      # to --min-lr at the last iteration
    --lr-warmup-iters 5
    --weight-decay 0.1
    --adam-beta1 0.9
    --adam-beta2 0.95
    --clip-grad 1.0
    --use-distributed-optimizer
    --tensor-model-parallel-size 2
    --sequence-parallel
)

DATA_ARGS=(
    --mock-data
    --tokenizer-type NullTokenizer
    --vocab-size 128255
    --split 99,1,0
)

LOGGING_ARGS=(
    --log-interval 1
    --eval-interval 1000
    --eval-iters 10
)

torchrun --nproc-per-node "$GPUS_PER_NODE" --nnodes "$NUM_NODES" pretrain_gpt.py \
    "${MODEL_ARGS[@]}" \
    "${TRAINING_ARGS[@]}" \
    "${DATA_ARGS[@]}" \
    "${LOGGING_ARGS[@]}"
