"""Bridge's own training loop, with or without a recorder; also the program a rehearsal starts in a fresh process.

``python -m bridge_args.training.process PLAN`` (PLAN: JSON, see ``Plan``) trains. Its stdout carries one JSON object a
line: under the CPU emulation first ``{"replaced": [...]}``, then one per iteration and evaluation (``record``), and
``{"error": ..., "where": ...}`` if it fails. Whatever the training code prints goes to stderr.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import math
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

from bridge_args.emulation import device, placeholders
from bridge_args.training import added as additions
from bridge_args.training import container, ranks

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rehearsal process runs.

    Attributes:
        run_config: complete; already adapted to the CPU, if that is where it runs.
        steps: stop after this many iterations; None: as the configuration says.
        emulate: on the CPU; otherwise on the GPU, with nothing of the emulation.
        transformer_engine, apex_layer_norm: packages to stand in for under the emulation.
        observations: folder for what is observed (``observe.py``); None: nothing is.
        added: what the run needs beside its configuration (``added.Added``, as plain values).
    """

    run_config: Mapping[str, Any]
    steps: int | None = None
    emulate: bool = True
    transformer_engine: bool = False
    apex_layer_norm: bool = False
    observations: str | None = None
    added: Mapping[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Plan:
        return cls(**json.loads(path.read_text()))


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
        run = importlib.import_module("megatron.bridge.training.pretrain").pretrain
    additions.to(config, added)
    run(config, step, callbacks=callbacks) if callbacks else run(config, step)


# --------------------------------------------------------------------------------- recording


def record(receive: Callable[[Record], None]) -> None:
    """From now on, hands every training iteration and evaluation of Bridge's loop to ``receive``.

    An iteration has ``iteration``, ``lm_loss``, ``grad_norm`` (before clipping), ``learning_rate``,
    ``global_batch_size`` and ``consumed_samples`` (samples), ``loss_scale``, ``skipped`` (0 or 1) and, where there
    are any, ``aux`` (MoE and multi-token-prediction losses by name); an evaluation ``split``, ``iteration``,
    ``lm_loss``. Numbers have every bit of the tensor they come from.

    Bridge's log line averages the loss since the last line; this is the loss of the step, taken where the training
    loop hands it to ``training_log``.
    """
    with placeholders.absent_packages():
        train = importlib.import_module("megatron.bridge.training.train")
        evaluation = importlib.import_module("megatron.bridge.training.eval")
        logging = importlib.import_module("megatron.bridge.training.utils.train_utils")
    microbatches = importlib.import_module("megatron.core.num_microbatches_calculator")
    aux: dict[str, Any] = {}
    watch_scalars(logging, aux)
    log, evaluate = train.training_log, evaluation.evaluate
    signature = inspect.signature(log)

    def training_log(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        config, state = given["config"], given["global_state"].train_state
        samples = config.train.micro_batch_size * config.data_parallel_size * microbatches.get_num_microbatches()
        entry = step_record(given, state.step, samples, state.consumed_train_samples)
        aux.clear()
        result = log(*args, **kwargs)
        receive({**entry, "aux": dict(sorted(aux.items()))} if aux else entry)
        return result

    def evaluate_(state: Any, *args: Any, **kwargs: Any) -> Any:
        result = evaluate(state, *args, **kwargs)
        split = "test" if kwargs.get("is_test") else "valid"
        loss = number((result[0] or {}).get("lm loss"))
        receive({"split": split, "iteration": state.train_state.step, "lm_loss": loss})
        return result

    setattr(train, "training_log", training_log)
    setattr(evaluation, "evaluate", evaluate_)


def step_record(given: Mapping[str, Any], iteration: int, samples: int, consumed: int) -> Record:
    """The record of one iteration, without ``aux``.

    Args:
        given: what ``training_log`` was called with; Megatron-LM and Bridge call these by the same names.
        samples, consumed: in this step, and up to its end.
    """
    return {
        "iteration": iteration,
        "lm_loss": number((given["loss_dict"] or {}).get("lm loss")),
        "grad_norm": number(given["grad_norm"]),
        "learning_rate": number(given["learning_rate"]),
        "global_batch_size": samples,
        "consumed_samples": consumed,
        "loss_scale": number(given["loss_scale"]),
        "skipped": int(given["skipped_iter"]),
    }


def number(value: Any) -> float | str | None:
    """A float with every bit of the tensor it came from; JSON has no NaN, so that is the word."""
    if value is None:
        return None
    if hasattr(value, "item"):
        value = value.float().sum().item() if getattr(value, "dim", lambda: 0)() else value.item()
    value = float(value)
    return value if math.isfinite(value) else repr(value)


class _Scalars:
    """Stands in for a TensorBoard writer: remembers scalars, and passes everything on to the writer if there is one."""

    def __init__(self, writer: Any, seen: dict[str, Any]) -> None:
        self._writer, self._seen = writer, seen

    def add_scalar(self, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        self._seen[name] = number(value)
        if self._writer is not None:
            self._writer.add_scalar(name, value, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


def watch_scalars(module: Any, seen: dict[str, Any]) -> None:
    """MoE and multi-token-prediction losses are handed only to the writer."""

    def watched(function: Any) -> Any:
        signature = inspect.signature(function)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            bound.arguments["writer"] = _Scalars(bound.arguments.get("writer"), seen)
            return function(*bound.args, **bound.kwargs)

        return wrapper

    module.track_moe_metrics = watched(module.track_moe_metrics)
    helper = module.MTPLossLoggingHelper
    helper.track_mtp_metrics = staticmethod(watched(helper.track_mtp_metrics))


def stop_after(steps: int) -> Any:
    """A Bridge callback that ends the run after ``steps`` iterations, by Bridge's own ``train.exit_interval``.

    The configuration keeps its length, so schedule, data set and sample order are those of the full run.
    """
    callback: Any = importlib.import_module("megatron.bridge.training.callbacks").Callback

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


# ------------------------------------------------------------------------- the rehearsal process


def main(argv: list[str]) -> int:
    """Runs a plan in this process; returns the exit code."""
    plan = Plan.read(Path(argv[0]))
    return reported(lambda receive: _train(plan, receive))


def _train(plan: Plan, receive: Callable[[Record], None]) -> None:
    if plan.emulate:
        replaced = device.install(transformer_engine=plan.transformer_engine, apex_layer_norm=plan.apex_layer_norm)
        receive({"replaced": [str(entry) for entry in replaced]})
        device.prepare_megatron_core()
    config = container.load(plan.run_config)
    record(receive)
    if plan.observations is not None:
        _observe(Path(plan.observations))
    stop = [stop_after(plan.steps)] if plan.steps is not None else None
    pretrain(config, additions.Added(**plan.added), stop)


# What the loop itself is told, and the setting that says it; the names are those of Megatron-LM's arguments.
_OF_THE_LOOP: Final = {
    "train_iters": "train.train_iters",
    "seed": "rng.seed",
    "eval_iters": "train.eval_iters",
    "eval_interval": "train.eval_interval",
    "exit_interval": "train.exit_interval",
    "data_parallel_random_init": "rng.data_parallel_random_init",
}


def _observe(folder: Path) -> None:
    """Shows what has been built to an observer, before the first step."""
    from bridge_args.training import observe

    with placeholders.absent_packages():
        loop = importlib.import_module("megatron.bridge.training.pretrain")
    watcher = observe.watch(folder)
    build = loop.setup

    def setup(*words: Any, **named: Any) -> Any:
        built = build(*words, **named)
        watcher.built(built.model, built.optimizer, built.scheduler)
        settings = {name: path.split(".") for name, path in _OF_THE_LOOP.items()}
        watcher.program({name: getattr(getattr(built.state.cfg, a), b, None) for name, (a, b) in settings.items()})
        return built

    setattr(loop, "setup", setup)


def reported(run: Callable[[Callable[[Record], None]], None]) -> int:
    """Runs a training loop whose records go to the real stdout, from the last rank; an error becomes a record.

    Returns:
        The exit code for the process.
    """
    out = _claim_stdout()
    try:
        run(lambda entry: _send(out, entry) if _is_last_rank() else None)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException as error:  # the parent shows it once, in one piece
        traceback.print_exc()
        words = " ".join(f"{type(error).__name__}: {error}".split())
        _send(out, {"error": words, "where": _where(error)})
        return 1
    return 0


def _claim_stdout() -> TextIO:
    """Keeps the real stdout for records; what the training code prints joins stderr."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return out


def _is_last_rank() -> bool:
    """The last pipeline stage has the loss."""
    return int(os.environ.get("RANK", "0")) == int(os.environ.get("WORLD_SIZE", "1")) - 1


def _send(out: TextIO, entry: Record) -> None:
    out.write(json.dumps(entry) + "\n")  # one write per line: ranks share the pipe
    out.flush()


def _where(error: BaseException) -> str:
    """The innermost place in the training code, outside of PyTorch and this package."""
    folder = f"{os.sep}megatron{os.sep}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if folder in frame.filename]
    if not frames:
        return ""
    inside = frames[-1].filename.rsplit(folder, 1)[-1]
    return f"megatron/{inside}:{frames[-1].lineno}"


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    sys.exit(code)
if __name__ == "__mp_main__":
    # A process that a rank has spawned, as for saving: it would outlive a rank that is killed.
    ranks.end_with_parent()
