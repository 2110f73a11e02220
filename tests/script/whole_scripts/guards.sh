#!/bin/bash
if [ $# -lt 2 ]; then
    echo "usage: $0 NODES GPUS [words]"
    exit 1
fi
NODES=$1 GPUS=$2
shift 2
[[ $NODES =~ ^[0-9]+$ ]] || { echo "NODES is a number" >&2; exit 2; }
TOTAL=$(( NODES * GPUS ))
for tp in 8 4 2 1; do
    (( TOTAL % tp == 0 && tp <= GPUS )) || continue
    TP=$tp
    break
done
DP=$((TOTAL / TP))
until (( 256 % DP == 0 )); do DP=$((DP - 1)); done
[ $DP -ne $((TOTAL / TP)) ] && WARN=1
torchrun --nnodes $NODES --nproc-per-node $GPUS pretrain_gpt.py --tensor-model-parallel-size $TP \
    --global-batch-size $((256 / DP * DP)) ${WARN:+--no-check} "$@"
status=$?
if [ $status -eq 0 ]; then torchrun --nproc-per-node 1 tools/after.py --tp $TP; fi
exit $status
