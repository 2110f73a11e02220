"""Two sources, each trained by Bridge as ``rehearse`` trains it, and compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bridge_args.mapping.translation import Translation
from bridge_args.rehearse.rehearse import Rehearsal, plan
from bridge_args.training.added import Added
from bridge_args.training.processes import Device, RehearsalError
from bridge_args.verify.sides import Seen, Setup, run_bridge
from bridge_args.verify.versions import Proof, found_out, weights_of
from bridge_args.wording import counted


class Request(NamedTuple):
    """What is asked for.

    Attributes:
        folder: for what the two sides write.
        steps, shrink, nproc, device: as for a rehearsal.
    """

    folder: Path
    steps: int | None = None
    shrink: bool = False
    nproc: int | None = None
    device: Device = "auto"


def against(t: Translation, other: Translation, request: Request, tell: Callable[[str], None]) -> Proof:
    """Trains both and compares: settings, first weights, first batches, every step.

    Args:
        t, other: without errors, for the installed Bridge.
        tell: gets a line whenever something begins or ends.

    Raises:
        RehearsalError: the two cannot be started here, or not with as many processes; or the first one stops before
            its first step.
    """
    plans = [
        plan(one, steps=request.steps, shrink=request.shrink, nproc=request.nproc, device=request.device)
        for one in (t, other)
    ]
    if plans[0].nproc != plans[1].nproc:
        counts = " and ".join(counted(one.nproc, "process") for one in plans)
        raise RehearsalError(f"the two are for {counts}, which are no one run; say --world-size, or --shrink")
    sides = []
    for one, rehearsal, name in zip((t, other), plans, ("the first", "the other"), strict=True):
        for change in (*rehearsal.shrunk, *rehearsal.adapted):
            tell(f"changed in {name}: {change}")
        tell(f"training {name} with Bridge, {counted(rehearsal.nproc, 'process')}")
        sides.append(_run(one, rehearsal, request.folder / name.replace(" ", "_")))
        tell(f"{counted(len(sides[-1].steps), 'step')} in {sides[-1].seconds:.1f} s; {sides[-1].error}".rstrip("; "))
    changes = plans[0].shrunk + plans[0].adapted
    return found_out((t, other), (sides[0], sides[1]), changes, weights_of(t, other), plans[0].plan.emulate)


def _run(t: Translation, rehearsal: Rehearsal, folder: Path) -> Seen:
    todo = rehearsal.plan
    setup = Setup(t, "", rehearsal.nproc, todo.steps, todo.emulate, folder, added=Added(**todo.added))
    return run_bridge(setup, todo.run_config)
