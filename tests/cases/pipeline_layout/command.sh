#!/bin/bash
# Four pipeline stages, two virtual ones on each, layers placed by hand.
export CUDA_DEVICE_MAX_CONNECTIONS=1
torchrun --nproc-per-node 8 pretrain_gpt.py \
    --num-layers 14 --hidden-size 1024 --num-attention-heads 16 --seq-length 2048 --max-position-embeddings 2048 \
    --tensor-model-parallel-size 2 --sequence-parallel \
    --pipeline-model-parallel-size 4 --pipeline-model-parallel-layout "Et|tt|tt|tt|tt|tt|tt|tL" \
    --microbatch-group-size-per-virtual-pipeline-stage 4 --overlap-p2p-communication-warmup-flush \
    --defer-embedding-wgrad-compute --wgrad-deferral-limit 2 --untie-embeddings-and-output-weights \
    --recompute-granularity full --recompute-method uniform --recompute-num-layers 1 \
    --transformer-impl transformer_engine --bf16 \
    --micro-batch-size 1 --global-batch-size 64 --train-iters 500 --lr 1e-4 --eval-interval 100 --eval-iters 2 \
    --mock-data --tokenizer-type NullTokenizer --vocab-size 32000
