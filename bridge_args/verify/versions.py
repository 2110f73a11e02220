"""Two command lines of Megatron-LM, each run by a checkout's own program: of an older version and of a newer one.

The older one is scaled down to this machine first; what the newer one is given is worked out from the words that are
left, so both train the same small model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from bridge_args.emit.run_config import to_run_config
from bridge_args.emulation.adapt import Change
from bridge_args.findings import Finding
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm.programs import GPT, HYBRID
from bridge_args.modernize import hybrid
from bridge_args.rehearse.rehearse import SHRUNK_STEPS, processes_for
from bridge_args.training.processes import Device, RehearsalError, on_cpu
from bridge_args.verify.compare import Comparison, compare
from bridge_args.verify.reduce import Reduced, reduce
from bridge_args.verify.sides import Rank, Seen, Setup, run_megatron_lm
from bridge_args.wording import counted

Tell = Callable[[str], None]
Retranslate = Callable[[tuple[str, ...], int], Translation]  # words, world size


class Request(NamedTuple):
    """What is asked for.

    Attributes:
        before, after: folders of checkouts of Megatron-LM.
        folder: for what the two sides write.
        steps, shrink, nproc, device: as for a rehearsal.
        hand_over_at: steps that the older one trains alone; both then go on from its checkpoint.
        weight_of: what a weight of the older one is called in the newer one.
        handed_over: of the newer command line, the older one's checkpoint and a folder that is not there: which of
            the two folders the newer one loads.
    """

    before: str
    after: str
    folder: Path
    steps: int | None = None
    shrink: bool = False
    nproc: int | None = None
    device: Device = "auto"
    hand_over_at: int | None = None
    weight_of: Callable[[str], str] = str
    handed_over: Callable[[Translation, Path, Path], Path] = lambda _, saved, __: saved


class Proof(NamedTuple):
    """What was found out.

    Attributes:
        before, after: what each side did.
        changes: settings that differ from the user's run, on both sides.
        comparison: of the two.
        words: the command lines that were run.
    """

    before: Seen
    after: Seen
    changes: tuple[Change, ...]
    comparison: Comparison
    words: tuple[tuple[str, ...], tuple[str, ...]]


def prove(t: Translation, again: Retranslate, newer: Retranslate, request: Request, tell: Tell) -> Proof:
    """Trains both and compares: settings, first weights, first batches, every step.

    Args:
        t: of the older command line, without errors.
        again: translates other words in the same way, for a number of processes.
        newer: what the later version makes of words of the older one, for a number of processes.
        tell: gets a line whenever something begins or ends.

    Raises:
        NotReducible: a setting has to change and no argument does that.
        RehearsalError: the two cannot be started here; or the older one stops before its first step.
    """
    run = _how(t, request)
    reduced = _reduced(t, again, run, request)
    for change in reduced.changes:
        tell(f"changed on both sides: {change}")
    later = newer(reduced.words, run.nproc)
    return _trained((reduced.translation, later), reduced.changes, run, request, tell)


def against(
    t: Translation, other: Translation, again: Retranslate, again_other: Retranslate, request: Request, tell: Tell
) -> Proof:
    """Trains two command lines that are to be the same run, each scaled down by itself, and compares them.

    Args:
        t, other: without errors.
        again, again_other: translate other words in the same way as the one and the other.

    Raises:
        NotReducible, RehearsalError: as ``prove``.
    """
    run = _how(t, request)
    both = [_reduced(one, how, run, request) for one, how in ((t, again), (other, again_other))]
    for reduced, name in zip(both, ("the first", "the other"), strict=True):
        for change in reduced.changes:
            tell(f"changed in {name}: {change}")
    request = request._replace(weight_of=weights_of(t, other))
    return _trained((both[0].translation, both[1].translation), both[0].changes, run, request, tell)


class _How(NamedTuple):
    nproc: int
    emulate: bool
    steps: int | None


def _how(t: Translation, request: Request) -> _How:
    nproc = processes_for(t, shrink=request.shrink, nproc=request.nproc)
    return _How(nproc, on_cpu(request.device, nproc), request.steps or (SHRUNK_STEPS if request.shrink else None))


def refusals(t: Translation) -> list[Finding]:
    """Why Megatron-LM stops; what Bridge refuses does not count where Bridge takes no part."""
    return [error for error in t.errors if error.kind != "bridge-rejects"]


def _reduced(t: Translation, again: Retranslate, run: _How, request: Request) -> Reduced:
    return reduce(t, lambda words: again(words, run.nproc), nproc=run.nproc, small=request.shrink, emulate=run.emulate)


def _trained(
    both: tuple[Translation, Translation], changes: tuple[Change, ...], run: _How, request: Request, tell: Tell
) -> Proof:
    for made in both:
        if errors := refusals(made):
            said = "\n".join(map(str, errors))
            raise RehearsalError(f"the command line scaled down for this machine is refused: {said}")
    setups = [
        Setup(made, str(_program(checkout, made.program)), run.nproc, run.steps, run.emulate, request.folder / name)
        for made, checkout, name in zip(both, (request.before, request.after), ("before", "after"), strict=True)
    ]
    if request.hand_over_at:
        saved = str(request.folder.resolve() / "hand_over")
        tell(f"running {counted(request.hand_over_at, 'step')} of the first, for a checkpoint that both go on from")
        first = _run(setups[0]._replace(steps=request.hand_over_at, save=saved))
        if first.error:
            raise RehearsalError(f"the first did not complete a training step: {first.error}")
        other = str(request.handed_over(both[1], Path(saved), Path(f"{saved}_renamed")))
        if other != saved:
            tell("the other one goes on from it under other names: bridge-args checkpoint to-hybrid")
        setups = [setup._replace(load=load) for setup, load in zip(setups, (saved, other), strict=True)]
    sides = []
    for setup in setups:
        tell(f"running {Path(setup.program).name} of {Path(setup.program).parent}, {counted(run.nproc, 'process')}")
        sides.append(_run(setup))
        tell(f"{counted(len(sides[-1].steps), 'step')} in {sides[-1].seconds:.1f} s; {sides[-1].error}".rstrip("; "))
    return found_out(both, (sides[0], sides[1]), changes, request.weight_of, run.emulate)


def found_out(
    both: tuple[Translation, Translation],
    sides: tuple[Seen, Seen],
    changes: tuple[Change, ...],
    weight_of: Callable[[str], str],
    emulate: bool,
) -> Proof:
    """What the two sides have done, compared.

    Args:
        changes: settings that differ from the user's run.
        weight_of: what a weight of the first is called in the other.
        emulate: they ran on the CPU, where every bit has to be the same.

    Raises:
        RehearsalError: the first one stopped before its first step.
    """
    if not sides[0].steps and not sides[0].evaluations:
        said = sides[0].error or "it ended without a training step"
        raise RehearsalError(f"the first did not complete a training step, so there is nothing to compare with: {said}")
    before = sides[0]._replace(ranks=tuple(_renamed(rank, weight_of) for rank in sides[0].ranks))
    comparison = compare(before, sides[1], rounding=not emulate)
    return Proof(before, sides[1], changes, comparison, (both[0].words, both[1].words))


def _run(setup: Setup) -> Seen:
    return run_megatron_lm(setup, to_run_config(setup.translation, setup.translation.run_environment))


def _program(checkout: str, name: str) -> Path:
    program = Path(checkout, name)
    if not program.is_file():
        raise RehearsalError(f"{checkout} has no {name}; name the folder of a Megatron-LM checkout")
    return program


def _renamed(rank: Rank, weight_of: Callable[[str], str]) -> Rank:
    weights: Mapping[str, list[object]] = {weight_of(name): made for name, made in rank.weights.items()}
    return rank._replace(weights=weights)


def weights_of(t: Translation, other: Translation) -> Callable[[str], str]:
    """What a weight of the one is called in the other: a GPT model and a hybrid one have other names."""
    return hybrid.weight_of if (t.program, other.program) == (GPT, HYBRID) else str
