#!/bin/bash
#SBATCH --account=research
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --time=02:00:00

export MASTER_ADDR=$(scontrol show hostnames $SLURM_JOB_NODELIST | head -n1)
export MASTER_PORT=$((10000 + SLURM_JOB_ID % 50000))
export CUDA_DEVICE_MAX_CONNECTIONS=1
MODEL_ARGS=(
    --num-layers 24 --hidden-size 2048 --num-attention-heads 16
    --seq-length 4096 --max-position-embeddings 4096
    --micro-batch-size 1 --global-batch-size 256 --train-iters 5000
    --lr 3e-4 --lr-decay-style cosine --eval-interval 500 --bf16
)

srun --kill-on-bad-exit=1 --cpu-bind=none python -u pretrain_gpt.py ${MODEL_ARGS[@]} \
    --mock-data --tokenizer-type NullTokenizer --vocab-size 50256 --tensor-model-parallel-size 8
