#! /bin/bash
# Strings instead of arrays, split where they are used.
RANK=${RANK-0}
MP=${MP:=4}
EXP=gpt-mp$MP
LOAD=/ckpt/$EXP; SAVE="$LOAD"

options=" \
    --tensor-model-parallel-size ${MP} \
    --num-layers 32 \
    --hidden-size 4096   --num-attention-heads 32 \
    --seq-length 4096 \
    --max-position-embeddings 4096 \
    --micro-batch-size 1 "
options+=" --global-batch-size $((MP*64)) --train-samples 25_600 "
options="${options//_/}"

[ "$RANK" -eq 0 ] && options="$options --log-throughput"
[ -n "$WANDB_PROJECT" ] && options="${options} --wandb-project $WANDB_PROJECT --wandb-exp-name ${EXP}"

if [ "x$PRECISION" == "xfp8" ]; then
    options="${options} --fp8-format hybrid"
elif [[ $PRECISION =~ ^(bf|fp)16$ ]]; then
    options="${options} --${PRECISION}"
else
    options="${options} --bf16"
fi

run_cmd="torchrun --nproc-per-node 8 pretrain_gpt.py ${options} --load $LOAD --save $SAVE $@"
echo "${run_cmd}"
eval ${run_cmd}
set +x
