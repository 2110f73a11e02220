"""A checkpoint becomes a folder of Hugging Face's, whole or not at all.

``BRIDGE_ARGS_CONVERT=all`` with ``MEGATRON_LM_CHECKOUT`` also has Megatron-LM train models that are exported then.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import converting
import megatron_logits
import pytest
import tiny_models
import yaml

from bridge_args.bridge import installed
from bridge_args.checkpoint.layout import folder_of
from bridge_args.convert import auto_bridge, hugging_face, megatron, output, to_hugging_face
from bridge_args.convert.auto_bridge import Machine
from bridge_args.convert.output import Refused
from bridge_args.convert.shards import Shards, empty_of_shape
from bridge_args.convert.to_hugging_face import Asked
from bridge_args.errors import UserError
from bridge_args.versions import PROVEN

if missing := installed.missing(PROVEN.bridge):
    pytest.skip(str(missing), allow_module_level=True)
pytest.importorskip("transformers")

everything = pytest.mark.skipif(not converting.ALL, reason="BRIDGE_ARGS_CONVERT is not all")
trained = pytest.mark.skipif(
    not (converting.ALL and converting.CHECKOUT), reason="BRIDGE_ARGS_CONVERT is not all, or no MEGATRON_LM_CHECKOUT"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and its checkpoint."""
    folder = tmp_path_factory.mktemp("made")
    tiny_models.make(folder / "model")
    converting.checkpoint(folder, "import", "model", "-o", "checkpoint")
    return folder


# Refused ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(auto_bridge, "unsupported", lambda plan, machine: [])
    return Machine("cpu", lambda line: None)


def _edited(checkpoint: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = folder_of(checkpoint, 0) / "run_config.yaml"
    said = yaml.safe_load(file.read_text())
    change(said)
    file.write_text(yaml.safe_dump(said))


def _of_tracker(checkpoint: Path, iteration: int) -> None:
    (checkpoint / "latest_train_state.pt").unlink()
    (checkpoint / "latest_checkpointed_iteration.txt").write_text(str(iteration))


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def _harm(name: str) -> Callable[[Path, Path], object]:
    def iteration(checkpoint: Path) -> Path:
        return folder_of(checkpoint, 0)

    return {
        "torn": lambda c, m: _cut(iteration(c) / "__0_0.distcp"),
        "no index": lambda c, m: (iteration(c) / ".metadata").unlink(),
        "no configuration": lambda c, m: (iteration(c) / "run_config.yaml").unlink(),
        "torn configuration": lambda c, m: _cut(iteration(c) / "run_config.yaml"),
        "no such iteration": lambda c, m: _of_tracker(c, 7),
        "code": lambda c, m: _edited(c, lambda y: y["model"].update(activation_func={"_target_": "os.system"})),
        "code of Bridge's": lambda c, m: _edited(
            c, lambda y: y["model"].update(x={"_target_": "megatron.bridge.models.hf_pretrained.x.load"})
        ),
        "an adapter": lambda c, m: _edited(c, lambda y: y.update(peft={"_target_": "megatron.bridge.peft.lora.LoRA"})),
        "too small a vocabulary": lambda c, m: tiny_models.edit(m, vocab_size=1025),
        "too many layers": lambda c, m: (
            (m / "model.safetensors").unlink(),
            tiny_models.edit(m, num_hidden_layers=10**9),
        ),
        "too large a vocabulary": lambda c, m: tiny_models.edit(m, vocab_size=800),
        "an adapter's folder": lambda c, m: (m / "adapter_config.json").write_text("{}"),
        "a trainer's folder": lambda c, m: (m / "trainer_state.json").write_text("{}"),
        "no tokenizer": lambda c, m: (m / "tokenizer.json").unlink(),
        "torn weights of the model": lambda c, m: _cut(m / "model.safetensors"),
    }[name]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("torn", "is not whole"),
        ("no index", ".metadata is missing"),
        ("no configuration", "run_config.yaml is missing"),
        ("torn configuration", "is not whole"),
        ("no such iteration", "names iter_0000007"),
        ("code", "os.system, which no model of Bridge's is built of"),
        ("code of Bridge's", "hf_pretrained.x.load, which no model"),
        ("an adapter", "is an adapter"),
        ("too small a vocabulary", "1024 tokens, and"),
        ("too large a vocabulary", "224 are more than padding"),
        ("too many layers", "the checkpoint has 2 layers, and"),
        ("an adapter's folder", "is an adapter and no model"),
        ("a trainer's folder", "state of a trainer"),
        ("no tokenizer", "has no tokenizer"),
        ("torn weights of the model", "is not whole"),
    ],
)
def test_nothing_is_written_and_nothing_changed(
    tmp_path: Path, made: Path, machine: Machine, harm: str, said: str
) -> None:
    checkpoint, model = (Path(shutil.copytree(made / name, tmp_path / name)) for name in ("checkpoint", "model"))
    _harm(harm)(checkpoint, model)
    before = converting.sums(tmp_path)
    with pytest.raises(Refused) as refusal:
        to_hugging_face.export(Asked(checkpoint, tmp_path / "out", str(model)), machine)
    assert any(said in reason for reason in refusal.value.reasons), refusal.value.reasons
    assert converting.sums(tmp_path) == before and not (tmp_path / "out").exists()


def test_places_where_nothing_is_written(tmp_path: Path, made: Path, machine: Machine) -> None:
    checkpoint, model = made / "checkpoint", made / "model"
    for place in (checkpoint, folder_of(checkpoint, 0) / "hf", model, made):
        with pytest.raises(Refused):
            to_hugging_face.export(Asked(checkpoint, place, str(model)), machine)


def test_one_of_several_iterations(tmp_path: Path, made: Path, machine: Machine) -> None:
    """The largest number is not the one that is meant; Bridge alone would take it."""
    checkpoint = Path(shutil.copytree(made / "checkpoint", tmp_path / "checkpoint"))
    shutil.copytree(folder_of(checkpoint, 0), folder_of(checkpoint, 9))
    _cut(folder_of(checkpoint, 9) / "__0_0.distcp")
    source, reasons = megatron.read(checkpoint, None)
    assert source is not None and (source.contents.place.iteration, reasons) == (0, [])
    assert megatron.read(checkpoint, 9)[0] is None
    assert megatron.read(checkpoint, 5)[1] == [f"{checkpoint} has no checkpoint of iteration 5; it has 0 and 9"]


@pytest.mark.parametrize(("padded", "tokens"), [(True, 1001), (False, 300)])
def test_rows_that_are_no_padding_stay(tmp_path: Path, made: Path, padded: bool, tokens: int) -> None:
    """A model with more rows than its tokenizer has tokens; where the checkpoint knows them, they are not padding."""
    checkpoint = Path(shutil.copytree(made / "checkpoint", tmp_path / "checkpoint"))
    known = {"vocab_size": 1001, "should_pad_vocab": padded, "make_vocab_size_divisible_by": 3200}
    _edited(checkpoint, lambda y: y["model"].update(known))
    (tmp_path / "tokenizer").mkdir()
    words = {"model": {"vocab": {str(number): number for number in range(300)}}}
    (tmp_path / "tokenizer" / "tokenizer.json").write_text(json.dumps(words))
    source, _ = megatron.read(checkpoint, None)
    assert source is not None and source.rows == 1024
    asked = Asked(checkpoint, tmp_path / "out", tokenizer=tmp_path / "tokenizer")
    assert to_hugging_face._tokens(asked, source) == (tokens, [])


def test_what_training_has_left_in_a_configuration(tmp_path: Path, made: Path) -> None:
    """Objects of the run are no part of its model; the file stays as it is."""
    checkpoint = Path(shutil.copytree(made / "checkpoint", tmp_path / "checkpoint"))
    timers = {"_call_": True, "_target_": "megatron.core.timers.Timers"}
    _edited(checkpoint, lambda y: y["model"].update(timers=timers, grad_scale_func=timers))
    before = converting.sums(checkpoint)
    source, reasons = megatron.read(checkpoint, None)
    assert source is not None and reasons == []
    assert source.model["timers"] is None and source.model["grad_scale_func"] is None
    assert converting.sums(checkpoint) == before


@everything
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rms_norm_eps": 1e-5}, "layernorm_epsilon 1e-06, and config.json means 1e-05"),
        ({"rope_theta": 500000.0, "rope_parameters": None}, "rotary_base 10000"),
        ({"hidden_act": "gelu"}, "activation_func silu"),
        ({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}, "add_qkv_bias"),
    ],
)
def test_another_model_with_weights_that_fit(tmp_path: Path, made: Path, change: dict[str, Any], said: str) -> None:
    model = Path(shutil.copytree(made / "model", tmp_path / "model"))
    (model / "model.safetensors").unlink()
    tiny_models.edit(model, **change)
    told = converting.checkpoint(tmp_path, "export", made / "checkpoint", "--hf-model", model, "-o", "out", code=1)
    assert said in told and not (tmp_path / "out").exists()


# Stopped ------------------------------------------------------------------------------------------------------------


def _begun(folder: Path, *words: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "bridge_args", "checkpoint", *map(str, words), "--device", "cpu"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_nothing_stands_at_its_name_after_a_kill(tmp_path: Path, made: Path) -> None:
    before = converting.sums(made)
    job = _begun(tmp_path, "export", made / "checkpoint", "--hf-model", made / "model", "-o", "out")
    try:
        while not output.left_beside(tmp_path / "out"):
            assert job.poll() is None
            time.sleep(0.02)
        time.sleep(1)
    finally:
        job.send_signal(signal.SIGKILL)
        job.wait()
    assert not (tmp_path / "out").exists()
    assert len(output.left_beside(tmp_path / "out")) == 1
    assert converting.sums(made) == before


@everything
@pytest.mark.parametrize("seconds", [0.5, 2, 4, 6, 8, 10])
def test_killed_in_any_phase(tmp_path: Path, made: Path, seconds: float) -> None:
    before = converting.sums(made)
    job = _begun(tmp_path, "export", made / "checkpoint", "--hf-model", made / "model", "-o", "out")
    try:
        job.wait(seconds)
    except subprocess.TimeoutExpired:
        job.send_signal(signal.SIGKILL)
        job.wait()
    if (tmp_path / "out").exists():  # it was done
        hugging_face.checked(tmp_path / "out", made / "model")
    assert converting.sums(made) == before


def test_a_full_disk_leaves_nothing(
    tmp_path: Path, made: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end, when the files beside the weights are written; the process itself is stopped by the same error."""

    def full(*words: object) -> None:
        raise OSError(28, "No space left on device", "config.json")

    monkeypatch.setattr(to_hugging_face, "_beside", full)
    monkeypatch.setattr(auto_bridge, "run", lambda *words, **named: {"rows_of_padding_left_out": {}})
    before = converting.sums(made)
    with pytest.raises(UserError, match="No space left on device; nothing was made"):
        to_hugging_face.export(Asked(made / "checkpoint", tmp_path / "out", str(made / "model")), machine)
    assert list(tmp_path.iterdir()) == [] and converting.sums(made) == before


# Files --------------------------------------------------------------------------------------------------------------


def test_files_of_a_few_tensors_each(tmp_path: Path) -> None:
    import torch

    shards = Shards(tmp_path, largest=100)
    wanted = {f"t{number}": torch.full((number, 4), float(number)) for number in range(1, 9)}
    for name, tensor in wanted.items():
        shards.add(name, tensor)
    with pytest.raises(ValueError, match="t1 comes twice"):
        shards.add("t1", wanted["t1"])
    assert shards.finish() == list(wanted)
    converting.assert_same(converting.tensors(tmp_path), wanted)
    index = json.loads((tmp_path / hugging_face.INDEX).read_text())
    assert index["metadata"]["total_size"] == shards.total == 4 * 4 * 36
    assert {index["weight_map"][name] for name in wanted} == {file.name for file in tmp_path.glob("*.safetensors")}


def test_a_file_of_names_takes_no_room(tmp_path: Path) -> None:
    shapes = {"a": (1 << 16, 1 << 16), "b": (3,)}
    empty_of_shape(tmp_path / "model.safetensors", shapes)
    assert {one.name: one.shape for one in hugging_face.tensors_of(tmp_path)} == shapes
    assert (tmp_path / "model.safetensors").stat().st_blocks * 512 < 1 << 20


# Models that Megatron-LM has trained ------------------------------------------------------------------------------

COMMON = """--num-layers 2 --hidden-size 64 --ffn-hidden-size 128 --num-attention-heads 4 --swiglu
    --normalization RMSNorm --norm-epsilon 1e-6 --position-embedding-type rope --disable-bias-linear
    --seq-length 64 --max-position-embeddings 64
    --tokenizer-type NullTokenizer --mock-data --micro-batch-size 1 --global-batch-size 2 --train-iters 4
    --eval-iters 1 --eval-interval 100 --lr 1e-2 --attention-dropout 0 --hidden-dropout 0 --init-method-std 0.1
    --no-gradient-accumulation-fusion --no-rope-fusion --attention-softmax-in-fp32""".split()
LOCAL = ["--transformer-impl", "local", "--no-persist-layer-norm"]
UNTIED = ["--untie-embeddings-and-output-weights"]
EXPERTS = """--num-experts 4 --moe-router-topk 2 --moe-ffn-hidden-size 32 --moe-grouped-gemm
    --moe-token-dispatcher-type alltoall --moe-router-load-balancing-type aux_loss --moe-aux-loss-coeff 0.001
    --qk-layernorm""".split()
GROUPS = ["--group-query-attention", "--num-query-groups", "2", "--kv-channels", "16"]
LATENT = """--num-experts 4 --moe-router-topk 2 --moe-ffn-hidden-size 32 --moe-grouped-gemm --qk-layernorm
    --moe-token-dispatcher-type alltoall --multi-latent-attention --q-lora-rank 32 --kv-lora-rank 32 --qk-head-dim 32
    --qk-pos-emb-head-dim 16 --v-head-dim 32 --rotary-scaling-factor 1 --mscale 1.0 --mscale-all-dim 1.0
    --moe-layer-freq [0,1] --moe-shared-expert-intermediate-size 32 --moe-router-score-function sigmoid
    --moe-router-enable-expert-bias --moe-router-load-balancing-type seq_aux_loss --moe-aux-loss-coeff 0.001
    --moe-router-num-groups 2 --moe-router-group-topk 1 --moe-router-topk-scaling-factor 2.5""".split()
TRAINED = {
    "llama": ("LlamaForCausalLM", 1000, [*GROUPS, *LOCAL, *UNTIED]),
    "llama_tied": ("LlamaForCausalLM", 1001, [*GROUPS, *LOCAL]),
    "qwen2": ("Qwen2ForCausalLM", 1024, [*GROUPS, *LOCAL, "--add-qkv-bias"]),
    "qwen3": ("Qwen3ForCausalLM", 1001, [*GROUPS, *UNTIED, "--qk-layernorm"]),
    "mistral": ("MistralForCausalLM", 1000, [*GROUPS, *UNTIED, "--window-size", "8,0"]),
    "qwen3_moe": ("Qwen3MoeForCausalLM", 1000, [*GROUPS, *UNTIED, *EXPERTS]),
    "deepseek_v3": ("DeepseekV3ForCausalLM", 1000, [*UNTIED, *LATENT]),
}


@trained
@pytest.mark.parametrize("name", TRAINED)
def test_what_megatron_lm_has_trained_says_the_same(tmp_path: Path, name: str) -> None:
    architecture, vocabulary, words = TRAINED[name]
    converting.command(
        tmp_path, "verify", "--megatron-lm", converting.CHECKOUT, "--hand-over-at", 3, "--steps", 4, "--workdir", "wd",
        "--device", "cpu", "--", *COMMON, "--vocab-size", vocabulary - 1, *words,
    )  # fmt: skip
    checkpoint = tmp_path / "wd" / "hand_over"
    before = converting.sums(checkpoint)
    subprocess.run(
        [sys.executable, megatron_logits.__file__, checkpoint, tmp_path / "logits.json"], check=True, cwd=tmp_path
    )
    # Its own configuration, with all rows.
    converting.checkpoint(tmp_path, "export", checkpoint, "-o", "alone")
    config = json.loads((tmp_path / "alone" / "config.json").read_text())
    assert config["architectures"] == [architecture]
    _says(tmp_path / "alone", tmp_path / "logits.json", 1024)
    # With a model of Hugging Face's, which has its real vocabulary; no weights are needed.
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({**config, "vocab_size": vocabulary}))
    tiny_models.tokenizer(model)
    said = converting.checkpoint(tmp_path, "export", checkpoint, "--hf-model", model, "-o", "trimmed")
    assert (f"{1024 - vocabulary} rows of padding" in said) == (vocabulary < 1024)
    _says(tmp_path / "trimmed", tmp_path / "logits.json", vocabulary)
    assert converting.sums(checkpoint) == before


def _says(model: Path, logits: Path, vocabulary: int) -> None:
    import torch
    import transformers

    loaded, about = transformers.AutoModelForCausalLM.from_pretrained(model, output_loading_info=True)
    assert not any(about[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        ours = loaded.eval()(input_ids=torch.tensor([megatron_logits.TOKENS])).logits[0]
    theirs = torch.tensor(json.loads(logits.read_text()))
    assert ours.dtype == torch.float32 and ours.shape == (len(megatron_logits.TOKENS), vocabulary)
    assert theirs.abs().max() > 0.1
    assert (ours - theirs[:, :vocabulary]).abs().max() <= 1e-4


# Saved by several ranks -------------------------------------------------------------------------------------------


@everything
@pytest.mark.parametrize(
    ("name", "parallel"),
    [
        ("llama", ["--tensor-model-parallel-size", "2"]),
        ("llama", ["--pipeline-model-parallel-size", "2"]),
        ("qwen3_moe", ["--expert-model-parallel-size", "2"]),
    ],
)
def test_ranks_leave_no_trace(tmp_path: Path, name: str, parallel: list[str]) -> None:
    """Trained on by two ranks with a learning rate that changes nothing, and saved by them: the same bytes."""
    model = tiny_models.make(
        tmp_path / "model", name, dtype="float32", **({"norm_topk_prob": True} if name != "llama" else {})
    )
    converting.checkpoint(tmp_path, "import", model, "-o", "made")
    words = [word for word in COMMON if word != "1e-2"]
    words.insert(words.index("--lr") + 1, "1e-30")
    words += [*GROUPS, *UNTIED, "--vocab-size", "1023", *(EXPERTS if name == "qwen3_moe" else []), *parallel]
    words += ["--pretrained-checkpoint", str(tmp_path / "made"), "--finetune", "--weight-decay", "0"]
    words += ["--save", str(tmp_path / "saved"), "--save-interval", "4"]
    launcher = ["torchrun", "--nproc-per-node", "2", "pretrain_gpt.py"]
    rehearse = ["rehearse", "--real-folders", "--device", "cpu", "--nproc", "2", "--"]
    converting.command(tmp_path, *rehearse, *launcher, *words)
    assert len(list(folder_of(tmp_path / "saved", 4).glob("*.distcp"))) > 1
    converting.checkpoint(tmp_path, "export", "saved", "--hf-model", model, "-o", "back")
    converting.checkpoint(tmp_path, "export", "made", "--hf-model", model, "-o", "one")
    ours, theirs = (converting.sums(tmp_path / one)["model.safetensors"] for one in ("back", "one"))
    assert ours == theirs
