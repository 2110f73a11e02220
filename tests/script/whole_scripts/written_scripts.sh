#!/bin/bash
# Writes files and reads them again.
set -e
cat > env.list <<EOF
TP=2
PP=${PP:-2}
NAME="a run"
EOF
set -a
. ./env.list
set +a
cat <<'EOF' > worker.sh
#!/bin/bash
ARGS=($(cat args.txt))
torchrun --nproc-per-node $1 pretrain_gpt.py "${ARGS[@]}" --tensor-model-parallel-size $TP \
    --pipeline-model-parallel-size $PP --wandb-exp-name "$NAME" "${@:2}"
EOF
cat <<-EOF > args.txt
	--num-layers 24 --hidden-size 1024 \
	--num-attention-heads 16
	--lr 1.5e-4
EOF
chmod +x worker.sh 2>/dev/null || true
while read -r key value; do
    [[ -z $key || $key == \#* ]] && continue
    MORE+=("--$key" ${value:+"$value"})
done <<EOF
# key value
seq-length 1024
max-position-embeddings 1024

bf16
data-path /d/x y
EOF
bash worker.sh 8 "${MORE[@]}" "$@"
