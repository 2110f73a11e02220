"""A command line, and what ``modernize`` makes of it, trained by both programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bridge_args.convert import to_hybrid as renaming
from bridge_args.convert.provenance import Provenance
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm.programs import HYBRID
from bridge_args.modernize import hybrid, move
from bridge_args.pairs.pairs import megatron_version
from bridge_args.source.source import Source
from bridge_args.steps import Asked, translated
from bridge_args.training.processes import RehearsalError
from bridge_args.verify.reduce import asked_of, translations
from bridge_args.verify.versions import Proof, Request, prove, refusals
from bridge_args.wording import counted
from bridge_args.words import as_words

_SHOWN: Final = 10


def proof_of(source: Source, asked: Asked, request: Request, to_hybrid: bool, tell: Callable[[str], None]) -> Proof:
    """Trains both.

    Args:
        source: the command line as it was.
        asked: its version of Megatron-LM is the older checkout.
        tell: gets a line whenever something begins or ends.

    Raises:
        UserError: the older one refuses it, or what is left of it on this machine has no equal of the newer one.
        RehearsalError: as ``prove``.
    """
    t = translated(source, asked)
    if errors := refusals(t):
        raise RehearsalError(f"{request.before} refuses this command line: {errors[0]}")

    def newer(words: tuple[str, ...], ranks: int) -> Translation:
        small = source._replace(command=source.command._replace(argv=as_words(words)), words=())
        of_version = asked._replace(megatron_lm=megatron_version(request.before), world_size=ranks)
        plan = move.of_source(small, of_version, megatron_version(request.after), to_hybrid)
        if not plan.is_same_run:
            why = [*(str(one) for one in plan.refused), *(f"{one.argument} is another" for one in plan.left)]
            raise RehearsalError(f"scaled down for this machine it is not the same run: {'; '.join(why)}")
        program = HYBRID if to_hybrid else t.program
        return asked_of(t._replace(program=program), request.after, asked.mappings)(tuple(plan.argv), ranks)

    if to_hybrid:
        request = request._replace(handed_over=_renamed)
    return prove(t, translations(t, request.before, asked.mappings), newer, request, tell)


def _renamed(later: Translation, saved: Path, new: Path) -> Path:
    """The checkpoint as the hybrid model takes it: as it is, where Megatron-LM converts it while it loads it."""
    if hybrid.loads_gpt(str(later.args["hybrid_layer_pattern"])):
        return saved
    made = renaming.plan(saved, None, new)
    renaming.carry_out(made, new, Provenance("checkpoint to-hybrid", ()), None, lambda _: None)
    return new


def lines(proof: Proof) -> Iterator[str]:
    """What was found out, for people: the verdict, then what differs."""
    found = proof.comparison
    seen = [
        counted(found.steps, "step"),
        counted(found.weights_compared, "first weight"),
        f"{found.batches_compared} batches",
    ]
    if found.same and not found.weights and not found.batches:
        yield f"proven: {found.verdict} in {', '.join(seen)}"
        return
    where = (
        f"at step {found.step}, in {found.figure}" if found.step is not None else f"in {found.figure or 'the start'}"
    )
    yield f"not proven: {found.verdict} {where}; compared were {', '.join(seen)}"
    for differences in (found.settings, found.weights, found.batches):
        for one in differences[:_SHOWN]:
            yield f"  {one.name}: {one.megatron_lm!r} in the first, {one.bridge!r} in the other"
    if proof.after.error:
        yield f"  the other one stopped: {proof.after.error}"
