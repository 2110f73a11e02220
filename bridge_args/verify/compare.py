"""Two runs, side by side: where they first differ, and by how much."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, Final, Literal, NamedTuple

from bridge_args.verify.sides import Rank, Record, Seen

Verdict = Literal["identical", "equal within bf16 rounding", "differs"]

# What every step of both sides has to agree on, in the order in which a step computes it.
EXACT: Final = ("global_batch_size", "consumed_samples", "learning_rate", "skipped", "loss_scale")
COMPUTED: Final = ("lm_loss", "grad_norm")

# A bf16 number has 8 significant bits, so one rounding moves it by at most 2^-9 of itself, and two kernels that round
# at different places give neighbours, 2^-8 apart. A loss is a mean over tokens of such numbers; the gradient norm
# sums over layers of them, where differences grow with depth and steps, so it gets eight times as much.
BF16: Final = 2.0**-8
ALLOWED: Final = {"lm_loss": BF16, "grad_norm": 8 * BF16}

# Settings that say how fast, how loud, or where, never what is computed; or that the two programs fill at different
# times. They are not compared. Verify: no branch of a training step reads them.
_ASIDE: Final = frozenset(
    {
        "dataset.path_to_cache",
        "model.timers",
        "model.finalize_model_grads_func",
        "model.grad_scale_func",
        "model.no_sync_func",
        "model.grad_sync_func",
        "model.param_sync_func",
    }
)


class Difference(NamedTuple):
    """Something that is not the same: a setting (``optimizer.weight_decay``), a weight, a batch."""

    name: str
    megatron_lm: Any
    bridge: Any
    rank: int = 0

    def __str__(self) -> str:
        return f"{self.name}: {shown(self.megatron_lm)} in Megatron-LM, {shown(self.bridge)} in Bridge"


class Comparison(NamedTuple):
    """What two runs have in common, and where they part.

    Attributes:
        verdict: of the training steps.
        step: the first iteration that differs; None when none does.
        figure: what differs there (``lm_loss``, ``learning_rate``, ...; ``steps`` when one side stopped earlier;
            ``evaluation`` of a run that trains nothing).
        settings, weights, batches: differences in what the two started from.
        evaluations: differences in evaluation losses. They do not change the verdict, unless nothing is trained.
        steps, settings_compared, weights_compared, batches_compared: how many of each were compared.
        relative: greatest relative difference of each computed figure over all steps.
    """

    verdict: Verdict
    step: int | None
    figure: str
    settings: tuple[Difference, ...]
    weights: tuple[Difference, ...]
    batches: tuple[Difference, ...]
    evaluations: tuple[Difference, ...]
    steps: int
    settings_compared: int
    weights_compared: int
    batches_compared: int
    relative: Mapping[str, float]

    @property
    def same(self) -> bool:
        return self.verdict != "differs"


def compare(megatron_lm: Seen, bridge: Seen, *, rounding: bool) -> Comparison:
    """Compares two runs.

    Args:
        rounding: both ran 16-bit kernels on a GPU, where equal bits cannot be asked for.
    """
    settings = tuple(_settings(megatron_lm, bridge))
    weights = tuple(_weights(megatron_lm, bridge))
    batches = tuple(_batches(megatron_lm, bridge))
    relative = {figure: _greatest(megatron_lm.steps, bridge.steps, figure) for figure in COMPUTED}
    step, figure = _first(megatron_lm.steps, bridge.steps, {})
    verdict: Verdict = "identical"
    if step is not None:
        late, what = _first(megatron_lm.steps, bridge.steps, ALLOWED) if rounding else (step, figure)
        same_start = not weights and not batches
        if late is None and same_start:
            verdict = "equal within bf16 rounding"
        else:
            verdict, step, figure = "differs", late if late is not None else step, what or figure
    if verdict == "identical" and (megatron_lm.error or bridge.error):
        verdict, figure = "differs", "error"
    evaluations = tuple(_evaluations(megatron_lm, bridge))
    if not megatron_lm.steps and any(difference.name.startswith("test") for difference in evaluations):
        verdict, figure = "differs", "evaluation"  # nothing but evaluations, and not those that Bridge orders otherwise
    return Comparison(
        verdict,
        step,
        figure,
        settings,
        weights,
        batches,
        evaluations,
        min(len(megatron_lm.steps), len(bridge.steps)),
        sum(1 for _ in _common(megatron_lm, bridge)),
        sum(len(rank.weights) for rank in bridge.ranks),
        sum(len(rank.batches) for rank in bridge.ranks),
        relative,
    )


# ------------------------------------------------------------------------------------- steps


def _first(a: tuple[Record, ...], b: tuple[Record, ...], allowed: Mapping[str, float]) -> tuple[int | None, str]:
    """The first iteration whose figures differ by more than is allowed, and which figure it is."""
    for mine, yours in zip_longest(a, b):
        if mine is None or yours is None:
            return (mine or yours)["iteration"], "steps"
        for figure in ("iteration", *EXACT, *COMPUTED):
            if not _near(mine[figure], yours[figure], allowed.get(figure, 0.0)):
                return mine["iteration"], figure
    return None, ""


def _near(a: Any, b: Any, tolerance: float) -> bool:
    return a == b or (tolerance > 0 and relative_difference(a, b) <= tolerance)


def relative_difference(a: Any, b: Any) -> float:
    """Of two figures: 0 for equal ones, infinite where one is no number."""
    if a == b:
        return 0.0
    if not (isinstance(a, (int, float)) and isinstance(b, (int, float))):
        return math.inf
    return abs(a - b) / max(abs(a), abs(b))


def _greatest(a: tuple[Record, ...], b: tuple[Record, ...], figure: str) -> float:
    return max((relative_difference(x[figure], y[figure]) for x, y in zip(a, b, strict=False)), default=0.0)


def _evaluations(a: Seen, b: Seen) -> Iterator[Difference]:
    for mine, yours in zip(a.evaluations, b.evaluations, strict=False):
        if mine["lm_loss"] != yours["lm_loss"]:
            yield Difference(f"{mine['split']} loss after step {mine['iteration']}", mine["lm_loss"], yours["lm_loss"])


# ------------------------------------------------------------------ what the two started from


def _common(a: Seen, b: Seen) -> Iterator[tuple[int, str, Any, Any]]:
    """Rank, name and both values of every setting that both sides have."""
    for index, (mine, yours) in enumerate(zip(a.ranks, b.ranks, strict=True)):
        for section, values in mine.settings.items():
            others = yours.settings.get(section)
            if others is None:
                continue
            for field in values.keys() & others.keys():
                if f"{section}.{field}" not in _ASIDE:
                    yield index, f"{section}.{field}", values[field], others[field]


def _settings(a: Seen, b: Seen) -> Iterator[Difference]:
    seen = set()
    for index, name, mine, yours in sorted(_common(a, b), key=lambda entry: entry[:2]):
        if mine != yours and name not in seen:
            seen.add(name)  # once, not on every rank
            yield Difference(name, mine, yours, index)


def _weights(a: Seen, b: Seen) -> Iterator[Difference]:
    for index, (mine, yours) in enumerate(zip(a.ranks, b.ranks, strict=True)):
        of_a, of_b = mine.weights, yours.weights
        for name in [*of_a, *(name for name in of_b if name not in of_a)]:
            if of_a.get(name) != of_b.get(name):
                yield Difference(name, of_a.get(name), of_b.get(name), index)


def _batches(a: Seen, b: Seen) -> Iterator[Difference]:
    """Of what both data sets hand out; a mask that only one of them makes is made elsewhere by the other."""
    for index, (mine, yours) in enumerate(zip(a.ranks, b.ranks, strict=True)):
        yield from _batches_of(index, mine, yours)


def _batches_of(index: int, a: Rank, b: Rank) -> Iterator[Difference]:
    for number, (mine, yours) in enumerate(zip(a.batches, b.batches, strict=False), start=1):
        for name in mine.keys() & yours.keys():
            if mine[name] != yours[name]:
                yield Difference(f"microbatch {number}, {name}", mine[name], yours[name], index)
                return


def shown(value: Any) -> str:
    """A value for people: of a fingerprint the shape, and the start of the hash."""
    if isinstance(value, list) and len(value) == 3 and isinstance(value[2], str) and len(value[2]) == 64:
        return f"{value[1]}{value[0]} {value[2][:8]}"
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
