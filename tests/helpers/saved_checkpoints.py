"""Checkpoints of Megatron-LM, made without torch."""

from __future__ import annotations

import argparse
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

from derive_cases import run_of

from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.parse import parse
from bridge_args.megatron_lm.resolvers.built_in import resolve
from bridge_args.values import Symbol

SMALL = (
    "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 32 "
    "--micro-batch-size 1 --global-batch-size 8 --train-iters 5 --lr 1e-3 --mock-data --eval-interval 10 "
    "--tokenizer-type NullTokenizer --vocab-size 100 --bf16 --swiglu --attention-backend unfused"
).split()


def effective(words: list[str] = SMALL, ranks: int = 1) -> dict[str, Any]:
    """What Megatron-LM would have in ``args``, from our own resolver."""
    catalog = catalogs.load("0.16.1")
    args = resolve(parse(words, catalog), run_of(catalog, ranks, {})).args
    assert not [finding for finding in args.findings if finding.level == "error"]
    return {name: args[name] for name in args} | {"rank": 0, "world_size": ranks, "consumed_train_samples": 40}


class Dtype:
    """Pickled as torch pickles a dtype: by its name in the module."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> str:
        return self.name


class _Pickler(pickle._Pickler):  # the one in Python, so that names of modules that are not there can be written
    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Dtype):
            self.write(pickle.GLOBAL + b"torch\n" + obj.name.encode() + b"\n")  # type: ignore[attr-defined]
        else:
            super().save(obj, save_persistent_id)  # type: ignore[misc]


def pickled(content: Any) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, 2).dump(content)
    return stream.getvalue()


def zipped(data: bytes, path: Path, name: str = "common") -> Path:
    """As ``torch.save`` writes: an archive of one pickle and the tensors' bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/data.pkl", data)
        archive.writestr(f"{name}/version", "3\n")
    return path


def content_of(values: dict[str, Any]) -> dict[str, Any]:
    plain = {
        name: Dtype(value.path.rpartition(".")[2]) if isinstance(value, Symbol) else value
        for name, value in values.items()
    }
    return {"args": argparse.Namespace(**plain), "checkpoint_version": 3.0, "iteration": 5}
