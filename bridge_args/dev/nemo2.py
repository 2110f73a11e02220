"""``python -m bridge_args.dev nemo2`` and ``families``: what NeMo's classes have, and Bridge's families of models."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from bridge_args import children

# What is in the modules that are looked through, and in no run's configuration.
_OTHERS: Final = re.compile(
    r"\.(text_to_speech|megatron\.hyena)\.|\._\w+$|exp_manager\.(?!TimingCallback|DeltaTimingCallback)"
    r"|\.tokenizers\.(?!.*\.(AutoTokenizer|SentencePieceTokenizer|TiktokenTokenizer|NullTokenizer|ByteLevelTokenizer"
    r"|get_nmt_tokenizer)$)|gpt\.data\.(core|utils|hf_dataset\w*|reranker|retrieval)\.(?!\w+DataModule)"
    r"|(Dataset|Linear|Adapter|Wrapper|AdapterIO|ModuleDict|UpGate|SplitQKV|ModuleMatcher|JitConfig)$"
)
_TEXT_OF_LAYERS: Final = "heterogeneous_layers_config_encoded_json"


def from_nemo() -> dict[str, Any]:
    """The content of ``source/nemo2/defaults.json``, from the installed NeMo.

    Raises:
        ValueError: when it is not installed or cannot be imported.
    """
    return settled(_asked("bridge_args.dev.nemo2_probe", "NeMo"))


def families() -> dict[str, Any]:
    """The content of ``bridge/families/VERSION.json``, from the installed Bridge.

    Raises:
        ValueError: when it is not installed or cannot be imported.
    """
    return _asked("bridge_args.dev.families_probe", "Megatron Bridge")


def settled(data: dict[str, Any]) -> dict[str, Any]:
    """What was read without what no configuration is made of; long texts without spaces that say nothing."""
    for model in data["models"].values():
        if text := model["fields"].get(_TEXT_OF_LAYERS):
            model["fields"][_TEXT_OF_LAYERS] = json.dumps(json.loads(text), separators=(",", ":"))
    data["classes"] = {name: entry for name, entry in data["classes"].items() if not _OTHERS.search(name)}
    return data


def as_text(data: dict[str, Any]) -> str:
    """JSON with a class a line."""
    parts = []
    for key, value in data.items():
        if isinstance(value, dict):
            lines = (f"  {json.dumps(name)}: {json.dumps(entry, ensure_ascii=False)}" for name, entry in value.items())
            parts.append(f" {json.dumps(key)}: {{\n" + ",\n".join(lines) + "\n }")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _asked(program: str, what: str) -> dict[str, Any]:
    variables = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "RANK", "WORLD_SIZE")}
    variables["CUDA_VISIBLE_DEVICES"] = ""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "found.json"
        command = children.command(program, str(output))
        done = subprocess.run(command, env=children.environment(variables), capture_output=True, text=True)
        if done.returncode != 0:
            raise ValueError(f"{what} could not be read:\n{done.stderr[-3000:]}")
        found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return found
