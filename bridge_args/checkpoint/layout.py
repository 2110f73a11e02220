"""What the folder of a run's checkpoints is: trackers, a folder for each iteration, when one is complete."""

from __future__ import annotations

import importlib
import json
import re
import zipfile
from pathlib import Path
from typing import Final

from bridge_args.checkpoint import saved_args

TRACKER: Final = "latest_train_state.pt"
MEGATRON_TRACKER: Final = "latest_checkpointed_iteration.txt"


def folder_of(save: Path, step: int) -> Path:
    return save / f"iter_{step:07d}"


def is_complete(folder: Path) -> bool:
    """Was the save of this checkpoint finished?"""
    tensors = _is_json(folder / "metadata.json") if (folder / "common.pt").exists() else (folder / ".metadata").exists()
    return tensors and zipfile.is_zipfile(folder / "train_state.pt") and _is_run_config(folder / "run_config.yaml")


def is_whole(folder: Path) -> bool:
    """Is every file there that the checkpoint's own index names, as long as it must be? Reads that index with torch."""
    if not is_complete(folder):
        return False
    reader = importlib.import_module("torch.distributed.checkpoint").FileSystemReader(folder)
    ends: dict[str, int] = {}
    for part in reader.read_metadata().storage_data.values():
        ends[part.relative_path] = max(ends.get(part.relative_path, 0), part.offset + part.length)
    return all((folder / name).is_file() and (folder / name).stat().st_size >= end for name, end in ends.items())


def last_whole(save: Path) -> int | None:
    """The iteration of the newest checkpoint that can be loaded."""
    return next((step for step in _steps(save) if is_whole(folder_of(save, step))), None)


def _steps(save: Path) -> list[int]:
    """The iterations that have a folder, the newest first."""
    names = (re.fullmatch(r"iter_(\d{7,})", entry.name) for entry in save.iterdir()) if save.is_dir() else ()
    return sorted((int(name[1]) for name in names if name), reverse=True)


def last_of_megatron_lm(save: Path) -> int | None:
    """The iteration of the newest checkpoint that Megatron-LM has written, which holds the arguments of its run."""
    for step in filter(lambda step: is_megatron_lms(folder_of(save, step)), _steps(save)):
        try:
            saved_args.read(folder_of(save, step))
        except saved_args.SavedArgsError:
            continue
        return step
    return None


def is_megatron_lms(folder: Path) -> bool:
    """Has Megatron-LM written it? Then it is complete as far as can be told."""
    return _is_json(folder / "metadata.json") or any(folder.glob("mp_rank_*"))


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _is_run_config(file: Path) -> bool:
    """A whole one; of a torn one the later sections are missing, which Bridge writes in alphabetical order."""
    yaml = importlib.import_module("yaml")
    try:
        text = file.read_text(encoding="utf-8")
        config = yaml.load(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return text.endswith("\n") and isinstance(config, dict) and {"checkpoint", "model", "train"} <= config.keys()
