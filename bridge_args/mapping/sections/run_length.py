"""How long the run and the phases of its schedule are, and when it is evaluated."""

from __future__ import annotations

from typing import Any

from bridge_args.bridge.schema import Schema
from bridge_args.mapping.sections import Lost, builder


@builder
def run_length(
    train_samples: int | None,
    rampup_batch_size: list[int] | None,
    train_iters_from_samples: int | None,
    global_batch_size: int,
) -> dict[str, Any]:
    """A run given in samples; with a ramp of the batch size Bridge counts iterations, Megatron-LM samples.

    See megatron/bridge/training/config.py TrainingConfig.finalize.
    """
    if not train_samples:
        return {}
    if not rampup_batch_size or train_iters_from_samples is None:
        return {"train.train_samples": train_samples}
    prepared = train_iters_from_samples * global_batch_size
    return {
        "train.train_iters": train_iters_from_samples,
        "train_samples": Lost(
            f"Bridge ramps the batch size only in runs counted in iterations; they are {train_iters_from_samples}, "
            f"and the data sets are built for {prepared} samples, which changes their order where that takes another "
            "epoch."
        ),
    }


@builder
def schedule_length(
    train_samples: int | None,
    rampup_batch_size: list[int] | None,
    global_batch_size: int,
    lr_decay_samples: int | None,
    lr_warmup_samples: int,
    lr_wsd_decay_iters: int | None,
    lr_wsd_decay_samples: int | None,
) -> dict[str, Any]:
    """The schedule of a run given in samples, and the last phase of either, which Megatron-LM takes in the run's unit.

    Bridge makes samples of iterations by the full batch size, also while the batch size is still ramping up, so
    samples that are whole batches keep their value. See megatron/bridge/training/config.py _calculate_scheduler_steps.
    """
    if not train_samples:
        return {"scheduler.lr_wsd_decay_iters": lr_wsd_decay_iters}
    phases = {"lr_decay": lr_decay_samples, "lr_warmup": lr_warmup_samples, "lr_wsd_decay": lr_wsd_decay_samples}
    if not rampup_batch_size or not global_batch_size:
        return {f"scheduler.{phase}_samples": samples for phase, samples in phases.items()}
    decided: dict[str, Any] = {}
    for phase, samples in phases.items():
        iterations = samples and max(1, round(samples / global_batch_size))
        decided[f"scheduler.{phase}_iters"] = iterations
        if samples and iterations and iterations * global_batch_size != samples:
            decided[f"{phase}_samples"] = Lost(
                f"It becomes {iterations} iterations x {global_batch_size} = {iterations * global_batch_size} samples, "
                "because Bridge ramps the batch size only in runs counted in iterations."
            )
    return decided


@builder
def evaluation(
    eval_interval: int | None, full_validation: bool, multiple_validation_sets: bool, schema: Schema
) -> dict[str, Any]:
    """Steps between evaluations. None stays Bridge's own number: Bridge divides by it even where Megatron-LM does not.

    See megatron/bridge/data/loaders.py get_train_valid_test_num_samples.
    """
    decided: dict[str, Any] = {}
    if eval_interval is not None:
        section = "validation" if "validation" in schema.sections else "train"
        decided[f"{section}.eval_interval"] = eval_interval
    if full_validation:
        decided["full_validation"] = Lost(
            "Bridge evaluates --eval-iters batches; give an --eval-iters that covers the validation set."
        )
    if multiple_validation_sets:
        decided["multiple_validation_sets"] = Lost("Bridge evaluates one validation set; blend them into one.")
    return decided
