#!/bin/sh
N_NODES=`expr 1 + 1`
GPUS=8
TRAIN_SAMPLES=`expr 1000 \* 512`
BASE=`basename /data/models/gpt2.json .json`
ROOT=$(dirname $(dirname /a/b/c/d.sh))
if [ -z "$LR" ]; then LR=3e-4; fi
test "$N_NODES" -gt 1 -a "$GPUS" = 8 && DIST="--distributed-backend nccl"
ARGS=""
for s in 'vocab:gpt2-vocab.json' 'merge:gpt2-merges.txt'; do
  ARGS="$ARGS --`echo $s | cut -d: -f1`-file $ROOT/`echo $s | cut -d: -f2`"
done
i=0
while [ $i -lt 2 ]; do i=`expr $i + 1`; WARM=${WARM}0; done
CUDA_VISIBLE_DEVICES=0,1 NCCL_DEBUG=WARN torchrun --nproc_per_node=$GPUS --nnodes=$N_NODES pretrain_gpt.py \
  --train-samples $TRAIN_SAMPLES --lr $LR --lr-warmup-samples 5$WARM $DIST $ARGS \
  --save $ROOT/$BASE --tokenizer-type $(echo gpt2bpetokenizer | tr '[:lower:]' '[:upper:]') 2>&1 | tee log.txt
