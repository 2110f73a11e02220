"""Verify: Megatron-LM's own program and Bridge with the translation, run and compared; the five steps in order.

Reduce the command line to what this machine can do, run both sides, compare, and where they differ look for the cause.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

from bridge_args.bridge import choices
from bridge_args.emit.run_config import to_run_config
from bridge_args.emulation.adapt import Change, adapt
from bridge_args.mapping.translation import Translation
from bridge_args.rehearse import folders
from bridge_args.rehearse.rehearse import SHRUNK_STEPS, processes_for
from bridge_args.rehearse.shrink import shrink
from bridge_args.training import added, variables
from bridge_args.training.added import Added
from bridge_args.training.processes import Device, RehearsalError, on_cpu
from bridge_args.verify import cause as causes
from bridge_args.verify.changed import ChangeError
from bridge_args.verify.compare import Comparison, compare
from bridge_args.verify.reduce import reduce
from bridge_args.verify.sides import Seen, Setup, run_bridge, run_megatron_lm, words_for
from bridge_args.wording import counted

RunConfig = dict[str, Any]
Tell = Callable[[str], None]
Retranslate = Callable[[tuple[str, ...], int], Translation]  # words, world size

BEYOND: Final = 2  # steps that an experiment runs past the one that differed


class Request(NamedTuple):
    """What is asked for.

    Attributes:
        checkout: folder of Megatron-LM.
        folder: for what the two sides write; kept, so that a later verification can resume from it.
        steps, shrink, nproc, device: as for a rehearsal.
        changed: from the translated run config to the one Bridge is to run with, where that is not the same.
        hand_over_at: steps that Megatron-LM trains alone; both sides then go on from its checkpoint.
        own: the run config is the user's own, which Bridge's own script would train with: nothing is added to it.
    """

    checkout: str
    folder: Path
    steps: int | None = None
    shrink: bool = False
    nproc: int | None = None
    device: Device = "auto"
    changed: Callable[[RunConfig], RunConfig] | None = None
    hand_over_at: int | None = None
    own: bool = False


class Verification(NamedTuple):
    """Everything that was found out.

    Attributes:
        setup: what ran.
        changes: settings that differ from the user's run, on both sides.
        megatron_lm, bridge: what each side did.
        comparison: of the two.
        cause: of the difference; None where there is none.
        losses: what the translation said it could not carry over.
    """

    setup: Setup
    changes: tuple[Change, ...]
    megatron_lm: Seen
    bridge: Seen
    comparison: Comparison
    cause: causes.Cause | None
    losses: tuple[str, ...]


def verify(t: Translation, again: Retranslate, request: Request, tell: Tell) -> Verification:
    """Runs both sides and compares them.

    Args:
        t: without errors.
        again: translates other words in the same way, for a number of processes.
        tell: gets a line whenever something begins or ends.

    Raises:
        UserError: the translation is of no command line.
        NotReducible: a setting has to change and no argument does that.
        RehearsalError: the two cannot be started here; or Megatron-LM itself stops before its first step. Where it
            stops later, that is the cause of the difference.
    """
    t.needs_program("verify")
    program = Path(request.checkout, t.program)
    if not program.is_file():
        raise RehearsalError(f"{request.checkout} has no {t.program}; name the folder of a Megatron-LM checkout")
    nproc = processes_for(t, shrink=request.shrink, nproc=request.nproc)
    emulate = on_cpu(request.device, nproc)
    steps = request.steps or (SHRUNK_STEPS if request.shrink else None)
    reduced = reduce(t, lambda words: again(words, nproc), nproc=nproc, small=request.shrink, emulate=emulate)
    if reduced.translation.errors:
        said = "\n".join(map(str, reduced.translation.errors))
        raise RehearsalError(f"the command line scaled down for this machine is refused: {said}")
    setup = Setup(
        reduced.translation,
        str(program),
        nproc,
        steps,
        emulate,
        request.folder,
        added=Added() if request.own else added.of(reduced.translation),
    )
    if places := folders.replaced_arguments(t.args):
        tell(f"both sides write to folders of their own, not to {', '.join(map(str, places))}")
    if away := variables.said(variables.kept_away(t.run_environment)):
        tell(away)
    for change in reduced.changes:
        tell(f"changed on both sides: {change}")

    if request.hand_over_at:
        setup = _handed_over(setup, request.hand_over_at, tell)
    translated = _run_config_of(again(words_for("bridge", setup), nproc))
    run_config = translated
    if request.changed is not None:
        changed, schema = request.changed(translated), setup.translation.schema
        for _, message in choices.wrong(changed, schema):
            raise ChangeError(message)
        run_config = _on_this_machine(changed, translated, schema.version, request.shrink, nproc, emulate)
    megatron_lm, bridge = _both(setup, run_config, tell)
    if not megatron_lm.steps and not megatron_lm.evaluations:
        said = megatron_lm.error or "it ended without a training step"
        raise RehearsalError(
            f"Megatron-LM did not complete a training step, so there is nothing to compare with: {said}"
        )
    comparison = compare(megatron_lm, bridge, rounding=not emulate)
    cause = None
    if not comparison.same and not megatron_lm.error:
        cause = _cause(setup, comparison, megatron_lm, run_config, translated, tell)
    losses = tuple(str(loss) for loss in t.losses)
    return Verification(setup, reduced.changes, megatron_lm, bridge, comparison, cause, losses)


def _handed_over(setup: Setup, at: int, tell: Tell) -> Setup:
    """Megatron-LM trains the first steps and saves; the rest starts from there."""
    saved = setup.folder.resolve() / "hand_over"
    tell(f"running {counted(at, 'step')} of Megatron-LM, for a checkpoint that both sides go on from")
    first = run_megatron_lm(setup._replace(steps=at, save=str(saved)), _run_config_of(setup.translation))
    if first.error:
        raise RehearsalError(f"Megatron-LM did not complete a training step: {first.error}")
    return setup._replace(load=str(saved))


def _on_this_machine(
    run_config: RunConfig, translated: Mapping[str, Any], bridge: str, small: bool, nproc: int, emulate: bool
) -> RunConfig:
    """A run config of the user's, reduced like the command line, its files where the translated one has them."""
    if small:
        run_config, _ = shrink(run_config, nproc, bridge=bridge)
    if emulate:
        run_config, _ = adapt(run_config, bridge)
    for section, names in _PLACES.items():
        if isinstance(run_config.get(section), dict):
            run_config[section].update((name, translated[section].get(name)) for name in names)
    return run_config


_PLACES: Final = {
    "checkpoint": ("save", "load"),
    "dataset": ("path_to_cache",),
    "logger": ("tensorboard_dir", "wandb_project", "wandb_exp_name", "wandb_save_dir"),
}


def _both(setup: Setup, run_config: RunConfig, tell: Tell) -> tuple[Seen, Seen]:
    """Side by side where every process can have a core, else one after the other."""
    where = "CPU" if setup.emulate else "GPU"
    length = counted(setup.steps, "step") if setup.steps else "all steps"
    tell(f"running {length} of Megatron-LM and of Bridge on the {where}, {counted(setup.nproc, 'process')} each")
    workers = 2 if setup.emulate and 2 * setup.nproc <= (os.cpu_count() or 1) else 1
    with ThreadPoolExecutor(workers) as pool:
        first = pool.submit(run_megatron_lm, setup, run_config)
        second = pool.submit(run_bridge, setup, run_config)
        seen = first.result(), second.result()
    for name, side in zip(("Megatron-LM", "Bridge"), seen, strict=True):
        tell(
            f"{name}: {counted(len(side.steps), 'step')} in {side.seconds:.1f} s"
            + (f"; {side.error}" if side.error else "")
        )
    return seen


def _cause(
    setup: Setup, comparison: Comparison, megatron_lm: Seen, run_config: RunConfig, translated: RunConfig, tell: Tell
) -> causes.Cause:
    """Runs Bridge again with suspects put right, until a little past the step that differed."""
    suspects = causes.suspects(comparison, run_config, translated, setup.translation)
    first = megatron_lm.steps[0]["iteration"] if megatron_lm.steps else 1
    length = (comparison.step or first) - first + 1 + BEYOND
    if setup.steps:
        length = min(length, setup.steps)
    wanted = megatron_lm._replace(steps=megatron_lm.steps[:length], error="")

    def mends(candidate: causes.RunConfig) -> bool:
        seen = run_bridge(setup, candidate, "experiment", length)
        same = compare(wanted, seen, rounding=not setup.emulate).same
        tell(f"experiment: {'the same' if same else 'still different'} ({seen.error or f'{seen.seconds:.1f} s'})")
        return same

    tell(f"looking for the cause among {counted(len(suspects), 'differing setting')}")
    return causes.find(suspects, run_config, mends)


def _run_config_of(t: Translation) -> dict[str, Any]:
    """With the values of secrets in it: it is for processes of our own."""
    return to_run_config(t, t.run_environment)
