"""How long training takes, and how learning rate and weight decay change over it."""

from __future__ import annotations

from bridge_args.megatron_lm.derive.batch import iterations_of, ramp
from bridge_args.megatron_lm.derive.registry import (
    SCHEDULER,
    VALIDATE_ARGS,
    Invalid,
    Problems,
    checks,
    computes,
    derives,
    flag,
)


@computes(see="megatron/training/training.py::update_train_iters", until="0.18", read=("0.16", "0.17"))
def train_iters_from_samples(
    train_samples: int | None,
    train_iters: int | None,
    global_batch_size: int,
    rampup_batch_size: list[int] | None,
) -> int | None:
    """Iterations of a run whose length is given in samples, else None."""
    if train_iters or not train_samples:
        return None
    if rampup_batch_size is None:
        return train_samples // global_batch_size
    first, increment, samples, each = ramp(rampup_batch_size, global_batch_size)
    last = min(samples, train_samples)
    done = iterations = 0
    while done <= last:
        increments = int(done / each)
        size = first + increments * increment
        until = min(last + 1, int((increments + 1) * each))  # no later than where the batch size changes
        steps = max(1, -(-(until - done) // size))
        done += steps * size
        iterations += steps
    return iterations + max(0, train_samples - done) // global_batch_size


@computes(
    ">=0.18",
    see="megatron/training/training.py::update_train_iters",
    read=("0.18", "0.19", "0.20"),
    name="train_iters_from_samples",
)
def train_iters_by_schedule(
    train_samples: int | None,
    train_iters: int | None,
    global_batch_size: int,
    step_batch_size_schedule: str | None,
    batch_size_steps: list[tuple[int, int]],
) -> int | None:
    """The same where batch sizes follow a schedule of steps."""
    if train_iters or not train_samples:
        return None
    if step_batch_size_schedule is None:
        return train_samples // global_batch_size
    return iterations_of(batch_size_steps, train_samples)


@derives(see="megatron/training/training.py::get_optimizer_param_scheduler")
def lr_decay_iters(lr_decay_iters: int | None, train_iters: int | None, skip_train: bool | None) -> int | None:
    """The whole run by default."""
    if lr_decay_iters is None and train_iters and not skip_train:
        return train_iters
    return lr_decay_iters


@derives(see="megatron/training/training.py::get_optimizer_param_scheduler")
def lr_decay_samples(
    lr_decay_samples: int | None, train_samples: int | None, train_iters: int | None, skip_train: bool | None
) -> int | None:
    """The whole run by default."""
    if lr_decay_samples is None and train_samples and not train_iters and not skip_train:
        return train_samples
    return lr_decay_samples


@derives(see=VALIDATE_ARGS)
def start_weight_decay(
    start_weight_decay: float | None, weight_decay: float, weight_decay_incr_style: str
) -> float | None:
    """Weight decay at the start; the constant one by default."""
    return _bound("start_weight_decay", start_weight_decay, weight_decay, weight_decay_incr_style)


@derives(see=VALIDATE_ARGS)
def end_weight_decay(end_weight_decay: float | None, weight_decay: float, weight_decay_incr_style: str) -> float | None:
    """Weight decay at the end; the constant one by default."""
    return _bound("end_weight_decay", end_weight_decay, weight_decay, weight_decay_incr_style)


def _bound(name: str, value: float | None, weight_decay: float, style: str) -> float:
    if style == "constant":
        if value is not None:
            raise Invalid(
                f"{flag(name)} {value} has no meaning with a constant weight decay",
                "leave it out, or choose --weight-decay-incr-style linear or cosine",
                (name,),
            )
        return weight_decay
    if value is None:
        raise Invalid(
            f"--weight-decay-incr-style {style} needs {flag(name)}", arguments=("weight_decay_incr_style", name)
        )
    return value


@checks(
    ">=0.17",
    see=(VALIDATE_ARGS, "megatron/training/training.py::get_train_valid_test_num_samples"),
    read=("0.17", "0.18", "0.19", "0.20"),
)
def iterations_or_samples_of_training(
    train_iters: int | None,
    train_samples: int | None,
    lr_decay_samples: int | None,
    lr_decay_iters: int | None,
    lr_warmup_samples: int,
    lr_warmup_iters: int,
    skip_train: bool | None,
) -> Problems:
    """The same; without training nothing but a length is looked at."""
    if not (skip_train and (train_iters or train_samples)):
        yield from iterations_or_samples(
            train_iters, train_samples, lr_decay_samples, lr_decay_iters, lr_warmup_samples, lr_warmup_iters
        )


@checks(
    see=(VALIDATE_ARGS, "megatron/training/training.py::get_train_valid_test_num_samples"),
    until="0.17",
    read=("0.16", "0.17"),
)
def iterations_or_samples(
    train_iters: int | None,
    train_samples: int | None,
    lr_decay_samples: int | None,
    lr_decay_iters: int | None,
    lr_warmup_samples: int,
    lr_warmup_iters: int,
) -> Problems:
    """Everything in iterations, or everything in samples; a length is needed without training, too."""
    if train_iters:
        length = f"--train-iters {train_iters}"
        others = {
            "train_samples": train_samples is not None,
            "lr_decay_samples": lr_decay_samples is not None,
            "lr_warmup_samples": lr_warmup_samples != 0,
        }
    elif train_samples:
        length = f"--train-samples {train_samples}"
        others = {
            "train_iters": train_iters is not None,
            "lr_decay_iters": lr_decay_iters is not None,
            "lr_warmup_iters": lr_warmup_iters != 0,
        }
    else:
        yield Invalid(
            "the length of training is missing",
            "give --train-iters or --train-samples",
            ("train_iters", "train_samples"),
        )
        return
    for name, used in others.items():
        if used:
            unit = "samples" if train_iters else "iterations"
            yield Invalid(
                f"{flag(name)} counts in {unit}, but the run is given by {length}",
                f"give everything in {unit}, or leave {flag(name)} out",
                (name, "train_iters" if train_iters else "train_samples"),
            )


@checks(see=VALIDATE_ARGS, until="0.18", read=("0.16", "0.17", "0.18"))
def length_with_ramp(train_iters: int | None, rampup_batch_size: list[int] | None) -> Problems:
    """A batch size that grows makes iterations unequal."""
    if train_iters and rampup_batch_size is not None:
        yield Invalid(
            f"--rampup-batch-size counts in samples, but the run is given by --train-iters {train_iters}",
            "give its length with --train-samples, or leave --rampup-batch-size out",
            ("rampup_batch_size", "train_iters"),
        )


@checks(see=VALIDATE_ARGS)
def one_warmup(
    lr_warmup_fraction: float | None,
    lr_warmup_iters: int,
    lr_warmup_samples: int,
    train_iters: int | None,
    train_samples: int | None,
) -> Problems:
    """Warmup as a fraction or as a length, not both."""
    if lr_warmup_fraction is None:
        return
    for name, value, counts in (
        ("lr_warmup_iters", lr_warmup_iters, train_iters),
        ("lr_warmup_samples", lr_warmup_samples, train_samples),
    ):
        if counts and value:
            yield Invalid(
                f"--lr-warmup-fraction {lr_warmup_fraction} and {flag(name)} {value} both set the warm-up length",
                "keep one of them",
                ("lr_warmup_fraction", name),
            )


@checks(see=(VALIDATE_ARGS, SCHEDULER))
def learning_rates(
    lr: float | None, min_lr: float | None, lr_warmup_init: float | None, skip_train: bool | None
) -> Problems:
    """Bounds of the learning rate."""
    lowest = min_lr or 0.0
    if lr is None:
        if not skip_train:
            yield Invalid("--lr is missing", "give the highest learning rate", ("lr",))
    elif lowest > lr:
        yield Invalid(f"--min-lr {lowest} is above --lr {lr}", arguments=("min_lr", "lr"))
    elif (lr_warmup_init or 0.0) > lr and not skip_train:
        yield Invalid(f"--lr-warmup-init {lr_warmup_init} is above --lr {lr}", arguments=("lr_warmup_init", "lr"))
    if lowest < 0 and not skip_train:
        yield Invalid(f"--min-lr must be at least 0, not {lowest}", arguments=("min_lr",))


@checks(see=SCHEDULER)
def length_of_decay(
    train_iters: int | None,
    train_samples: int | None,
    lr_decay_iters: int | None,
    lr_decay_samples: int | None,
    lr_warmup_fraction: float | None,
    lr_warmup_iters: int,
    lr_warmup_samples: int,
    lr_decay_style: str,
    lr_wsd_decay_iters: int | None,
    lr_wsd_decay_samples: int | None,
    skip_train: bool | None,
) -> Problems:
    """Warmup, decay and annealing against each other."""
    if skip_train or not (train_iters or train_samples):
        return
    if train_iters:
        unit, decay, warmup, annealing = "iters", lr_decay_iters, lr_warmup_iters, lr_wsd_decay_iters
    else:
        unit, decay, warmup, annealing = "samples", lr_decay_samples, lr_warmup_samples, lr_wsd_decay_samples
    if decay is None:  # already refused
        return
    decays, warms = f"lr_decay_{unit}", f"lr_warmup_{unit}"
    if decay < 1:
        yield Invalid(f"{flag(decays)} must be at least 1, not {decay}", arguments=(decays,))
    elif lr_warmup_fraction is not None and lr_warmup_fraction >= 1:
        yield Invalid(
            f"--lr-warmup-fraction must be below 1, not {lr_warmup_fraction}", arguments=("lr_warmup_fraction",)
        )
    elif lr_warmup_fraction is None and warmup >= decay:
        yield Invalid(
            f"{flag(warms)} {warmup} is not shorter than {flag(decays)} {decay}",
            f"warm up for less than {decay}, or decay for longer than {warmup}",
            (warms, decays),
        )
    if lr_decay_style == "WSD" and annealing is None:
        yield Invalid(f"--lr-decay-style WSD needs {flag(f'lr_wsd_decay_{unit}')}", arguments=("lr_decay_style",))


@checks(see=SCHEDULER)
def bounds_of_weight_decay(
    start_weight_decay: float, end_weight_decay: float, weight_decay: float, skip_train: bool | None
) -> Problems:
    """Weight decay may only grow."""
    if skip_train:
        return
    if start_weight_decay < 0:
        name = "weight_decay" if start_weight_decay == weight_decay else "start_weight_decay"
        yield Invalid(f"{flag(name)} must be at least 0, not {start_weight_decay}", arguments=(name,))
    if end_weight_decay < start_weight_decay:
        yield Invalid(
            f"--end-weight-decay {end_weight_decay} is below --start-weight-decay {start_weight_decay}",
            arguments=("end_weight_decay", "start_weight_decay"),
        )


@checks(see=SCHEDULER)
def schedule_of_checkpoint(
    override_opt_param_scheduler: bool | None, use_checkpoint_opt_param_scheduler: bool | None, skip_train: bool | None
) -> Problems:
    """The checkpoint's schedule, or this one."""
    if override_opt_param_scheduler and use_checkpoint_opt_param_scheduler and not skip_train:
        yield Invalid("--override-opt-param-scheduler and --use-checkpoint-opt-param-scheduler exclude each other")


@checks(">=0.16", see="megatron/training/training.py::get_train_valid_test_num_samples")
def evaluation(
    eval_interval: int | None, train_iters: int | None, skip_train: bool | None, full_validation: bool | None
) -> Problems:
    """How often to evaluate."""
    if eval_interval is None and not skip_train and not full_validation:
        yield Invalid(
            "without --eval-interval Megatron-LM stops before the first step; Bridge trains, and never evaluates",
            "give the iterations between evaluations",
            ("eval_interval",),
            late=True,
        )
    elif eval_interval == 0 and not skip_train and not full_validation:
        yield Invalid("--eval-interval must not be 0", arguments=("eval_interval",))
