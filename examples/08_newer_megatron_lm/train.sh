#!/bin/bash
# A small mixture of experts, as it was started with Megatron-LM 0.16.
# It trains on mock data, so nothing has to be downloaded.
export CUDA_DEVICE_MAX_CONNECTIONS=1

LAYERS=4
EXPERTS=8

MODEL_ARGS="
    --num-layers $LAYERS --hidden-size 1024 --num-attention-heads 16
    --seq-length 2048 --max-position-embeddings 2048
    --position-embedding-type rope --normalization RMSNorm --swiglu --disable-bias-linear
"

MOE_ARGS=(
    --num-experts $EXPERTS        # in every layer but the first
    --moe-layer-freq "([0]*1+[1]*3)"
    --moe-router-topk 2
    --moe-grouped-gemm
    --moe-extended-tp             # experts are divided like the other layers
)

TRAINING_ARGS=(
    --bf16 --micro-batch-size 1 --global-batch-size 16 --train-iters 1000
    --lr 3e-4 --lr-decay-style cosine --no-async-tensor-model-parallel-allreduce
    --log-interval 10 --eval-interval 500 --eval-iters 10
)

python -m torch.distributed.launch --nproc_per_node 8 --use_env pretrain_gpt.py \
    $MODEL_ARGS "${MOE_ARGS[@]}" "${TRAINING_ARGS[@]}" \
    --mock-data --tokenizer-type NullTokenizer --vocab-size 32000 \
    --expert-model-parallel-size 2 --use-distributed-optimizer
