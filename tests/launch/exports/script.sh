#!/bin/bash
# Variables of all kinds: quotes and spaces, small letters, lists of folders, what the environment has, what nobody has.
export NCCL_DEBUG=WARN NCCL_IB_HCA='=mlx5_0,mlx5_1' WANDB_NOTES="first try; it's \"small\""
export no_proxy=localhost,127.0.0.1
export PATH=/opt/tools/bin:$PATH
export PYTHONPATH=/opt/own:$PYTHONPATH
export TOKEN_FILE=$HOME/.token
export DOLLAR='a$b'
LOCAL_ONLY=1
MODEL_ARGS=(
    --num-layers 24 --hidden-size 2048 --num-attention-heads 16
    --seq-length 4096 --max-position-embeddings 4096
    --micro-batch-size 1 --global-batch-size 256 --train-iters 5000
    --lr 3e-4 --lr-decay-style cosine --eval-interval 500 --bf16
)
OMP_NUM_THREADS=4 torchrun --standalone --nproc-per-node=2 pretrain_gpt.py ${MODEL_ARGS[@]} \
    --mock-data --tokenizer-type NullTokenizer --vocab-size 50256 --tensorboard-dir "$HOME/runs/first try"
