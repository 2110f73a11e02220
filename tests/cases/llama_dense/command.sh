#!/bin/bash
# Llama 3.1 8B on two nodes, weights and optimizer state divided, tensor-parallel communication hidden.
set -euo pipefail
export CUDA_DEVICE_MAX_CONNECTIONS=1
export NCCL_IB_TIMEOUT=19

TP=4
MODEL_ARGS="
    --use-mcore-models
    --num-layers 32
    --hidden-size 4096
    --ffn-hidden-size 14336
    --num-attention-heads 32
    --group-query-attention
    --num-query-groups 8
    --kv-channels 128
    --seq-length 8192
    --max-position-embeddings 131072
    --position-embedding-type rope
    --rotary-base 500000
    --rotary-percent 1.0
    --use-rope-scaling
    --normalization RMSNorm
    --norm-epsilon 1e-5
    --swiglu
    --disable-bias-linear
    --untie-embeddings-and-output-weights
    --attention-dropout 0
    --hidden-dropout 0
    --init-method-std 0.01
    --attention-backend flash
    --cross-entropy-loss-fusion
    --cross-entropy-fusion-impl te"
TRAINING_ARGS="
    --bf16 --grad-reduce-in-bf16
    --micro-batch-size 1 --global-batch-size 256
    --train-iters 50000 --eval-interval 1000 --eval-iters 32
    --lr 3e-4 --min-lr 3e-5 --lr-decay-style cosine --lr-warmup-iters 500 --lr-decay-iters 48000
    --adam-beta1 0.9 --adam-beta2 0.95 --adam-eps 1e-5 --weight-decay 0.1 --clip-grad 1.0
    --seed 42"
PARALLEL_ARGS="
    --tensor-model-parallel-size $TP --sequence-parallel
    --use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather
    --tp-comm-overlap --tp-comm-bootstrap-backend nccl"

torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint "$MASTER_ADDR:29500" pretrain_gpt.py \
    $MODEL_ARGS $TRAINING_ARGS $PARALLEL_ARGS \
    --tokenizer-type HuggingFaceTokenizer --tokenizer-model meta-llama/Llama-3.1-8B \
    --data-path 0.7 /data/web_text_document 0.3 /data/code_text_document --split 99,1,0
