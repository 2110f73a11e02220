"""Bridge's AutoBridge in a fresh process: started, its progress shown, its refusals and errors those of the user."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

from bridge_args.bridge import installed
from bridge_args.convert.output import Refused
from bridge_args.convert.process import Plan
from bridge_args.convert.progress import Progress
from bridge_args.emulation import adapt
from bridge_args.errors import UserError
from bridge_args.records import Record
from bridge_args.training import processes
from bridge_args.training.container import BridgeMissing
from bridge_args.training.processes import Device
from bridge_args.versions import PROVEN

_LEAST: Final = 64 << 10  # bytes; a disk that has less is full


class Machine(Record):
    """Where a conversion runs, and whom it tells.

    Attributes:
        device: as ``--device`` has it.
        say: takes a line for the user.
        stream: where a bar is drawn; None: nowhere.
        log: file for what Bridge prints; None: none is kept.
    """

    device: Device
    say: Callable[[str], None]
    stream: TextIO | None = None
    log: Path | None = None

    @property
    def emulate(self) -> bool:
        return processes.on_cpu(self.device, 1)


def needed(wanted: str | None = None) -> str:
    """The version of the installed Bridge.

    Args:
        wanted: the one that is asked for; None: any.

    Raises:
        BridgeMissing: there is none, or not what it needs, or another one.
    """
    told = installed.missing(PROVEN.bridge) if wanted is None else installed.refusal(wanted)
    if told:
        raise BridgeMissing(told)
    return installed.version() or PROVEN.bridge


class Work(processes.Plan, Protocol):
    """What a process does."""

    @property
    def emulate(self) -> bool: ...


def run(
    plan: Work,
    machine: Machine,
    doing: str,
    bytes: int,
    module: str = "bridge_args.convert.process",
    into: Path | None = None,
) -> dict[str, Any]:
    """Converts, and returns what the process tells of it.

    Args:
        module: the program that does it.
        into: the folder that it writes to.

    Raises:
        Refused: the process has found reasons not to begin.
        UserError: it has stopped with an error, or the disk is full.
    """
    told: dict[str, Any] = {}
    refused: list[str] = []
    try:
        with Progress(doing, 0, bytes, machine.stream, machine.say) as progress:
            started = processes.records(module, plan, 1, {}, emulate=plan.emulate, log=machine.log, doing=doing)
            for entry in started:
                refused += entry.get("refused", [])
                progress.tensors = entry.get("tensors", progress.tensors)
                if "did" in entry:
                    progress.did(entry["did"])
                told |= entry.get("told", {})
    except processes.RehearsalError as error:
        # Programs that write for others do not always say why they have stopped.
        if "No space left on device" in str(error) or (into and shutil.disk_usage(into).free < _LEAST):
            where = f" of {into.parent}" if into else ""
            raise UserError(f"{doing} stopped: the disk{where} is full; nothing was made") from error
        raise
    if refused:
        raise Refused(refused)
    return told


def unsupported(plan: Plan, machine: Machine) -> list[str]:
    """Why the installed Bridge does not convert this model, by its configuration alone."""
    try:
        run(plan, machine, "the question to Bridge", 0)
    except Refused as refusal:
        return list(refusal.reasons)
    except UserError as error:
        return [str(error)]
    return []


def on_cpu(run_config: Mapping[str, Any], bridge: str) -> tuple[Mapping[str, Any], adapt.StandIns]:
    """What Bridge reads a checkpoint by where there is no GPU, and what stands in for packages that are missing."""
    adapted, _ = adapt.adapt(run_config, bridge)
    return adapted, adapt.stand_ins(adapted)


_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")


def folder_of_model(name: str, weights: bool) -> Path:
    """A folder, or the copy of a model of the hub's: from the local cache, else fetched.

    Raises:
        UserError: it is neither.
    """
    path = Path(name)
    if path.exists() or not _ID.fullmatch(name):
        return path
    import importlib

    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        return path
    patterns = ["*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", *(["*.safetensors"] if weights else [])]
    for here_only in (True, False):
        try:
            return Path(hub.snapshot_download(name, local_files_only=here_only, allow_patterns=patterns))
        except Exception as error:  # no such model, no network, no right to it: the user gets its words
            last = error
    raise UserError(
        f"{name} is neither a folder nor a model in the local cache, and cannot be fetched: "
        f"{' '.join(str(last).split())[:200]}"
    )
