#!/bin/bash
export CUDA_DEVICE_MAX_CONNECTIONS=1
torchrun --nproc-per-node 8 pretrain_hybrid.py \
    --hybrid-layer-pattern "MEMEM*E|MEMEM*E/*E/*E" --mtp-loss-scaling-factor 0.3 \
    --hidden-size 1024 --num-attention-heads 16 --group-query-attention --num-query-groups 2 --kv-channels 128 \
    --mamba-num-heads 32 --mamba-head-dim 64 --mamba-num-groups 8 --mamba-state-dim 128 \
    --num-experts 16 --moe-router-topk 4 --moe-grouped-gemm --moe-ffn-hidden-size 1280 \
    --moe-router-score-function sigmoid --moe-router-enable-expert-bias --moe-router-dtype fp32 \
    --moe-shared-expert-intermediate-size 2560 --moe-token-dispatcher-type alltoall \
    --seq-length 4096 --max-position-embeddings 4096 --position-embedding-type none \
    --squared-relu --disable-bias-linear --untie-embeddings-and-output-weights --normalization RMSNorm \
    --hidden-dropout 0.0 --attention-dropout 0.0 --init-method-std 0.0173 \
    --tensor-model-parallel-size 2 --sequence-parallel --pipeline-model-parallel-size 2 \
    --expert-model-parallel-size 2 --expert-tensor-parallel-size 1 --use-distributed-optimizer --overlap-grad-reduce \
    --bf16 --micro-batch-size 1 --global-batch-size 64 --train-samples 64000 --lr-decay-samples 60000 \
    --lr-warmup-samples 640 --lr 4.5e-4 --min-lr 4.5e-6 --lr-decay-style WSD --lr-wsd-decay-samples 6400 \
    --lr-wsd-decay-style minus_sqrt --eval-interval 1000 --eval-iters 8 \
    --tokenizer-type NullTokenizer --vocab-size 131071 --mock-data
