#!/bin/bash
unset CUDA_DEVICE_MAX_CONNECTIONS
torchrun --nproc-per-node 8 pretrain_gpt.py \
    --num-layers 32 --hidden-size 4096 --num-attention-heads 32 --seq-length 4096 --max-position-embeddings 4096 \
    --untie-embeddings-and-output-weights --use-megatron-fsdp --data-parallel-sharding-strategy optim_grads_params \
    --fsdp-double-buffer --init-model-with-meta-device --no-gradient-accumulation-fusion --ckpt-format fsdp_dtensor \
    --use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather --calculate-per-token-loss \
    --distributed-timeout-minutes 30 --ddp-average-in-collective --use-nccl-ub \
    --bf16 --micro-batch-size 1 --global-batch-size 128 --train-iters 1000 --lr 1e-4 --eval-interval 200 \
    --save /runs/fsdp --save-interval 200 --load /runs/fsdp \
    --mock-data --tokenizer-type NullTokenizer --vocab-size 128255
