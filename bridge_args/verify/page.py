"""A verification for people and for programs: text, JSON, and a picture of both curves."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bridge_args.rehearse.curve import plotting, write_png
from bridge_args.values import finite
from bridge_args.verify.cause import ABSENT, Cause, Suspect, built_otherwise, parted
from bridge_args.verify.compare import EXACT, Comparison, Difference, relative_difference
from bridge_args.verify.sides import Record, Seen
from bridge_args.verify.verify import Verification
from bridge_args.wording import counted

ROWS: Final = 12  # steps in the table; the first ones, those around the difference, the last
LISTED: Final = 5  # of any kind of difference

_WORDS: Final = {
    "lm_loss": "loss",
    "grad_norm": "gradient norm",
    "learning_rate": "learning rate",
    "global_batch_size": "global batch size",
    "consumed_samples": "consumed samples",
    "skipped": "whether the step is skipped",
    "loss_scale": "loss scale",
    "steps": "number of steps",
    "iteration": "iteration",
    "error": "how the run ended",
    "evaluation": "evaluation",
}


def verdict(v: Verification) -> str:
    """One line: *identical*, *equal within bf16 rounding*, or *differs from step k, first cause ...*."""
    comparison = v.comparison
    if comparison.verdict == "identical":
        return "identical"
    if comparison.verdict == "equal within bf16 rounding":
        return f"equal within bf16 rounding (max relative difference {comparison.relative['lm_loss']:.2g} of the loss)"
    where = f"differs from step {comparison.step}" if comparison.step is not None else "differs"
    return f"{where}, first cause {_cause_in_words(v)}"


def _cause_in_words(v: Verification) -> str:
    cause = v.cause
    if v.megatron_lm.error:
        return f"Megatron-LM: {v.megatron_lm.error}"
    if cause is not None and cause.settings:
        return "; ".join(_suspect(suspect, v) for suspect in cause.settings)
    if v.bridge.error and not v.bridge.steps:
        return f"Bridge: {v.bridge.error}"
    built = built_otherwise(v.comparison)
    return f"no setting of Bridge, but what is built: {built}" if built else "not found among the settings"


def _suspect(suspect: Suspect, v: Verification) -> str:
    text = str(suspect)
    if suspect.argument:
        said = _typed(suspect.argument, v)
        text += f" ({said})" if said else f" (argument {suspect.argument})"
    return text


def _typed(argument: str, v: Verification) -> str:
    setting = v.setup.translation.args.settings.get(argument)
    typed = setting.typed if setting else None
    words = v.setup.translation.words
    if typed is None:
        return ""
    return " ".join(words[index] for index in sorted({typed.index, *typed.values}) if index < len(words))


def text_of(v: Verification) -> str:
    """The verdict, what it rests on, and the steps."""
    return "\n".join(_lines(v)) + "\n"


def _lines(v: Verification) -> Iterator[str]:
    c = v.comparison
    yield from _table(v.megatron_lm, v.bridge, c)
    yield ""
    yield verdict(v)
    yield from (f"  {line}" for line in _grounds(v))


def _grounds(v: Verification) -> Iterator[str]:
    c = v.comparison
    if c.step is not None:
        mine, yours = (_at(side, c.step) for side in (v.megatron_lm, v.bridge))
        if mine and yours and c.figure in mine:
            yield f"{_WORDS[c.figure]} at step {c.step}: {mine[c.figure]} in Megatron-LM, {yours[c.figure]} in Bridge"
    for name, side in (("Megatron-LM", v.megatron_lm), ("Bridge", v.bridge)):
        if side.error:
            yield f"{name}: {side.error}"
    yield f"steps: {c.steps} compared, {'all the same' if c.verdict == 'identical' else _relative(c)}"
    yield from _started("initial weights", c.weights_compared, c.weights)
    yield from _started("first microbatches", c.batches_compared, c.batches)
    effect = "" if c.verdict == "differs" else ", without effect on these steps"
    yield f"settings in use: {c.settings_compared} compared, {len(c.settings) or 'none'} different" + (
        effect if c.settings else ""
    )
    yield from (
        f"  {parted(difference)}" for difference in c.settings[: None if c.verdict == "differs" else LISTED * 2]
    )
    if (speeds := tokens_per_second(v)) is not None:
        yield "speed: {:.0f} tokens/s in Megatron-LM, {:.0f} in Bridge, ratio {:.3f}".format(
            *speeds, speeds[1] / speeds[0]
        )
    for difference in c.evaluations[:LISTED]:
        yield f"{difference}" + ("" if c.figure == "evaluation" else " (evaluation, not part of the verdict)")
    if v.cause is not None:
        yield from _experiments(v.cause, v)


def tokens_per_second(v: Verification) -> tuple[float, float] | None:
    """Of Megatron-LM and of Bridge; None on the CPU, where time means nothing, and for runs too short to tell."""
    samples = v.megatron_lm.steps[-1]["global_batch_size"] if v.megatron_lm.steps else 0
    tokens = samples * v.setup.translation.args["seq_length"]
    times = (v.megatron_lm.per_step, v.bridge.per_step)
    if v.setup.emulate or not tokens or not times[0] or not times[1]:
        return None
    return tokens / times[0], tokens / times[1]


def _started(what: str, compared: int, different: tuple[Difference, ...]) -> Iterator[str]:
    yield f"{what}: {compared} compared, {f'{len(different)} different' if different else 'all the same'}"
    yield from (f"  {difference}" for difference in different[:LISTED])
    if len(different) > LISTED:
        yield f"  and {len(different) - LISTED} more"


def _relative(c: Comparison) -> str:
    figures = ", ".join(f"{_WORDS[figure]} {value:.3g}" for figure, value in c.relative.items())
    return f"greatest relative differences: {figures}"


def _experiments(cause: Cause, v: Verification) -> Iterator[str]:
    runs = f"{counted(cause.runs, 'more run')} of Bridge"
    if cause.settings:
        these = "this setting" if len(cause.settings) == 1 else "these settings"
        yield f"with {these} corrected, the runs match ({runs})"
        return
    if cause.suspects:
        yield f"correcting the differing settings does not make the runs match ({runs}); what differs:"
        yield from (f"  {_suspect(suspect, v)}" for suspect in cause.suspects[: 2 * LISTED])
    for loss in v.losses:
        yield f"the translation says: {loss}"


def _at(side: Seen, iteration: int) -> Record | None:
    return next((step for step in side.steps if step["iteration"] == iteration), None)


def _table(a: Seen, b: Seen, c: Comparison) -> Iterator[str]:
    heads = f"{'loss: Megatron-LM':>20}  {'Bridge':>20}  {'relative':>9}  {'gradient norm':>13}  schedule"
    yield f"{'step':>6}  {heads}"
    by_iteration = {step["iteration"]: step for step in b.steps}
    rows = [(step, by_iteration.get(step["iteration"])) for step in a.steps]
    shown = _chosen(len(rows), next((i for i, (step, _) in enumerate(rows) if step["iteration"] == c.step), None))
    before = -1
    for index in shown:
        if index != before + 1:
            yield f"{'…':>6}"
        before = index
        yield _row(*rows[index])


def _chosen(count: int, special: int | None) -> list[int]:
    """Which rows to show: all of a few, else the first, those at the difference, and the last."""
    if count <= ROWS:
        return list(range(count))
    part = ROWS // 3
    chosen = {*range(part), *range(count - part, count)}
    if special is not None:
        chosen |= set(range(max(0, special - 1), min(count, special + part - 1)))
    return sorted(chosen)


def _row(mine: Record, yours: Record | None) -> str:
    if yours is None:
        return f"{mine['iteration']:>6}  {mine['lm_loss']!s:>20}  {'-':>20}"
    loss = relative_difference(mine["lm_loss"], yours["lm_loss"])
    norm = relative_difference(mine["grad_norm"], yours["grad_norm"])
    rate = "same" if all(mine[figure] == yours[figure] for figure in EXACT) else "differs"
    return (
        f"{mine['iteration']:>6}  {mine['lm_loss']!s:>20}  {yours['lm_loss']!s:>20}  {_share(loss):>9}  "
        f"{_share(norm):>13}  {rate}"
    )


def _share(value: float) -> str:
    return "same" if value == 0.0 else f"{value:.1e}"


# ---------------------------------------------------------------------------------------- JSON


def json_of(v: Verification) -> str:
    """``{"format": 1, "verdict": ..., ...}``; every figure of every step, every difference."""
    c = v.comparison
    document = {
        "format": 1,
        "verdict": c.verdict,
        "says": verdict(v),
        "step": c.step,
        "figure": c.figure or None,
        "cause": [_suspect_json(suspect) for suspect in v.cause.settings] if v.cause else [],
        "suspects": [_suspect_json(suspect) for suspect in v.cause.suspects] if v.cause else [],
        "experiments": v.cause.runs if v.cause else 0,
        "relative": c.relative,
        "compared": {
            "steps": c.steps,
            "settings": c.settings_compared,
            "weights": c.weights_compared,
            "batches": c.batches_compared,
        },
        "settings": [_difference_json(difference) for difference in c.settings],
        "weights": [_difference_json(difference) for difference in c.weights],
        "batches": [_difference_json(difference) for difference in c.batches],
        "evaluations": [_difference_json(difference) for difference in c.evaluations],
        "losses": list(v.losses),
        "tokens_per_second": tokens_per_second(v),
        "ran": {
            "device": "cpu" if v.setup.emulate else "cuda",
            "processes": v.setup.nproc,
            "program": v.setup.program,
            "argv": shlex.join(v.setup.translation.words),
            "megatron_lm": v.setup.translation.versions.megatron,
            "bridge": v.setup.translation.versions.bridge,
            "changes": [str(change) for change in v.changes],
        },
        "megatron_lm": _seen_json(v.megatron_lm),
        "bridge": _seen_json(v.bridge),
    }
    return json.dumps(finite(document), indent=1, allow_nan=False) + "\n"


def _seen_json(seen: Seen) -> dict[str, Any]:
    return {
        "steps": list(seen.steps),
        "evaluations": list(seen.evaluations),
        "error": seen.error or None,
        "seconds": round(seen.seconds, 3),
        "replaced": list(seen.replaced),
    }


def _difference_json(difference: Difference) -> dict[str, Any]:
    return difference._asdict()


def _suspect_json(suspect: Suspect) -> dict[str, Any]:
    values = {"right": suspect.right, "wrong": suspect.wrong}
    present = {name: value for name, value in values.items() if value is not ABSENT}
    return {"path": suspect.path, "argument": suspect.argument or None, **present}


# ------------------------------------------------------------------------------------- picture


def save_png(v: Verification, path: Path) -> None:
    """Both loss curves above, their relative difference below.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    plots = plotting()
    figure, (above, below) = plots.subplots(
        2, 1, figsize=(7, 5), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    for name, side, style in (("Megatron-LM", v.megatron_lm, "-"), ("Bridge", v.bridge, "--")):
        points = [(step["iteration"], step["lm_loss"]) for step in side.steps if isinstance(step["lm_loss"], float)]
        above.plot([x for x, _ in points], [y for _, y in points], style, marker=".", label=name)
    pairs = zip(v.megatron_lm.steps, v.bridge.steps, strict=False)
    gaps = [(mine["iteration"], relative_difference(mine["lm_loss"], yours["lm_loss"])) for mine, yours in pairs]
    below.plot([x for x, _ in gaps], [y for _, y in gaps], "-", marker=".", color="black")
    if all(gap == 0 for _, gap in gaps):
        below.set_ylim(-1, 1)
    above.set_title(verdict(v), fontsize="small", wrap=True)
    above.set_ylabel("lm loss")
    above.legend()
    below.set_ylabel("relative\ndifference")
    below.set_xlabel("iteration")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    write_png(figure, path)
    plots.close(figure)
