#!/bin/bash
#SBATCH --job-name=gpt-2b
#SBATCH --account=research
#SBATCH --partition=batch
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --time=04:00:00
#SBATCH --output=%x-%j.log

nodes=( $( scontrol show hostnames $SLURM_JOB_NODELIST ) )
head_node=${nodes[0]}
head_node_ip=$(srun --nodes=1 --ntasks=1 -w "$head_node" hostname --ip-address)

export CUDA_DEVICE_MAX_CONNECTIONS=1
MODEL_ARGS=(
    --num-layers 24 --hidden-size 2048 --num-attention-heads 16
    --seq-length 4096 --max-position-embeddings 4096
    --micro-batch-size 1 --global-batch-size 256 --train-iters 5000
    --lr 3e-4 --lr-decay-style cosine --eval-interval 500 --bf16
)

srun torchrun \
    --nnodes $SLURM_NNODES \
    --nproc_per_node $SLURM_GPUS_ON_NODE \
    --rdzv_id $SLURM_JOB_ID \
    --rdzv_backend c10d \
    --rdzv_endpoint $head_node_ip:29500 \
    pretrain_gpt.py ${MODEL_ARGS[@]} \
    --mock-data --tokenizer-type NullTokenizer --vocab-size 50256 \
    --tensorboard-dir $HOME/tensorboard/$SLURM_JOB_NAME-$SLURM_JOB_ID
