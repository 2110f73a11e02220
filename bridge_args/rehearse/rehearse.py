"""Rehearse: Bridge's real training loop for a translation, on the GPUs of this machine, or on its CPU if it has none.

``plan`` decides what runs; ``run`` starts fresh processes (the emulation must be there before torch) and yields
their records as they come; ``rehearse`` does both and writes them for people or for programs. What the processes write
goes to a folder of the rehearsal's own (``folders.py``), so that the files of the real run stay as they are.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from bridge_args import children
from bridge_args.emulation.adapt import Change, adapt, stand_ins
from bridge_args.rehearse import curve, folders
from bridge_args.rehearse.shrink import shrink as shrunk
from bridge_args.secrets import masked
from bridge_args.seen import visible_lines
from bridge_args.training import added, variables
from bridge_args.training.process import Plan
from bridge_args.training.processes import Device, RehearsalError, on_cpu, records
from bridge_args.values import finite
from bridge_args.wording import counted

if TYPE_CHECKING:
    from bridge_args.mapping.translation import Translation

SHRUNK_STEPS: Final = 20  # iterations of a shrunk rehearsal that names no number
MOST_PROCESSES: Final = 16  # started without being asked for by number


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What will run.

    Attributes:
        plan: handed to every process.
        nproc: number of processes.
        shrunk, adapted: settings changed to make the model small, and because a CPU cannot.
        environment: variables of the run, from the user's script.
        folder: for what the processes write; None: one that goes when they have ended.
        real_folders: the processes write where the command line says, as the run would.
    """

    plan: Plan
    nproc: int
    shrunk: tuple[Change, ...] = ()
    adapted: tuple[Change, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    real_folders: bool = False


def plan(
    t: Translation,
    *,
    steps: int | None = None,
    shrink: bool = False,
    nproc: int | None = None,
    device: Device = "auto",
) -> Rehearsal:
    """Works out what a rehearsal of a translation runs.

    Args:
        t: without errors.
        steps: iterations to run of the full schedule; None: all of them, or 20 with ``shrink``.
        shrink: scale the model down.
        nproc: processes; None: the world size, or 1 with ``shrink``.
        device: ``auto``: the GPUs of this machine, or the CPU emulation where there is none.

    Raises:
        RehearsalError: the number of processes does not go with the translation, or with the GPUs.
    """
    from bridge_args.emit.run_config import to_run_config

    run_config, beside = to_run_config(t, t.run_environment), added.of(t)
    changes: tuple[Change, ...] = ()
    nproc = processes_for(t, shrink=shrink, nproc=nproc)
    if shrink:
        steps = steps or SHRUNK_STEPS
        run_config, changes = shrunk(run_config, nproc, bridge=t.versions.bridge)
        beside = replace(beside, samples=None, phases=None)  # its batches are smaller
    if not on_cpu(device, nproc):
        on_gpus = Plan(run_config, steps, emulate=False, added=beside.plain())
        return Rehearsal(on_gpus, nproc, changes, (), t.run_environment)
    run_config, adapted = adapt(run_config, t.versions.bridge)
    packages = stand_ins(run_config)
    emulated = Plan(
        run_config,
        steps,
        transformer_engine=packages.transformer_engine,
        apex_layer_norm=packages.apex_layer_norm,
        added=beside.plain(),
    )
    return Rehearsal(emulated, nproc, changes, adapted, t.run_environment)


def processes_for(t: Translation, *, shrink: bool, nproc: int | None) -> int:
    """How many processes run: the world size, or with ``shrink`` as many as asked for, else one.

    Raises:
        RehearsalError: another number is asked for than the command line is read for; or it is too large to start
            unasked.
    """
    if shrink:
        return nproc or 1
    if nproc is None and t.world_size > MOST_PROCESSES:
        raise RehearsalError(
            f"the command line is for {counted(t.world_size, 'process')}; add --shrink to scale it down to one, "
            f"or --nproc {t.world_size} to start them all on this machine"
        )
    if nproc not in (None, t.world_size):
        raise RehearsalError(
            f"the command line is for {counted(t.world_size, 'process')}, so {nproc} cannot run it as it is; "
            f"set --world-size {nproc}, or add --shrink"
        )
    return t.world_size


def run(rehearsal: Rehearsal, log: Path | None = None) -> Generator[dict[str, Any], None, None]:
    """Starts the processes in the working directory and yields what they report, as it comes.

    Under the emulation the first record is ``{"replaced": [...]}``, its list. Then one record per training iteration
    and evaluation, with the keys that ``train.record`` documents.

    Args:
        log: file for what the training code prints; None: a temporary one.

    Raises:
        RehearsalError: the training stopped with an error; with Bridge's own message and where it was raised.
    """
    with contextlib.ExitStack() as stack:
        plan, folder = rehearsal.plan, rehearsal.folder
        if rehearsal.real_folders:
            folder = None
        else:
            folder = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bridge-args-rehearsal-")))
            folder.mkdir(parents=True, exist_ok=True)
            plan = replace(plan, run_config=folders.own(plan.run_config, folder))
        yield from records(
            "bridge_args.training.process",
            plan,
            rehearsal.nproc,
            rehearsal.environment,
            emulate=plan.emulate,
            log=log,
            own_folder=folder,
        )


# ------------------------------------------------------------------------- for people and programs


def rehearse(
    t: Translation,
    out: TextIO,
    err: TextIO,
    *,
    steps: int | None = None,
    shrink: bool = False,
    nproc: int | None = None,
    device: Device = "auto",
    format: str = "text",
    plot: str | None = None,
    log: str | None = None,
    folder: str | None = None,
    real_folders: bool = False,
) -> int:
    """Runs a rehearsal and writes its records to ``out`` as they come, everything else to ``err``.

    Args:
        format: ``text``: a line per step, then the curve. ``json``: a JSON object per iteration and evaluation.
        plot: file for the curve as a PNG.
        log: file for the log of the training code.
        folder, real_folders: see ``Rehearsal``.

    Returns:
        Exit code: that of the training process.
    """
    losses: list[curve.Point] = []
    evaluations: list[curve.Point] = []
    code = 0
    try:
        rehearsal = plan(t, steps=steps, shrink=shrink, nproc=nproc, device=device)
        rehearsal = replace(rehearsal, folder=Path(folder) if folder else None, real_folders=real_folders)
        for text in _introduction(rehearsal):
            _tell(err, visible_lines(masked(text, t.secrets)))
        with children.ended_by_signals(), contextlib.closing(run(rehearsal, Path(log) if log else None)) as entries:
            for entry in entries:
                if "replaced" in entry:
                    for text in entry["replaced"]:
                        _tell(err, f"replaced: {text}")
                    continue
                _tell(out, json.dumps(finite(entry), allow_nan=False) if format == "json" else _line(entry))
                if isinstance(entry["lm_loss"], float):
                    (evaluations if "split" in entry else losses).append((entry["iteration"], entry["lm_loss"]))
    except RehearsalError as error:
        _tell(err, visible_lines(masked(str(error), t.secrets)))
        code = error.code
    if format == "text" and len(losses) > 1:
        _tell(out, curve.draw(losses))
    if plot and losses:
        _plot(losses, evaluations, Path(plot), err)
    return code


def _tell(stream: TextIO, text: object) -> None:
    stream.write(f"{text}\n")
    stream.flush()


def _introduction(rehearsal: Rehearsal) -> Iterator[str]:
    """What differs from the run the command line asks for, one line each."""
    steps = counted(rehearsal.plan.steps, "step") if rehearsal.plan.steps is not None else "all steps"
    where = "CPU" if rehearsal.plan.emulate else "GPU"
    processes = counted(rehearsal.nproc, "process")
    yield f"rehearsing {steps} of Bridge's training loop on the {where}, {processes}"
    places = folders.replaced(rehearsal.plan.run_config)
    if rehearsal.real_folders:
        yield "it writes where the command line says, as the real run would"
    elif places:
        own = "a folder of its own, deleted at the end" if rehearsal.folder is None else rehearsal.folder
        yield f"what it writes is in {own}, not in {', '.join(map(str, places))}; --real-folders writes there"
    if away := variables.said(variables.kept_away(rehearsal.environment)):
        yield away
    for change in rehearsal.shrunk:
        yield f"shrunk: {change}"
    for change in rehearsal.adapted:
        yield f"changed for the CPU: {change}"


def _line(entry: Mapping[str, Any]) -> str:
    if "split" in entry:
        return f"{entry['split']} loss after step {entry['iteration']}: {_figure(entry['lm_loss'])}"
    text = (
        f"step {entry['iteration']:>5}  loss {_figure(entry['lm_loss'])}  grad norm {_figure(entry['grad_norm'])}"
        f"  lr {_figure(entry['learning_rate'], '.3e')}  batch {entry['global_batch_size']}"
    )
    if entry["loss_scale"] != 1.0:
        text += f"  loss scale {_figure(entry['loss_scale'], 'g')}"
    if entry["skipped"]:
        text += "  skipped"
    return text + "".join(f"  {name} {_figure(value)}" for name, value in entry.get("aux", {}).items())


def _figure(value: Any, form: str = ".4f") -> str:
    return format(value, form) if isinstance(value, (int, float)) else str(value)


def _plot(losses: list[curve.Point], evaluations: list[curve.Point], path: Path, err: TextIO) -> None:
    try:
        curve.save_png(losses, path, evaluations)
    except ModuleNotFoundError:
        _tell(err, f"{path} was not drawn: pip install matplotlib")
    except OSError as error:
        _tell(err, f"{path} was not written: {error.strerror or error}")
    else:
        _tell(err, f"curve drawn in {path}")
