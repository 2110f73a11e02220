"""The run: its length, validation, the optimizer and the schedule of its rate, and what it logs."""

from __future__ import annotations

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


_STYLES: Final = {
    "CosineAnnealingScheduler": "cosine",
    "WarmupAnnealingScheduler": "linear",
    "WarmupPolicyScheduler": "constant",
}


def learning_rate(m: Meaning) -> None:
    """See nemo/core/optim/lr_scheduler.py, and megatron/core/optimizer_param_scheduler.py."""
    name, steps = m.run.lr_scheduler.name.rpartition(".")[2] if m.run.lr_scheduler else "", m["trainer.max_steps"]
    if m.has("optim"):
        if not name:
            m.derive("lr_decay_style", "constant")
            return
        if name not in _STYLES:
            m.derive("lr_decay_style", "constant", "lr_scheduler._target_")
            m.lost("lr_scheduler._target_", f"Bridge has no schedule like {name}; the rate stays as it is.")
            return
        m.derive("lr_decay_style", _STYLES[name], "lr_scheduler._target_")
    if not name:
        return
    m.derive("min_lr", m["lr_scheduler.min_lr"], "lr_scheduler.min_lr")
    warmup, ratio, constant = (
        m["lr_scheduler.warmup_steps"],
        m["lr_scheduler.warmup_ratio"],
        m["lr_scheduler.constant_steps"],
    )
    if warmup is None and ratio is not None and whole(steps):
        warmup = int(ratio * steps)
    held = constant if whole(constant) else 0
    if whole(steps) and steps > 0:
        if held >= steps:
            m.lost("lr_scheduler.constant_steps", f"they are not fewer than the {steps} steps of the run.")
            held = 0
        m.derive("lr_decay_iters", steps - held, "trainer.max_steps", "lr_scheduler.constant_steps")
    m.derive("lr_warmup_iters", warmup or 0, "lr_scheduler.warmup_steps", "lr_scheduler.warmup_ratio")
    if warmup and not held:
        message = (
            f"warming up is counted otherwise: NeMo has (step + 1) / ({warmup} + 1) of the rate at a step, Bridge "
            f"step / {warmup}; the rates differ by less than one step's worth"
        )
        m.tell("done-otherwise", "lr_scheduler.warmup_steps", message)


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
