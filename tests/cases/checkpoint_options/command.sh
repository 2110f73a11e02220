#!/bin/bash
# Continues from a checkpoint of its own, saves in the background, keeps short-lived checkpoints beside the others.
export CUDA_DEVICE_MAX_CONNECTIONS=1
RUN=/runs/gpt-1b
torchrun --nproc-per-node 8 pretrain_gpt.py \
    --num-layers 24 --hidden-size 2048 --num-attention-heads 16 --seq-length 2048 --max-position-embeddings 2048 \
    --save $RUN/ckpt --load $RUN/ckpt --save-interval 1000 --save-retain-interval 10000 \
    --ckpt-format torch_dist --async-save --use-persistent-ckpt-worker --ckpt-assume-constant-structure \
    --ckpt-fully-parallel-load --dist-ckpt-strictness log_all --auto-detect-ckpt-format \
    --non-persistent-save-interval 100 --non-persistent-ckpt-type global \
    --non-persistent-global-ckpt-dir $RUN/short-lived \
    --exit-on-missing-checkpoint --no-save-rng --no-load-rng --no-load-optim --finetune \
    --exit-duration-in-mins 230 --exit-signal-handler --exit-signal SIGUSR1 \
    --use-distributed-optimizer --dist-ckpt-optim-fully-reshardable \
    --bf16 --micro-batch-size 4 --global-batch-size 256 --train-iters 10000 --lr 3e-4 --eval-interval 500 \
    --mock-data --tokenizer-type NullTokenizer --vocab-size 50256
