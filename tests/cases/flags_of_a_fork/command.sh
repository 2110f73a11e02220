#!/bin/bash
# The fork knows more flags than Megatron-LM does, and two are misspelled.
export CUDA_DEVICE_MAX_CONNECTIONS=1
torchrun --nproc-per-node 8 pretrain_gpt.py \
    --num-layers 24 --hidden-sizes 2048 --num-attention-heads 16 --seq-length 2048 --max-position-embeddings 2048 \
    --use-our-fast-norm --value-residual-lambda 0.5 --rotary-bases 10000 --tensor_model_parallel_size 2 \
    --bf16 --micro-batch-size 4 --global-batch-size 256 --train-iters 10000 --lr 3e-4 --eval-interval 500 \
    --mock-data --tokenizer-type NullTokenizer --vocab-size 50256
