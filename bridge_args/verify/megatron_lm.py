"""The program a verification starts for Megatron-LM: a checkout's own ``pretrain_gpt.py``, unmodified and watched.

``python -m bridge_args.verify.megatron_lm PLAN`` (PLAN: JSON, see ``Plan``). Its stdout carries the same records as a
rehearsal's (``training/process.py``), its observations go to files (``training/observe.py``). Nothing is written into
the checkout: no bytecode, and the compiled index builder is the installed Megatron Core's where there is one.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.machinery
import importlib.util
import inspect
import json
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge_args import foreign
from bridge_args.emulation import device, placeholders
from bridge_args.training import observe
from bridge_args.training import process as training_process
from bridge_args.training.loop import last_step
from bridge_args.training.record import Record, number, step_record, watch_scalars


@dataclass(frozen=True, slots=True)
class Plan:
    """What the process runs.

    Attributes:
        program: path of ``pretrain_gpt.py`` in the checkout.
        argv: its arguments.
        observations: folder for what is observed.
        steps: stop after this many iterations; None: as the arguments say.
        emulate: on the CPU, with ``transformer_engine`` and ``apex_layer_norm`` stood in for; otherwise on the GPU.
    """

    program: str
    argv: tuple[str, ...]
    observations: str
    steps: int | None = None
    emulate: bool = True
    transformer_engine: bool = False
    apex_layer_norm: bool = False

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Plan:
        return cls(**json.loads(path.read_text()))


def train(plan: Plan, receive: Callable[[Record], None]) -> None:
    """Runs the program in this process; raises what it raises.

    Args:
        receive: gets every record, on the ranks that have it.
    """
    compiled = _compiled_index_builder()
    sys.dont_write_bytecode = True
    if plan.emulate:
        replaced = device.install(transformer_engine=plan.transformer_engine, apex_layer_norm=plan.apex_layer_norm)
        receive({"replaced": [str(entry) for entry in replaced]})
    _take_from(Path(plan.program).parent)
    with placeholders.absent_packages():
        if compiled is not None:
            _load_index_builder(compiled)
        if plan.emulate:
            device.prepare_megatron_core()
            _without_nvcc()
            _children_without_the_program()
        watcher = observe.watch(Path(plan.observations))
        record(receive)
        _hand_over(watcher, plan.steps)
        sys.argv = [plan.program, *plan.argv]
        runpy.run_path(plan.program, run_name="__main__")


def _take_from(checkout: Path) -> None:
    """``megatron`` is the checkout's from here on; what was looked up of an installed one is forgotten."""
    sys.path.insert(0, str(checkout))
    for name in [name for name in sys.modules if name.partition(".")[0] == "megatron"]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _compiled_index_builder() -> Path | None:
    """The compiled helper of the data sets in the installed Megatron Core."""
    installed = importlib.util.find_spec("megatron")
    for folder in (installed.submodule_search_locations or ()) if installed else ():
        for path in Path(folder, "core", "datasets").glob("helpers_cpp*.so"):
            return path
    return None


def _load_index_builder(compiled: Path) -> None:
    """Used in the checkout's place of it: Megatron-LM would compile its own when it starts, inside the checkout."""
    name = "megatron.core.datasets.helpers_cpp"
    loader = importlib.machinery.ExtensionFileLoader(name, str(compiled))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[name] = module
    foreign.COMPILE_HELPERS.put(lambda: None)


def _without_nvcc() -> None:
    """Megatron-LM compiles kernels for its old layers when it starts; Megatron Core's layers do not use them."""
    foreign.LM_KERNELS.put(lambda args: None)


def _children_without_the_program() -> None:
    """A checkpoint is written by a process that imports the program anew, where nothing is emulated; it need not."""
    spawn: Any = importlib.import_module("multiprocessing.spawn")
    prepare = spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        data: dict[str, Any] = prepare(name)
        data.pop("init_main_from_path", None)
        return data

    spawn.get_preparation_data = get_preparation_data


# --------------------------------------------------------------------------------- recording


def record(receive: Callable[[Record], None]) -> None:
    """Hands every training iteration and evaluation of Megatron-LM's loop to ``receive``; keys as ``train.record``."""
    aux: dict[str, Any] = {}
    watch_scalars(foreign.LM_MOE_METRICS, foreign.LM_MTP_METRICS, aux)
    log, evaluate, announce = foreign.LM_TRAINING_LOG.get(), foreign.LM_EVALUATE.get(), foreign.LM_ANNOUNCE.get()
    microbatches, arguments = foreign.MICROBATCHES.get(), foreign.LM_ARGUMENTS.get()
    signature = inspect.signature(log)
    where: dict[str, Any] = {}

    def training_log(*words: Any, **named: Any) -> Any:
        given, args = signature.bind(*words, **named).arguments, arguments()
        samples = args.micro_batch_size * args.data_parallel_size * microbatches()
        entry = step_record(given, given["iteration"], samples, args.consumed_train_samples)
        aux.clear()
        result = log(*words, **named)
        receive({**entry, "aux": dict(sorted(aux.items()))} if aux else entry)
        return result

    def announced(prefix: str, forward: Any, iterator: Any, model: Any, iteration: int, *rest: Any, **more: Any) -> Any:
        where.update(split="test" if "test set" in prefix else "valid", iteration=iteration)
        return announce(prefix, forward, iterator, model, iteration, *rest, **more)

    def evaluated(*words: Any, **named: Any) -> Any:
        result = evaluate(*words, **named)
        receive({**where, "lm_loss": number((result[0] or {}).get("lm loss"))})
        return result

    foreign.LM_TRAINING_LOG.put(training_log)
    foreign.LM_ANNOUNCE.put(announced)
    foreign.LM_EVALUATE.put(evaluated)


# What the loop itself is told, by the names of the arguments.
_OF_THE_LOOP = ("train_iters", "seed", "eval_iters", "eval_interval", "exit_interval", "data_parallel_random_init")


def _hand_over(watcher: observe.Watcher, steps: int | None) -> None:
    """Shows the watcher what has been built, and ends the run early if asked to."""
    arguments, build = foreign.LM_ARGUMENTS.get(), foreign.LM_SETUP.get()

    def setup_model_and_optimizer(*words: Any, **named: Any) -> Any:
        model, optimizer, scheduler = build(*words, **named)
        args = arguments()
        watcher.built(model, optimizer, scheduler)
        watcher.program({name: getattr(args, name, None) for name in _OF_THE_LOOP})
        if steps is not None:
            args.exit_interval = last_step(args.exit_interval, args.iteration, steps)
        return model, optimizer, scheduler

    foreign.LM_SETUP.put(setup_model_and_optimizer)


def main(argv: list[str]) -> int:
    """Runs a plan in this process; returns the exit code."""
    plan = Plan.read(Path(argv[0]))
    return training_process.reported(lambda receive: train(plan, receive))


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    sys.exit(code)
