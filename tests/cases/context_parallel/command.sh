#!/bin/bash
# Long sequences: every sequence is divided among four ranks.
export CUDA_DEVICE_MAX_CONNECTIONS=1
SEQ=131072
torchrun --nproc-per-node 8 pretrain_gpt.py \
    --num-layers 32 --hidden-size 4096 --ffn-hidden-size 14336 --num-attention-heads 32 \
    --group-query-attention --num-query-groups 8 --seq-length $SEQ --max-position-embeddings $SEQ \
    --position-embedding-type rope --rotary-base 8000000 --normalization RMSNorm --swiglu --disable-bias-linear \
    --window-size 4095,0 --window-attn-skip-freq 4 --no-masked-softmax-fusion \
    --context-parallel-size 4 --cp-comm-type a2a+p2p --hierarchical-context-parallel-sizes 2 2 \
    --tensor-model-parallel-size 2 --sequence-parallel --calculate-per-token-loss \
    --cpu-offloading-num-layers 4 \
    --bf16 --micro-batch-size 1 --global-batch-size 8 --train-iters 2000 --lr 1e-5 --eval-interval 100 \
    --no-create-attention-mask-in-dataloader \
    --data-path /data/books_text_document --split 98,2,0 --tokenizer-type Llama2Tokenizer \
    --tokenizer-model /data/tokenizer.model
