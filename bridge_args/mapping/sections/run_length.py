"""How long the run and the phases of its schedule are, and when it is evaluated."""

from __future__ import annotations

import math
from typing import Any, Final

from bridge_args.bridge.schema import Schema
from bridge_args.mapping.sections.registry import Lost, NeedsDropIn, builder
from bridge_args.megatron_lm.derive.batch import schedule, steps_of
from bridge_args.megatron_lm.derive.registry import Invalid

_NO_RAMP: Final = {"rampup_batch_size": None, "step_batch_size_schedule": None}


@builder(writes=("train.train_samples", "train.train_iters"), absent=_NO_RAMP)
def run_length(
    train_samples: int | None,
    rampup_batch_size: list[int] | None,
    step_batch_size_schedule: str | None,
    train_iters_from_samples: int | None,
    global_batch_size: int,
) -> dict[str, Any]:
    """A run given in samples; with a ramp of the batch size Bridge counts iterations, Megatron-LM samples.

    See megatron/bridge/training/config.py TrainingConfig.finalize.
    """
    if not train_samples:
        return {}
    if not (rampup_batch_size or step_batch_size_schedule) or train_iters_from_samples is None:
        return {"train.train_samples": train_samples}
    prepared = train_iters_from_samples * global_batch_size
    decided: dict[str, Any] = {"train.train_iters": train_iters_from_samples}
    if prepared != train_samples:
        decided["train_samples"] = NeedsDropIn(
            f"--train-samples {train_samples} becomes {train_iters_from_samples} iterations, because Bridge ramps the "
            f"batch size only in runs counted so, and its own script makes the data set for {prepared} samples, which "
            "changes their order where that takes another epoch"
        )
    return decided


@builder(
    writes=(
        "scheduler.lr_decay_samples",
        "scheduler.lr_warmup_samples",
        "scheduler.lr_wsd_decay_samples",
        "scheduler.lr_decay_iters",
        "scheduler.lr_warmup_iters",
        "scheduler.lr_wsd_decay_iters",
    ),
    takes={f"scheduler.lr_{phase}_iters": float for phase in ("decay", "warmup", "wsd_decay")},  # it only multiplies
    absent=_NO_RAMP,
)
def schedule_length(
    train_samples: int | None,
    rampup_batch_size: list[int] | None,
    step_batch_size_schedule: str | None,
    global_batch_size: int,
    train_iters_from_samples: int | None,
    lr_decay_samples: int | None,
    lr_warmup_fraction: float | None,
    lr_warmup_samples: int,
    lr_wsd_decay_iters: int | None,
    lr_wsd_decay_samples: int | None,
    start_weight_decay: float | None,
    end_weight_decay: float | None,
) -> dict[str, Any]:
    """The schedule of a run given in samples, and the last phase of either, which Megatron-LM takes in the run's unit.

    Bridge makes samples of iterations by the full batch size, also while the batch size is still ramping up, so
    a number of iterations that is no whole one gives any number of samples. The rise of weight decay has no setting:
    it takes the whole run. See megatron/bridge/training/config.py _calculate_scheduler_steps.
    """
    if not train_samples:
        return {"scheduler.lr_wsd_decay_iters": lr_wsd_decay_iters}
    phases = {"lr_decay": lr_decay_samples, "lr_warmup": lr_warmup_samples, "lr_wsd_decay": lr_wsd_decay_samples}
    if not (rampup_batch_size or step_batch_size_schedule) or not global_batch_size:
        return {f"scheduler.{phase}_samples": samples for phase, samples in phases.items()}
    phases["lr_decay"] = lr_decay_samples or train_samples
    if lr_warmup_fraction is not None:
        phases["lr_warmup"] = 0
    decided: dict[str, Any] = {
        f"scheduler.{phase}_iters": samples and iterations(samples, global_batch_size)
        for phase, samples in phases.items()
    }
    rises = start_weight_decay != end_weight_decay
    if rises and train_iters_from_samples and train_iters_from_samples * global_batch_size != train_samples:
        decided["end_weight_decay"] = NeedsDropIn(
            f"weight decay rises over --train-samples {train_samples}, and by Bridge's own script over "
            f"{train_iters_from_samples * global_batch_size} samples"
        )
    return decided


def iterations(samples: int, batch: int) -> int | float:
    """The number that, multiplied with the batch size, is the number of samples; not a whole one where none is."""
    if samples % batch == 0:
        return samples // batch
    near = samples / batch
    neighbours = (near, math.nextafter(near, math.inf), math.nextafter(near, 0))
    return next((number for number in neighbours if number * batch == samples), near)


@builder(if_there=("validation.eval_interval", "train.eval_interval"))
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


@builder(if_there=("validation.eval_global_batch_size", "validation.eval_micro_batch_size"), when="megatron >=0.18")
def evaluation_batch(
    eval_global_batch_size: int,
    eval_micro_batch_size: int,
    global_batch_size: int,
    micro_batch_size: int,
    schema: Schema,
) -> dict[str, Any]:
    """Batch sizes of evaluation, which Bridge takes from training where nothing is said.

    See megatron/bridge/training/config.py ConfigContainer.validate.
    """
    decided: dict[str, Any] = {}
    for name, own, training in (
        ("eval_global_batch_size", eval_global_batch_size, global_batch_size),
        ("eval_micro_batch_size", eval_micro_batch_size, micro_batch_size),
    ):
        if own == training:
            continue
        if schema.find(f"validation.{name}"):
            decided[f"validation.{name}"] = own
        else:
            decided[name] = Lost(
                f"Bridge {schema.version} evaluates with the batch size of training; Bridge 0.5 has it."
            )
    return decided


_STEPS: Final = "train.step_batch_size_schedule"


@builder(if_there=(_STEPS,), absent=_NO_RAMP, when="bridge >=0.5", unread=(_STEPS,))
def batch_size_steps(
    rampup_batch_size: list[int] | None,
    step_batch_size_schedule: str | None,
    decrease_batch_size_if_needed: bool,
    global_batch_size: int,
    seq_length: int,
) -> dict[str, Any]:
    """Batch sizes by the samples from which they hold, in the words of Megatron Core since 0.18.

    Bridge has the setting and hands it to nothing, so its own script trains with one batch size. See
    megatron/core/num_microbatches_calculator.py StepBatchsizeNumMicroBatchesCalculator, and
    megatron/bridge/training/initialize.py initialize_megatron.
    """
    argument = "rampup_batch_size" if rampup_batch_size else "step_batch_size_schedule"
    try:
        if step_batch_size_schedule is not None:
            steps = schedule(step_batch_size_schedule, seq_length)
        elif rampup_batch_size:
            steps = steps_of(rampup_batch_size, global_batch_size)
        else:
            return {}
    except (Invalid, ArithmeticError, ValueError):  # Megatron-LM refuses it, which is told
        return {}
    if decrease_batch_size_if_needed:
        return {argument: Lost("Megatron Core of this Bridge ramps no batch size that it may have to decrease.")}
    return {
        _STEPS: " ".join(f"{samples}:{batch}" for samples, batch in steps),
        argument: NeedsDropIn(
            f"the batch size goes from {steps[0][1]} to {steps[-1][1]} samples, and Bridge's own script, which does "
            f"not read train.step_batch_size_schedule, trains with {global_batch_size} all the time"
        ),
    }
