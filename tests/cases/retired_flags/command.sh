#!/bin/bash
# As it was written for a Megatron-LM of 2023.
python -m torch.distributed.launch --nproc_per_node 8 pretrain_gpt.py \
    --num-layers 24 --hidden-size 1024 --num-attention-heads 16 --seq-length 1024 --max-position-embeddings 1024 \
    --batch-size 4 --model-parallel-size 2 --warmup 100 --checkpoint-activations --use-flash-attn \
    --use-mcore-models --DDP-impl local --no-async-tensor-model-parallel-allreduce \
    --fp16 --train-iters 500000 --lr 1.5e-4 --eval-interval 1000 \
    --data-path /data/text_document --vocab-file vocab.json --merge-file merges.txt --num-classes 1000
