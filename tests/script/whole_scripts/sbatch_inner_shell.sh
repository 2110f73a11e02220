#!/bin/bash
#SBATCH --job-name=pretrain
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8

DIR=/shared/megatron
DATETIME=fixed
mkdir -p $DIR/logs
export TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}

LAYOUT=( 0.5 /data/a_text_document 0.5 /data/b_text_document )
options="--num-layers 12 --hidden-size 768 --num-attention-heads 12 \
--seq-length 1024 --max-position-embeddings 1024 \
--data-path ${LAYOUT[*]} --vocab-file /data/gpt2-vocab.json \
--lr 0.00015 --lr-decay-style cosine"
export options

srun --nodes=2 -l bash -c "cd $DIR; torchrun --nproc-per-node 8 --nnodes \$SLURM_NNODES pretrain_gpt.py \$options --split 949,50,1 ${EXTRA_ARGS}"
