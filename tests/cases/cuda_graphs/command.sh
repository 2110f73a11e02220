#!/bin/bash
export CUDA_DEVICE_MAX_CONNECTIONS=1
torchrun --nproc-per-node 8 pretrain_gpt.py \
    --num-layers 24 --hidden-size 2048 --num-attention-heads 16 --seq-length 2048 --max-position-embeddings 2048 \
    --cuda-graph-impl transformer_engine --cuda-graph-scope attn mlp --cuda-graph-warmup-steps 5 --te-rng-tracker \
    --no-bias-dropout-fusion --no-bias-gelu-fusion --no-persist-layer-norm \
    --tensor-model-parallel-size 2 --sequence-parallel \
    --bf16 --micro-batch-size 4 --global-batch-size 64 --train-iters 1000 --lr 3e-4 --eval-interval 100 \
    --mock-data --tokenizer-type NullTokenizer --vocab-size 50256
