#!/bin/bash
# The optimizer keeps its state in small formats, half of it in host memory; weight decay and learning rate move.
export CUDA_DEVICE_MAX_CONNECTIONS=1
torchrun --nproc-per-node 8 pretrain_gpt.py \
    --num-layers 24 --hidden-size 2048 --num-attention-heads 16 --seq-length 2048 --max-position-embeddings 2048 \
    --optimizer adam --use-distributed-optimizer --use-precision-aware-optimizer \
    --main-grads-dtype bf16 --main-params-dtype fp16 --exp-avg-dtype fp8 --exp-avg-sq-dtype fp8 \
    --optimizer-cpu-offload --optimizer-offload-fraction 0.5 --overlap-cpu-optimizer-d2h-h2d \
    --no-pin-cpu-grads \
    --lr 3e-4 --min-lr 1e-5 --decoupled-lr 1e-4 --decoupled-min-lr 1e-6 --lr-decay-style inverse-square-root \
    --lr-warmup-samples 20000 --lr-warmup-init 1e-7 --override-opt_param-scheduler \
    --start-weight-decay 0.01 --end-weight-decay 0.1 --weight-decay-incr-style cosine \
    --adam-beta2 0.98 --clip-grad 0.5 --check-for-large-grads --log-num-zeros-in-grad \
    --bf16 --micro-batch-size 4 --global-batch-size 256 --rampup-batch-size 64 32 8192 --train-samples 1000000 \
    --eval-interval 100 --eval-iters 4 --mock-data --tokenizer-type NullTokenizer --vocab-size 50256
