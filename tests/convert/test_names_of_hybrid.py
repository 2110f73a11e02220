"""A checkpoint of a GPT model under the names of the hybrid one: torch reads the same numbers, the source stays.

That Megatron-LM trains on with it, step for step as with the GPT model, is in tests/against/test_modernize_live.py.
"""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from saved_checkpoints import Dtype, effective, pickled, zipped

from bridge_args.checkpoint import contents, layout, pieces, unpickle
from bridge_args.cli.main import main
from bridge_args.convert import renamed
from bridge_args.convert.provenance import hashes
from bridge_args.values import Symbol

torch = pytest.importorskip("torch")
dcp = pytest.importorskip("torch.distributed.checkpoint")
pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")

WORDS = (
    "--hidden-size 8 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 32 --micro-batch-size 1 "
    "--global-batch-size 8 --train-iters 5 --lr 1e-3 --mock-data --eval-interval 10 --tokenizer-type NullTokenizer "
    "--vocab-size 100 --bf16 --disable-bias-linear --position-embedding-type rope"
)
MOE = "--num-experts 4 --moe-grouped-gemm"
QKV, PROJ = "self_attention.linear_qkv.weight", "self_attention.linear_proj.weight"
FC1, FC2, ROUTER = "mlp.linear_fc1.weight", "mlp.linear_fc2.weight", "mlp.router.weight"
EXPERTS = "mlp.experts.experts.linear_fc1.weight"
ENDS = ("embedding.word_embeddings.weight", "decoder.final_layernorm.weight", "output_layer.weight")


def with_optimizer(names: list[str], stacked: int = 0) -> dict[str, Any]:
    """Random tensors under these names, and those that an optimizer has of them."""
    states = {"": torch.bfloat16, "optimizer.state.exp_avg.": torch.float32}
    held = {}
    for state, dtype in states.items():
        for name in names:
            shape = (stacked, 4, 2) if stacked and name.startswith("decoder.layers.") else (4, 2)
            held[state + name] = torch.randn(shape).to(dtype)
    return held


def saved(root: Path, words: str, tensors: dict[str, Any], among: bool = False, **objects: Any) -> Path:
    """As Megatron-LM leaves it.

    Args:
        among: the arguments lie among the tensors, as since 0.19.
        objects: what is no tensor, with the dots of its name as ``__``.
    """
    folder = root / "iter_0000005"
    values = effective(f"{WORDS} {words}".split()) | {"padded_vocab_size": 64}
    plain = {
        name: Dtype(value.path.rpartition(".")[2]) if isinstance(value, Symbol) else value
        for name, value in values.items()
    }
    content = {"args": argparse.Namespace(**plain), "checkpoint_version": 3.0, "iteration": 5, "kept": ["as", "it is"]}
    common = zipped(pickled(content), root / "common.pt")
    state = {
        **tensors,
        "rng_state/shard_0_1": [b"random"],
        **{key.replace("__", "."): one for key, one in objects.items()},
    }
    planner = dcp.DefaultSavePlanner(flatten_state_dict=False)
    if among:
        state["common_state/shard_0_1"] = [torch.load(common, weights_only=False)]
    dcp.save(state, storage_writer=dcp.FileSystemWriter(folder), planner=planner, no_dist=True)
    if among:
        common.unlink()
    else:
        common.rename(folder / "common.pt")
    (folder / "metadata.json").write_text('{"sharded_backend": "torch_dist", "sharded_backend_version": 1}')
    (root / layout.MEGATRON_TRACKER).write_text("5")
    return root


def loaded(folder: Path) -> dict[str, Any]:
    """Every tensor, read by torch."""
    reader = dcp.FileSystemReader(folder)
    held = reader.read_metadata().state_dict_metadata
    state = {
        name: torch.empty(one.size, dtype=one.properties.dtype) for name, one in held.items() if hasattr(one, "size")
    }
    dcp.load(state, storage_reader=reader, planner=dcp.DefaultLoadPlanner(flatten_state_dict=False), no_dist=True)
    return state


def dense(root: Path, layers: int = 3, **more: Any) -> tuple[Path, dict[str, Any]]:
    names = [*ENDS, *(f"decoder.layers.{inside}" for inside in (QKV, PROJ, FC1, FC2))]
    tensors = with_optimizer(names, layers)
    return saved(root, f"--num-layers {layers}", tensors, **more), tensors


def mixed(root: Path, **more: Any) -> tuple[Path, dict[str, Any]]:
    first, second = [QKV, PROJ, FC1, FC2], [QKV, PROJ, "pre_mlp_layernorm.weight", ROUTER, EXPERTS]
    names = [*ENDS, *(f"decoder.layers.0.{one}" for one in first), *(f"decoder.layers.1.{one}" for one in second)]
    names += ["mtp.layers.0.enorm.weight", *(f"mtp.layers.0.transformer_layer.{one}" for one in second)]
    tensors = with_optimizer(names)
    words = f"--num-layers 2 {MOE} --moe-layer-freq [0,1] --mtp-num-layers 1"
    return saved(root, words, tensors, **more), tensors


def converted(source: Path, to: Path) -> Path:
    before = hashes(source)
    assert main(["checkpoint", "to-hybrid", str(source), "-o", str(to)]) == 0
    assert hashes(source) == before
    return to / "iter_0000005"


@pytest.mark.parametrize("among", [False, True])
def test_layers_that_are_alike(tmp_path: Path, among: bool) -> None:
    source, tensors = dense(tmp_path / "gpt", among=among)
    found = loaded(converted(source, tmp_path / "hybrid"))
    meant = {}
    for name, tensor in tensors.items():
        head, layers, inside = name.partition("decoder.layers.")
        if not layers:
            meant[name.replace("final_layernorm", "final_norm")] = tensor
            continue
        for layer in range(3):
            letter = 2 * layer + inside.startswith("mlp.")
            meant[f"{head}decoder.layers.{letter}.{inside}"] = tensor[layer]
    assert found.keys() == meant.keys()
    assert all(torch.equal(found[name], meant[name]) and found[name].dtype == meant[name].dtype for name in meant)


def test_layers_that_are_not_alike_stay_in_their_files(tmp_path: Path) -> None:
    source, tensors = mixed(tmp_path / "gpt")
    folder = converted(source, tmp_path / "hybrid")
    found = loaded(folder)
    for state in ("", "optimizer.state.exp_avg."):
        for new, old in {
            f"decoder.layers.1.{FC1}": f"decoder.layers.0.{FC1}",
            f"decoder.layers.2.{QKV}": f"decoder.layers.1.{QKV}",
            f"decoder.layers.3.{EXPERTS}": f"decoder.layers.1.{EXPERTS}",
            "decoder.layers.3.pre_mlp_layernorm.weight": "decoder.layers.1.pre_mlp_layernorm.weight",
            "mtp.layers.0.enorm.weight": "mtp.layers.0.enorm.weight",
            f"mtp.layers.0.mtp_model_layer.layers.0.{PROJ}": f"mtp.layers.0.transformer_layer.{PROJ}",
            f"mtp.layers.0.mtp_model_layer.layers.1.{ROUTER}": f"mtp.layers.0.transformer_layer.{ROUTER}",
        }.items():
            assert torch.equal(found[state + new], tensors[state + old])
    assert len(found) == len(tensors)
    for file in (source / "iter_0000005").glob("*.distcp"):
        assert os.path.samefile(file, folder / file.name)


@pytest.mark.parametrize("among", [False, True])
def test_its_arguments_are_those_of_the_hybrid_model(tmp_path: Path, among: bool) -> None:
    source, _ = mixed(tmp_path / "gpt", among=among)
    before = contents.look_into(source).saved
    folder = converted(source, tmp_path / "hybrid")
    after = contents.look_into(folder.parent).saved
    assert before and after and after.iteration == 5
    changed = {name: after.values[name] for name in after.values if before.values.get(name) != after.values[name]}
    assert changed.pop("hybrid_layer_pattern") == "*-*E/*E"
    assert changed.pop("num_layers") == changed.pop("encoder_num_layers") == 4
    assert changed == {"moe_layer_freq": 1}
    if not among:
        whole = torch.load(folder / "common.pt", weights_only=False)
        assert whole["kept"] == ["as", "it is"] and whole["args"].hybrid_layer_pattern == "*-*E/*E"
    assert json.loads((folder / "conversion.json").read_text())["arguments"]["num_layers"] == 4


def test_what_is_no_tensor_goes_along(tmp_path: Path) -> None:
    key = "decoder.layers.self_attention.core_attention._extra_state/shard_{}_3"
    experts = "decoder.layers.mlp.experts.experts.linear_fc1._extra_state/shard_2.1_3.4"
    objects = {key.format(layer).replace(".", "__"): [f"layer {layer}"] for layer in range(3)}
    source, _ = dense(tmp_path / "gpt", **objects, **{experts.replace(".", "__"): ["expert"]})
    folder = converted(source, tmp_path / "hybrid")
    held = pieces.of_index(folder / layout.INDEX).objects
    assert held.keys() == {
        "rng_state/shard_0_1",
        "output_layer._extra_state/shard_0_1",
        *(f"decoder.layers.{2 * layer}.self_attention.core_attention._extra_state/shard_0_1" for layer in range(3)),
        "decoder.layers.5.mlp.experts.experts.linear_fc1._extra_state/shard_1_4",
    }
    second = held["decoder.layers.2.self_attention.core_attention._extra_state/shard_0_1"]
    for part, meant in {second: ["layer 1"], held["output_layer._extra_state/shard_0_1"]: [None]}.items():
        content = unpickle.part_of(folder / part.file, part.offset, part.length)
        assert torch.load(io.BytesIO(content)) == meant


def test_a_dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, _ = dense(tmp_path / "gpt")
    assert main(["checkpoint", "to-hybrid", str(source), "-o", str(tmp_path / "hybrid"), "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["--hybrid-layer-pattern '*-*-*-'", "decoder.final_norm.weight"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["gpt"]


def _hybrid_already(root: Path) -> None:
    shutil.copytree(converted(dense(root / "other")[0], root / "made"), root / "gpt/iter_0000005", dirs_exist_ok=True)


def _bridges(root: Path) -> None:
    (root / "gpt/iter_0000005/run_config.yaml").write_text("_target_: megatron.bridge.x\n")


def _torn(root: Path) -> None:
    file = next((root / "gpt/iter_0000005").glob("*.distcp"))
    file.write_bytes(file.read_bytes()[:-100])


def _no_arguments(root: Path) -> None:
    torch.save({"iteration": 5}, root / "gpt/iter_0000005/common.pt")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_hybrid_already, "is one of a hybrid model already, whose layers are *-*-*-"),
        (_bridges, "only a torch_dist checkpoint that Megatron-LM has saved can be renamed"),
        (_torn, "is not whole"),
        (_no_arguments, "holds no arguments of Megatron-LM"),
    ],
)
def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Any, why: str) -> None:
    source, _ = dense(tmp_path / "gpt")
    spoil(tmp_path)
    _refused(source, tmp_path / "hybrid", capsys, why)


@pytest.mark.parametrize(
    ("words", "names", "why"),
    [
        ("--num-layers 2 --num-experts 4", [f"decoder.layers.{QKV}"], "train with --moe-grouped-gemm first"),
        ("--num-layers 2", ["vision_model.conv1.weight"], 'it has a tensor "vision_model.conv1.weight"'),
    ],
)
def test_no_hybrid_model_is_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, names: list[str], why: str
) -> None:
    source = saved(tmp_path / "gpt", words, with_optimizer([*ENDS, *names], 2))
    _refused(source, tmp_path / "hybrid", capsys, why)


def test_an_index_that_lies_about_a_piece(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, _ = dense(tmp_path / "gpt")
    index = source / "iter_0000005/.metadata"
    held = dcp.FileSystemReader(index.parent).read_metadata()
    keys = {key.fqn: key for key in held.storage_data}
    held.storage_data[keys[f"decoder.layers.{QKV}"]] = held.storage_data[keys[ENDS[0]]]
    index.write_bytes(pickle.dumps(held))
    _refused(source, tmp_path / "hybrid", capsys, "is not the piece of")


def _another_depth(held: Any) -> None:
    held.state_dict_metadata[f"decoder.layers.{QKV}"].chunks[0].offsets = torch.Size([0, 0])
    key = next(key for key in held.storage_data if key.fqn == f"decoder.layers.{QKV}")
    held.storage_data[type(key)(key.fqn, torch.Size([0, 0]))] = held.storage_data.pop(key)


def _no_list(held: Any) -> None:
    held.state_dict_metadata[f"decoder.layers.{QKV}"].chunks = 7


def _many_layers(held: Any) -> None:
    one = held.state_dict_metadata[f"decoder.layers.{QKV}"]
    one.size, one.chunks = torch.Size([1 << 40, 0]), []


def _called(name: str) -> Callable[[Any], None]:
    def spoil(held: Any) -> None:
        key = next(key for key in held.storage_data if key.fqn == "rng_state/shard_0_1")
        held.state_dict_metadata[name] = held.state_dict_metadata.pop(key.fqn)
        held.storage_data[type(key)(name)] = held.storage_data.pop(key)

    return spoil


def _in_itself(held: Any) -> None:
    """What is written under this name would go through the link into the source."""
    key = next(key for key in held.storage_data if key.fqn == "rng_state/shard_0_1")
    held.storage_data[key].relative_path, held.storage_data[key].length = ".metadata", 10


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_in_itself, "its index has tensors in .metadata, which is no file of tensors"),
        (_called("decoder.layers.self_attention.state"), "does not say of which layer it is"),
        (_called(f"decoder.layers.{'9' * 5000}.x/shard_0_1"), "a name in it is longer than any"),
        (_another_depth, "has other dimensions than the whole"),
        (_no_list, "are not the whole of it"),
        (_many_layers, "is not of 3 layers, as the arguments say"),
    ],
)
def test_an_index_that_no_program_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Any, why: str
) -> None:
    source, _ = dense(tmp_path / "gpt")
    held = dcp.FileSystemReader(source / "iter_0000005").read_metadata()
    spoil(held)
    (source / "iter_0000005/.metadata").write_bytes(pickle.dumps(held))
    _refused(source, tmp_path / "hybrid", capsys, why)


def test_a_result_that_is_not_right_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = dense(tmp_path / "gpt")
    save = torch.save
    monkeypatch.setattr(
        torch, "save", lambda tensor, file: save(tensor + 1 if hasattr(tensor, "dim") else tensor, file)
    )
    _refused(source, tmp_path / "hybrid", capsys, "has other numbers")


def test_a_full_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    source, _ = dense(tmp_path / "gpt")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(renamed, "_new_objects", full)
    _refused(source, tmp_path / "hybrid", capsys, "No space left on device; there is no new folder")


def test_a_source_that_is_saved_again_meanwhile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = dense(tmp_path / "gpt")
    made = renamed._new_objects

    def again(*words: Any) -> Any:
        file = source / "iter_0000005" / "metadata.json"
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
        return made(*words)

    monkeypatch.setattr(renamed, "_new_objects", again)
    _refused(source, tmp_path / "hybrid", capsys, "metadata.json changed while it was read")


def test_into_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, _ = dense(tmp_path / "gpt")
    _refused(source, source / "hybrid", capsys, "lies inside of the input")


def _refused(source: Path, to: Path, capsys: pytest.CaptureFixture[str], why: str) -> None:
    before = hashes(source)
    assert main(["checkpoint", "to-hybrid", str(source), "-o", str(to)]) == 1
    assert why in capsys.readouterr().err
    assert hashes(source) == before and not to.exists()
    assert not [entry for entry in to.parent.iterdir() if "unfinished" in entry.name]
