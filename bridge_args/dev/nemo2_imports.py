"""NeMo 2.0 made importable where its optional packages and GPUs are not: for its declarations, and for tests.

``nemo-toolkit`` itself is the real one, installed with ``--no-deps`` beside Megatron Core 0.16 and Lightning. What it
imports for speech, data bases and services is replaced by placeholders, Transformer Engine by our stand-in.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from types import ModuleType
from typing import Any, Final

from bridge_args.checkout.placeholders import stand_in

# Packages that the language models' modules import, and that no configuration is made of.
_ELSEWHERE: Final = (
    "nltk lhotse librosa soundfile faiss ftfy g2p_en decord sacremoses fastapi leptonai tensorstore zarr triton"
).split()
_ENGINE: Final = "transformer-engine"


def nemo_collections() -> ModuleType:
    """``nemo.collections.llm``, imported; takes half a minute.

    Raises:
        ImportError: it is not installed.
    """
    if importlib.util.find_spec("nemo") is None:
        raise ImportError("nemo-toolkit is not installed here")
    importlib.import_module("torch._inductor.runtime.triton_heuristics")  # settles for no triton before the placeholder
    stand_in(dict.fromkeys(_ELSEWHERE, "0"))
    from bridge_args.emulation import transformer_engine

    transformer_engine.install()
    _engine_has_a_version(transformer_engine.VERSION)
    loggers = importlib.import_module("lightning.pytorch.loggers")
    for name in ("NeptuneLogger", "CometLogger"):
        if not hasattr(loggers, name):
            setattr(loggers, name, type(name, (), {}))
    return importlib.import_module("nemo.collections.llm")


def _engine_has_a_version(version: str) -> None:
    original: Any = importlib.metadata.version

    def answered(name: str) -> str:
        return version if name.replace("_", "-") == _ENGINE else str(original(name))

    setattr(importlib.metadata, "version", answered)
