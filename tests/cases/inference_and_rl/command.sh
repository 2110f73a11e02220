#!/bin/bash
# A command line of train_rl.py's that was given to the pretraining program.
export CUDA_DEVICE_MAX_CONNECTIONS=1
torchrun --nproc-per-node 8 pretrain_gpt.py \
    --num-layers 24 --hidden-size 2048 --num-attention-heads 16 --seq-length 2048 --max-position-embeddings 2048 \
    --perform-rl-step --grpo-group-size 8 --grpo-prompts-per-step 16 --grpo-kl-beta 0.001 --rl-partial-rollouts \
    --langrl-env-config environments.yaml \
    --inference-max-requests 64 --inference-dynamic-batching-buffer-size-gb 20 --inference-rng-tracker --flash-decode \
    --bf16 --micro-batch-size 1 --global-batch-size 128 --train-iters 100 --lr 1e-6 --eval-interval 20 \
    --mock-data --tokenizer-type NullTokenizer --vocab-size 50256
