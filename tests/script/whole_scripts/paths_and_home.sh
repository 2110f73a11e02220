#!/bin/bash
ROOT=~/megatron
DATA=${DATA_DIR:-~/data}
SPLITS=( train valid test )
PATHS=()
for i in "${!SPLITS[@]}"; do
    name=${SPLITS[$i]}
    PATHS[i]="$DATA/${name^}/${name}_text_document"
done
CKPT=$ROOT/checkpoints/${RUN_NAME:-"my run"}
TOKENIZER=$DATA/tokenizer.model
BLEND=""
for ((k = 0; k < 3; k++)); do
    BLEND+="$(( (k + 1) * 10 )) ${PATHS[k]} "
done
ext=${TOKENIZER##*.} stem=${TOKENIZER%.*} dir=${TOKENIZER%/*}
torchrun --nproc-per-node 2 pretrain_gpt.py --data-path $BLEND --save "$CKPT" --load ~/base \
    --tokenizer-model $TOKENIZER --tensorboard-dir=$ROOT/tb --data-cache-path "$dir/cache-${stem##*/}.$ext" \
    --wandb-save-dir "~/literal" --exit-signal-handler
