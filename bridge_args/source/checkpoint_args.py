"""The checkpoints that ``--use-checkpoint-args`` names: found, read as data, and what is to be said of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from bridge_args.findings import CHANGES, Finding
from bridge_args.megatron_lm.checkpoint_args import Checkpoint, Taken, sources, taken
from bridge_args.megatron_lm.parse import Given
from bridge_args.megatron_lm.run import Run
from bridge_args.records import Record
from bridge_args.wording import counted, listed

# Where a folder that a command line names lies; None where it may not be looked at.
Find: TypeAlias = Callable[[str], "Path | None"]
_FLAG = "use_checkpoint_args"


class FromCheckpoints(Record):
    """What checkpoints give to a run.

    Attributes:
        checkpoints: those that were read, in Megatron-LM's order.
        taken: argument to value.
        findings: what the user is told.
    """

    checkpoints: tuple[Checkpoint, ...] = ()
    taken: Mapping[str, Taken] = {}
    findings: tuple[Finding, ...] = ()


def from_checkpoints(given: Given, run: Run, find: Find) -> FromCheckpoints:
    """What ``--use-checkpoint-args`` adds to a command line; nothing where it is not there.

    Args:
        find: what it does not find is not there when the run starts either, where it is the run's own
            (``Run.checkpoints_here``); else it is on another machine, or not yet written.
    """
    if not given.values.get(_FLAG) or given.values.get("non_persistent_ckpt_type") == "local":
        return FromCheckpoints()
    checkpoints, findings = [], []
    for name in sources(run.versions.megatron):
        folder = given.values.get(name)
        if not isinstance(folder, str) or not folder:
            continue
        found = _read(name, folder, given, find)
        if isinstance(found, Checkpoint):
            checkpoints.append(found)
        else:
            findings.append(_missing(found, given, run))
    values = taken(given.values, run.catalog, checkpoints)
    findings += _about(values, checkpoints, given)
    return FromCheckpoints(tuple(checkpoints), values, tuple(findings))


class _Missing(Record):
    """Why a checkpoint gives nothing.

    Attributes:
        message: a sentence without a full stop.
        none: Megatron-LM finds none there either.
        absent: there is no such folder, here.
    """

    message: str
    none: bool = False
    absent: bool = False


def _read(name: str, folder: str, given: Given, find: Find) -> Checkpoint | _Missing:
    from bridge_args.checkpoint import layout, saved_args

    path = find(folder)
    if path is None or not path.is_dir():
        return _Missing(f"there is no folder {folder} here", absent=True)
    step = given.values.get("ckpt_step")
    if isinstance(step, int) and step > 0:
        place = layout.folder_of(path, step)
    elif (path / layout.MEGATRON_TRACKER).is_file():
        place = path
    else:
        return _Missing(f"{folder} has no {layout.MEGATRON_TRACKER}", none=True)
    try:
        saved = saved_args.read(place)
    except saved_args.NoArguments as problem:
        return _Missing(str(problem), none=True)
    except saved_args.SavedArgsError as problem:
        return _Missing(str(problem))
    own = "release" if saved.iteration is None else layout.folder_of(path, saved.iteration).name
    where = f"{folder.rstrip('/')}/{place.name if place != path else own}"
    return Checkpoint(name, saved.values, saved.checkpoint_version or 0.0, where)


def _missing(why: _Missing, given: Given, run: Run) -> Finding:
    flag, place, excerpt = given.typed[_FLAG].flag, given.place(_FLAG), given.excerpt(_FLAG)
    if why.none or (why.absent and run.checkpoints_here):
        message = f"{flag} takes nothing: {why.message}, and Megatron-LM uses the arguments as they are"
        return Finding("ignored-by-megatron", message, "", (_FLAG,), place, excerpt)
    message = (
        f"{flag} is lost: {why.message}, so what Megatron-LM takes from the checkpoint is not known; translate where "
        f"it is, or put the model's own flags on the command line. This changes {CHANGES['numbers']}."
    )
    return Finding("no-equivalent", message, "", (_FLAG,), place, excerpt, "numbers")


def _about(values: Mapping[str, Taken], checkpoints: list[Checkpoint], given: Given) -> Iterator[Finding]:
    from bridge_args.megatron_lm.resolvers.overlay import alike

    for checkpoint in checkpoints:
        names = [name for name, one in values.items() if one.where == checkpoint.where]
        verb = "comes" if len(names) == 1 else "come"
        message = f"{checkpoint.where} was read for {given.typed[_FLAG].flag}: {counted(len(names), 'argument')}"
        yield Finding("file-read", f"{message} {verb} from it: {listed(sorted(names))}", "", (_FLAG,))
    for name, one in values.items():
        if one.over is not ... and not alike(one.over, one.value):
            message = f"{given.text(name)} is not used: {one.where} has {name} = {_shown(one.value)}, which wins"
            remedy = f"leave it out, or {given.typed[_FLAG].flag}"
            yield Finding("ignored-by-megatron", message, remedy, (name,), given.place(name), given.excerpt(name))


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
