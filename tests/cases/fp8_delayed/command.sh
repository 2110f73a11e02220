#!/bin/bash
# FP8 with a recipe that looks back, parameters gathered in FP8, first and last layer in BF16.
export CUDA_DEVICE_MAX_CONNECTIONS=1
torchrun --nproc-per-node 8 pretrain_gpt.py \
    --num-layers 24 --hidden-size 2048 --num-attention-heads 16 --seq-length 2048 --max-position-embeddings 2048 \
    --position-embedding-type rope --normalization RMSNorm --swiglu --disable-bias-linear \
    --bf16 --fp8-format hybrid --fp8-recipe delayed --fp8-amax-history-len 1024 --fp8-amax-compute-algo max \
    --fp8-margin 0 --fp8-param-gather --accumulate-allreduce-grads-in-fp32 \
    --tensor-model-parallel-size 2 --sequence-parallel \
    --use-distributed-optimizer --overlap-param-gather --overlap-grad-reduce \
    --micro-batch-size 4 --global-batch-size 128 --train-iters 3000 --lr 3e-4 --eval-interval 100 \
    --mock-data --tokenizer-type NullTokenizer --vocab-size 50256
