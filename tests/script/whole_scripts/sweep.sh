#!/bin/bash
# Several runs after each other; the options are those of getopts.
usage() { echo "$0 [-l rates] [-b size] [-d] [-n name]" 1>&2; }
RATES=1e-4,3e-4
BATCH=8
DRY=
NAME=sweep
while getopts ":l:b:dn:h" opt; do
    case ${opt} in
        l) RATES=$OPTARG ;;
        b) BATCH=$OPTARG ;;
        d) DRY=--exit-interval\ 1 ;;
        n) NAME="${OPTARG}" ;;
        h) usage; exit 0 ;;
        \?) usage; exit 2 ;;
        :) echo "-$OPTARG wants a value"; exit 2 ;;
    esac
done
shift $((OPTIND -1))

IFS=',' read -ra LRS <<< "$RATES"
i=0
for lr in "${LRS[@]}"; do
    for wd in 0.{0,1}; do
        let i++
        id=$(printf '%s-%02d' "$NAME" $i)
        [[ $lr == 1e-4 && $wd == 0.0 ]] && continue
        torchrun --nproc-per-node 1 pretrain_gpt.py --num-layers 2 --hidden-size 64 --num-attention-heads 4 \
            --lr $lr --weight-decay $wd --micro-batch-size $BATCH --save "out/$id" $DRY "$@"
    done
done
echo "$i runs"
