"""Batch sizes, in samples."""

from __future__ import annotations

from bridge_args.megatron_lm.derive.registry import VALIDATE_ARGS, Invalid, Problems, checks, computes, derives


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
    see=(
        "megatron/core/num_microbatches_calculator.py::ConstantNumMicroBatchesCalculator.__init__",
        "megatron/core/num_microbatches_calculator.py::RampupBatchsizeNumMicroBatchesCalculator.update",
    )
)
def num_microbatches(
    global_batch_size: int,
    micro_batch_size: int,
    data_parallel_size: int,
    rampup_batch_size: list[int] | None,
    decrease_batch_size_if_needed: bool | None,
) -> int:
    """Micro-batches of the first step."""
    at_once = micro_batch_size * data_parallel_size
    said = f"micro-batch {micro_batch_size} x data parallel {data_parallel_size} = {at_once}"
    concerned = ("global_batch_size", "micro_batch_size")
    if rampup_batch_size is not None:
        return ramp(rampup_batch_size, global_batch_size)[0] // at_once
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


@checks(see="megatron/core/num_microbatches_calculator.py::RampupBatchsizeNumMicroBatchesCalculator.update")
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
