#!/bin/bash
# A run that restarts itself, and looks for slow ranks and wrong results.
export CUDA_DEVICE_MAX_CONNECTIONS=1
ft_launcher --nproc-per-node 8 --ft-param-rank_heartbeat_timeout 600 pretrain_gpt.py \
    --num-layers 24 --hidden-size 2048 --num-attention-heads 16 --seq-length 2048 --max-position-embeddings 2048 \
    --enable-ft-package --calc-ft-timeouts --ft-num-warmup-iters 3 \
    --inprocess-restart --inprocess-max-iterations 5 --inprocess-granularity node --inprocess-active-world-size 8 \
    --inprocess-soft-timeout 120 --inprocess-hard-timeout 180 --inprocess-empty-cuda-cache \
    --log-straggler --disable-straggler-on-startup --straggler-minmax-count 4 \
    --rerun-mode validate_results --error-injection-rate 1000 --error-injection-type transient_error \
    --check-for-spiky-loss --no-check-for-nan-in-loss-and-grad \
    --check-weight-hash-across-dp-replicas-interval 500 --manual-gc --manual-gc-interval 50 --adlr-autoresume \
    --save /runs/ft --load /runs/ft --save-interval 500 \
    --bf16 --micro-batch-size 4 --global-batch-size 256 --train-iters 10000 --lr 3e-4 --eval-interval 500 \
    --mock-data --tokenizer-type NullTokenizer --vocab-size 50256
