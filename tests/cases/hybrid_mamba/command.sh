#!/bin/bash
export CUDA_DEVICE_MAX_CONNECTIONS=1
torchrun --nproc-per-node 8 pretrain_mamba.py \
    --spec megatron.core.models.mamba.mamba_layer_specs mamba_stack_spec \
    --hybrid-override-pattern "M-M-M*-M-M-M-M*-" \
    --num-layers 16 --hidden-size 2048 --ffn-hidden-size 8192 --num-attention-heads 16 \
    --group-query-attention --num-query-groups 8 \
    --mamba-state-dim 128 --mamba-head-dim 64 --mamba-num-groups 8 --is-hybrid-model \
    --seq-length 4096 --max-position-embeddings 4096 --position-embedding-type none \
    --squared-relu --disable-bias-linear --untie-embeddings-and-output-weights --normalization RMSNorm \
    --hidden-dropout 0.0 --attention-dropout 0.0 \
    --tensor-model-parallel-size 2 --sequence-parallel --use-distributed-optimizer \
    --bf16 --micro-batch-size 2 --global-batch-size 96 --train-samples 480000 --lr-decay-samples 470000 \
    --lr-warmup-samples 4800 --lr 3e-4 --min-lr 3e-6 --lr-decay-style WSD --lr-wsd-decay-samples 48000 \
    --lr-wsd-decay-style minus_sqrt --eval-interval 1000 --eval-iters 8 \
    --tokenizer-type TikTokenizer --tokenizer-model /data/vocab.json --tiktoken-pattern v2 \
    --data-path /data/text_document --split 99,1,0
