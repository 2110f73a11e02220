"""A merged model is PEFT's, bit for bit; what cannot be merged is told before anything is written."""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

import tiny_models  # noqa: E402

from bridge_args.cli.main import main  # noqa: E402
from bridge_args.convert import hugging_face, merge_lora, output  # noqa: E402
from bridge_args.convert.output import Refused  # noqa: E402
from bridge_args.errors import UserError  # noqa: E402

Q, V, DOWN = (f"model.layers.{{}}.{name}_proj" for name in ("self_attn.q", "self_attn.v", "mlp.down"))
SHAPES = {Q: (64, 64), V: (32, 64), DOWN: (64, 128)}  # of tiny_models' llama: rows, columns


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.make(tmp_path_factory.mktemp("models") / "base", "llama")


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    return made(tmp_path / "adapter", base)


def made(folder: Path, base: Path, tensors: Mapping[str, Any] | None = None, **config: Any) -> Path:
    """An adapter for every q, v and down of the base, or for what is named."""
    folder.mkdir()
    torch.manual_seed(1)
    low = {}
    for layer in range(2):
        for name, (rows, columns) in SHAPES.items():
            whole = f"base_model.model.{name.format(layer)}"
            low[f"{whole}.lora_A.weight"] = torch.randn(4, columns) * 0.1
            low[f"{whole}.lora_B.weight"] = torch.randn(rows, 4) * 0.1
    said = {"peft_type": "LORA", "r": 4, "lora_alpha": 6, "base_model_name_or_path": str(base)}
    safetensors.save_file(low if tensors is None else dict(tensors), folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({**said, **config}))
    return folder


def merged(adapter: Path, base: Path, to: Path, **asked: Any) -> merge_lora.Merged:
    return merge_lora.merged(merge_lora.Asked(adapter, base, to, **{"smoke": False, **asked}), ["typed"], None, print)


def tensors_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= safetensors.load_file(file)
    return found


def hashes_of(*folders: Path) -> dict[str, str]:
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def different(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names of tensors that are not the same, to the last bit."""
    assert one.keys() == other.keys()
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return [
        name
        for name, numbers in one.items()
        if numbers.dtype != other[name].dtype
        or not torch.equal(*(each.view(bits[numbers.element_size()]) for each in (numbers, other[name])))
    ]


# ---------------------------------------------------------------- what is made


def test_a_merged_weight_is_base_plus_scaled_product(adapter: Path, base: Path, tmp_path: Path) -> None:
    found = merged(adapter, base, tmp_path / "merged", smoke=True)
    low, before, after = (tensors_of(folder) for folder in (adapter, base, tmp_path / "merged"))
    assert found.pairs == found.changed == 6
    for name, weight in before.items():
        module = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{module}.lora_A.weight" in low:
            weight = weight + (low[f"{module}.lora_B.weight"] @ low[f"{module}.lora_A.weight"]) * (6 / 4)
            assert not torch.equal(before[name], after[name])
        assert torch.equal(after[name], weight.to(torch.bfloat16)), name


def test_everything_else_is_as_in_the_base(adapter: Path, base: Path, tmp_path: Path) -> None:
    to = tmp_path / "merged"
    merged(adapter, base, to)
    names = {file.name for file in base.iterdir()}
    assert {file.name for file in to.iterdir()} == names | {"conversion.json"}
    for name in names - {"model.safetensors"}:
        assert (to / name).read_bytes() == (base / name).read_bytes()
    heads = [(folder / "model.safetensors").read_bytes() for folder in (base, to)]
    length = 8 + int.from_bytes(heads[0][:8], "little")
    assert heads[0][:length] == heads[1][:length]


def test_the_record_has_the_hashes_of_what_was_read_and_written(adapter: Path, base: Path, tmp_path: Path) -> None:
    to = tmp_path / "merged"
    found = merged(adapter, base, to)
    said = json.loads((to / "conversion.json").read_text())
    for name, folder, files in (
        ("base", base, said["inputs"]["base"]["files"]),
        ("adapter", adapter, said["inputs"]["adapter"]["files"]),
        ("merged", to, said["outputs"]),
    ):
        assert {file: one["sha256"] for file, one in files.items()} == {
            Path(file).name: hash for file, hash in hashes_of(folder).items() if Path(file).name != "conversion.json"
        }, name
    assert said["inputs"]["adapter"]["base_is_by"] == "path"
    assert said["merge"]["peak"] == found.peak > 0


def test_the_command(adapter: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = tmp_path / "merged"
    assert main(["checkpoint", "merge-lora", str(adapter), "--base", str(base), "-o", str(to), "--no-smoke"]) == 0
    said = capsys.readouterr()
    assert "6 tensors of 21 changed, by 6 pairs of matrices" in said.out
    assert different(tensors_of(to), tensors_of(base))


def test_a_base_that_has_moved_is_known_by_its_weights(base: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(base, tmp_path / "moved")
    adapter = made(tmp_path / "adapter", base)
    merged(adapter, moved, tmp_path / "merged")
    said = json.loads((tmp_path / "merged" / "conversion.json").read_text())
    assert said["inputs"]["adapter"]["base_is_by"] == "hashes of its weights"


def test_a_base_in_the_cache_of_the_hub_is_known_by_its_folder(base: Path, tmp_path: Path) -> None:
    cached = shutil.copytree(base, tmp_path / "models--some--model" / "snapshots" / ("a" * 40))
    merged(made(tmp_path / "one", base, base_model_name_or_path="some/model"), cached, tmp_path / "merged")
    other = made(tmp_path / "two", base, base_model_name_or_path="some/model", revision="b" * 40)
    with pytest.raises(Refused, match="trained on revision b+ of some/model"):
        merged(other, cached, tmp_path / "never")


def test_the_user_may_say_which_base_it_is(base: Path, tmp_path: Path) -> None:
    adapter = made(tmp_path / "adapter", base, base_model_name_or_path="some/model")
    merged(adapter, base, tmp_path / "merged", base_is="some/model")


def test_other_weights_are_not_copied(adapter: Path, base: Path, tmp_path: Path) -> None:
    """They would be those of the base."""
    other = shutil.copytree(base, tmp_path / "base")
    (other / "pytorch_model.bin").write_bytes(b"old")
    (other / "original").mkdir()
    (other / "original" / "consolidated.00.pth").write_bytes(b"old")
    (other / ".cache").mkdir()
    (other / "additional_chat_templates").mkdir()
    (other / "additional_chat_templates" / "tool.jinja").write_text("x")
    found = merged(adapter, other, tmp_path / "merged")
    assert "original/consolidated.00.pth" in found.notes[0] and "pytorch_model.bin" in found.notes[0]
    there = {path.relative_to(tmp_path / "merged").as_posix() for path in (tmp_path / "merged").rglob("*")}
    assert "additional_chat_templates/tool.jinja" in there
    assert not there & {"pytorch_model.bin", "original", ".cache"}


# ---------------------------------------------------------------- PEFT is the judge


def by_peft(folder: Path, base: Path, config: Mapping[str, Any], dtype: str | None) -> None:
    """An adapter with random numbers as PEFT saves it, and the model that PEFT makes of it."""
    peft = pytest.importorskip("peft")
    load = transformers.AutoModelForCausalLM.from_pretrained
    model = peft.get_peft_model(load(base, dtype="auto"), peft.LoraConfig(task_type="CAUSAL_LM", **config))
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape) * 0.1)
    model.save_pretrained(folder / "adapter")
    file = folder / "adapter" / "adapter_model.safetensors"
    if dtype is not None:
        safetensors.save_file(
            {name: one.to(getattr(torch, dtype)) for name, one in tensors_of(file.parent).items()}, file
        )
    judged = peft.PeftModel.from_pretrained(load(base, dtype="auto"), folder / "adapter").merge_and_unload()
    judged.save_pretrained(folder / "peft")


ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
THOROUGH = pytest.mark.skipif(os.environ.get("BRIDGE_ARGS_MERGES") != "1", reason="BRIDGE_ARGS_MERGES=1 tries it, too")
CONV1D = ["c_attn", "c_proj", "c_fc"]
SAVED = ["lm_head", "norm"]
GPT2 = dict(n_embd=64, n_layer=2, n_head=4, n_positions=64, vocab_size=300)


@pytest.mark.parametrize(
    "dtype", ["bfloat16", *(pytest.param(one, marks=THOROUGH) for one in ("float16", "float32", "float64"))]
)
@pytest.mark.parametrize(
    ("kind", "config", "stored"),
    [
        pytest.param("llama", dict(r=8, lora_alpha=12, target_modules=ALL), None, id="plain"),
        pytest.param("llama", dict(r=8, lora_alpha=12, target_modules=ALL), "bfloat16", id="adapter in bfloat16"),
        pytest.param("llama", dict(r=8, lora_alpha=12, target_modules=ALL), "float16", id="adapter in float16"),
        pytest.param(
            "llama",
            dict(
                r=8,
                target_modules=ALL,
                rank_pattern={"v_proj": 4, r"layers\.1\.self_attn\.q_proj": 3, "^model.layers.0.mlp.up_proj": 5},
                alpha_pattern={"down_proj": 3, "layers.0.self_attn.k_proj": 7.5, "proj": 2},
            ),
            None,
            id="rank_pattern and alpha_pattern",
        ),
        pytest.param("llama", dict(r=7, lora_alpha=12, use_rslora=True, target_modules=ALL), None, id="rslora"),
        pytest.param("gpt2", dict(r=4, target_modules=CONV1D, fan_in_fan_out=True), None, id="fan_in_fan_out"),
        pytest.param("llama", dict(target_modules=["v_proj"], modules_to_save=SAVED), None, id="modules_to_save"),
        pytest.param("qwen2", dict(target_modules=ALL, bias="all"), None, id="bias all"),
        pytest.param("qwen2", dict(target_modules=["q_proj", "o_proj"], bias="lora_only"), None, id="bias lora_only"),
        pytest.param("qwen2", dict(target_modules=["q_proj", "v_proj"], lora_bias=True), None, id="lora_bias"),
        pytest.param("llama", dict(r=5, target_modules=["embed_tokens", "lm_head", "q_proj"]), None, id="embeddings"),
        pytest.param("llama_tied", dict(r=5, target_modules=["embed_tokens", "q_proj"]), None, id="tied embeddings"),
        pytest.param("llama_tied", dict(r=5, target_modules=["embed_tokens", "lm_head"]), None, id="tied, both ends"),
        pytest.param("llama", dict(target_modules=ALL, layers_to_transform=[1]), None, id="layers_to_transform"),
    ],
)
def test_the_same_as_peft_to_the_last_bit(
    kind: str, config: dict[str, Any], stored: str | None, dtype: str, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    base = tmp_path / "base"
    if kind == "gpt2":
        torch.manual_seed(0)
        transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2)).to(getattr(torch, dtype)).save_pretrained(base)
        tiny_models.tokenizer(base)
    else:
        tiny_models.make(base, kind, dtype)
    by_peft(tmp_path, base, config, stored)
    merged(tmp_path / "adapter", base, tmp_path / "merged")
    assert different(tensors_of(tmp_path / "merged"), tensors_of(tmp_path / "peft")) == []
    assert different(tensors_of(tmp_path / "merged"), tensors_of(base)) != []


def test_shards_keep_their_names_and_their_tensors(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    whole = tiny_models.make(tmp_path / "whole", "llama")
    model = transformers.AutoModelForCausalLM.from_pretrained(whole, dtype="auto")
    model.save_pretrained(tmp_path / "base", max_shard_size="150KB")
    tiny_models.tokenizer(tmp_path / "base")
    by_peft(tmp_path, tmp_path / "base", dict(r=8, target_modules=[*ALL, "lm_head"]), None)
    merged(tmp_path / "adapter", tmp_path / "base", tmp_path / "merged")
    shards = [sorted(file.name for file in (tmp_path / one).glob("*.safetensors*")) for one in ("base", "merged")]
    assert shards[0] == shards[1] and len(shards[0]) > 3
    for name in shards[0][:-1]:
        one, other = (safetensors.load_file(tmp_path / folder / name) for folder in ("base", "merged"))
        assert one.keys() == other.keys()
    assert different(tensors_of(tmp_path / "merged"), tensors_of(tmp_path / "peft")) == []


def test_a_weight_of_many_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bridge_args.convert import weights

    pytest.importorskip("peft")
    monkeypatch.setattr(weights, "PIECE", 1000)
    base = tiny_models.make(tmp_path / "base", "llama_tied", "float16")
    by_peft(tmp_path, base, dict(r=6, target_modules=["embed_tokens", "q_proj", "down_proj"]), None)
    merged(tmp_path / "adapter", base, tmp_path / "merged")
    assert different(tensors_of(tmp_path / "merged"), tensors_of(tmp_path / "peft")) == []


def test_shards_at_once_and_those_that_are_merged_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where some shapes are the same by rows and others are not: both kinds of files in one model."""
    from bridge_args.convert import weights

    pytest.importorskip("peft")
    monkeypatch.setattr(weights, "PIECE", 10_000)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2})
    whole = tiny_models.make(tmp_path / "whole", "llama", intermediate_size=1041, num_hidden_layers=4)
    base = tmp_path / "base"
    model = transformers.AutoModelForCausalLM.from_pretrained(whole, dtype="auto")
    model.save_pretrained(base, max_shard_size="150KB")
    tiny_models.tokenizer(base)
    apart, together = set(), set()
    merger = merge_lora.merge.Merger
    by_rows, tried = merger.by_rows, merger._tried

    def asked(self: Any, entries: list[weights.Entry]) -> bool:
        found = by_rows(self, entries)
        (together if found else apart).add(entries[0].file.name)
        return found

    monkeypatch.setattr(merger, "by_rows", asked)
    monkeypatch.setattr(merger, "_tried", lambda self, way: tried(self, way) and 1041 not in (*way.b, *way.a))
    by_peft(tmp_path, base, dict(r=3, target_modules=ALL), None)
    merged(tmp_path / "adapter", base, tmp_path / "merged")
    assert len(apart) > 2 and len(together) > 2, (apart, together)
    assert different(tensors_of(tmp_path / "merged"), tensors_of(tmp_path / "peft")) == []


@pytest.mark.parametrize("scaling", [2.0, 0.3], ids=["a power of two", "another"])
@pytest.mark.parametrize("kind", ["linear", "transposed", "embedding"])
@pytest.mark.parametrize(
    ("rows", "columns", "rank"),
    [(512, 256, 16), (256, 1024, 64), (1, 64, 8), (701, 515, 5), (1041, 303, 2), (300, 7, 3), (130, 128, 300)],
)
def test_pieces_are_the_whole(
    rows: int, columns: int, rank: int, kind: str, scaling: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a library that multiplies: what it does with odd shapes is not the same in every part of a product."""
    from bridge_args.convert import lora, merge, weights

    monkeypatch.setattr(weights, "PIECE", 40_000)
    b, a = torch.randn(rows, rank), torch.randn(rank, columns)
    product = b @ a if kind == "linear" else (b @ a).T
    weight = torch.randn(product.shape).bfloat16()
    safetensors.save_file({"a": a, "b": b, "weight": weight}, tmp_path / "all")
    entries = {entry.name: entry for entry in weights.read(tmp_path / "all").entries}
    change = lora.Change(pairs=(lora.Pair(kind, entries["a"], entries["b"], scaling),))
    with merge.Merger("", {"weight": change}) as merger, weights.Copier() as copier:
        make = {"weight": merger.begun}
        copier.weights(weights.read(tmp_path / "all"), tmp_path / "made", make, lambda size: None)
    delta = product * scaling
    weight += delta.bfloat16() if kind == "embedding" else delta
    found = safetensors.load_file(tmp_path / "made")
    assert different(found, {"a": a, "b": b, "weight": weight}) == []


# ---------------------------------------------------------------- what is refused


def edit(**config: Any) -> Callable[[Path, Path], None]:
    def change(adapter: Path, base: Path) -> None:
        file = adapter / "adapter_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **config}))

    return change


def retensor(change: Callable[[dict[str, Any]], None]) -> Callable[[Path, Path], None]:
    def apply(adapter: Path, base: Path) -> None:
        held = tensors_of(adapter)
        change(held)
        safetensors.save_file(held, adapter / "adapter_model.safetensors")

    return apply


def put(name: str, tensor: Any) -> Callable[[Path, Path], None]:
    return retensor(lambda held: held.update({f"base_model.model.model.{name}": tensor}))


def a_layer_too_many(adapter: Path, base: Path) -> None:
    for half, shape in (("A", (4, 64)), ("B", (64, 4))):
        put(f"layers.7.self_attn.q_proj.lora_{half}.weight", torch.ones(shape))(adapter, base)


def without(name: str) -> Callable[[Path, Path], None]:
    return lambda adapter, base: (base / name).unlink()


def an_adapter_as_base(adapter: Path, base: Path) -> None:
    (base / "adapter_config.json").write_text("{}")


def torn_base(adapter: Path, base: Path) -> None:
    os.truncate(base / "model.safetensors", 5000)


def quantized(adapter: Path, base: Path) -> None:
    tiny_models.edit(base, quantization_config={"quant_method": "fp8"})


def pickled(adapter: Path, base: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")


def torn(adapter: Path, base: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def of_a_base_elsewhere(adapter: Path, base: Path) -> None:
    other = tiny_models.make(base.parent / "other", "llama", hidden_size=32)
    edit(base_model_name_or_path=str(other))(adapter, base)


def renamed(change: Callable[[str], str]) -> Callable[[Path, Path], None]:
    def apply(held: dict[str, Any]) -> None:
        for name in list(held):
            held[change(name)] = held.pop(name)

    return retensor(apply)


def emptied(held: dict[str, Any]) -> None:
    for name, tensor in held.items():
        held[name] = tensor.new_empty(0)


def a_pointer(adapter: Path, base: Path) -> None:
    (base / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n")


def sharded(base: Path, **more: Any) -> dict[str, Any]:
    """Two files for one, and their index with other entries; returns what it was before."""
    held = tensors_of(base)
    halves = {f"model-{n}.safetensors": sorted(held)[n::2] for n in range(2)}
    for name, names in halves.items():
        safetensors.save_file({one: held[one] for one in names}, base / name, metadata={"format": "pt"})
    (base / "model.safetensors").unlink()
    placed = {one: name for name, names in halves.items() for one in names}
    size = sum(tensor.numel() * tensor.element_size() for tensor in held.values())
    index = {"metadata": {"total_size": size}, "weight_map": placed}
    (base / hugging_face.INDEX).write_text(json.dumps({**index, **more}))
    return index


def a_tokenizer_of_nothing(adapter: Path, base: Path) -> None:
    (base / "tokenizer.json").write_text('{"model": {}}')


def a_pointer_to_words(adapter: Path, base: Path) -> None:
    (base / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n")


def a_repository(adapter: Path, base: Path) -> None:
    shutil.copytree(base, base / "snapshots" / "1")
    (base / "config.json").unlink()


def a_tensor_nobody_names(adapter: Path, base: Path) -> None:
    placed = sharded(base)["weight_map"]
    placed.pop("model.norm.weight")
    (base / hugging_face.INDEX).write_text(json.dumps({"weight_map": placed}))


def weights_twice(adapter: Path, base: Path) -> None:
    content = (base / "model.safetensors").read_bytes()
    sharded(base)
    (base / "model.safetensors").write_bytes(content)


def a_file_elsewhere(adapter: Path, base: Path) -> None:
    placed = sharded(base)["weight_map"]
    (base / hugging_face.INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(placed, "../elsewhere")}))


def a_pipe(adapter: Path, base: Path) -> None:
    (base / "config.json").unlink()
    os.mkfifo(base / "config.json")


TWICE, OF_ONE = (lambda name: f"base_model.model.{name}"), (lambda name: name.replace(".weight", ".mine.weight"))
Q0 = "layers.0.self_attn.q_proj"
PREFIX = f"base_model.model.model.{Q0}"
HALF = "one matrix without the other: .*lora_B.weight is missing"
MAGNITUDE = f"{Q0}.lora_magnitude_vector"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(edit(use_dora=True), "use_dora is set: DoRA", id="DoRA"),
        pytest.param(put(MAGNITUDE, torch.ones(64)), "DoRA, which", id="DoRA by its tensors"),
        pytest.param(edit(target_parameters=["experts.gate_up_proj"]), "target_parameters is set", id="parameters"),
        pytest.param(edit(layer_replication=[[0, 2], [1, 2]]), "layer_replication is set", id="layer_replication"),
        pytest.param(edit(megatron_config={"a": 1}), "give the base as --base-megatron", id="of Megatron"),
        pytest.param(edit(peft_type="LOHA"), "peft_type is LOHA; only LORA", id="another kind"),
        pytest.param(edit(init_lora_weights="pissa_niter_4"), "init_lora_weights is pissa_niter_4", id="PiSSA"),
        pytest.param(edit(trainable_token_indices=[1]), "trainable_token_indices is set", id="tokens"),
        pytest.param(edit(of_next_year=True), "of_next_year: not known here", id="unknown option"),
        pytest.param(edit(alpha_pattern={"(a+)+b": 3}), "more of a pattern than is tried", id="endless pattern"),
        pytest.param(edit(rank_pattern={"(": 3}), "is no pattern", id="no pattern"),
        pytest.param(edit(r=0), "r is 0", id="no rank"),
        pytest.param(edit(r=8), "another rank than adapter_config.json says: .*4 for 8", id="another rank"),
        pytest.param(retensor(lambda held: held.pop(f"{PREFIX}.lora_B.weight")), HALF, id="half a pair"),
        pytest.param(put(f"{Q0}.lora_B.weight", torch.ones(65, 4)), "does not fit the base", id="another shape"),
        pytest.param(put(f"{Q0}.lora_B.weight", torch.ones(64, 5)), "two ranks in one pair", id="two ranks"),
        pytest.param(put("norm.weight", torch.ones(64)), "a tensor that is neither of LoRA", id="a tensor too many"),
        pytest.param(a_layer_too_many, "the base has no weight for: model.layers.7", id="a layer too many"),
        pytest.param(put(f"{Q0}.lora_A.weight", torch.ones(4, 64).to(torch.int8)), "of a kind", id="whole numbers"),
        pytest.param(renamed(TWICE), "names begin twice with base_model.model.", id="wrapped twice"),
        pytest.param(renamed(OF_ONE), "the name of an adapter in its names", id="names of a state_dict"),
        pytest.param(retensor(emptied), r"were not gathered when it was saved \(ZeRO-3", id="empty under ZeRO-3"),
        pytest.param(edit(r="4"), 'r is "4", and no number', id="a rank in quotes"),
        pytest.param(edit(rank_pattern={"q_proj": 0}), "no mapping of names to numbers above 0", id="no rank for one"),
        pytest.param(pickled, "adapter_model.bin is pickled and not loaded", id="pickled"),
        pytest.param(torn, "adapter_model.safetensors is not whole", id="torn"),
        pytest.param(of_a_base_elsewhere, "has other weights", id="another base"),
        pytest.param(edit(base_model_name_or_path="some/model"), "add --base-is some/model", id="base by a name"),
        pytest.param(edit(base_model_name_or_path=None), "names no base", id="no base"),
        pytest.param(an_adapter_as_base, "is an adapter and no model", id="base is an adapter"),
        pytest.param(without("tokenizer.json"), "has no tokenizer", id="no tokenizer"),
        pytest.param(without("config.json"), "config.json is missing", id="no config"),
        pytest.param(without("model.safetensors"), "has no weights", id="no weights"),
        pytest.param(torn_base, "is not whole", id="torn base"),
        pytest.param(a_pointer, "is a pointer of Git LFS, not the file itself", id="pointer of Git LFS"),
        pytest.param(a_tokenizer_of_nothing, "transformers does not load the tokenizer", id="tokenizer of nothing"),
        pytest.param(a_pointer_to_words, "tokenizer.json is a pointer of Git LFS", id="pointer to a tokenizer"),
        pytest.param(a_repository, "in the cache of the Hub; name a folder in it", id="repository of the cache"),
        pytest.param(a_tensor_nobody_names, r"model.norm.weight, which .* does not name", id="index with a hole"),
        pytest.param(weights_twice, "has its weights twice", id="weights twice"),
        pytest.param(a_file_elsewhere, "which is outside of the folder", id="index to another folder"),
        pytest.param(a_pipe, "config.json is missing", id="config is a pipe"),
        pytest.param(quantized, r"is quantized \(fp8\)", id="quantized base"),
    ],
)
def test_what_is_refused(
    change: Callable[[Path, Path], None], why: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = shutil.copytree(base, tmp_path / "base")
    adapter = made(tmp_path / "adapter", own)
    change(adapter, own)
    before = hashes_of(adapter, own)
    words = ["checkpoint", "merge-lora", str(adapter), "--base", str(own), "-o", str(tmp_path / "merged")]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert re.search(why, said), said
    assert hashes_of(adapter, own) == before
    assert not (tmp_path / "merged").exists() and output.left_beside(tmp_path / "merged") == []


@pytest.mark.parametrize("change", [TWICE, OF_ONE], ids=["wrapped twice", "names of a state_dict"])
def test_peft_loads_nothing_of_names_that_are_refused(
    change: Callable[[str], str], adapter: Path, base: Path, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    renamed(change)(adapter, base)
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    with pytest.warns(UserWarning, match="missing adapter keys"):
        peft.PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(tmp_path / "peft")
    assert different(tensors_of(tmp_path / "peft"), tensors_of(base)) == []


def test_names_with_the_adapter_in_them_as_with_peft(adapter: Path, base: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    renamed(lambda name: name.replace(".weight", ".default.weight"))(adapter, base)
    edit(target_modules=["q_proj", "v_proj", "down_proj"])(adapter, base)
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    peft.PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(tmp_path / "peft")
    assert merged(adapter, base, tmp_path / "merged").changed == 6
    assert different(tensors_of(tmp_path / "merged"), tensors_of(tmp_path / "peft")) == []


def test_odd_models_that_are_merged(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Links as in the cache of the hub, odd names, an index with another sum, a tokenizer beside the adapter."""
    own = shutil.copytree(base, tmp_path / "ba\nse")
    sharded(own, metadata={"total_size": 1, "more": 2})
    linked = tmp_path / "a link's folder"
    linked.mkdir()
    for file in own.iterdir():
        (linked / file.name).symlink_to(file)
    (linked / "gone.txt").symlink_to("nowhere")
    adapter = made(tmp_path / "ad\napter", linked)
    (adapter / "chat_template.jinja").write_text("other")
    merged(adapter, linked, tmp_path / "me rged")
    said = capsys.readouterr().out
    assert "says 1 bytes, and its files have 410" in said and "another chat_template.jinja than the base" in said
    there = list((tmp_path / "me rged").iterdir())
    assert not any(file.is_symlink() for file in there) and len(there) == len(list(own.iterdir())) + 1
    index = json.loads((tmp_path / "me rged" / hugging_face.INDEX).read_text())["metadata"]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors_of(own).values())
    assert index == {"total_size": size, "more": 2}


STRANGE = [None, True, 0, -1, 1e308, "x", "../..", [], [1], ["q_proj"], {}, {"a": "b"}, {"q_proj": [1]}, {"q_proj": 2}]
KEYS = (
    "peft_type r lora_alpha rank_pattern alpha_pattern modules_to_save bias target_modules exclude_modules use_rslora "
    "layers_to_transform fan_in_fan_out init_lora_weights base_model_name_or_path revision use_dora lora_bias unknown"
).split()


@pytest.mark.parametrize("key", KEYS)
def test_whatever_a_configuration_says_is_refused_or_merged(key: str, base: Path, tmp_path: Path) -> None:
    """No value stops the command otherwise."""
    for number, value in enumerate(STRANGE):
        adapter = made(tmp_path / f"adapter{number}", base, **{key: value})
        asked = merge_lora.Asked(adapter, base, tmp_path / "merged", smoke=False)
        try:
            plan = merge_lora._plan(asked)
        except Refused as refused:
            assert refused.reasons
        else:
            assert plan.changes.pairs == 6


def test_every_reason_is_told_at_once(adapter: Path, base: Path, tmp_path: Path) -> None:
    edit(use_dora=True, layer_replication=[[0, 1]], base_model_name_or_path="some/model")(adapter, base)
    retensor(lambda held: held.pop(f"{PREFIX}.lora_A.weight"))(adapter, base)
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "mine").write_text("x")
    with pytest.raises(Refused) as refused:
        merged(adapter, base, tmp_path / "merged")
    said = "\n".join(refused.value.reasons)
    for why in ("use_dora", "layer_replication", "--base-is some/model", "lora_A.weight is missing", "is not empty"):
        assert why in said


@pytest.mark.parametrize("saved", [["embed_tokens"], ["lm_head"], ["embed_tokens", "lm_head"]], ids="+".join)
@pytest.mark.parametrize("sharded", [False, True], ids=["one file", "shards"])
def test_a_tied_embedding_becomes_two_as_with_peft(saved: list[str], sharded: bool, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    whole = tiny_models.make(tmp_path / "whole", "llama_tied")
    base = tmp_path / "base"
    model = transformers.AutoModelForCausalLM.from_pretrained(whole, dtype="auto")
    model.save_pretrained(base, max_shard_size="150KB" if sharded else "1GB")
    tiny_models.tokenizer(base)
    by_peft(tmp_path, base, dict(r=4, target_modules=["q_proj"], modules_to_save=saved), None)
    found = merged(tmp_path / "adapter", base, tmp_path / "merged", smoke=True)
    assert any("has made two of it" in note for note in found.notes)
    assert different(tensors_of(tmp_path / "merged"), tensors_of(tmp_path / "peft")) == []
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["tie_word_embeddings"] is False
    said = json.loads((tmp_path / "merged" / "conversion.json").read_text())["outputs"]
    assert {file: one["sha256"] for file, one in said.items()} == {
        Path(file).name: hash for file, hash in hashes_of(tmp_path / "merged").items() if "conversion" not in file
    }


def test_a_tied_embedding_is_not_changed_in_two_ways(tmp_path: Path) -> None:
    base = tiny_models.make(tmp_path / "base", "llama_tied")
    low = {"base_model.model.lm_head.weight": torch.ones(1024, 64)}
    low |= {"base_model.model.model.embed_tokens.lora_embedding_A": torch.ones(4, 1024)}
    low |= {"base_model.model.model.embed_tokens.lora_embedding_B": torch.ones(64, 4)}
    adapter = made(tmp_path / "adapter", base, low, modules_to_save=["lm_head"])
    with pytest.raises(Refused, match="is changed otherwise"):
        merged(adapter, base, tmp_path / "merged")


def test_a_model_that_does_not_fit_into_memory_is_not_run(
    adapter: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge_lora, "_available", lambda: 100_000)
    found = merged(adapter, base, tmp_path / "merged", smoke=True)
    assert found.checked[-1].startswith("not run: ") and (tmp_path / "merged").is_dir()


@pytest.mark.parametrize("where", ["base", "adapter", "base/inside", "."])
def test_no_result_where_the_input_is(where: str, base: Path, tmp_path: Path) -> None:
    own = shutil.copytree(base, tmp_path / "base")
    adapter = made(tmp_path / "adapter", own)
    before = hashes_of(tmp_path)
    with pytest.raises(Refused):
        merged(adapter, own, tmp_path / where)
    assert hashes_of(tmp_path) == before


def test_no_room(adapter: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 1000))  # type: ignore[attr-defined]
    with pytest.raises(Refused, match="1,000 bytes free"):
        merged(adapter, base, tmp_path / "merged")


def test_numbers_that_are_not_finite(base: Path, tmp_path: Path) -> None:
    low = {f"{PREFIX}.lora_A.weight": torch.full((4, 64), 1e30), f"{PREFIX}.lora_B.weight": torch.full((64, 4), 1e30)}
    adapter = made(tmp_path / "adapter", base, low)
    with pytest.raises(UserError, match=r"q_proj.weight has numbers that are not finite once .*adapter is merged"):
        merged(adapter, base, tmp_path / "merged")
    assert not (tmp_path / "merged").exists() and output.left_beside(tmp_path / "merged") == []


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("number", [float("nan"), float("-inf")])
@pytest.mark.parametrize("name", [f"{Q.format(0)}.weight", "lm_head.weight", "model.norm.weight"])
def test_numbers_of_the_base_that_are_not_finite(
    name: str, number: float, dtype: str, adapter: Path, base: Path, tmp_path: Path
) -> None:
    """Told when they are met, whether or not the adapter changes that tensor."""
    own = shutil.copytree(base, tmp_path / "base")
    held = {one: numbers.to(getattr(torch, dtype)) for one, numbers in tensors_of(own).items()}
    held[name].view(-1)[-1] = number
    safetensors.save_file(held, own / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=f"{name} has numbers that are not finite in the base"):
        merged(adapter, own, tmp_path / "merged", base_is=str(base))
    assert not (tmp_path / "merged").exists() and output.left_beside(tmp_path / "merged") == []


def test_numbers_of_a_head_that_comes_with_an_adapter(tmp_path: Path) -> None:
    base = tiny_models.make(tmp_path / "base", "llama_tied")
    head = torch.ones(1024, 64)
    head[1023, 63] = float("inf")
    low = {"base_model.model.lm_head.weight": head, f"{PREFIX}.lora_A.weight": torch.ones(4, 64)}
    low[f"{PREFIX}.lora_B.weight"] = torch.ones(64, 4)
    adapter = made(tmp_path / "adapter", base, low, modules_to_save=["lm_head"])
    with pytest.raises(UserError, match="lm_head.weight has numbers that are not finite in .*adapter_model"):
        merged(adapter, base, tmp_path / "merged")
    head[1023, 63] = 65504.0
    safetensors.save_file(low, adapter / "adapter_model.safetensors")
    merged(adapter, base, tmp_path / "merged")


# ---------------------------------------------------------------- what is in the way meanwhile

PHASES = {
    "while the weights are written": "merge_lora.weights.Copier._changed",
    "while files are copied": "merge_lora.weights.Copier.copy",
    "while it is checked": "merge_lora.hugging_face.checked",
    "while the record is written": "merge_lora.Provenance.write",
    "before it has its name": "output.os.rename",
}
WAITS = """
import sys, time
from pathlib import Path
from bridge_args.convert import merge_lora, output
def stop(*words, **named):
    print("now", flush=True)
    time.sleep(120)
{place} = stop
merge_lora.merged(merge_lora.Asked(*map(Path, sys.argv[1:]), smoke=False), [], None, print)
"""


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(place, id=when, marks=[THOROUGH] if when.startswith("while the") else [])
        for when, place in PHASES.items()
    ],
)
def test_a_killed_merge_leaves_no_result_and_the_inputs(place: str, adapter: Path, base: Path, tmp_path: Path) -> None:
    to, before = tmp_path / "merged", hashes_of(adapter, base)
    words = [sys.executable, "-c", WAITS.format(place=place), str(adapter), str(base), str(to)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGKILL)
    assert not to.exists() and len(output.left_beside(to)) == 1
    assert hashes_of(adapter, base) == before
    merged(adapter, base, to)  # and what is left is in nobody's way


@pytest.mark.parametrize("place", PHASES.values(), ids=PHASES)
def test_a_full_disk_leaves_nothing(
    place: str, adapter: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*words: object, **named: object) -> None:
        raise OSError(28, "No space left on device", "merged")

    holder, _, name = place.rpartition(".")
    known = {"merge_lora": merge_lora, "output": output}
    monkeypatch.setattr(eval(holder, known), name, full)  # a name of the table above
    before = hashes_of(adapter, base)
    with pytest.raises(OSError, match="No space left"):
        merged(adapter, base, tmp_path / "merged")
    assert hashes_of(adapter, base) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter"]


def test_a_disk_that_takes_no_more(adapter: Path, base: Path, tmp_path: Path) -> None:
    before = hashes_of(adapter, base)
    words = ["-m", "bridge_args", "checkpoint", "merge-lora", str(adapter), "--base", str(base), "-o"]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # noqa: E731
    done = subprocess.run(
        [sys.executable, *words, str(tmp_path / "merged")], preexec_fn=limit, capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == f"{tmp_path / 'merged'}: File too large"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter"]
    assert hashes_of(adapter, base) == before


def test_an_input_that_changes_meanwhile(
    adapter: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shutil.copytree(base, tmp_path / "base")
    copy = merge_lora.weights.Copier.copy

    def meddled(*words: Any, **named: Any) -> Any:
        os.utime(own / "model.safetensors")
        return copy(*words, **named)

    monkeypatch.setattr(merge_lora.weights.Copier, "copy", meddled)
    with pytest.raises(Exception, match="changed while it was read"):
        merged(adapter, own, tmp_path / "merged", base_is=str(base))
    assert not (tmp_path / "merged").exists()


def test_a_result_that_is_not_right_does_not_appear(
    adapter: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(folder: Path, *words: object, numbers: bool) -> list[str]:
        raise hugging_face.NotRight(f"{folder} has no tensors")

    monkeypatch.setattr(hugging_face, "checked", wrong)
    with pytest.raises(hugging_face.NotRight, match=f"^{tmp_path / 'merged'} has no tensors"):
        merged(adapter, base, tmp_path / "merged")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter"]


def test_layers_with_their_weight_the_other_way_round_are_known() -> None:
    """Every model of transformers' that has them is in the table."""
    from bridge_args.convert.lora import TRANSPOSED

    models = Path(transformers.__file__).parent / "models"
    found = {
        file.parent.name
        for file in models.glob("*/modeling_*.py")
        if " Conv1D(" in (text := file.read_text(encoding="utf-8")) and "import Conv1D" in text
    }
    assert {"openai-gpt" if name == "openai" else name for name in found} - {"clvp"} <= TRANSPOSED
