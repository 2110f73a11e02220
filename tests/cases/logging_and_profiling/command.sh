#!/bin/bash
export CUDA_DEVICE_MAX_CONNECTIONS=1
export WANDB_MODE=offline
LOGS=${LOGS:-/runs/logs}
nsys profile -s none -t nvtx,cuda -o "$LOGS/trace" --capture-range cudaProfilerApi --capture-range-end stop \
    torchrun --nproc-per-node 2 pretrain_gpt.py \
    --num-layers 8 --hidden-size 512 --num-attention-heads 8 --seq-length 1024 --max-position-embeddings 1024 \
    --log-interval 5 --log-throughput --log-params-norm --log-progress --log-energy --log-max-attention-logit \
    --timing-log-level 2 --timing-log-option all --log-timers-to-tensorboard --log-memory-to-tensorboard \
    --log-validation-ppl-to-tensorboard --log-world-size-to-tensorboard --no-log-loss-scale-to-tensorboard \
    --tensorboard-dir "$LOGS/tensorboard" --tensorboard-log-interval 5 --tensorboard-queue-size 10 \
    --wandb-project llm --wandb-exp-name first --wandb-save-dir "$LOGS/wandb" --logging-level 20 \
    --log-memory-interval 100 --log-device-memory-used --one-logger-project llm \
    --profile --profile-step-start 20 --profile-step-end 22 --profile-ranks 0 1 \
    --record-memory-history --memory-snapshot-path "$LOGS/memory.pickle" --run-workload-inspector-server \
    --bf16 --micro-batch-size 8 --train-iters 100 --lr 3e-4 --eval-interval 50 \
    --mock-data --tokenizer-type NullTokenizer --vocab-size 32000
