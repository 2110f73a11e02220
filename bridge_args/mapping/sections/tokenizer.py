"""The tokenizer: sizes that are counted differently, and what Bridge keeps as keyword arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bridge_args.bridge.schema import Schema
from bridge_args.mapping.sections.registry import Lost, Rejected, builder

# megatron/bridge/training/tokenizers/utils.py: which keyword arguments reach which tokenizer
HUGGING_FACE: Final = ("HuggingFaceTokenizer", "BertWordPieceLowerCase", "BertWordPieceCase", "GPT2BPETokenizer")
SENTENCE_PIECE: Final = ("SentencePieceTokenizer", "GPTSentencePieceTokenizer", "Llama2Tokenizer")
NULL: Final = ("NullTokenizer", "NullMultimodalTokenizer")

# Old tokenizers that set a property without a setter when they are made
READ_ONLY: Final = {
    "GPT2BPETokenizer": "eod_id",
    "BertWordPieceLowerCase": "mask_id",
    "BertWordPieceCase": "mask_id",
}


@builder(
    writes=("tokenizer.special_tokens", "tokenizer.vocab_size", "tokenizer.hf_tokenizer_kwargs"),
    if_there=("tokenizer.legacy_tokenizer", "tokenizer.sp_tokenizer_kwargs"),
    absent={
        "legacy_tokenizer": False,
        "tokenizer_hf_no_use_fast": False,
        "tokenizer_hf_no_include_special_tokens": False,
    },
    when="megatron <0.18",
)
def tokenizer(
    tokenizer_type: str | None,
    vocab_size: int | None,
    legacy_tokenizer: bool,
    tokenizer_special_tokens: list[str] | None,
    tiktoken_special_tokens: list[str] | None,
    tokenizer_sentencepiece_legacy: bool,
    tokenizer_hf_use_fast: bool,
    tokenizer_hf_include_special_tokens: bool,
    tokenizer_hf_no_use_fast: bool,
    tokenizer_hf_no_include_special_tokens: bool,
    trust_remote_code: bool,
    schema: Schema,
) -> dict[str, Any]:
    """Bridge's vocabulary of a NullTokenizer includes the end-of-document token, Megatron-LM's does not.

    See megatron/core/tokenizers/text/utils/build_tokenizer.py and megatron/bridge/training/tokenizers/utils.py.
    """
    decided: dict[str, Any] = {
        # Bridge fills the one from the other on rank 0 only
        "tokenizer.special_tokens": tokenizer_special_tokens or tiktoken_special_tokens,
    }
    lost = _not_there(tokenizer_type, schema)
    if tokenizer_type in NULL and vocab_size is not None and not lost:
        decided["tokenizer.vocab_size"] = vocab_size + 1
    elif tokenizer_type == "TikTokenizer":
        decided["tokenizer.vocab_size"] = vocab_size
    decided |= lost
    if tokenizer_type in HUGGING_FACE:
        switches = {"trust_remote_code": trust_remote_code}
        if not legacy_tokenizer:
            switches["use_fast"] = tokenizer_hf_use_fast
            switches["include_special_tokens"] = tokenizer_hf_include_special_tokens
        off = {"use_fast": tokenizer_hf_no_use_fast, "include_special_tokens": tokenizer_hf_no_include_special_tokens}
        decided["tokenizer.hf_tokenizer_kwargs"] = _keywords(switches, off)
    if tokenizer_type in READ_ONLY and legacy_tokenizer and schema.find("tokenizer.legacy_tokenizer"):
        decided["legacy_tokenizer"] = Rejected(
            f"Bridge cannot build its old {tokenizer_type}: the class sets {READ_ONLY[tokenizer_type]}, which its base "
            "class makes read-only; leave out --legacy-tokenizer (megatron/bridge/training/tokenizers/tokenizer.py)."
        )
    if tokenizer_type in SENTENCE_PIECE and tokenizer_sentencepiece_legacy:
        if schema.find("tokenizer.sp_tokenizer_kwargs"):
            decided["tokenizer.sp_tokenizer_kwargs"] = {"legacy": True}
        else:
            decided["tokenizer_sentencepiece_legacy"] = Lost("This Bridge has no such switch; Bridge 0.3 has.")
    return decided


@builder(
    writes=("tokenizer.special_tokens", "tokenizer.vocab_size", "tokenizer.hf_tokenizer_kwargs"),
    if_there=(
        "tokenizer.sp_tokenizer_kwargs",
        "tokenizer.null_tokenizer_eod_id",
        "tokenizer.null_tokenizer_pad_id",
        "tokenizer.tokenizer_sentencepiece_ignore_extra_whitespaces",
    ),
    when="megatron >=0.18",
)
def core_tokenizer(
    tokenizer_type: str | None,
    vocab_size: int | None,
    special_tokens: list[str] | None,
    tokenizer_sentencepiece_legacy: bool,
    tokenizer_sentencepiece_ignore_extra_whitespaces: bool,
    tokenizer_hf_no_use_fast: bool,
    tokenizer_hf_no_include_special_tokens: bool,
    trust_remote_code: bool,
    null_tokenizer_eod_id: int | None,
    null_tokenizer_pad_id: int,
    schema: Schema,
) -> dict[str, Any]:
    """Since 0.18 the last token of a NullTokenizer ends documents on both sides, and sizes are the same.

    Bridge overwrites the fields of the switches with what the keyword arguments say. See
    megatron/core/tokenizers/utils/build_tokenizer.py, and megatron/bridge/training/tokenizers/config.py.
    """
    decided: dict[str, Any] = {"tokenizer.special_tokens": special_tokens}
    if tokenizer_type in (*NULL, "TikTokenizer"):
        decided["tokenizer.vocab_size"] = vocab_size
    decided |= _not_there(tokenizer_type, schema)
    if tokenizer_type in HUGGING_FACE:
        off = {"use_fast": tokenizer_hf_no_use_fast, "include_special_tokens": tokenizer_hf_no_include_special_tokens}
        on = {"use_fast": True, "include_special_tokens": True, "trust_remote_code": trust_remote_code}
        decided["tokenizer.hf_tokenizer_kwargs"] = _keywords(on, off)
    if tokenizer_type in SENTENCE_PIECE and tokenizer_sentencepiece_legacy:
        decided["tokenizer.sp_tokenizer_kwargs"] = {"legacy": True}
    said = {
        "tokenizer_sentencepiece_ignore_extra_whitespaces": (
            tokenizer_sentencepiece_ignore_extra_whitespaces,
            tokenizer_type in SENTENCE_PIECE and not tokenizer_sentencepiece_ignore_extra_whitespaces,
        ),
        "null_tokenizer_eod_id": (
            null_tokenizer_eod_id,
            tokenizer_type == "NullTokenizer" and null_tokenizer_eod_id is not None,
        ),
        "null_tokenizer_pad_id": (null_tokenizer_pad_id, tokenizer_type == "NullTokenizer"),
    }
    for name, (value, matters) in said.items():
        if schema.find(f"tokenizer.{name}"):
            decided[f"tokenizer.{name}"] = value
        elif matters and value != -1:
            decided[name] = Lost(f"Bridge {schema.version} has no setting for it; Bridge 0.5 has.")
    return decided


def _keywords(on: Mapping[str, bool], off: Mapping[str, bool]) -> dict[str, bool]:
    """Keyword arguments for a tokenizer of Hugging Face; what is off by being left out is left out."""
    return {name: not off.get(name) for name, said in on.items() if said or off.get(name)}


def _not_there(tokenizer_type: str | None, schema: Schema) -> dict[str, Any]:
    """A tokenizer that Bridge does not name, or cannot build: it has no --sft-tokenizer-prompt-format since 0.5."""
    field = schema.find("tokenizer.tokenizer_type")
    known = (field and field.choices) or ()
    own = schema.find("tokenizer.tiktoken_special_tokens")  # Bridge builds tokenizers itself, up to 0.4
    if tokenizer_type is None or tokenizer_type in known and (tokenizer_type != "SFTTokenizer" or own):
        return {}
    return {"tokenizer_type": Lost("Bridge has no such tokenizer; HuggingFaceTokenizer and NullTokenizer are near.")}
