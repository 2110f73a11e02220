"""Bridge's own training loop, with what a run needs beside its configuration, and where it stops."""

from __future__ import annotations

import warnings
from typing import Any

from bridge_args import foreign
from bridge_args.emulation import placeholders
from bridge_args.training import added as additions


def pretrain(config: Any, added: additions.Added, callbacks: list[Any] | None = None) -> None:
    """Calls Bridge's ``pretrain``.

    Args:
        config: a ``ConfigContainer`` that is not yet validated (``container.load``); ``pretrain`` does that.
        added: what the run needs beside it.
        callbacks: Bridge callbacks.

    Raises:
        SystemExit: Bridge ends a run early that way (``train.exit_interval`` and others).
    """
    with placeholders.absent_packages(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Apex is not installed" and the like, once per module
        step = additions.forward_step(added)
        run = foreign.PRETRAIN.get()
    additions.to(config, added)
    run(config, step, callbacks=callbacks) if callbacks else run(config, step)


def stop_after(steps: int) -> Any:
    """A Bridge callback that ends the run after ``steps`` iterations, by Bridge's own ``train.exit_interval``.

    The configuration keeps its length, so schedule, data set and sample order are those of the full run.
    """
    callback: Any = foreign.CALLBACK.get()

    class StopAfter(callback):  # type: ignore[misc]  # looked up at run time
        def on_train_start(self, context: Any) -> None:
            train, start = context.state.cfg.train, context.state.train_state.step
            train.exit_interval = last_step(train.exit_interval, start, steps)

    return StopAfter()


def last_step(exit_interval: int | None, start: int, steps: int) -> int:
    """The exit interval that ends a run ``steps`` iterations after ``start``, or where the one asked for ends it.

    Both programs leave when the iteration is a multiple of the interval.
    """
    if exit_interval and (start // exit_interval + 1) * exit_interval <= start + steps:
        return exit_interval
    return start + steps
