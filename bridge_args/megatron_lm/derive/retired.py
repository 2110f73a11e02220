"""Arguments that are only there to be refused."""

from __future__ import annotations

from bridge_args.megatron_lm.derive.registry import VALIDATE_ARGS, Invalid, Problems, checks, flag


@checks(see=VALIDATE_ARGS)
def old_names(
    batch_size: int | None,
    warmup: int | None,
    model_parallel_size: int | None,
    checkpoint_activations: bool | None,
) -> Problems:
    """Names from before 2021."""
    for name, used, today in (
        ("batch_size", batch_size is not None, "--micro-batch-size"),
        ("warmup", warmup is not None, "--lr-warmup-fraction"),
        ("model_parallel_size", model_parallel_size is not None, "--tensor-model-parallel-size"),
        (
            "checkpoint_activations",
            checkpoint_activations,
            "--recompute-activations, or to keep as little in memory as it did "
            "--recompute-granularity full --recompute-method uniform --recompute-num-layers 1",
        ),
    ):
        if used:
            yield Invalid(f"{flag(name)} is no longer there", f"use {today}", (name,))
