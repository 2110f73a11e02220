#!/bin/bash
#SBATCH -A research -p batch -N 2 -t 01:00:00 -J gpt-container
#SBATCH --ntasks-per-node=1 --gpus-per-node=8 --exclusive

MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=6000
IMAGE=/images/nemo-25.11.sqsh
MOUNTS=/lustre/data:/data,$PWD:/workspace/run
STAMP=$(date +%Y-%m-%d)
MODEL_ARGS=(
    --num-layers 24 --hidden-size 2048 --num-attention-heads 16
    --seq-length 4096 --max-position-embeddings 4096
    --micro-batch-size 1 --global-batch-size 256 --train-iters 5000
    --lr 3e-4 --lr-decay-style cosine --eval-interval 500 --bf16
)

srun --mpi=pmix --no-container-mount-home \
     --container-image=$IMAGE --container-mounts=$MOUNTS \
     bash -c "cd /workspace/run; torchrun --nnodes $SLURM_NNODES --nproc-per-node 8 \
         --node-rank \$SLURM_NODEID --master-addr $MASTER_ADDR --master-port $MASTER_PORT \
         /opt/megatron-lm/pretrain_gpt.py ${MODEL_ARGS[*]} \
         --mock-data --tokenizer-type NullTokenizer --vocab-size 50256 \
         --save checkpoints/$STAMP --save-interval 500"
