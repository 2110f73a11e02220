"""The program that a rehearsal or a verification starts in a fresh process: Bridge's loop, with a recorder.

``python -m bridge_args.training.process PLAN`` (PLAN: JSON, see ``Plan``) trains. Its stdout carries one JSON object a
line: under the CPU emulation first ``{"replaced": [...]}``, then one per iteration and evaluation (``record``), and
``{"error": ..., "where": ...}`` if it fails. Whatever the training code prints goes to stderr.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar

from bridge_args import foreign
from bridge_args.emulation import device, placeholders
from bridge_args.mapping.goes_to import settings_of
from bridge_args.pairs.pairs import bridge_version
from bridge_args.training import added as additions
from bridge_args.training import container, loop, ranks
from bridge_args.training.record import Record, record

_P = TypeVar("_P", bound="PlanFile")


@dataclass(frozen=True, slots=True)
class PlanFile:
    """What a process of ours does, as a file of JSON that it is started with."""

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def read(cls: type[_P], path: Path) -> _P:
        return cls(**json.loads(path.read_text()))


@dataclass(frozen=True, slots=True)
class Plan(PlanFile):
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


def main(argv: list[str]) -> int:
    """Runs a plan in this process; returns the exit code."""
    plan = Plan.read(Path(argv[0]))
    return reported(lambda receive: _train(plan, receive))


def emulate(
    receive: Callable[[Record], None], transformer_engine: bool, apex_layer_norm: bool, extra_states: bool = False
) -> None:
    """Puts in what stands in for a GPU, before torch is imported, and tells what it replaces.

    Args:
        transformer_engine, apex_layer_norm: as ``device.install`` has them.
        extra_states: the layers that stand in for Transformer Engine's have the states that a checkpoint holds.
    """
    replaced = device.install(transformer_engine=transformer_engine, apex_layer_norm=apex_layer_norm)
    receive({"replaced": [str(entry) for entry in replaced]})
    device.prepare_megatron_core()
    if extra_states and transformer_engine:
        from bridge_args.emulation import te_layers  # which imports torch

        te_layers.keep_extra_states()


def _train(plan: Plan, receive: Callable[[Record], None]) -> None:
    if plan.emulate:
        emulate(receive, plan.transformer_engine, plan.apex_layer_norm)
    config = container.load(plan.run_config)
    record(receive)
    if plan.observations is not None:
        _observe(Path(plan.observations))
    stop = [loop.stop_after(plan.steps)] if plan.steps is not None else None
    loop.pretrain(config, additions.Added(**plan.added), stop)


# What the loop itself is told, by the names of Megatron-LM's arguments.
_OF_THE_LOOP: Final = (
    "train_iters",
    "seed",
    "eval_iters",
    "eval_interval",
    "exit_interval",
    "data_parallel_random_init",
)


def _observe(folder: Path) -> None:
    """Shows what has been built to an observer, before the first step."""
    from bridge_args.training import observe

    with placeholders.absent_packages():
        build = foreign.SETUP.get()
    watcher = observe.watch(folder)

    def setup(*words: Any, **named: Any) -> Any:
        built = build(*words, **named)
        watcher.built(built.model, built.optimizer, built.scheduler)
        version = bridge_version(None)  # of the installed one
        settings = {name: settings_of(name, version)[0].split(".") for name in _OF_THE_LOOP}
        watcher.program({name: getattr(getattr(built.state.cfg, a), b, None) for name, (a, b) in settings.items()})
        return built

    foreign.SETUP.put(setup)


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
