#!/bin/bash
#SBATCH --job-name=moe-16b
#SBATCH --nodes=16
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --time=08:00:00
#SBATCH --signal=USR1@300

export CUDA_DEVICE_MAX_CONNECTIONS=1
export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_PORT=6000

TP=${TP:-4}
PP=${PP:-2}
EP=$((SLURM_NNODES / 2))
MBS=1
GBS=$((MBS * SLURM_NNODES * 8 * 4))
TOKENS=100000000000
SEQ=4096
ITERS=$((TOKENS / (GBS * SEQ)))
RUN=$SCRATCH/runs/$SLURM_JOB_NAME

OPTIONS="--num-layers 32 --hidden-size 4096 --num-attention-heads 32 --num-experts 16 --moe-router-topk 2"
OPTIONS+=" --seq-length $SEQ --max-position-embeddings $SEQ --position-embedding-type rope --swiglu --disable-bias-linear"
OPTIONS+=" --tensor-model-parallel-size $TP --pipeline-model-parallel-size $PP --expert-model-parallel-size $EP"
if [ "$TP" -gt 1 ]; then
    OPTIONS+=" --sequence-parallel"
fi

srun --kill-on-bad-exit=1 python -u pretrain_gpt.py $OPTIONS \
    --use-distributed-optimizer --distributed-backend nccl --high-priority-stream-groups ep \
    --bf16 --micro-batch-size $MBS --global-batch-size $GBS --train-iters $ITERS \
    --lr 2e-4 --lr-warmup-iters $((ITERS / 100)) --eval-interval 1000 \
    --save "$RUN/ckpt" --load "$RUN/ckpt" --save-interval 1000 --tensorboard-dir "$RUN/tb" \
    --data-path $DATA --tokenizer-type HuggingFaceTokenizer --tokenizer-model "$TOKENIZER"
