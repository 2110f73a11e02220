#!/bin/bash
set -Eeuo pipefail
readonly HERE="/work/job"
log() { printf '[%s] %s\n' "$(basename "$0")" "$*" >&2; }
die() { log "$@"; exit 1; }
cleanup() { local rc=$?; log "done with $rc"; }
trap cleanup EXIT
trap 'log "line failed"' ERR

add() {            # add NAME value...
    local -n _to=$1
    shift
    _to+=("$@")
}
pow2() { local n=$1 r=1; while ((n-- > 0)); do r=$((r * 2)); done; echo $r; }

declare -a ARGS=()
declare -i LAYERS=8*4 HEADS
HEADS=LAYERS
add ARGS --num-layers $LAYERS --num-attention-heads "$HEADS"
add ARGS --hidden-size "$(pow2 12)" --seq-length $(pow2 11)
add ARGS --max-position-embeddings 2048

if [[ "${MODE:-train}" == debug ]]; then
    add ARGS --train-iters 10 --log-interval 1
else
    add ARGS --train-iters ${ITERS:-1000}
fi
for flag in swiglu disable-bias-linear bf16; do
    add ARGS "--$flag"
done
printf -v RUN '%s-l%02d-h%s' "${NAME:-run}" "$LAYERS" "$(pow2 12)"
add ARGS --save "$HERE/$RUN"
(( ${#ARGS[@]} % 2 )) || log "an even number"
log "${ARGS[*]}"
torchrun --nproc-per-node "${GPUS:-8}" pretrain_gpt.py "${ARGS[@]}" "$@" || die "failed"
