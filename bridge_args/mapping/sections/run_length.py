"""How long the run is, how it ends its schedule, and when it is evaluated."""

from __future__ import annotations

from typing import Any

from bridge_args.bridge.schema import Schema
from bridge_args.mapping.sections import Lost, Rejected, builder


@builder
def run_length(
    train_iters: int | None, train_samples: int | None, rampup_batch_size: list[int] | None
) -> dict[str, Any]:
    """Iterations or samples; Bridge refuses both, and samples with a ramp of the batch size.

    See megatron/bridge/training/config.py TrainingConfig.finalize.
    """
    if train_samples:
        decided: dict[str, Any] = {"train.train_samples": train_samples}
        if rampup_batch_size:
            decided["rampup_batch_size"] = Rejected(
                "Bridge ramps the batch size only in runs counted in iterations; give --train-iters, and the "
                "learning-rate schedule in iterations, instead of --train-samples."
            )
        return decided
    return {"train.train_iters": train_iters}


@builder
def annealing(
    train_samples: int | None, lr_wsd_decay_iters: int | None, lr_wsd_decay_samples: int | None
) -> dict[str, Any]:
    """The last phase of a WSD schedule, in the unit the run is counted in; Megatron-LM ignores the other unit.

    See megatron/training/training.py get_optimizer_param_scheduler.
    """
    if train_samples:
        return {"scheduler.lr_wsd_decay_samples": lr_wsd_decay_samples}
    return {"scheduler.lr_wsd_decay_iters": lr_wsd_decay_iters}


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
