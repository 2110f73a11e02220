"""The folder of a run's checkpoints, as a run that was ended in the middle of a save leaves it, and how it is mended.

Bridge 0.3 saves in this order (training/checkpointing.py ``save_checkpoint``): the tensors of ``iter_0000006``,
``metadata.json`` when all are there, ``train_state.pt``; then, over the old ones, ``latest_train_state.pt`` and
``latest_checkpointed_iteration.txt``; then ``run_config.yaml``, without which the checkpoint cannot be loaded. So a
kill can leave a tracker that is torn, or that names a checkpoint which is not complete.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Final

from bridge_args.checkpoint import saved_args
from bridge_args.files import write_whole

TRACKER: Final = "latest_train_state.pt"
MEGATRON_TRACKER: Final = "latest_checkpointed_iteration.txt"
ASIDE: Final = Path("bridge_args", "set_aside")  # no name in it begins with iter_: Bridge counts those, at any depth


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
    for step in filter(lambda step: _is_megatron_lms(folder_of(save, step)), _steps(save)):
        try:
            saved_args.read(folder_of(save, step))
        except saved_args.SavedArgsError:
            continue
        return step
    return None


def mend(save: Path) -> str:
    """Makes the tracker name a checkpoint that can be loaded, the newest one; or none, where there is none.

    Nothing is done where Bridge's tracker is right, or where there is none of Bridge's.

    Returns:
        What was done, for the user; empty for nothing.

    Raises:
        OSError: the folder cannot be written to.
    """
    said = _put_back(save)
    tracker = save / TRACKER
    if not tracker.exists():
        return said
    named = _step_of(tracker)
    if named is not None and is_complete(folder_of(save, named)):
        return said
    found = last_whole(save)
    what = f"the checkpoint of iteration {named}" if named is not None else f"{TRACKER}"
    if found is None:
        begun = last_of_megatron_lm(save)
        if begun is not None:
            write_whole(save / MEGATRON_TRACKER, str(begun))
        else:
            (save / MEGATRON_TRACKER).unlink(missing_ok=True)
        tracker.unlink()
        on = "there is no other: starting from the beginning"
        on = on if begun is None else f"the last one is Megatron-LM's: going on from its iteration {begun}"
        return f"{what} in {save} is not complete, and {on}"
    point_to(save, found)
    return f"{what} in {save} is not complete: going on from iteration {found}"


def point_to(save: Path, step: int) -> None:
    """Writes the trackers, each whole or not at all."""
    write_whole(save / TRACKER, (folder_of(save, step) / "train_state.pt").read_bytes())
    write_whole(save / MEGATRON_TRACKER, str(step))


def make_way(save: Path, step: int) -> None:
    """Before a save: what is in its folder is moved aside until the new checkpoint is complete, or thrown away.

    Written over, an old checkpoint would be neither the old nor the new one until the end of the save; and what is left
    of a save that did not end would seem to belong to the new one.
    """
    folder = folder_of(save, step)
    if is_complete(folder) or _is_megatron_lms(folder):
        aside = save / ASIDE / str(step)
        if aside.exists():
            shutil.rmtree(aside)
        aside.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder, aside)
    elif folder.exists():
        shutil.rmtree(folder)


def _is_megatron_lms(folder: Path) -> bool:
    """Has Megatron-LM written it? Then it is complete as far as can be told."""
    return _is_json(folder / "metadata.json") or any(folder.glob("mp_rank_*"))


def _put_back(save: Path) -> str:
    """What a save had moved aside comes back, unless that save has ended."""
    said = ""
    for aside in sorted((save / ASIDE).iterdir()) if (save / ASIDE).is_dir() else ():
        folder = folder_of(save, int(aside.name))
        if is_complete(folder):
            shutil.rmtree(aside)
            continue
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(aside, folder)
        said = f"the checkpoint of iteration {aside.name} in {save} was being replaced; the old one is back"
    return said


def clear_aside(save: Path) -> None:
    """After a save: what had been moved aside for it is no longer needed."""
    for aside in (save / ASIDE).iterdir() if (save / ASIDE).is_dir() else ():
        if is_complete(folder_of(save, int(aside.name))):
            shutil.rmtree(aside)


def _step_of(tracker: Path) -> int | None:
    """The iteration that a tracker of Bridge's names; None when it is torn."""
    if not zipfile.is_zipfile(tracker):
        return None
    state = importlib.import_module("torch").load(tracker, map_location="cpu", weights_only=True)
    return int(state["step"])


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
