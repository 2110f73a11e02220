"""Checkpoints of Megatron-LM, made without torch."""

from __future__ import annotations

import argparse
import io
import json
import math
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


class Made:
    """Pickled as an object of a class by its name, which need not exist here.

    Args:
        path: module and name.
        arguments: of a call of the class; None: an object made without one.
        state: what it holds.
    """

    def __init__(self, path: str, arguments: tuple[Any, ...] | None = None, state: Any = None) -> None:
        self.path, self.arguments, self.state = path, arguments, state


class Stored:
    """Pickled as the place of a tensor's bytes."""

    def __init__(self, key: tuple[Any, ...]) -> None:
        self.key = key


class _Pickler(pickle._Pickler):  # the one in Python, so that names of modules that are not there can be written
    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Dtype):
            self.named("torch", obj.name)
        elif isinstance(obj, Stored):
            self.save(obj.key)
            self.write(pickle.BINPERSID)  # type: ignore[attr-defined]
        elif isinstance(obj, Made):
            self.named(*obj.path.rsplit(".", 1))
            self.save(obj.arguments or ())
            self.write(pickle.REDUCE if obj.arguments is not None else pickle.NEWOBJ)  # type: ignore[attr-defined]
            if obj.state is not None:
                self.save(obj.state)
                self.write(pickle.BUILD)  # type: ignore[attr-defined]
        else:
            super().save(obj, save_persistent_id)  # type: ignore[misc]

    def named(self, module: str, name: str) -> None:
        self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())  # type: ignore[attr-defined]


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


# What torch.distributed.checkpoint, safetensors and the programs that save them leave -----------------------------


def of_core_019(folder: Path, values: dict[str, Any]) -> Path:
    """The arguments are among the tensors."""
    whole = zipped(pickled([content_of(values)]), folder / "common", "archive")
    content = whole.read_bytes()
    whole.unlink()
    return distributed(folder, common=content)


_METADATA = "torch.distributed.checkpoint.metadata"


def index(tensors: dict[str, tuple[str, tuple[int, ...]]], places: dict[str, tuple[str, int, int]]) -> bytes:
    """``.metadata``.

    Args:
        tensors: name to dtype and shape; a shape of ``()`` with no dtype is no tensor.
        places: name to its file, where it begins there, and how long it is.
    """

    def entry(dtype: str, shape: tuple[int, ...]) -> Made:
        if not dtype:
            return Made(f"{_METADATA}.BytesStorageMetadata", state={})
        size = Made("torch.Size", (shape,))
        properties = Made(f"{_METADATA}.TensorProperties", state=(Dtype(dtype), None, False, None, False))
        return Made(f"{_METADATA}.TensorStorageMetadata", state={"properties": properties, "size": size, "chunks": []})

    storage = [
        (
            Made(f"{_METADATA}.MetadataIndex", state={"fqn": name, "index": None}),
            Made(
                "torch.distributed.checkpoint.filesystem._StorageInfo",
                state={"relative_path": file, "offset": offset, "length": length},
            ),
        )
        for name, (file, offset, length) in places.items()
    ]
    metadata = {
        "state_dict_metadata": {name: entry(*one) for name, one in tensors.items()},
        "planner_data": None,
        "storage_data": dict(storage),
    }
    return pickled(Made(f"{_METADATA}.Metadata", state=metadata))


SHAPES = {
    "embedding.word_embeddings.weight": ("bfloat16", (64, 8)),
    "decoder.final_layernorm.weight": ("bfloat16", (8,)),
}


def distributed(
    folder: Path, more: dict[str, tuple[str, tuple[int, ...]]] | None = None, common: bytes | None = None
) -> Path:
    """The tensors of a model of 520 numbers and of its optimizer, in two files of 2,000 bytes.

    Args:
        common: a file of torch.save with what is no tensor, which Megatron Core 0.19 and later put behind the tensors.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = SHAPES | {f"optimizer.state.exp_avg.{name}": ("float32", shape) for name, (_, shape) in SHAPES.items()}
    places = {name: (f"__{number % 2}_0.distcp", 100 * number, 1000) for number, name in enumerate(tensors)}
    if common is not None:
        more = {**(more or {}), "common_state/shard_0_1": ("", ())}
        places["common_state/shard_0_1"] = ("__0_0.distcp", 2000, len(common))
    (folder / ".metadata").write_bytes(index(tensors | (more or {}), places))
    for number in range(2):
        (folder / f"__{number}_0.distcp").write_bytes(bytes(2000) + (common or b"" if number == 0 else b""))
    (folder / "metadata.json").write_text('{"sharded_backend": "torch_dist", "sharded_backend_version": 1}')
    return folder


def tracker(step: int, path: Path) -> Path:
    """``train_state.pt`` of Bridge's, with one of its numbers."""
    place = Stored(("storage", Dtype("LongStorage"), "0", "cpu", 1))
    value = Made("torch._utils._rebuild_tensor_v2", (place, 0, (), (), False, None))
    zipped(pickled({"step": value}), path, "train_state")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train_state/data/0", step.to_bytes(8, "little", signed=True))
        archive.writestr("train_state/byteorder", "little")
    return path


def safetensors(path: Path, tensors: dict[str, tuple[str, tuple[int, ...]]]) -> Path:
    """A file of zeros; the dtypes are those of the format: ``BF16``, ``F32``."""
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        length = {"BF16": 2, "F32": 4}[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + length]}
        end += length
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))
    return path
