"""The tokenizer: sizes that are counted differently, and what Bridge keeps as keyword arguments."""

from __future__ import annotations

from typing import Any, Final

from bridge_args.bridge.schema import Schema
from bridge_args.mapping.sections.registry import Lost, Rejected, builder

# megatron/bridge/training/tokenizers/utils.py: which keyword arguments reach which tokenizer
HUGGING_FACE: Final = ("HuggingFaceTokenizer", "BertWordPieceLowerCase", "BertWordPieceCase", "GPT2BPETokenizer")
SENTENCE_PIECE: Final = ("SentencePieceTokenizer", "GPTSentencePieceTokenizer", "Llama2Tokenizer")
NOT_IN_BRIDGE: Final = ("SFTTokenizer", "NullMultimodalTokenizer")

# Old tokenizers that set a property without a setter when they are made
READ_ONLY: Final = {
    "GPT2BPETokenizer": "eod_id",
    "BertWordPieceLowerCase": "mask_id",
    "BertWordPieceCase": "mask_id",
}


@builder(
    writes=("tokenizer.special_tokens", "tokenizer.vocab_size", "tokenizer.hf_tokenizer_kwargs"),
    if_there=("tokenizer.legacy_tokenizer", "tokenizer.sp_tokenizer_kwargs"),
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
    if tokenizer_type == "NullTokenizer" and vocab_size is not None:
        decided["tokenizer.vocab_size"] = vocab_size + 1
    elif tokenizer_type == "TikTokenizer":
        decided["tokenizer.vocab_size"] = vocab_size
    elif tokenizer_type in NOT_IN_BRIDGE:
        decided["tokenizer_type"] = Lost(
            "Bridge has no such tokenizer; HuggingFaceTokenizer and NullTokenizer are near."
        )
    if tokenizer_type in HUGGING_FACE:
        switches = {"trust_remote_code": trust_remote_code}
        if not legacy_tokenizer:
            switches["use_fast"] = tokenizer_hf_use_fast
            switches["include_special_tokens"] = tokenizer_hf_include_special_tokens
        decided["tokenizer.hf_tokenizer_kwargs"] = {name: True for name, on in switches.items() if on}
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
