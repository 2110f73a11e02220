"""What ``checkpoint inspect`` tells of a folder: its kind, what is missing, its tensors; also of hostile ones."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from saved_checkpoints import (
    SHAPES,
    Dtype,
    Made,
    Stored,
    content_of,
    distributed,
    effective,
    index,
    of_core_019,
    pickled,
    safetensors,
    tracker,
    zipped,
)

from bridge_args.checkpoint import contents, layout, tensors, unpickle
from bridge_args.cli.main import main
from bridge_args.emit import checkpoint
from bridge_args.errors import UserError

RUN_CONFIG = """_target_: megatron.bridge.training.config.ConfigContainer
checkpoint:
  ckpt_format: torch_dist
model:
  context_parallel_size: 1
  pipeline_model_parallel_size: 4
  tensor_model_parallel_size: 2
train:
  train_iters: 10
"""
TRON = """_target_: nemo.tron.config.ConfigContainer
checkpoint_config:
  ckpt_format: torch_dist
model_config:
  tensor_model_parallel_size: 8
train_config:
  train_iters: 10
"""


def megatron_lm(root: Path) -> Path:
    distributed(root / "iter_0000005")
    zipped(pickled(content_of(effective())), root / "iter_0000005" / "common.pt")
    (root / layout.MEGATRON_TRACKER).write_text("5")
    return root


def legacy(root: Path) -> Path:
    storage = Stored(("storage", Dtype("BFloat16Storage"), "0", "cpu", 520))
    weight = Made("torch._utils._rebuild_tensor_v2", (storage, 0, (64, 8), (8, 1), False, None))
    state = content_of(_two_ranks())
    for rank in range(2):
        state["model"] = {"language_model": {"weight": weight}}
        zipped(pickled(state), root / "iter_0000005" / f"mp_rank_0{rank}" / "model_optim_rng.pt")
    (root / layout.MEGATRON_TRACKER).write_text("5")
    return root


def _two_ranks() -> dict[str, Any]:
    return effective() | {"tensor_model_parallel_size": 2, "world_size": 2}


def bridge(root: Path, run_config: str = RUN_CONFIG) -> Path:
    folder = distributed(root / "iter_0000006", {"common_state/shard_0_1": ("", ())})
    (folder / "run_config.yaml").write_text(run_config)
    tracker(6, folder / "train_state.pt")
    tracker(6, root / layout.TRACKER)
    (root / layout.MEGATRON_TRACKER).write_text("6")
    return root


def tron(root: Path) -> Path:
    return bridge(root, TRON)


def fsdp_dtensor(root: Path) -> Path:
    distributed(root / "iter_0000007")
    (root / "iter_0000007" / "metadata.json").unlink()
    (root / layout.MEGATRON_TRACKER).write_text("7")
    return root


def nemo2(root: Path) -> Path:
    folder = root / "llama--val_loss=1.50-step=99-consumed_samples=800.0-last"
    zipped(pickled({}), distributed(folder / "weights") / "common.pt")
    (folder / "context").mkdir()
    (folder / "context" / "io.json").write_text("{}")
    (folder / "context" / "model.yaml").write_text("_target_: a.b\nconfig:\n  tensor_model_parallel_size: 4\n")
    return folder


def hugging_face(root: Path) -> Path:
    safetensors(root / "model-00001-of-00002.safetensors", {"embed": ("BF16", (64, 8))})
    safetensors(root / "model-00002-of-00002.safetensors", {"norm": ("F32", (8,))})
    placed = {"embed": "model-00001-of-00002.safetensors", "norm": "model-00002-of-00002.safetensors"}
    (root / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    (root / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    return root


def peft(root: Path) -> Path:
    halves = {"q.lora_A.weight": ("F32", (4, 8)), "q.lora_B.weight": ("F32", (8, 4))}
    safetensors(root / "adapter_model.safetensors", halves)
    (root / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4, "base_model_name_or_path": "a/b"}')
    return root


# name, made by, format, iteration, numbers of the model and of the optimizer, parallel sizes
KINDS: dict[str, tuple[Callable[[Path], Path], str, int | None, int, int, dict[str, int]]] = {
    "megatron-lm-torch_dist": (megatron_lm, "torch_dist", 5, 520, 520, {"tensor": 1, "pipeline": 1}),
    "megatron-lm-legacy": (legacy, "legacy", 5, 512, 0, {"tensor": 2}),
    "bridge": (bridge, "torch_dist", 6, 520, 520, {"tensor": 2, "pipeline": 4, "context": 1}),
    "nemo-tron": (tron, "torch_dist", 6, 520, 520, {"tensor": 8}),
    "fsdp_dtensor": (fsdp_dtensor, "fsdp_dtensor", 7, 520, 520, {}),
    "nemo2": (nemo2, "torch_dist", 99, 520, 520, {"tensor": 4}),
    "hugging-face": (hugging_face, "safetensors", None, 520, 0, {}),
    "peft": (peft, "safetensors", None, 64, 0, {}),
}


def told(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    status = main(["checkpoint", "inspect", "--format", "json", str(path)])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert status == (0 if document["complete"] is True else 1), "a script asks for it"
    return document


@pytest.mark.parametrize("kind", KINDS)
def test_a_complete_one_of_each_kind(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, format, iteration, model, optimizer, parallel = KINDS[kind]
    path = make(tmp_path)
    document = told(path, capsys)
    assert (document["kind"], document["format"], document["iteration"]) == (kind, format, iteration)
    assert document["complete"] is True and document["problems"] == []
    assert (document["model"]["numbers"], document["optimizer"]["numbers"]) == (model, optimizer)
    assert parallel.items() <= document["parallel"].items()
    assert document["bytes"] == sum(
        file.stat().st_size for file in Path(document["folder"]).rglob("*") if file.is_file()
    )
    assert main(["checkpoint", "inspect", str(path)]) == 0
    text = capsys.readouterr().out
    assert "\ncomplete: yes\n" in text and f"{model} numbers" in text
    # The folder of the one checkpoint is told as the folder that it was saved to.
    of_one = told(Path(document["folder"]), capsys)
    named = ("tracker", "tracked_iteration")
    assert {**of_one, **dict.fromkeys(named)} == {**document, **dict.fromkeys(named)}


def test_every_kind_has_a_test() -> None:
    assert {kind.name for kind in layout.KINDS} == KINDS.keys() | {"torch-distributed", "megatron-lm-zarr"}


def test_names_shapes_and_dtypes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = told(bridge(tmp_path), capsys)["tensors"]
    model = {one["name"]: (one["dtype"], tuple(one["shape"])) for one in tensors if "optimizer" not in one["name"]}
    assert model == SHAPES


MISSING = [
    (megatron_lm, "iter_0000005/__1_0.distcp", "is missing"),
    (megatron_lm, "iter_0000005/.metadata", "is missing"),
    (megatron_lm, "iter_0000005/metadata.json", "is missing"),
    (legacy, "iter_0000005/mp_rank_01", "is missing"),
    (legacy, "iter_0000005/mp_rank_01/model_optim_rng.pt", "is missing"),
    (bridge, "iter_0000006/run_config.yaml", "is missing"),
    (bridge, "iter_0000006/train_state.pt", "is missing"),
    (bridge, "iter_0000006/metadata.json", "is missing"),
    (tron, "iter_0000006/__0_0.distcp", "is missing"),
    (fsdp_dtensor, "iter_0000007/__0_0.distcp", "is missing"),
    (nemo2, "context/io.json", "is missing"),
    (nemo2, "weights/.metadata", "is missing"),
    (nemo2, "weights/common.pt", "is missing"),
    (hugging_face, "model-00002-of-00002.safetensors", "is missing"),
    (hugging_face, "config.json", "is missing"),
    (peft, "adapter_model.safetensors", "is missing"),
]


@pytest.mark.parametrize(("make", "name", "said"), MISSING, ids=lambda one: getattr(one, "__name__", one))
def test_a_missing_file(
    make: Callable[[Path], Path], name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make(tmp_path)
    gone = path / name
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    document = told(path, capsys)
    assert document["complete"] is False
    assert [problem for problem in document["problems"] if str(gone) in problem and said in problem]


TORN = [
    (megatron_lm, "iter_0000005/__1_0.distcp"),
    (megatron_lm, "iter_0000005/.metadata"),
    (legacy, "iter_0000005/mp_rank_01/model_optim_rng.pt"),
    (bridge, "iter_0000006/run_config.yaml"),
    (bridge, "iter_0000006/train_state.pt"),
    (bridge, "iter_0000006/metadata.json"),
    (nemo2, "weights/common.pt"),
    (hugging_face, "model-00002-of-00002.safetensors"),
    (hugging_face, "model.safetensors.index.json"),
    (peft, "adapter_config.json"),
    (peft, "adapter_model.safetensors"),
]


@pytest.mark.parametrize(("make", "name"), TORN, ids=lambda one: getattr(one, "__name__", one))
@pytest.mark.parametrize("part", (0, 2))
def test_a_torn_file(
    make: Callable[[Path], Path], name: str, part: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make(tmp_path)
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[: len(content) // part - 1] if part else b"")
    document = told(path, capsys)
    assert document["complete"] is False
    assert [problem for problem in document["problems"] if str(path / name) in problem]


def test_tensors_of_zarr_are_not_called_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = megatron_lm(tmp_path) / "iter_0000005"
    for file in (folder / ".metadata", *folder.glob("*.distcp")):
        file.unlink()
    (folder / "metadata.json").write_text('{"sharded_backend": "zarr", "sharded_backend_version": 1}')
    document = told(tmp_path, capsys)
    assert (document["kind"], document["format"], document["complete"]) == ("megatron-lm-zarr", "zarr", None)
    assert document["args"]["num_layers"] == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('["sharded_backend"]', "no mapping"),
        ("[1]", "no mapping"),
        ("", "no JSON"),
        ("{}", "does not say by sharded_backend"),
        ('{"sharded_backend": 7}', "does not say by sharded_backend"),
        ('{"sharded_backend": "xyz"}', "saved as xyz, not as torch_dist"),
    ],
)
@pytest.mark.parametrize("common", [True, False])
def test_an_index_of_megatron_core_that_says_something_else(
    text: str, said: str, common: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if common:
        folder = megatron_lm(tmp_path) / "iter_0000005"
    else:
        folder = of_core_019(tmp_path / "iter_0000005", effective())
    (folder / "metadata.json").write_text(text)
    document = told(folder, capsys)
    assert (document["kind"], document["complete"]) == ("megatron-lm-torch_dist", False)
    (problem,) = document["problems"]
    assert problem.startswith(f"{folder / 'metadata.json'}") and said in problem
    assert not layout.is_megatron_lms(folder) or text.startswith("{")


def test_a_folder_that_was_renamed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    megatron_lm(tmp_path)
    (tmp_path / "iter_0000005").rename(tmp_path / "iter_0000008")
    (tmp_path / layout.MEGATRON_TRACKER).write_text("8")
    (problem,) = told(tmp_path, capsys)["problems"]
    assert "is called iteration 8" in problem and problem.endswith("says it is 5")


def test_a_save_that_has_only_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "iter_0000005"
    folder.mkdir()
    (folder / "__0_0.distcp").write_bytes(b"")
    document = told(folder, capsys)
    assert (document["kind"], document["iteration"]) == ("torch-distributed", 5)
    assert document["problems"] == [f"{folder / '.metadata'} is missing"]


def test_a_save_of_nemo_that_has_not_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = nemo2(tmp_path)
    marker = path.with_name(f"{path.name}-unfinished")
    marker.touch()
    assert told(path / "weights", capsys)["problems"] == [f"{marker} says that the save has not ended"]


def test_half_a_pair_of_lora(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    safetensors(peft(tmp_path) / "adapter_model.safetensors", {"q.lora_A.weight": ("F32", (4, 8))})
    assert told(tmp_path, capsys)["problems"] == [f"{tmp_path}: q.lora_A.weight is there without its lora_B"]


def test_a_tensor_that_the_index_promises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = safetensors(hugging_face(tmp_path) / "model-00002-of-00002.safetensors", {"other": ("F32", (8,))})
    assert told(tmp_path, capsys)["problems"][0].startswith(f"{file} has no norm, which ")


# ---------------------------------------------------------------- the tracker


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (layout.MEGATRON_TRACKER, b"../../etc"),
        (layout.MEGATRON_TRACKER, b"5\n\n6"),
        (layout.MEGATRON_TRACKER, b"9"),
        (layout.TRACKER, b"PK\x03\x04"),
    ],
)
def test_a_tracker_that_names_nothing(
    name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "iter_0000004").mkdir()
    assert main(["checkpoint", "inspect", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert name in said and len(said.splitlines()) == 1
    assert content != b"9" or said.endswith("iter_0000004 is the newest that is there\n")


def test_bridges_own_tracker_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bridge(tmp_path) / layout.MEGATRON_TRACKER).write_text("5")
    assert told(tmp_path, capsys)["tracked_iteration"] == 6
    tracker(-1, tmp_path / layout.TRACKER)
    assert main(["checkpoint", "inspect", str(tmp_path)]) == 1
    assert "names iteration -1" in capsys.readouterr().err


def test_without_a_tracker_one_must_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (megatron_lm(tmp_path) / layout.MEGATRON_TRACKER).unlink()
    assert main(["checkpoint", "inspect", str(tmp_path)]) == 1
    assert "iter_0000005 and no tracker" in capsys.readouterr().err


def test_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text('{"name": "something else"}')
    assert main(["checkpoint", "inspect", str(tmp_path)]) == 1
    assert f"{tmp_path} is no checkpoint" in capsys.readouterr().err


# ---------------------------------------------------------------- strangers' files


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("evil",)


def test_an_index_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = bridge(tmp_path / "ck") / "iter_0000006" / ".metadata"
    file.write_bytes(pickle.dumps(Evil()))
    (problem,) = contents.look_into(tmp_path / "ck").problems
    assert str(file) in problem and "nothing was run" in problem and not (tmp_path / "evil").exists()


@pytest.mark.parametrize("name", ("/etc/passwd", "../../secret", "a/../../b"))
def test_names_that_lead_out_of_the_folder(name: str, tmp_path: Path) -> None:
    file = distributed(megatron_lm(tmp_path / "a") / "iter_0000005") / ".metadata"
    file.write_bytes(index(SHAPES, {"x": (name, 0, 1)}))
    assert contents.look_into(tmp_path / "a").problems == [f'{file}: it names "{name}", which is outside of the folder']
    placed = hugging_face(tmp_path / "b") / "model.safetensors.index.json"
    placed.write_text(json.dumps({"weight_map": {"x": name}}))
    assert contents.look_into(tmp_path / "b").problems == [
        f'{placed}: it names "{name}", which is outside of the folder'
    ]


@pytest.mark.parametrize("name", ("", "x" * 300, "x/" * 3000 + "x", "\ud800", "a\0b", "\x1b[2J", 7, None, ["x"]))
def test_names_that_no_file_has(name: Any, tmp_path: Path) -> None:
    placed = hugging_face(tmp_path) / "model.safetensors.index.json"
    placed.write_text(json.dumps({"weight_map": {"x": name}}))
    (problem,) = contents.look_into(tmp_path).problems
    assert problem.startswith(f"{placed}: a name of a file in it is ")


FUZZED = {  # what is changed in a checkpoint, and by whom it was made
    "iter_0000006/.metadata": bridge,
    "iter_0000006/run_config.yaml": bridge,
    "iter_0000006/metadata.json": bridge,
    "latest_train_state.pt": bridge,
    "model-00002-of-00002.safetensors": hugging_face,
    "model.safetensors.index.json": hugging_face,
    "config.json": hugging_face,
    "adapter_config.json": peft,
    "context/model.yaml": nemo2,
    "iter_0000005/mp_rank_00/model_optim_rng.pt": legacy,
}


@pytest.mark.parametrize("name", FUZZED)
def test_changed_bytes_end_in_a_look_or_in_a_message(name: str, tmp_path: Path) -> None:
    """``BRIDGE_ARGS_FUZZ=N`` for more than a few."""
    rng = random.Random(int(os.environ.get("BRIDGE_ARGS_SEED", "7")))
    path = FUZZED[name](tmp_path)
    content = (path / name).read_bytes()
    for _ in range(int(os.environ.get("BRIDGE_ARGS_FUZZ", "30"))):
        made = bytearray(content)
        for _ in range(rng.choice((1, 2, 8))):
            at = rng.randrange(len(made))
            made[at : at + rng.choice((0, 1, 1, 4))] = rng.choice((b"", rng.randbytes(1), rng.randbytes(3), made[:9]))
        (path / name).write_bytes(made)
        try:
            found = contents.look_into(path)
        except UserError as problem:
            assert str(path) in str(problem) and len(str(problem)) < 5000
        else:
            checkpoint.about(found, None, None, "json")
            assert "complete: " in checkpoint.about(found, None, None, "text")


def test_links_out_of_the_folder_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Caches of models are made of such links: they are followed for the header, and told."""
    name = "model-00002-of-00002.safetensors"
    path, blob = hugging_face(tmp_path / "snapshot"), tmp_path / "blob"
    shutil.move(path / name, blob)
    (path / name).symlink_to(blob)
    document = told(path, capsys)
    assert document["complete"] is True and document["links_out"] == [f"{path / name} -> {blob}"]
    (path / name).unlink()
    (path / name).symlink_to("/dev/zero")
    assert f"{path / name} cannot be read: it is no regular file" in told(path, capsys)["problems"]


HEADERS = {
    "a header of an exabyte": ((1 << 60).to_bytes(8, "little") + b"{}", "its header would have"),
    "seven bytes": (b"1234567", "it has 7 bytes"),
    "nested lists": ((200_000).to_bytes(8, "little") + b"[" * 200_000, "it is nested deeper"),
    "a list": ((2).to_bytes(8, "little") + b"[]", "no mapping"),
    "no UTF-8": ((2).to_bytes(8, "little") + b"\xff\xff", "it is no JSON"),
    "a shape that is a text": (b'{"x": {"dtype": "F32", "shape": "a", "data_offsets": [0, 4]}}', "has no shape"),
    "a shape of 2^80": (b'{"x": {"dtype": "F32", "shape": [1208925819614629174706176]}}', "larger than any"),
    "many large dimensions": (b'{"x": {"dtype": "F32", "shape": [%s]}}' % b",".join([b"99999"] * 9), "larger than any"),
    "a negative offset": (b'{"x": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}', "larger than any"),
    "no offsets": (b'{"x": {"dtype": "F32", "shape": [1]}}', "has no place"),
    "too few bytes": (b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', "has 4 bytes"),
    "a hole": (b'{"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}', "holes"),
    "bytes that nobody has": (b'{"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', "0 of 4 bytes"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_wrong_header(name: str, tmp_path: Path) -> None:
    content, said = HEADERS[name]
    if content.startswith(b'{"x"'):
        content = len(content).to_bytes(8, "little") + content
    file = peft(tmp_path) / "adapter_model.safetensors"
    file.write_bytes(content)
    (problem,) = contents.look_into(tmp_path).problems
    assert problem.startswith(str(file)) and said in problem and len(problem) < 1000


def test_an_index_that_is_too_large_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpickle, "_STEPS_OF_AN_INDEX", 10)
    found = contents.look_into(bridge(tmp_path))
    assert found.complete is None and found.problems == [] and ".metadata" in found.notes[0]


def test_safetensors_own_library_writes_what_is_read(tmp_path: Path) -> None:
    library, numpy = pytest.importorskip("safetensors.numpy"), pytest.importorskip("numpy")
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {
        "b": ("float32", (3, 5)), "a": ("float16", (7,)), "none": ("int64", (0, 4)), "one": ("bool", ()),
        "u": ("uint8", (2, 2, 2)),
    }  # fmt: skip
    file = tmp_path / "model.safetensors"
    library.save_file({name: numpy.zeros(shape, dtype) for name, (dtype, shape) in shapes.items()}, file)
    assert {one.name: (one.dtype, one.shape) for one in tensors.of_safetensors(file)} == shapes


def test_torchs_own_reader_finds_the_same_in_what_torch_writes(tmp_path: Path) -> None:
    """Tensors of all types and shapes, something that is none, and one whose parts several processes would write."""
    torch = pytest.importorskip("torch")
    checkpoint = pytest.importorskip("torch.distributed.checkpoint")
    types = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "int64", "int32", "int16", "int8", "uint8")
    state: dict[str, Any] = {name: torch.zeros(3, 5, dtype=getattr(torch, name)) for name in (*types, "bool")}
    state |= {
        "scalar": torch.zeros(()),
        "empty": torch.zeros(0, 4),
        "long": torch.zeros(1 << 16),
        "a.b/c d": torch.ones(2),
    }
    state |= {"extra": io.BytesIO(b"bytes"), "number": 7, "deep": {"er": torch.zeros(2, 2, 2, 2, 2)}}
    checkpoint.save(state, checkpoint_id=tmp_path / "iter_0000003", no_dist=True)
    metadata = checkpoint.FileSystemReader(tmp_path / "iter_0000003").read_metadata()
    ends: dict[str, int] = {}
    for part in metadata.storage_data.values():
        ends[part.relative_path] = max(ends.get(part.relative_path, 0), part.offset + part.length)
    found = tensors.of_index(tmp_path / "iter_0000003" / ".metadata")
    told = {tensor.name: (tensor.dtype, tensor.shape) for tensor in found.tensors}
    there = {name: one for name, one in metadata.state_dict_metadata.items() if hasattr(one, "size")}
    assert told == {
        name: (str(one.properties.dtype).removeprefix("torch."), tuple(one.size)) for name, one in there.items()
    }
    assert sorted(found.others) == sorted(metadata.state_dict_metadata.keys() - there.keys())
    assert found.ends == ends and all(
        (tmp_path / "iter_0000003" / name).stat().st_size >= end for name, end in ends.items()
    )


@pytest.mark.parametrize(
    ("place", "hint"),
    [
        ("snapshots/abc/config.json", "cache of the Hub; name a folder in it, such as .*/snapshots/abc"),
        ("checkpoint-100/config.json", "name a checkpoint in it, such as .*/checkpoint-100"),
        ("global_step7/mp_rank_00_model_states.pt", "DeepSpeed has saved it"),
        ("model.gguf", "model.gguf is of llama.cpp"),
    ],
)
def test_what_is_often_taken_for_one(place: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).touch()
    with pytest.raises(layout.CheckpointError, match=f"is no checkpoint.*{hint}"):
        contents.look_into(tmp_path)


def test_a_file_that_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(unpickle.Refused, match="f is not a file of torch.save, or is damaged$"):
        unpickle.load(tmp_path / "f")
