"""A folder of Hugging Face's is refused before when it is not whole, and afterwards when it is not what it says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge_args.convert import hugging_face

transformers = pytest.importorskip("transformers")
pytest.importorskip("safetensors")
tiny_models = pytest.importorskip("tiny_models")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tiny_models.make(tmp_path_factory.mktemp("models") / "llama"))


@pytest.fixture
def model(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "model"))


def test_a_whole_model(model: Path, made: Path) -> None:
    assert hugging_face.reasons_against_model(model) == []
    done = hugging_face.checked(model, made)
    assert "21 shapes as config.json means them" in done
    assert done[-1].startswith("loaded by transformers")


def _cut(model: Path) -> None:
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _index_of_two(model: Path) -> None:
    index = {"metadata": {"total_size": 1}, "weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (model / hugging_face.INDEX).write_text(json.dumps(index))


def _without_tokenizer(model: Path) -> None:
    (model / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda model: (model / "adapter_config.json").write_text("{}"), "is an adapter and no model"),
        (lambda model: (model / "optimizer.pt").touch(), "holds the state of a trainer"),
        (lambda model: (model / "config.json").unlink(), "config.json is missing"),
        (lambda model: (model / "config.json").write_text("{"), "it is no JSON"),
        (lambda model: tiny_models.edit(model, architectures="Llama"), "names no architecture"),
        (lambda model: tiny_models.edit(model, num_hidden_layers=10**9), "says num_hidden_layers 1000000000, and the"),
        (lambda model: tiny_models.edit(model, vocab_size=10**15), "says vocab_size 1000000000000000, and the weights"),
        (_without_tokenizer, "has no tokenizer"),
        (lambda model: (model / "model.safetensors").unlink(), "has no weights"),
        (_cut, "is not whole"),
        (_index_of_two, "model-2.safetensors is missing"),
        (lambda model: (model / "model.safetensors").rename(model / "pytorch_model.bin"), "pickled ones"),
    ],
)
def test_what_is_no_whole_model(model: Path, harm: Callable[[Path], object], said: str) -> None:
    harm(model)
    if said == "names no architecture":
        tiny_models.edit(model, model_type=None)
    reasons = hugging_face.reasons_against_model(model)
    assert any(said in reason for reason in reasons), reasons


def test_weights_need_not_be_there(model: Path) -> None:
    (model / "model.safetensors").unlink()
    assert hugging_face.reasons_against_model(model, "if any") == []
    _index_of_two(model)
    assert hugging_face.reasons_against_model(model, "if any") != []


def _with(model: Path, change: Callable[[dict[str, object]], object]) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    file = model / "model.safetensors"
    tensors = safetensors.load_file(file)
    change(tensors)
    safetensors.save_file(tensors, file, metadata={"format": "pt"})


def _index_with_another_sum(model: Path) -> None:
    names = [tensor.name for tensor in hugging_face.tensors_of(model)]
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, "model.safetensors")}
    (model / hugging_face.INDEX).write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda model: _with(model, lambda held: held["lm_head.weight"].view(-1)[0].fill_(float("nan"))), "not every"),
        (lambda model: _with(model, lambda held: held.pop("lm_head.weight")), "has no lm_head.weight"),
        (lambda model: _with(model, lambda held: held.update(more=held["model.norm.weight"].clone())), "a superfluous"),
        (lambda model: tiny_models.edit(model, vocab_size=1001), "for [1001, 64]"),
        (lambda model: tiny_models.edit(model, hidden_act="none such"), "makes no model"),
        (_index_with_another_sum, "says 1 bytes"),
        (lambda model: (model / "chat_template.jinja").write_text("other"), "the chat template"),
        (lambda model: tiny_models.tokenizer(model, 260), "the tokenizer makes"),
    ],
)
def test_what_is_not_right(model: Path, made: Path, harm: Callable[[Path], object], said: str) -> None:
    harm(model)
    with pytest.raises(hugging_face.NotRight) as refusal:
        hugging_face.checked(model, made)
    assert said in str(refusal.value)


def test_a_tokenizer_by_itself_is_compared_too(model: Path, made: Path, tmp_path: Path) -> None:
    """Its folder has no config.json, as that of ``--tokenizer``."""
    alone = tmp_path / "alone"
    alone.mkdir()
    for file in made.glob("*token*"):
        shutil.copy(file, alone)
    assert "tokenizer and chat template as in the source" not in hugging_face.checked(model, None, smoke=False)
    (model / "chat_template.jinja").unlink()
    assert any("the tokenizer is loaded" in one or "tokenizer and chat" in one for one in _done(model, alone))
    (model / "tokenizer.json").write_text('{"model": {}}')
    with pytest.raises(hugging_face.NotRight, match="transformers does not load the tokenizer of"):
        hugging_face.checked(model, alone, smoke=False)


def _done(model: Path, source: Path) -> list[str]:
    return hugging_face.checked(model, source, smoke=False)


@pytest.mark.parametrize("kind", ["BPE", "Unigram", "WordPiece", "WordLevel"])
def test_a_tokenizer_says_how_many_tokens_it_has(kind: str, tmp_path: Path) -> None:
    """transformers counts as many, with those that are added later too."""
    tokenizers = pytest.importorskip("tokenizers")
    words = ["<unk>", "a", "b", "ab", "c"]
    vocab = [(word, -1.0) for word in words] if kind == "Unigram" else {word: at for at, word in enumerate(words)}
    more = {"BPE": [[("a", "b")]], "Unigram": [0], "WordPiece": [], "WordLevel": []}[kind]
    made = tokenizers.Tokenizer(getattr(tokenizers.models, kind)(vocab, *more))
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", eos_token="</s>")
    fast.add_tokens(["later", "b"])
    fast.save_pretrained(tmp_path)
    assert hugging_face.tokens_in(tmp_path) == len(transformers.AutoTokenizer.from_pretrained(tmp_path)) == 7
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": {"a": "x"}}}')
    assert hugging_face.tokens_in(tmp_path) is None
    (tmp_path / "tokenizer.json").unlink()
    assert hugging_face.tokens_in(tmp_path) is None
