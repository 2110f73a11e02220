"""What a recipe of Bridge is called by people: ``llama31_8b_pretrain_config`` is Llama 3.1 8B pretraining."""

from __future__ import annotations

import re
from typing import Final

_NAMES: Final = {
    "bf16": "BF16", "deepseek": "DeepSeek", "exaone": "EXAONE", "exaone4": "EXAONE 4", "glm": "GLM", "gpt": "GPT",
    "gpu": "GPU", "minimax": "MiniMax", "moe": "MoE", "nemotronh": "Nemotron-H", "nvfp4": "NVFP4", "oss": "OSS",
    "pretrain": "pretraining", "vl": "VL",
}  # fmt: skip
_SIZE: Final = re.compile(r"[ae]?\d+(p\d+)?[bm]$")
_VERSION: Final = re.compile(r"([a-z]+)(\d)(\d?)$")
_GPUS: Final = re.compile(r"(\d+)gpu$")


def title_of(name: str) -> str:
    """The title of a recipe, from its whole name."""
    words = name.rpartition(".")[2].removesuffix("_config").split("_")
    return " ".join(map(_word, words))


def _word(word: str) -> str:
    if _SIZE.match(word):
        return word.replace("p", ".").upper()
    if gpus := _GPUS.match(word):
        return f"{gpus[1]} GPU{'s' if gpus[1] != '1' else ''}"
    if word in _NAMES:
        return _NAMES[word]
    if re.match(r"[vm]\d$|[hb]\d+$|gb\d+$|fp8", word):
        return word.upper()
    if (parts := _VERSION.match(word)) and len(parts[1]) > 2:
        family = _NAMES.get(parts[1], parts[1].capitalize())
        return f"{family} {parts[2]}{'.' + parts[3] if parts[3] else ''}"
    return word if len(word) < 3 else word.capitalize()
