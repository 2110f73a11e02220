#!/bin/bash
# A mixture of 64 experts in groups, experts divided among 8 ranks, without tensor parallelism inside an expert.
export CUDA_DEVICE_MAX_CONNECTIONS=1

MOE_ARGS=(
    --num-experts 64
    --moe-layer-freq "([0]*1+[1]*23)"
    --moe-ffn-hidden-size 1408
    --moe-shared-expert-intermediate-size 2816
    --moe-shared-expert-overlap
    --moe-router-topk 6
    --moe-router-num-groups 8
    --moe-router-group-topk 3
    --moe-router-score-function sigmoid
    --moe-router-topk-scaling-factor 2.5
    --moe-router-enable-expert-bias
    --moe-router-bias-update-rate 1e-3
    --moe-router-dtype fp32
    --moe-router-load-balancing-type seq_aux_loss
    --moe-aux-loss-coeff 1e-4
    --moe-z-loss-coeff 1e-3
    --moe-token-dispatcher-type alltoall
    --moe-grouped-gemm
    --moe-permute-fusion
    --moe-per-layer-logging
)

torchrun --nproc-per-node 8 pretrain_gpt.py \
    --num-layers 24 --hidden-size 2048 --ffn-hidden-size 8192 --num-attention-heads 16 \
    --seq-length 4096 --max-position-embeddings 4096 --position-embedding-type rope --no-rope-fusion \
    --normalization RMSNorm --swiglu --disable-bias-linear --untie-embeddings-and-output-weights \
    "${MOE_ARGS[@]}" \
    --tensor-model-parallel-size 2 --sequence-parallel \
    --expert-model-parallel-size 8 --expert-tensor-parallel-size 1 \
    --use-distributed-optimizer --bf16 \
    --micro-batch-size 1 --global-batch-size 128 --train-iters 20000 \
    --lr 4e-4 --min-lr 4e-5 --lr-warmup-iters 200 --lr-decay-style cosine \
    --eval-interval 500 --eval-iters 10 \
    --mock-data --tokenizer-type NullTokenizer --vocab-size 102399
