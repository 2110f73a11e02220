"""The folder of one iteration where that of the checkpoints belongs: most runs go on, without its weights.

See megatron/training/checkpointing.py load_checkpoint and _load_base_checkpoint, and Bridge's own
megatron/bridge/training/checkpointing.py, which since 0.4 takes such a folder (_resolve_checkpoint_iteration).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

from bridge_args.bridge.checkpoint_rules import TAKES_AN_ITERATION, TRACKERS, OneCheckpoint, one_checkpoint
from bridge_args.findings import Finding
from bridge_args.megatron_lm.parse import Given
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs
from bridge_args.megatron_lm.run import Read
from bridge_args.versions import Versions, holds

_TRACKER: Final = TRACKERS[-1]  # that of Megatron-LM


def findings(args: MegatronArgs, given: Given, versions: Versions, read: Read) -> Iterator[Finding]:
    """One for each of ``--load``, ``--pretrained-checkpoint`` and ``--save`` that names such a folder.

    Args:
        read: gives the text of a file; a folder that has a tracker is one of checkpoints, whatever its name.
    """

    def has(file: str) -> bool:
        try:
            read(file)
        except OSError as error:
            return error.errno in (errno.EILSEQ, errno.EFBIG)  # it is there, and no text, or a long one
        return True

    for name in ("load", "pretrained_checkpoint", "save"):
        value = args[name] if name in args else None
        found = one_checkpoint(value, has) if isinstance(value, str) else None
        if found is None:
            continue
        what, remedy = _SAYS[name](args, versions, found)
        flag = given.typed[name].flag if name in given.typed else f"--{name.replace('_', '-')}"
        message = f"{flag} {value} is the folder of one iteration, not the one of the checkpoints: {what}"
        yield Finding("one-iteration", message, remedy, (name,), given.place(name), given.excerpt(name))


def _load(args: MegatronArgs, versions: Versions, one: OneCheckpoint) -> tuple[str, str]:
    remedy = _instead("--load", one) + ("" if one.iteration is None else f" --ckpt-step {one.iteration}")
    bridge = f"; Bridge {versions.bridge} loads that iteration" if _takes(versions, one) else ", and so does Bridge"
    if _on(args, "ckpt_step"):
        return f"Megatron-LM looks for iteration {args['ckpt_step']} in it and stops{bridge}", remedy
    if _on(args, "pretrained_checkpoint"):
        return f"Megatron-LM finds no tracker in it and takes --pretrained-checkpoint{bridge}", remedy
    if _on(args, "exit_on_missing_checkpoint"):
        return f"Megatron-LM finds no tracker in it and stops{bridge}", remedy
    return f"Megatron-LM finds no tracker in it and trains from random weights{bridge}", remedy


def _pretrained(args: MegatronArgs, versions: Versions, one: OneCheckpoint) -> tuple[str, str]:
    if _takes(versions, one):
        bridge = f"; Bridge {versions.bridge} takes it"
    elif _on(args, "load"):
        bridge = ", and so does Bridge"
    else:
        bridge = f"; Bridge {versions.bridge} trains from random weights"
    unless = "where --load has no checkpoint, " if _on(args, "load") else ""
    remedy = _instead("--pretrained-checkpoint", one)
    if one.iteration is not None:
        remedy += ", which takes its newest iteration"
        if not _on(args, "load"):
            remedy += f", or --load {one.above} --ckpt-step {one.iteration} --finetune"
    return f"{unless}Megatron-LM finds no tracker in it and stops{bridge}", remedy


def _save(args: MegatronArgs, versions: Versions, one: OneCheckpoint) -> tuple[str, str]:
    more = ""
    if _takes(versions, one):
        more = f"; if it holds that iteration, Bridge {versions.bridge} would load that again, not what is saved later"
    return f"checkpoints are written to folders in it{more}", f"write --save {one.above}"


def _takes(versions: Versions, one: OneCheckpoint) -> bool:
    return one.whole and holds(TAKES_AN_ITERATION, versions)


def _instead(flag: str, one: OneCheckpoint) -> str:
    if one.iteration is None and not one.is_release:
        return f"write {flag} with the folder that has the tracker ({_TRACKER}), and folders like iter_0000100 in it"
    return f"write {flag} {one.above}"


_SAYS: Final = {"load": _load, "pretrained_checkpoint": _pretrained, "save": _save}


def _on(args: MegatronArgs, name: str) -> bool:
    return name in args and bool(args[name])
