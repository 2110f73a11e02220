"""Arguments that are only there to be refused."""

from __future__ import annotations

from typing import Final

from bridge_args.megatron_lm.derive.registry import VALIDATE_ARGS, Invalid, Problems, checks, flag

# Names from before 2021, and what to use instead.
INSTEAD: Final = {
    "batch_size": "--micro-batch-size",
    "warmup": "--lr-warmup-fraction",
    "model_parallel_size": "--tensor-model-parallel-size",
    "checkpoint_activations": "--recompute-activations, or to keep as little in memory as it did "
    "--recompute-granularity full --recompute-method uniform --recompute-num-layers 1",
}


def gone(name: str) -> Invalid:
    """What is said of an old name, whatever its value."""
    return Invalid(f"{flag(name)} is no longer there", f"use {INSTEAD[name]}", (name,))


# One check each: a value that cannot be read keeps only its own from being made.


@checks(see=VALIDATE_ARGS)
def batch_size(batch_size: int | None) -> Problems:
    """Became the size of a micro-batch."""
    if batch_size is not None:
        yield gone("batch_size")


@checks(see=VALIDATE_ARGS)
def warmup(warmup: int | None) -> Problems:
    """Became a fraction of the schedule."""
    if warmup is not None:
        yield gone("warmup")


@checks(see=VALIDATE_ARGS)
def model_parallel_size(model_parallel_size: int | None) -> Problems:
    """Became tensor parallelism when pipelines came."""
    if model_parallel_size is not None:
        yield gone("model_parallel_size")


@checks(see=VALIDATE_ARGS)
def checkpoint_activations(checkpoint_activations: bool | None) -> Problems:
    """Became recomputation."""
    if checkpoint_activations:
        yield gone("checkpoint_activations")
