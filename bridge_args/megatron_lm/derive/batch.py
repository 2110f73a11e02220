"""Batch sizes, in samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bridge_args.megatron_lm.derive.registry import VALIDATE_ARGS, Invalid, Problems, checks, computes, derives, flag


@derives(see=VALIDATE_ARGS)
def micro_batch_size(micro_batch_size: int | None) -> int:
    """Samples a rank processes at once; required."""
    if micro_batch_size is None:
        raise Invalid("--micro-batch-size is missing", "give the samples a GPU processes at once")
    if micro_batch_size < 1:
        raise Invalid(f"--micro-batch-size must be at least 1, not {micro_batch_size}")
    return micro_batch_size


@derives(see=VALIDATE_ARGS)
def global_batch_size(global_batch_size: int | None, micro_batch_size: int, data_parallel_size: int) -> int:
    """Samples of one step; one micro-batch on every model copy by default."""
    if global_batch_size is None:
        return micro_batch_size * data_parallel_size
    if global_batch_size < 1:
        raise Invalid(f"--global-batch-size must be at least 1, not {global_batch_size}", "", ("global_batch_size",))
    return global_batch_size


@computes(
    see="megatron/core/num_microbatches_calculator.py::RampupBatchsizeNumMicroBatchesCalculator.update",
    until="0.18",
    read=("0.16", "0.17"),
)
def batch_size_steps(rampup_batch_size: list[int] | None, global_batch_size: int) -> list[tuple[int, int]]:
    """From how many samples on a step has how many; one entry without a ramp."""
    return [(0, global_batch_size)] if rampup_batch_size is None else steps_of(rampup_batch_size, global_batch_size)


@computes(
    ">=0.18",
    see="megatron/core/num_microbatches_calculator.py::StepBatchsizeNumMicroBatchesCalculator._parse_schedule",
    read=("0.18", "0.19", "0.20"),
    name="batch_size_steps",
)
def batch_size_schedule(
    step_batch_size_schedule: str | None, global_batch_size: int, seq_length: int
) -> list[tuple[int, int]]:
    """The same, by the schedule that takes the place of the ramp."""
    if step_batch_size_schedule is None:
        return [(0, global_batch_size)]
    return schedule(step_batch_size_schedule, seq_length)


@computes(
    see="megatron/core/num_microbatches_calculator.py::ConstantNumMicroBatchesCalculator.__init__",
)
def num_microbatches(
    global_batch_size: int,
    micro_batch_size: int,
    data_parallel_size: int,
    batch_size_steps: list[tuple[int, int]],
    decrease_batch_size_if_needed: bool | None,
    gtp_weight_remat_size: int | None,
) -> int:
    """Micro-batches of the first step."""
    data_parallel_size *= gtp_weight_remat_size or 1
    at_once = micro_batch_size * data_parallel_size
    said = f"micro-batch {micro_batch_size} x data parallel {data_parallel_size} = {at_once}"
    concerned = ("global_batch_size", "micro_batch_size")
    if batch_size_steps != [(0, global_batch_size)]:
        return batch_size_steps[0][1] // at_once
    if global_batch_size % at_once and not decrease_batch_size_if_needed:
        raise Invalid(
            f"--global-batch-size {global_batch_size} cannot be divided: {said}",
            f"use a multiple of {at_once}, or --decrease-batch-size-if-needed",
            concerned,
        )
    if global_batch_size < at_once:
        raise Invalid(
            f"--global-batch-size {global_batch_size} is less than {said}", f"use at least {at_once}", concerned
        )
    return global_batch_size // at_once


def ramp(rampup_batch_size: list[int], global_batch_size: int) -> tuple[int, int, int, float]:
    """First batch size, increment, samples of the ramp, and samples for which each batch size holds.

    See RampupBatchsizeNumMicroBatchesCalculator in megatron/core/num_microbatches_calculator.py.
    """
    concerned = ("rampup_batch_size", "global_batch_size")
    said = f"--rampup-batch-size {' '.join(map(str, rampup_batch_size))}"
    if len(rampup_batch_size) != 3:
        raise Invalid(
            f"{said} has {len(rampup_batch_size)} numbers", "give first batch size, increment, and samples", concerned
        )
    first, increment, samples = (int(number) for number in rampup_batch_size)
    if min(first, increment, samples) < 1:
        raise Invalid(f"{said}: each of the numbers must be at least 1", "", concerned)
    rise = global_batch_size - first
    if rise <= 0:
        raise Invalid(f"{said} must begin below --global-batch-size {global_batch_size}", "", concerned)
    if rise % increment:
        raise Invalid(
            f"{said}: the increment {increment} does not divide {global_batch_size} - {first} = {rise}", "", concerned
        )
    return first, increment, samples, samples / (rise // increment)


def steps_of(rampup_batch_size: list[int], global_batch_size: int) -> list[tuple[int, int]]:
    """The first number of samples at which each batch size of a ramp holds; of those that begin at once, the last."""
    first, increment, samples, each = ramp(rampup_batch_size, global_batch_size)
    steps = {0: first}
    for number in range(1, (global_batch_size - first) // increment + 1):
        begins = int(number * each)
        while int(begins / each) < number:
            begins += 1
        steps[min(begins, samples + 1)] = first + number * increment
    return sorted(steps.items())


_UNITS: Final = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


def schedule(text: str, seq_length: int) -> list[tuple[int, int]]:
    """``0:768 250B:1536``: from how many tokens on a step has how many samples; with samples for tokens.

    See StepBatchsizeNumMicroBatchesCalculator in megatron/core/num_microbatches_calculator.py.
    """
    concerned = ("step_batch_size_schedule",)
    said = f"--step-batch-size-schedule {text!r}"
    steps = []
    for entry in text.replace(",", " ").split():
        begins, colon, batch = entry.partition(":")
        try:
            steps.append((_number(begins) // seq_length, _number(batch)))
        except ValueError:
            colon = ""
        if not colon:
            raise Invalid(f"{said}: {entry!r} is not tokens:samples, like 250B:1536", "", concerned)
    steps.sort(key=lambda step: step[0])
    if not steps or steps[0][0] != 0:
        raise Invalid(f"{said} must begin at 0 tokens", "begin with 0:samples", concerned)
    if any(one[0] == other[0] for one, other in zip(steps, steps[1:], strict=False)):
        raise Invalid(f"{said} has two batch sizes for one sample", "keep one of them", concerned)
    if min(batch for _, batch in steps) < 1:
        raise Invalid(f"{said}: each batch size must be at least 1", "", concerned)
    return steps


def _number(text: str) -> int:
    text = text.strip().upper()
    unit = _UNITS.get(text[-1:], 1)
    return int(float(text[:-1] if unit > 1 else text) * unit)


def iterations_of(steps: list[tuple[int, int]], samples: int) -> int:
    """Steps until so many samples are used, where a batch size holds from its first step on."""
    done = iterations = 0
    for number, (_, batch) in enumerate(steps):
        until = min(samples, steps[number + 1][0]) if number + 1 < len(steps) else samples
        if until > done:
            count = -(-(until - done) // batch)
            done += count * batch
            iterations += count
    return iterations


@checks(
    ">=0.18",
    see=(VALIDATE_ARGS, "megatron/core/num_microbatches_calculator.py::StepBatchsizeNumMicroBatchesCalculator.update"),
    read=("0.18", "0.19", "0.20"),
)
def steps_of_schedule(
    step_batch_size_schedule: str | None,
    batch_size_steps: list[tuple[int, int]],
    micro_batch_size: int,
    data_parallel_size: int,
    decrease_batch_size_if_needed: bool | None,
    given: Mapping[str, object],
) -> Problems:
    """Each batch size of the schedule."""
    if step_batch_size_schedule is None:
        return
    for name, on in (
        ("global_batch_size", given.get("global_batch_size") is not None),
        ("decrease_batch_size_if_needed", decrease_batch_size_if_needed),
    ):
        if on:
            yield Invalid(
                f"--step-batch-size-schedule and {flag(name)} exclude each other",
                f"leave out {flag(name)}",
                ("step_batch_size_schedule", name),
            )
    at_once = micro_batch_size * data_parallel_size
    odd = next((batch for _, batch in batch_size_steps if batch % at_once), None)
    if odd is not None:
        yield Invalid(
            f"--step-batch-size-schedule: {odd} samples cannot be divided: micro-batch {micro_batch_size} x data "
            f"parallel {data_parallel_size} = {at_once}",
            f"use multiples of {at_once}",
            ("step_batch_size_schedule", "micro_batch_size"),
        )


@checks(
    see="megatron/core/num_microbatches_calculator.py::RampupBatchsizeNumMicroBatchesCalculator.update",
    until="0.18",
    read=("0.16", "0.17"),
)
def steps_of_ramp(
    rampup_batch_size: list[int] | None,
    global_batch_size: int,
    micro_batch_size: int,
    data_parallel_size: int,
    decrease_batch_size_if_needed: bool | None,
    num_microbatches: int,
) -> Problems:
    """Each batch size on the way up."""
    if rampup_batch_size is None:
        return
    first, increment, _, _ = ramp(rampup_batch_size, global_batch_size)
    at_once = micro_batch_size * data_parallel_size
    said = f"micro-batch {micro_batch_size} x data parallel {data_parallel_size} = {at_once}"
    if not decrease_batch_size_if_needed and (first % at_once or increment % at_once):
        yield Invalid(
            f"--rampup-batch-size: batch sizes from {first} in steps of {increment} cannot all be divided: {said}",
            f"use multiples of {at_once}, or --decrease-batch-size-if-needed",
            ("rampup_batch_size", "micro_batch_size"),
        )
    elif num_microbatches < 1:
        yield Invalid(f"--rampup-batch-size begins with {first} samples, less than {said}")


@derives(">=0.18", see=VALIDATE_ARGS, read=("0.18", "0.19", "0.20"))
def eval_global_batch_size(eval_global_batch_size: int | None, global_batch_size: int) -> int:
    """Samples of one step of evaluation; those of training by default."""
    return global_batch_size if eval_global_batch_size is None else eval_global_batch_size


@derives(">=0.18", see=VALIDATE_ARGS, read=("0.18", "0.19", "0.20"))
def eval_micro_batch_size(eval_micro_batch_size: int | None, micro_batch_size: int) -> int:
    """Samples a rank evaluates at once; those of training by default."""
    return micro_batch_size if eval_micro_batch_size is None else eval_micro_batch_size


@checks(">=0.18", see=VALIDATE_ARGS, read=("0.18", "0.19", "0.20"))
def evaluation_batches(eval_global_batch_size: int, eval_micro_batch_size: int, data_parallel_size: int) -> Problems:
    """Evaluation divides its samples as training does."""
    at_once = eval_micro_batch_size * data_parallel_size
    if at_once < 1 or eval_global_batch_size % at_once:
        yield Invalid(
            f"evaluation's {eval_global_batch_size} samples cannot be divided: micro-batch {eval_micro_batch_size} x "
            f"data parallel {data_parallel_size} = {at_once}",
            f"use --eval-global-batch-size with a multiple of {at_once}",
            ("eval_global_batch_size", "eval_micro_batch_size"),
        )
