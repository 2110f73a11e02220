"""The tokenizer: the one that is named, or that of the model a run starts from."""

from __future__ import annotations

from typing import Any, Final

from bridge_args.source.nemo2.meaning.state import Meaning, whole

_SCHEMES: Final = ("hf://", "nemo://")


def tokenizer(m: Meaning) -> None:
    """See nemo/collections/common/tokenizers/tokenizer_utils.py get_nmt_tokenizer."""
    library, name = m["tokenizer.library"], m["tokenizer.model_name"] or m["tokenizer.pretrained_model_name"]
    target = str(m["tokenizer._target_"] or "").rpartition(".")[2]
    model = m["tokenizer.tokenizer_model"] or m["tokenizer.model_path"]
    if target == "AutoTokenizer" or library in ("huggingface", "huggingface_bert"):
        _hugging_face(m, name)
    elif target == "SentencePieceTokenizer" or library == "sentencepiece" or name == "GPTSentencePieceTokenizer":
        m.derive("tokenizer_type", "SentencePieceTokenizer", "tokenizer.library", "tokenizer.model_name")
        m.derive("tokenizer_model", model, "tokenizer.tokenizer_model", "tokenizer.model_path")
        if model is None:
            m.tell(
                "stops-later",
                "tokenizer.library",
                "the tokenizer has no file, which NeMo needs as much as Bridge",
                "set tokenizer.tokenizer_model",
            )
    elif target == "TiktokenTokenizer" or library == "tiktoken":
        m.derive("tokenizer_type", "TikTokenizer", "tokenizer.library")
        m.derive(
            "tokenizer_model", model or m["tokenizer.vocab_file"], "tokenizer.tokenizer_model", "tokenizer.vocab_file"
        )
    elif target == "NullTokenizer" or library == "null-text":
        m.derive("tokenizer_type", "NullTokenizer", "tokenizer.library")
        m.derive("tokenizer_vocab_size", m["tokenizer.vocab_size"], "tokenizer.vocab_size")
    elif library == "megatron" and m["tokenizer.vocab_file"]:
        m.derive("tokenizer_type", "GPT2BPETokenizer", "tokenizer.library", "tokenizer.model_name")
        m.derive("vocab_file", m["tokenizer.vocab_file"], "tokenizer.vocab_file")
        m.derive("merge_file", m["tokenizer.merges_file"], "tokenizer.merges_file")
    elif target or library:
        _of_the_model(m)
        m.lost("tokenizer._target_", f"Bridge has no tokenizer like NeMo's {library or target}.", "numbers")
    else:
        _of_the_model(m)


def _hugging_face(m: Meaning, name: Any) -> None:
    m.derive("tokenizer_type", "HuggingFaceTokenizer", "tokenizer.library")
    m.derive("tokenizer_model", name, "tokenizer.model_name", "tokenizer.pretrained_model_name")
    keywords = {
        key: m[f"tokenizer.{key}"] for key in ("use_fast", "trust_remote_code", "include_special_tokens")
        if f"tokenizer.{key}" in m.stated and m[f"tokenizer.{key}"] is not None
    }  # fmt: skip
    if keywords:
        m.derive("hf_tokenizer_kwargs", keywords, *(f"tokenizer.{key}" for key in keywords))


def _of_the_model(m: Meaning) -> None:
    """No tokenizer is given: NeMo takes that of the model it starts from, or GPT-2's."""
    start = m["RestoreConfig.path"]
    if isinstance(start, str) and start.startswith(_SCHEMES) and start.partition("://")[2]:
        name = start.partition("://")[2]
        m.derive("tokenizer_type", "HuggingFaceTokenizer", "RestoreConfig.path")
        m.derive("tokenizer_model", name, "RestoreConfig.path")
        message = f"the tokenizer is that of the model, {name}: NeMo keeps it with the checkpoint it starts from"
        m.tell("assumed-value", "tokenizer", message)
        return
    vocabulary = m["model.vocab_size"]
    size = vocabulary if whole(vocabulary) else 50257
    m.derive("tokenizer_type", "NullTokenizer")
    m.derive("tokenizer_vocab_size", size)
    if m.run.data is None or m.run.data.is_a("MockDataModule"):
        message = f"no tokenizer is given: one without text, of {size} tokens, stands for it, as the data are made up"
        m.tell("assumed-value", "data._target_", message)
    else:
        m.refuse(
            "data._target_",
            "the configuration says no tokenizer that can be named; set tokenizer.tokenizer_type and "
            "tokenizer.tokenizer_model",
        )
