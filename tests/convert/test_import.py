"""A model of Hugging Face's becomes a checkpoint, and comes back from it bit for bit.

``BRIDGE_ARGS_CONVERT=all`` does so with every kind of model that is made here; otherwise one stands for all.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import random
import re
import struct
from pathlib import Path
from typing import Any

import converting
import pytest
import tiny_models
import yaml

from bridge_args.bridge import installed
from bridge_args.checkpoint import contents
from bridge_args.checkpoint.tensors import of_index
from bridge_args.convert import auto_bridge, from_hugging_face
from bridge_args.convert.auto_bridge import Machine
from bridge_args.convert.output import Refused
from bridge_args.versions import PROVEN

if missing := installed.missing(PROVEN.bridge):
    pytest.skip(str(missing), allow_module_level=True)
pytest.importorskip("transformers")

everything = pytest.mark.skipif(not converting.ALL, reason="BRIDGE_ARGS_CONVERT is not all")
# A padded vocabulary, and one that is tied: what goes wrong first.
KINDS = ["llama_tied", *(name for name in tiny_models.DENSE | tiny_models.MOE if name != "llama_tied")]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "llama_tied" else everything) for name in KINDS]
)
def test_it_comes_back_bit_for_bit(tmp_path: Path, name: str) -> None:
    model = tiny_models.make(tmp_path / "model", name, vocab_size=1001)
    before = converting.sums(model)
    converting.checkpoint(tmp_path, "import", model, "-o", "made")
    said = converting.checkpoint(tmp_path, "export", "made", "--hf-model", model, "-o", "back")
    assert converting.sums(model) == before
    converting.assert_same(converting.tensors(tmp_path / "back"), converting.tensors(model))
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / "back" / file).read_bytes() == (model / file).read_bytes()
    assert "tokenizer and chat template as in the source" in said
    assert sorted(one.name for one in tmp_path.iterdir()) == ["back", "made", "model", "said.txt"]
    _is_whole(tmp_path / "made", model)


def _is_whole(made: Path, model: Path) -> None:
    found = contents.look_into(made)
    assert (found.place.kind and found.place.kind.name, found.complete, found.place.iteration) == ("bridge", True, 0)
    run_config = yaml.safe_load((found.place.folder / "run_config.yaml").read_text())
    assert run_config["checkpoint"]["save"] == str(made)
    assert run_config["tokenizer"]["tokenizer_model"] == str(model)
    assert "unfinished" not in (found.place.folder / "run_config.yaml").read_text()
    if run_config["model"]["num_moe_experts"]:  # not switched off for want of a GPU
        assert run_config["model"]["moe_permute_fusion"] is True
    assert run_config["model"]["transformer_impl"] == "transformer_engine"
    # Without those of its layers Transformer Engine does not load it.
    others = {one.partition("/")[0] for one in of_index(found.place.folder / ".metadata").others}
    assert "decoder.final_layernorm._extra_state" in others
    assert any(one.endswith("self_attention.linear_proj._extra_state") for one in others)
    record = json.loads((made / "conversion.json").read_text())
    read = {name: file["sha256"] for name, file in record["inputs"]["hf_model"]["files"].items()}
    assert read == converting.sums(model)
    assert record["peak_memory_bytes"] > 1 << 20


@everything
@pytest.mark.parametrize(("dtype", "named"), from_hugging_face.DTYPES.items())
def test_the_type_that_is_asked_for(tmp_path: Path, dtype: str, named: str) -> None:
    model = tiny_models.make(tmp_path / "model", dtype="float32")
    converting.checkpoint(tmp_path, "import", model, "-o", "made", "--dtype", dtype)
    kinds = {tensor.dtype for tensor in contents.look_into(tmp_path / "made").of_model}
    assert kinds == {named}
    converting.checkpoint(tmp_path, "export", "made", "--hf-model", model, "-o", "back")
    wanted = {name: tensor.to(_type(named)) for name, tensor in converting.tensors(model).items()}
    converting.assert_same(converting.tensors(tmp_path / "back"), wanted)
    config = json.loads((tmp_path / "back" / "config.json").read_text())
    assert config.get("dtype", config.get("torch_dtype")) == named


def _type(name: str) -> Any:
    import torch

    return getattr(torch, name)


# What it is trained on: samples of 64 tokens that are all the same, whatever is drawn.
LENGTH = 64
TRAINING = f"""--num-layers 2 --hidden-size 64 --ffn-hidden-size 128 --num-attention-heads 4 --group-query-attention
    --num-query-groups 2 --kv-channels 16 --swiglu --normalization RMSNorm --norm-epsilon 1e-6
    --position-embedding-type rope --disable-bias-linear --untie-embeddings-and-output-weights --seq-length {LENGTH}
    --max-position-embeddings 128 --tokenizer-type NullTokenizer --micro-batch-size 1 --global-batch-size 2
    --train-iters 3 --eval-iters 0 --lr 1e-3 --attention-dropout 0 --hidden-dropout 0""".split()


@everything
def test_it_trains_on(tmp_path: Path) -> None:
    """The first loss is the one that transformers computes."""
    model = tiny_models.make(tmp_path / "model", dtype="float32")
    converting.checkpoint(tmp_path, "import", model, "-o", "made")
    tokens = _data(tmp_path / "data")
    rest = ["--vocab-size", "1023", "--data-path", tmp_path / "data", "--split", "1,0,0"]
    said = converting.command(
        tmp_path, "rehearse", "--format", "json", "--device", "cpu", "--", *TRAINING, *rest,
        "--pretrained-checkpoint", tmp_path / "made", "--finetune",
    )  # fmt: skip
    losses = [json.loads(line)["lm_loss"] for line in said.splitlines() if line.startswith('{"iteration"')]
    assert losses[0] == pytest.approx(_loss(model, tokens), abs=1e-4)
    assert losses[-1] < losses[0]


def _data(prefix: Path) -> list[int]:
    """A document that repeats itself; in the format of megatron/core/datasets/indexed_dataset.py."""
    period = [random.Random(0).randrange(1, 1000) for _ in range(LENGTH)]
    tokens = period * 200 + period[:1]
    Path(f"{prefix}.bin").write_bytes(struct.pack(f"<{len(tokens)}i", *tokens))
    Path(f"{prefix}.idx").write_bytes(
        b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 4, 1, 2) + struct.pack("<iqqq", len(tokens), 0, 0, 1)
    )
    return [*period, period[0]]


def _loss(model: Path, tokens: list[int]) -> float:
    import torch
    import transformers

    loaded = transformers.AutoModelForCausalLM.from_pretrained(model).eval()
    with torch.no_grad():
        return float(loaded(input_ids=torch.tensor([tokens]), labels=torch.tensor([tokens])).loss)


# Refused ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tiny_models.make(tmp_path_factory.mktemp("models") / "llama"))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(auto_bridge, "unsupported", lambda plan, machine: ["what Bridge says"])
    return Machine("cpu", lambda line: None)


def _refused(asked: from_hugging_face.Asked, machine: Machine) -> tuple[str, ...]:
    before = converting.sums(Path(asked.model)) if Path(asked.model).is_dir() else None
    with pytest.raises(Refused) as refusal:
        from_hugging_face.import_(asked, machine)
    assert not asked.output.exists() or os.listdir(asked.output)
    if before is not None:
        assert converting.sums(Path(asked.model)) == before
    return refusal.value.reasons


def test_all_reasons_are_told_at_once(tmp_path: Path, model: Path, machine: Machine) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text((model / "config.json").read_text())
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    reasons = _refused(from_hugging_face.Asked(str(broken), tmp_path / "there"), machine)
    for said in ("no tokenizer", "no weights", "not empty", "what Bridge says"):
        assert any(said in reason for reason in reasons), said


def test_no_result_in_its_own_source(model: Path, machine: Machine) -> None:
    for place in (model, model / "inside", model.parent):
        assert "input" in _refused(from_hugging_face.Asked(str(model), place), machine)[0]


def test_a_name_that_nobody_knows(tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (reason, *_) = _refused(from_hugging_face.Asked("nobody/has-this", tmp_path / "out"), machine)
    assert reason.startswith("nobody/has-this ")


def test_a_quantized_model(tmp_path: Path, machine: Machine) -> None:
    quantized = tiny_models.make(tmp_path / "model")
    tiny_models.edit(quantized, quantization_config={"quant_method": "fp8"})
    assert "is quantized" in _refused(from_hugging_face.Asked(str(quantized), tmp_path / "out"), machine)[0]


def test_what_bridge_has_no_counterpart_for() -> None:
    """Its warnings are its only words about that; those of the installed one are the ones that are heard."""
    from bridge_args.convert import process

    said = Path(_bridge(), "models/conversion/model_bridge.py").read_text()
    with process._heard() as heard:
        log = logging.getLogger("megatron.bridge.models.conversion.model_bridge")
        for text in re.findall(r'f"(?:WARNING: )?(?:No mapping found|Can\'t find)[^"]*"', said):
            mapped, many = "No mapping" in text, "missing_params" in text
            name = "b.weight" if mapped else "['c.weight', 'd.weight']" if many else "c.weight"
            log.warning(re.sub(r"\{\w+(\.\w+)?\}", name, text[2:-1]))
        log.warning("something else")
    log.warning("No mapping found for megatron_param: e.weight")
    assert heard == {"b.weight": True, "c.weight": False, "c.weight', 'd.weight": False}
    plan = process.Plan("import", "my/model", "", "", "")
    assert process._without_counterpart(plan, heard).endswith(
        "a model like my/model: it has no counterpart for b.weight"
    )
    assert process._without_counterpart(plan, {"c.weight": False}).startswith("my/model has no c.weight, which")


def _bridge() -> str:
    found = importlib.util.find_spec("megatron.bridge")
    assert found is not None and found.origin is not None
    return os.path.dirname(found.origin)


@everything
@pytest.mark.skipif((installed.version() or "0") < "0.6", reason="Megatron Core before 0.19 has no norm there")
def test_a_model_without_a_counterpart_is_refused(tmp_path: Path) -> None:
    """DeepSeek-V2-Lite: its queries have no rank of their own, and Megatron Core since 0.19 has a norm before them."""
    model = tiny_models.make(tmp_path / "model", "deepseek_v2", q_lora_rank=None)
    said = converting.checkpoint(tmp_path, "import", model, "-o", "made", code=1)
    assert "it has no counterpart for decoder.layers.0.self_attention.linear_q_proj.layer_norm_weight" in said
    assert "Error" not in said and not (tmp_path / "made").exists()


def test_a_class_of_the_models_own_code(tmp_path: Path) -> None:
    from bridge_args.convert import process

    class Auto:
        @staticmethod
        def list_supported_models() -> list[str]:
            return ["LlamaForCausalLM"]

    def reasons(**said: Any) -> list[str]:
        (tmp_path / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], **said}))
        return process._unsupported(Auto, tmp_path)

    assert reasons() == reasons(auto_map={"AutoModelForCausalLM": "modeling.LlamaForCausalLM"}) == []
    (reason,) = reasons(auto_map={"AutoModelForCausalLM": "modeling.Mine"})
    assert "names Mine of the model's own code (auto_map)" in reason


@everything
@pytest.mark.parametrize(("name", "since"), [("qwen3_moe", "0.6"), ("deepseek_v3", "")])
def test_shares_of_experts_that_do_not_add_up_to_one(tmp_path: Path, name: str, since: str) -> None:
    """Bridge before 0.6 makes every qwen3_moe one whose do; and every router with a sigmoid is one."""
    model = tiny_models.make(tmp_path / "model", name, norm_topk_prob=False)
    refused = not since or (installed.version() or "0") < since
    said = converting.checkpoint(tmp_path, "import", model, "-o", "made", code=int(refused))
    assert ("norm_topk_prob False" in said) == refused == (not (tmp_path / "made").exists())


def test_what_bridge_does_not_convert(tmp_path: Path) -> None:
    """Bridge itself is asked, before it loads anything."""
    other = tiny_models.make(tmp_path / "model")
    tiny_models.edit(other, architectures=["MixtralForCausalLM"], model_type="mixtral")
    said = converting.checkpoint(tmp_path, "import", other, "-o", "made", code=1)
    assert "converts no MixtralForCausalLM" in said and not (tmp_path / "made").exists()
