"""The run: its length, validation, the optimizer and the schedule of its rate, and what it logs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bridge_args.mapping.convert import shown
from bridge_args.source.nemo2.meaning.state import Meaning, whole


def run_length(m: Meaning) -> None:
    steps = m["trainer.max_steps"]
    if "trainer.max_steps" in m and not (whole(steps) and steps > 0):
        m.refuse(
            "trainer.max_steps", f"trainer.max_steps = {shown(steps)}: Bridge needs the number of iterations; set it"
        )
    if whole(m["trainer.max_epochs"]) and m["trainer.max_epochs"] not in (-1, None):
        m.lost("trainer.max_epochs", "Bridge counts iterations, not epochs; trainer.max_steps is what counts.")
    if m["trainer.gradient_clip_val"]:
        m.lost("trainer.gradient_clip_val", "NeMo's optimizer clips by optim.clip_grad; set that.")
    if m["trainer.deterministic"] and m.field("model.deterministic_mode") is not None:
        m.derive("model.deterministic_mode", True, "trainer.deterministic")


def validation(m: Meaning) -> None:
    """See lightning's Trainer: a whole number is a number of batches, a float a part of all of them."""
    interval = "trainer.val_check_interval"
    if whole(m[interval]):
        m.derive("eval_interval", m[interval], interval)
    elif isinstance(m[interval], float):
        m.lost(
            interval, "it is a part of an epoch, and Bridge validates after a number of iterations; set eval_interval."
        )
    names = ("trainer.limit_val_batches", "trainer.limit_test_batches")
    numbers = {name: m[name] for name in names if whole(m[name])}
    for name in names:
        if isinstance(m[name], float):
            m.lost(name, "it is a part of all batches, and Bridge validates with a number of them; set eval_iters.")
    if names[0] in m and m[names[0]] is None and m["trainer.max_steps"] is not None:
        message = (
            "trainer.limit_val_batches is not set: NeMo validates with all batches, Bridge with eval_iters of them"
        )
        m.tell("done-otherwise", names[0], message, "set it if the default of Bridge's is not what you want")
    if numbers:
        m.derive("eval_iters", max(numbers.values()), *numbers)
    if len(set(numbers.values())) > 1:
        smaller = min(numbers, key=lambda name: numbers[name])
        m.lost(
            smaller,
            f"Bridge has one setting for both, and the larger number, {max(numbers.values())}, is taken.",
            "logs",
        )


_LIKE_NONE: Final = {
    "SquareAnnealingScheduler": "it falls with the square of the steps that are left",
    "SquareRootAnnealingScheduler": "it falls with the square root of the steps that are left",
    "InverseSquareRootAnnealingScheduler": "without warming up it counts from the second step on",
    "NoamHoldAnnealingScheduler": "NeMo makes it without steps to warm up, and refuses it then",
    "T5InverseSquareRootAnnealingScheduler": "NeMo makes it without constant_steps, and stops",
}


def learning_rate(m: Meaning) -> None:
    """The same rate at every step, as far as Megatron Core has such a schedule.

    See nemo/core/optim/lr_scheduler.py, and megatron/core/optimizer_param_scheduler.py.
    """
    name = m.run.lr_scheduler.name.rpartition(".")[2] if m.run.lr_scheduler else ""
    if not name:
        if m.has("optim"):
            m.derive("lr_decay_style", "constant")
        return
    schedule = _SCHEDULES.get(name)
    reason = _LIKE_NONE.get(name, "it is not one of NeMo's") if schedule is None else schedule(m)
    if not m.has("optim"):
        m.derived.pop("lr_decay_style", None)
    elif reason:
        m.derive("lr_decay_style", "constant", "lr_scheduler._target_")
        m.lost("lr_scheduler._target_", f"Bridge has no schedule like {name}: {reason}; the rate stays as it is.")
    m.derive("min_lr", m["lr_scheduler.min_lr"], "lr_scheduler.min_lr")


def _anneal(m: Meaning, style: str) -> str:
    """Warming up, and then down to the smallest rate."""
    steps, constant, warmup = m["trainer.max_steps"], m["lr_scheduler.constant_steps"], _warmup(m)
    held = constant if whole(constant) else 0
    if whole(steps) and steps > 0:
        if held >= steps:
            m.lost("lr_scheduler.constant_steps", f"they are not fewer than the {steps} steps of the run.")
            held = 0
        m.derive("lr_decay_iters", steps - held, "trainer.max_steps", "lr_scheduler.constant_steps")
    _style(m, style)
    _warm_up(m, warmup, from_zero=bool(held))
    return ""


def _hold_and_anneal(m: Meaning) -> str:
    """See WarmupHoldAnnealLinear and WarmupHoldAnnealOneMinusSquareRoot, and the style WSD of Megatron Core."""
    steps, warmup, ratio = m["trainer.max_steps"], _warmup(m), m["lr_scheduler.hold_ratio"]
    linear = m["lr_scheduler.decay_schedule"] in (None, "linear")
    if not whole(steps) or steps < 1:
        return "the number of steps is not known"
    if ratio is None and warmup:
        return "with steps to warm up and none to hold, the rate falls at once"
    if not linear and m["lr_scheduler.min_lr"]:
        return "it falls to nothing and stays at min_lr on the way; Bridge's ends at min_lr"
    begin = warmup + int(ratio * steps) if ratio is not None else 0
    if begin >= steps:
        return f"it holds the rate until step {begin}, and the run has {steps}"
    inputs = ("trainer.max_steps", "lr_scheduler.hold_ratio", "lr_scheduler.warmup_ratio")
    m.derive("lr_decay_iters", steps, "trainer.max_steps")
    m.derive("lr_wsd_decay_iters", steps - begin, *inputs)
    m.derive("lr_wsd_decay_style", "linear" if linear else "minus_sqrt", "lr_scheduler.decay_schedule")
    _style(m, "WSD")
    _warm_up(m, warmup)
    return ""


def _polynomial(m: Meaning) -> str:
    """See _poly_decay: with a power of 1, a line."""
    if m["lr_scheduler.power"] not in (None, 1) or m["lr_scheduler.cycle"]:
        return "only a power of 1 without cycles is a line"
    return _anneal(m, "linear")


def _noam(m: Meaning) -> str:
    """See NoamAnnealing: its highest rate is lr / sqrt(d_model * warmup_steps); without those, lr / sqrt(d_model)."""
    rate, width, steps, warmup = m["optim.lr"], m["lr_scheduler.d_model"], m["trainer.max_steps"], _warmup(m)
    if not isinstance(rate, (int, float)) or not whole(width) or width < 1 or not whole(steps):
        return "it is made of d_model, the rate and the steps, and they are not all numbers"
    highest = rate * (width * max(warmup, 1)) ** -0.5
    if highest < (m["lr_scheduler.min_lr"] or 0):
        return f"its highest rate, {highest:.3g}, is below min_lr"
    m.replaced["optim.lr"] = "lr_scheduler.d_model"
    m.derive("highest_lr", highest, "optim.lr", "lr_scheduler.d_model", "lr_scheduler.warmup_steps")
    m.derive("lr_decay_iters", steps, "trainer.max_steps")
    m.derive("lr_warmup_iters", max(warmup, 1), "lr_scheduler.warmup_steps", "lr_scheduler.warmup_ratio")
    if warmup:
        message = (
            f"the first step has the rate 0 in Bridge, and {highest / warmup:.3g} in NeMo; the others are the same"
        )
        m.tell("done-otherwise", "lr_scheduler.warmup_steps", message)
    else:
        m.derive("lr_warmup_init", highest, "optim.lr", "lr_scheduler.d_model")
    _style(m, "inverse-square-root")
    return ""


def _style(m: Meaning, style: str) -> None:
    m.derive("lr_decay_style", style, "lr_scheduler._target_")


def _warmup(m: Meaning) -> int:
    warmup, ratio, steps = m["lr_scheduler.warmup_steps"], m["lr_scheduler.warmup_ratio"], m["trainer.max_steps"]
    if warmup is None and isinstance(ratio, (int, float)) and whole(steps):
        warmup = int(ratio * steps)
    return warmup if whole(warmup) else 0


def _warm_up(m: Meaning, warmup: int, from_zero: bool = False) -> None:
    """NeMo has (step + 1) / (warmup + 1) of the rate at a step: a line that begins with one part of it, not with 0."""
    inputs = ("lr_scheduler.warmup_steps", "lr_scheduler.warmup_ratio")
    m.derive("lr_warmup_iters", warmup, *inputs)
    if not warmup or from_zero:
        return
    rate = m["optim.lr"]
    if isinstance(rate, (int, float)):
        m.derive("lr_warmup_init", rate / (warmup + 1), "optim.lr", *inputs)
        return
    message = (
        f"warming up is counted otherwise: NeMo has (step + 1) / ({warmup} + 1) of the rate at a step, Bridge "
        f"step / {warmup}; the rates differ by less than one step's worth"
    )
    m.tell("done-otherwise", "lr_scheduler.warmup_steps", message)


_SCHEDULES: Final[dict[str, Callable[[Meaning], str]]] = {
    "CosineAnnealingScheduler": lambda m: _anneal(m, "cosine"),
    "WarmupAnnealingScheduler": lambda m: _anneal(m, "linear"),
    "WarmupPolicyScheduler": lambda m: _anneal(m, "constant"),
    "WarmupHoldPolicyScheduler": lambda m: _anneal(m, "constant"),
    "WarmupHoldAnnealScheduler": _hold_and_anneal,
    "PolynomialDecayAnnealingScheduler": _polynomial,
    "PolynomialHoldDecayAnnealingScheduler": _polynomial,
    "NoamAnnealingScheduler": _noam,
}


def optimizer(m: Meaning) -> None:
    if m["optimizer.lr_mult"] not in (None, 1.0, 1):
        m.lost("optimizer.lr_mult", "Bridge has no multiplier for some weights' rates.")
    if "optim.use_distributed_optimizer" in m:
        m.replaced["ddp.use_distributed_optimizer"] = "optim.use_distributed_optimizer"


def loggers(m: Meaning) -> None:
    """See nemo/lightning/nemo_logger.py NeMoLogger._setup_trainer_loggers."""
    folder = m["TensorBoardLogger.save_dir"]
    if folder is not None:
        inputs = ["TensorBoardLogger.save_dir"]
        if (
            m["NeMoLogger.update_logger_directory"] is not False
            and m.has("NeMoLogger")
            and not str(folder).startswith("/")
        ):
            folder = f"{m['NeMoLogger.log_dir'] or 'nemo_experiments'}/{folder}"
            inputs += ["NeMoLogger.log_dir"]
        name = m["TensorBoardLogger.name"]
        m.derive("tensorboard_dir", f"{folder}/{name}" if name else str(folder), *inputs, "TensorBoardLogger.name")
