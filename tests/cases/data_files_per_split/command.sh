#!/bin/bash
# The files of each split stand in a file beside this script.
cd "$(dirname "$0")"
torchrun --nproc-per-node 2 pretrain_gpt.py \
    --num-layers 8 --hidden-size 512 --num-attention-heads 8 --seq-length 1024 --max-position-embeddings 1024 \
    --per-split-data-args-path blends.json --mid-level-dataset-surplus 0.01 \
    --multiple-validation-sets --full-validation \
    --tokenizer-type SentencePieceTokenizer --tokenizer-model /data/tokenizer.model --vocab-extra-ids 100 \
    --bf16 --micro-batch-size 8 --train-iters 1000 --lr 3e-4 --eval-interval 100
