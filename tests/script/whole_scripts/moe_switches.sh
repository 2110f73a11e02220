#!/usr/bin/env bash
set -o errexit -o nounset
: "${EXPERTS:=8}" "${TOPK:=2}" "${EP:=4}"
is_on() { [[ ${1:-} =~ ^(1|true|yes|on)$ ]]; }
opt() { if is_on "${!1:-}"; then printf '%s\n' "${@:2}"; fi; }

GROUPED=${GROUPED:-true} OVERLAP=${OVERLAP:-no} SHARED=${SHARED:-}
mapfile -t SWITCHES < <(
    opt GROUPED --moe-grouped-gemm
    opt OVERLAP --overlap-grad-reduce --overlap-param-gather
)
layers=16
freq="[0]*1+[1]*$((layers - 1))"
spec=(
    --num-experts $EXPERTS
    --moe-router-topk $TOPK
    --moe-layer-freq "(${freq})"
    --expert-model-parallel-size $((EP < EXPERTS ? EP : EXPERTS))
)
if [[ -n $SHARED ]]; then spec+=(--moe-shared-expert-intermediate-size "$SHARED"); fi
(( TOPK > 1 )) && spec+=(--moe-router-load-balancing-type aux_loss --moe-aux-loss-coeff 1e-2)
last=${spec[-1]} first=${spec[*]:0:2}
echo "$first ... $last"
torchrun --nproc-per-node 8 pretrain_gpt.py --num-layers $layers --hidden-size 1024 --num-attention-heads 16 \
    "${spec[@]}" ${SWITCHES[@]+"${SWITCHES[@]}"} "${@}"
