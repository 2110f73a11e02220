#!/usr/bin/env bash
# The size of a model on the command line.
MODEL_SIZE=${1:-7b}; shift || true
case "${MODEL_SIZE,,}" in
    125m)      NUM_LAYERS=12; HIDDEN=768;  HEADS=12; FFN=3072 ;;
    7b|7B)     NUM_LAYERS=32; HIDDEN=4096; HEADS=32; FFN=11008 ;;
    13b)       NUM_LAYERS=40; HIDDEN=5120; HEADS=40; FFN=13824 ;;
    70b|72b)   NUM_LAYERS=80; HIDDEN=8192; HEADS=64; FFN=28672; KV=8 ;;&
    *b)        BIG=1 ;;
    *)         echo "unknown size: $MODEL_SIZE" >&2; exit 1 ;;
esac
declare -A TP_OF=([125m]=1 [7b]=2 [13b]=4 [70b]=8)
TP=${TP_OF[${MODEL_SIZE,,}]:-8}
[[ -v KV ]] && GQA="--group-query-attention --num-query-groups $KV"

EXTRA=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --seq) SEQ=$2; shift 2 ;;
        --seq=*) SEQ=${1#*=}; shift ;;
        --recompute) EXTRA+=(--recompute-granularity full --recompute-method uniform --recompute-num-layers 1); shift ;;
        --) shift; EXTRA+=("$@"); break ;;
        *) EXTRA+=("$1"); shift ;;
    esac
done
: "${SEQ:=4096}"

torchrun --nproc_per_node=8 pretrain_gpt.py \
    --num-layers $NUM_LAYERS --hidden-size $HIDDEN --num-attention-heads $HEADS \
    --ffn-hidden-size $FFN ${GQA} --swiglu ${BIG:+--use-distributed-optimizer} \
    --seq-length $SEQ --max-position-embeddings $SEQ \
    --tensor-model-parallel-size $TP $([ $TP -gt 1 ] && echo --sequence-parallel) \
    "${EXTRA[@]}"
