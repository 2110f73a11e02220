#!/bin/bash
#SBATCH --job-name="two words"
#SBATCH --array=1-4%2
#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=1 --mem=0 --gres=gpu:8
#SBATCH --signal=USR1@120 --open-mode=append --requeue
#SBATCH --mail-type=END,FAIL --mail-user=someone@example.org
#SBATCH --dependency=singleton --qos=high --comment 'a comment' --exclude=paper7
#SBATCH --error=logs/%x-%A_%a.err
#SBATCH --parsable
#SBATCH -k -c 2 --switches=1@10:00 --chdir=/tmp
MODEL_ARGS=(
    --num-layers 24 --hidden-size 2048 --num-attention-heads 16
    --seq-length 4096 --max-position-embeddings 4096
    --micro-batch-size 1 --global-batch-size 256 --train-iters 5000
    --lr 3e-4 --lr-decay-style cosine --eval-interval 500 --bf16
)
torchrun --nproc-per-node=8 pretrain_gpt.py ${MODEL_ARGS[@]} --seed $((1000 + SLURM_ARRAY_TASK_ID)) \
    --mock-data --tokenizer-type NullTokenizer --vocab-size 50256 --tensorboard-dir runs/$SLURM_ARRAY_TASK_ID
