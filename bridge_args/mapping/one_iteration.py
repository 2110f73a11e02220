"""The folder of one iteration where that of the checkpoints belongs: most runs go on, without its weights.

See megatron/training/checkpointing.py load_checkpoint and _load_base_checkpoint, and Bridge's own
megatron/bridge/training/checkpointing.py, which since 0.4 takes such a folder (_resolve_checkpoint_iteration).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from bridge_args.findings import Finding
from bridge_args.megatron_lm.parse import Given
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs
from bridge_args.megatron_lm.run import Read
from bridge_args.versions import Versions, holds

_FOLDER: Final = re.compile(r"(?:(?P<parent>.*)/)?iter_(?P<iteration>\d{7,})/*")  # get_checkpoint_name
_TRACKER: Final = "latest_checkpointed_iteration.txt"
_TAKES_ONE: Final = "bridge >=0.4"


def findings(args: MegatronArgs, given: Given, versions: Versions, read: Read) -> Iterator[Finding]:
    """One for each of ``--load``, ``--pretrained-checkpoint`` and ``--save`` that names such a folder.

    Args:
        read: gives the text of a file; a folder that has a tracker is one of checkpoints, whatever its name.
    """
    for name in ("load", "pretrained_checkpoint", "save"):
        value = args[name] if name in args else None
        found = _FOLDER.fullmatch(value) if isinstance(value, str) else None
        if found is None or _has_tracker(f"{value}".rstrip("/"), read):
            continue
        parent, step = found["parent"] or ("/" if found["parent"] == "" else "."), int(found["iteration"])
        what, remedy = _SAYS[name](args, versions, parent, step)
        flag = given.typed[name].flag if name in given.typed else f"--{name.replace('_', '-')}"
        message = f"{flag} {value} is the folder of one iteration, not the one of the checkpoints: {what}"
        yield Finding("one-iteration", message, remedy, (name,), given.place(name), given.excerpt(name))


def _has_tracker(folder: str, read: Read) -> bool:
    try:
        read(f"{folder}/{_TRACKER}")
    except OSError:
        return False
    return True


def _load(args: MegatronArgs, versions: Versions, parent: str, step: int) -> tuple[str, str]:
    remedy = f"write --load {parent} --ckpt-step {step}"
    bridge = ", and so does Bridge"
    if holds(_TAKES_ONE, versions):
        bridge = f"; Bridge {versions.bridge} loads that iteration"
    if _on(args, "ckpt_step"):
        return f"Megatron-LM looks for iteration {args['ckpt_step']} in it and stops{bridge}", remedy
    if _on(args, "pretrained_checkpoint"):
        return f"Megatron-LM finds no tracker in it and takes --pretrained-checkpoint{bridge}", remedy
    if _on(args, "exit_on_missing_checkpoint"):
        return f"Megatron-LM finds no tracker in it and stops{bridge}", remedy
    return f"Megatron-LM finds no tracker in it and trains from random weights{bridge}", remedy


def _pretrained(args: MegatronArgs, versions: Versions, parent: str, step: int) -> tuple[str, str]:
    if holds(_TAKES_ONE, versions):
        bridge = f"; Bridge {versions.bridge} takes it"
    elif _on(args, "load"):
        bridge = ", and so does Bridge"
    else:
        bridge = f"; Bridge {versions.bridge} trains from random weights"
    unless = "where --load has no checkpoint, " if _on(args, "load") else ""
    remedy = f"write --pretrained-checkpoint {parent}, which takes its newest iteration"
    if not _on(args, "load"):
        remedy += f", or --load {parent} --ckpt-step {step} --finetune"
    return f"{unless}Megatron-LM finds no tracker in it and stops{bridge}", remedy


def _save(args: MegatronArgs, versions: Versions, parent: str, step: int) -> tuple[str, str]:
    more = ""
    if holds(_TAKES_ONE, versions):
        more = f"; if it holds that iteration, Bridge {versions.bridge} would load that again, not what is saved later"
    return f"checkpoints are written to folders in it{more}", f"write --save {parent}"


_SAYS: Final = {"load": _load, "pretrained_checkpoint": _pretrained, "save": _save}


def _on(args: MegatronArgs, name: str) -> bool:
    return name in args and bool(args[name])
