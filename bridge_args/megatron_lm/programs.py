"""Which programs Megatron-LM has, what they do, and what a program is taken for. The one place that knows.

Gathered from every release from 2020 on: each program that calls ``pretrain`` or ``initialize_megatron``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from bridge_args.findings import Finding
from bridge_args.records import Record
from bridge_args.versions import number
from bridge_args.wording import listed

GPT: Final = "pretrain_gpt.py"
MAMBA: Final = "pretrain_mamba.py"
HYBRID: Final = "pretrain_hybrid.py"
TRANSLATED: Final = (GPT, MAMBA, HYBRID)
HYBRID_MODELS: Final = (MAMBA, HYBRID)
# The first version of a program; from this one on pretrain_mamba.py is there for old scripts, and runs it.
SINCE: Final = {HYBRID: "0.18"}

# A word in the name of a program that says it is for another kind of model: Megatron-LM's own pretrain_bert.py,
# pretrain_vision_dino.py, ..., and what others call theirs after them.
_KINDS: Final = {
    "bert": "BERT",
    "t5": "T5",
    "ict": "a retriever, by the inverse cloze task",
    "realm": "a retriever",
    "retro": "RETRO",
    "vision": "vision models",
    "vit": "vision models",
    "dino": "vision models",
    "vlm": "vision language models",
    "vl": "vision language models",
    "llava": "vision language models",
    "multimodal": "multimodal models",
    "mimo": "multimodal models",
}

# Megatron-LM's own programs whose name alone says little: the end of the path, and what they are for.
_OTHER_MODELS: Final = {
    "multimodal/train.py": "vision language models",
    "mimo/train.py": "multimodal models",
    "tasks/main.py": "BERT for a task, or evaluates a model",
    "vision/main.py": "vision models",
    "msdp/main.py": "a dialogue task",
}
_BESIDE: Final = {
    "train_rl.py": "it trains on rollouts",
    "finetune_gpt.py": "it fine-tunes on data of its own",
    "modelopt/finetune.py": "it distils or fine-tunes with ModelOpt",
    "pretrain_gpt_modelopt.py": "it distils with ModelOpt",
    "modelopt/prune.py": "it prunes a model",
    "modelopt/quantize.py": "it quantizes a model",
    "modelopt/export.py": "it exports a model",
    "modelopt/validate.py": "it measures a model",
    "modelopt/mmlu.py": "it measures a model",
    "modelopt/convert_model.py": "it converts a checkpoint",
    "modelopt/offline_feature_extract.py": "it writes features of a model",
    "quantize/calibrate_gpt.py": "it quantizes a model",
    "rl/benchmark_refit.py": "it measures how fast weights move",
    "run_inference_performance_test.py": "it measures inference",
    "run_vlm_text_generation.py": "it generates text",
    "report_theoretical_memory.py": "it works out the memory of a run",
    "prepare_cache.py": "it prepares the index files of data",
}
_GENERATES: Final = {"generate", "generation", "inference", "server", "samples"}


class Meaning(Record):
    """What a program is for us.

    Attributes:
        taken_for: the program of ``TRANSLATED`` whose arguments it has.
        own: is it a training program of Megatron-LM itself?
        model: which other kind of model it trains; empty where it may be what it is taken for.
        beside: what it does that the program it is taken for does not; empty where nobody knows.
    """

    taken_for: str
    own: bool = False
    model: str = ""
    beside: str = ""


def name_of(program: str, module: bool) -> str:
    """``/opt/m/pretrain_gpt.py`` and the module ``m.pretrain_gpt`` are ``pretrain_gpt.py``."""
    return _path_of(program, module).rsplit("/", 1)[-1]


@lru_cache(maxsize=256)
def meaning_of(program: str, module: bool = False) -> Meaning:
    """What a program is for us.

    Args:
        program: its path, or the name of a module where ``module`` is true.
    """
    path = _path_of(program, module)
    name = path.rsplit("/", 1)[-1]
    if name in TRANSLATED:
        return Meaning(name, own=True)
    words = re.findall(r"[a-z]+\d*|\d+", name.removesuffix(".py").lower())
    taken_for = HYBRID if "hybrid" in words else MAMBA if "mamba" in words else GPT
    beside = _by_end(path, _BESIDE) or ("it generates text" if _GENERATES & set(words) else "")
    if beside:
        return Meaning(taken_for, beside=beside)
    kind = _by_end(path, _OTHER_MODELS) or next((_KINDS[word] for word in words if word in _KINDS), "")
    return Meaning(taken_for, own=bool(kind) and words[0] == "pretrain", model=kind)


def of_hybrid_models(version: str) -> str:
    """The program of a Megatron-LM version that trains hybrid models."""
    return HYBRID if number(version) >= number(SINCE[HYBRID]) else MAMBA


def finding_of(program: str | None, module: bool) -> Finding | None:
    """What a user is told of a program that is none of ``TRANSLATED``; None where there is nothing to tell."""
    if program is None:
        return None
    meaning = meaning_of(program, module)
    if meaning.model:
        name = name_of(program, module) if module else program
        message = f"{name} trains another kind of model: {meaning.model}"
        return Finding("other-model", message, f"only {listed(TRANSLATED)} are translated")
    if meaning.own:
        return None
    beside = f" ({meaning.beside})" if meaning.beside else ""
    message = f"{program} is treated as {meaning.taken_for}; anything else it does is skipped{beside}"
    return Finding("other-program", message)


def _path_of(program: str, module: bool) -> str:
    return f"{program.replace('.', '/')}.py" if module else program


def _by_end(path: str, table: dict[str, str]) -> str:
    return next((said for end, said in table.items() if path == end or path.endswith(f"/{end}")), "")
