"""Small command lines, for tests to which the model does not matter. Words that come later win."""

from __future__ import annotations

from typing import Final

SMALL: Final = (
    "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 64 --max-position-embeddings 64 "
    "--micro-batch-size 1 --train-iters 10 --lr 1e-3 --eval-interval 10 --mock-data --tokenizer-type NullTokenizer "
    "--vocab-size 100"
).split()
SMALL_TEXT: Final = " ".join(SMALL)

# For what is said of one version and of no other: `make test` runs with each Bridge, and the usual pair is its own.
PAIR: Final = ["--megatron-lm", "0.16.1", "--bridge", "0.3.1"]

# A CPU trains it in seconds, without Transformer Engine and Apex.
TRAINED: Final = (
    "--transformer-impl local --no-gradient-accumulation-fusion --no-persist-layer-norm --num-layers 2 "
    "--hidden-size 32 --num-attention-heads 2 --seq-length 16 --max-position-embeddings 16 --mock-data "
    "--tokenizer-type NullTokenizer --vocab-size 100 --micro-batch-size 1 --train-iters 2 --eval-iters 1 "
    "--eval-interval 100 --log-interval 1 --lr 1e-3"
).split()
TRAINED_TEXT: Final = " ".join(TRAINED)
