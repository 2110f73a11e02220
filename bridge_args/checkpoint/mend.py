"""The folder of a run's checkpoints, as a run that was ended in the middle of a save leaves it, and how it is mended.

Bridge 0.3 saves in this order (training/checkpointing.py ``save_checkpoint``): the tensors of ``iter_0000006``,
``metadata.json`` when all are there, ``train_state.pt``; then, over the old ones, ``latest_train_state.pt`` and
``latest_checkpointed_iteration.txt``; then ``run_config.yaml``, without which the checkpoint cannot be loaded. So a
kill can leave a tracker that is torn, or that names a checkpoint which is not complete.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from bridge_args.checkpoint import saved_args
from bridge_args.checkpoint.layout import (
    MEGATRON_TRACKER,
    TRACKER,
    CheckpointError,
    folder_of,
    is_complete,
    is_megatron_lms,
    last_whole,
    step_in,
    steps_of,
)
from bridge_args.files import write_whole

ASIDE: Final = Path("bridge_args", "set_aside")  # no name in it begins with iter_: Bridge counts those, at any depth


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
            write_whole(save / MEGATRON_TRACKER, str(begun), over_source=True)
        else:
            (save / MEGATRON_TRACKER).unlink(missing_ok=True)
        tracker.unlink()
        on = "there is no other: starting from the beginning"
        on = on if begun is None else f"the last one is Megatron-LM's: going on from its iteration {begun}"
        return f"{what} in {save} is not complete, and {on}"
    point_to(save, found)
    return f"{what} in {save} is not complete: going on from iteration {found}"


def last_of_megatron_lm(save: Path) -> int | None:
    """The iteration of the newest checkpoint that Megatron-LM has written, which holds the arguments of its run."""
    for step in filter(lambda step: is_megatron_lms(folder_of(save, step)), steps_of(save)):
        try:
            saved_args.read(folder_of(save, step))
        except saved_args.SavedArgsError:
            continue
        return step
    return None


def point_to(save: Path, step: int) -> None:
    """Writes the trackers, each whole or not at all."""
    write_whole(save / TRACKER, (folder_of(save, step) / "train_state.pt").read_bytes(), over_source=True)
    write_whole(save / MEGATRON_TRACKER, str(step), over_source=True)


def make_way(save: Path, step: int) -> None:
    """Before a save: what is in its folder is moved aside until the new checkpoint is complete, or thrown away.

    Written over, an old checkpoint would be neither the old nor the new one until the end of the save; and what is left
    of a save that did not end would seem to belong to the new one.
    """
    folder = folder_of(save, step)
    if is_complete(folder) or is_megatron_lms(folder):
        aside = save / ASIDE / str(step)
        if aside.exists():
            shutil.rmtree(aside)
        aside.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder, aside)
    elif folder.exists():
        shutil.rmtree(folder)


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
    try:
        return step_in(tracker)
    except CheckpointError:
        return None
