"""Starting both programs, and reading what each has done.

Both run in the working directory, so that relative data paths mean what they mean to the user; each has a folder of
its own for what it writes (checkpoints, the index of its data), so that neither finds what the other left.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from bridge_args.emulation.adapt import stand_ins
from bridge_args.mapping.translation import Translation
from bridge_args.rehearse import folders
from bridge_args.training import process
from bridge_args.training.added import Added
from bridge_args.training.processes import RehearsalError, records
from bridge_args.verify import megatron_lm
from bridge_args.verify.reduce import DROP, rewritten

Record = dict[str, Any]
Fingerprint = list[Any]  # shape, type, SHA-256


class Rank(NamedTuple):
    """What one process trained with; see ``training/observe.py``."""

    settings: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, Fingerprint]
    batches: tuple[Mapping[str, Any], ...]


class Seen(NamedTuple):
    """What one side has done.

    Attributes:
        steps: one record per training iteration, as ``training/record.py`` documents.
        evaluations: one record per evaluation.
        ranks: what each process started from.
        replaced: what the CPU emulation stood in for; empty on a GPU.
        error: why it stopped early; empty when it did not.
        seconds: from start to end, process start included.
        per_step: median seconds between two steps, the first few left out; None where there are too few.
    """

    steps: tuple[Record, ...]
    evaluations: tuple[Record, ...] = ()
    ranks: tuple[Rank, ...] = ()
    replaced: tuple[str, ...] = ()
    error: str = ""
    seconds: float = 0.0
    per_step: float | None = None


WARM_UP: Final = 3  # steps that are not timed: kernels are chosen and memory is taken in them


class Setup(NamedTuple):
    """How both sides are started.

    Attributes:
        translation: what runs, already reduced to what this machine can do.
        program: path of the checkout's ``pretrain_gpt.py``.
        nproc: processes of each side.
        steps: iterations; None: as the command line says.
        emulate: on the CPU.
        folder: for what the two sides write.
        save, load: folder of a checkpoint, in place of what the command line says.
        added: what Bridge's run needs beside its configuration.
    """

    translation: Translation
    program: str
    nproc: int
    steps: int | None
    emulate: bool
    folder: Path
    save: str = ""
    load: str = ""
    added: Added = Added()


def run_megatron_lm(setup: Setup, stand_in_for: Mapping[str, Any]) -> Seen:
    """Megatron-LM's own program.

    Args:
        stand_in_for: Bridge's run config, which says whose layers are built where that package is not installed.
    """
    words = words_for("megatron_lm", setup)
    packages = stand_ins(stand_in_for)
    observations = _fresh(setup.folder / "megatron_lm" / "observations")
    plan = megatron_lm.Plan(
        setup.program,
        words,
        str(observations),
        setup.steps,
        setup.emulate,
        transformer_engine=packages.transformer_engine,
        apex_layer_norm=packages.apex_layer_norm,
    )
    return _run("bridge_args.verify.megatron_lm", plan, setup, observations)


def run_bridge(setup: Setup, run_config: Mapping[str, Any], name: str = "bridge", steps: int | None = None) -> Seen:
    """Bridge's training loop with a run config, which need not be that of the translation.

    Args:
        name: of its folder.
        steps: iterations, where they are not those of the setup.
    """
    run_config = folders.own(run_config, setup.folder / name, setup.folder)
    packages = stand_ins(run_config)
    observations = _fresh(setup.folder / name / "observations")
    plan = process.Plan(
        run_config,
        steps or setup.steps,
        setup.emulate,
        transformer_engine=packages.transformer_engine,
        apex_layer_norm=packages.apex_layer_norm,
        observations=str(observations),
        added=setup.added.plain(),
    )
    return _run("bridge_args.training.process", plan, setup, observations)


def _run(module: str, plan: Any, setup: Setup, observations: Path) -> Seen:
    steps: list[Record] = []
    evaluations: list[Record] = []
    arrived: list[float] = []
    replaced: tuple[str, ...] = ()
    error = ""
    started = time.monotonic()
    folder = observations.parent
    environment = setup.translation.run_environment
    entries = records(
        module, plan, setup.nproc, environment, emulate=setup.emulate, log=folder / "log", own_folder=folder
    )
    try:
        for entry in entries:
            if "replaced" in entry:
                replaced = tuple(entry["replaced"])
            elif "split" in entry:
                evaluations.append(entry)
            else:
                steps.append(entry)
                arrived.append(time.monotonic())
    except RehearsalError as problem:
        error = str(problem)
    ranks = tuple(_rank(observations / f"rank{index}.jsonl") for index in range(setup.nproc))
    timed = arrived[WARM_UP:]
    per_step = statistics.median(b - a for a, b in zip(timed, timed[1:], strict=False)) if len(timed) > 1 else None
    return Seen(tuple(steps), tuple(evaluations), ranks, replaced, error, time.monotonic() - started, per_step)


def _rank(path: Path) -> Rank:
    settings: dict[str, Mapping[str, Any]] = {}
    weights: dict[str, Fingerprint] = {}
    batches: list[Mapping[str, Any]] = []
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for entry in map(json.loads, lines):
        for section, values in entry.get("settings", {}).items():
            settings.setdefault(section, values)  # a data set is described once for training, then for others
        weights.update(entry.get("weights", {}))
        if "batch" in entry:
            batches.append(entry["batch"])
    return Rank(settings, weights, tuple(batches))


def _fresh(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("rank*.jsonl"):
        path.unlink()
    return folder


# ---------------------------------------------------------------------------- files of the run


def words_for(side: str, setup: Setup) -> tuple[str, ...]:
    """The command line, with every place that is written to inside the side's own folder.

    A checkpoint that an earlier verification in the same folder saved under the name is what ``--load`` loads; without
    one, both sides load the user's.
    """
    t = setup.translation
    folder = (setup.folder / side).resolve()
    edits: dict[str, Any] = {}
    for name, instead in folders.ARGUMENTS.items():
        if name in t.args and (t.args[name] or (isinstance(instead, folders.Own) and instead.always)):
            edits[name] = str(folder / instead.leaf) if isinstance(instead, folders.Own) else DROP
    if save := t.args["save"]:
        edits["save"] = str(_saved(folder, save))
    if load := t.args["load"]:
        own = _saved(folder, load)
        edits["load"] = str(own) if own.is_dir() and any(own.iterdir()) else load
    if setup.save:
        edits |= {"save": setup.save, "save_interval": setup.steps}
    if setup.load:
        edits |= {"load": setup.load, "save": DROP, "save_interval": DROP}
    return rewritten(t.words, t.catalog, edits)


def _saved(folder: Path, path: str) -> Path:
    return folder / "checkpoints" / path.strip("/.").replace("/", "_")
