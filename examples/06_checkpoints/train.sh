#!/bin/bash
# A small Llama-style model with Megatron-LM on one GPU, saved twice. It trains on mock data; TOKENIZER is a folder with
# the tokenizer of a model of Hugging Face's.
export CUDA_DEVICE_MAX_CONNECTIONS=1
TOKENIZER=${TOKENIZER:-tokenizer}

MODEL_ARGS=(
    --num-layers 4
    --hidden-size 256
    --ffn-hidden-size 704
    --num-attention-heads 8
    --group-query-attention
    --num-query-groups 4
    --seq-length 512
    --max-position-embeddings 512
    --position-embedding-type rope
    --normalization RMSNorm
    --swiglu
    --disable-bias-linear
    --untie-embeddings-and-output-weights
    --attention-dropout 0.0
    --hidden-dropout 0.0
)

TRAINING_ARGS=(
    --bf16
    --micro-batch-size 4
    --global-batch-size 16
    --train-iters 200
    --lr 1e-3
    --min-lr 1e-4
    --lr-warmup-iters 10
    --clip-grad 1.0
)

DATA_ARGS=(
    --mock-data
    --tokenizer-type HuggingFaceTokenizer
    --tokenizer-model "$TOKENIZER"
)

CHECKPOINT_ARGS=(
    --save checkpoints
    --save-interval 100
    --ckpt-format torch_dist
    --eval-interval 100
    --eval-iters 1
)

torchrun --nproc-per-node 1 pretrain_gpt.py \
    "${MODEL_ARGS[@]}" \
    "${TRAINING_ARGS[@]}" \
    "${DATA_ARGS[@]}" \
    "${CHECKPOINT_ARGS[@]}"
