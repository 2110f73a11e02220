#!/bin/bash
# One blend for training, another for evaluation; half of the code documents have their middle at the end.
BLEND=(0.5 /data/code_text_document 0.3 /data/web_text_document 0.2 /data/math_text_document)
export CUDA_DEVICE_MAX_CONNECTIONS=1
torchrun --nproc-per-node 2 pretrain_gpt.py \
    --num-layers 8 --hidden-size 512 --num-attention-heads 8 --seq-length 2048 --max-position-embeddings 2048 \
    --train-data-path "${BLEND[@]}" --valid-data-path /data/valid_text_document --test-data-path /data/test_text_document \
    --fim-data --fim-rate 0.5 --fim-spm-rate 0.5 --fim-no-prefix "<no>" \
    --fim-prefix-token "<fim_prefix>" --fim-middle-token "<fim_middle>" --fim-suffix-token "<fim_suffix>" \
    --fim-pad-token "<fim_pad>" --fim-eod-token "<|endoftext|>" \
    --reset-position-ids --reset-attention-mask --eod-mask-loss --no-mmap-bin-files --num-workers 4 \
    --dataloader-type cyclic --data-cache-path /cache/index --num-dataset-builder-threads 8 \
    --tokenizer-type HuggingFaceTokenizer --tokenizer-model bigcode/starcoder2-3b --trust-remote-code \
    --make-vocab-size-divisible-by 64 \
    --bf16 --micro-batch-size 8 --train-iters 1000 --lr 3e-4 --eval-interval 100
