#!/bin/bash
# Options in a text of lines, with comments.
CONFIG='
num-layers        16     # layers
hidden-size       2048
attention-dropout 0.0
bf16
lr                2.0e-4
'
ARGS=()
while IFS= read -r line; do
    line=${line%%#*}
    read -r name value <<< "$line"
    [ -n "$name" ] || continue
    if [ -n "$value" ]; then ARGS+=("--$name=$value"); else ARGS+=("--$name"); fi
done <<< "$CONFIG"
OLDIFS=$IFS
IFS=:
for pair in ${OVERRIDES-seed=1:eval-iters=5}; do
    ARGS+=("--${pair%%=*}" "${pair#*=}")
done
IFS=$OLDIFS
joined=$(IFS=,; echo "${ARGS[*]}")
count=$(echo "$joined" | tr ',' '\n' | wc -l)
torchrun --nproc-per-node 1 pretrain_gpt.py "${ARGS[@]}" --wandb-exp-name "n${#ARGS[@]}-$count" $*
