"""Many small trainings in one place: a program is imported once, and every run is a fork of that process.

``Stage("bridge")`` trains translations with Bridge's own loop, ``Stage("megatron_lm")`` command lines with a checkout's
``pretrain_gpt.py``; both on the emulated CPU, as ``rehearse`` and ``verify`` do, in seconds instead of half a minute.
A run says how many steps it came, and with which words and where it stopped.

As a program (``python stage.py PROGRAM te|local|apex CHECKOUT``) it reads a job a line, and answers with a line each.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE: Final = 240  # seconds for one run, on a busy machine
MOST: Final = 8  # processes of one run


class Ran(NamedTuple):
    """How far a run came.

    Attributes:
        steps: iterations done.
        error: the message it stopped with, empty where it ended by itself.
        where: file and function in ``megatron`` that raised it.
        loss: of the last step; None without one.
        rate: the learning rate of it.
        iteration: its number.
    """

    steps: int
    error: str = ""
    where: str = ""
    loss: Any = None
    rate: Any = None
    iteration: int = 0


class Stage:
    """Trains on the CPU, one run at a time; the processes behind it start when they are first needed."""

    def __init__(self, program: str, checkout: str = "") -> None:
        self.program, self.checkout = program, checkout
        self._servers: dict[str, subprocess.Popen[str]] = {}

    def run(
        self,
        run_config: Mapping[str, Any],
        argv: Sequence[str],
        nproc: int = 1,
        steps: int = 1,
        env: Mapping[str, str] | None = None,
        program: str = "pretrain_gpt.py",
        unchecked: bool = False,
    ) -> Ran:
        """Trains.

        Args:
            run_config: as ``to_run_config`` gives it; for Megatron-LM it says only whose layers are stood in for.
            argv: what Megatron-LM is started with; Bridge does not look at it.
            unchecked: without what we refuse beside Bridge.
        """
        from bridge_args.emulation.adapt import adapt, stand_ins

        config, _ = adapt(run_config)
        packages = stand_ins(config)
        kind = "te" if packages.transformer_engine else "apex" if packages.apex_layer_norm else "local"
        server = self._server(kind)
        job = {"config": config, "argv": list(argv), "nproc": nproc, "steps": steps, "env": dict(env or {})}
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps({**job, "program": program, "unchecked": unchecked}) + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        assert answer, f"the {self.program} stage is gone"
        return Ran(**json.loads(answer))

    def _server(self, kind: str) -> subprocess.Popen[str]:
        if kind not in self._servers:
            self._servers[kind] = subprocess.Popen(
                [sys.executable, __file__, self.program, kind, self.checkout],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if os.environ.get("STAGE_LOUD") else subprocess.DEVNULL,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "LOCAL_WORLD_SIZE": str(MOST)},
            )
        return self._servers[kind]

    def close(self) -> None:
        for server in self._servers.values():
            assert server.stdin is not None and server.stdout is not None
            server.stdin.close()
            server.wait()
            server.stdout.close()
        self._servers.clear()


# ------------------------------------------------------------------------------- the process


def main(program: str, kind: str, checkout: str) -> None:
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    (import_bridge if program == "bridge" else import_megatron_lm)(kind, checkout)
    gc.freeze()  # a collection in a fork would copy every page of what was imported
    for line in sys.stdin:
        job = json.loads(line)
        with tempfile.TemporaryDirectory(prefix="bridge-args-stage-") as folder:
            out.write(json.dumps(answer(program, checkout, job, Path(folder))) + "\n")


def import_bridge(kind: str, checkout: str) -> None:
    from bridge_args.emulation import device, placeholders

    device.install(transformer_engine=kind == "te", apex_layer_norm=kind == "apex")
    device.prepare_megatron_core()
    with placeholders.absent_packages():
        for name in ("training.config", "training.gpt_step", "training.pretrain"):
            importlib.import_module(f"megatron.bridge.{name}")
        importlib.import_module("megatron.bridge.models.mamba.mamba_provider")


def import_megatron_lm(kind: str, checkout: str) -> None:
    """The checkout's modules, as ``bridge_args.verify.megatron_lm`` imports them."""
    from bridge_args.emulation import device, placeholders
    from bridge_args.verify import megatron_lm

    compiled = megatron_lm._compiled_index_builder()
    sys.dont_write_bytecode = True
    device.install(transformer_engine=kind == "te", apex_layer_norm=kind == "apex")
    megatron_lm._take_from(Path(checkout))
    with placeholders.absent_packages():
        if compiled is not None:
            megatron_lm._load_index_builder(compiled)
        device.prepare_megatron_core()
        megatron_lm._without_nvcc()
        megatron_lm._children_without_the_program()
        for name in ("pretrain_gpt", "pretrain_mamba"):
            importlib.import_module(name)


def answer(program: str, checkout: str, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Forks the processes of a run and waits for them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    children = []
    for rank in range(job["nproc"]):
        child = os.fork()
        if child == 0:
            broken = True
            try:
                os.setsid()
                broken = work(program, checkout, job, folder, rank, port)
            finally:
                os._exit(int(broken))
        children.append(child)
    _wait(children)
    for child in children:  # what it has spawned to write a checkpoint outlives it
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    told = [json.loads(path.read_text()) for path in sorted(folder.glob("rank*.json"))]
    failed = sorted((entry for entry in told if entry["error"]), key=lambda entry: entry["time"])
    last = [entry for entry in told if entry["rank"] == job["nproc"] - 1]
    steps = last[0]["steps"] if last else 0
    result = {"steps": steps, **{name: last[0][name] if last else None for name in ("loss", "rate", "iteration")}}
    if failed:
        return {**result, "error": failed[0]["error"], "where": failed[0]["where"]}
    return (
        result if len(told) == job["nproc"] else {**result, "error": "a process died without a word, or took too long"}
    )


def _wait(children: list[int]) -> None:
    """Until all have ended; after the first error the others are given a moment."""
    until = time.monotonic() + PATIENCE
    left = set(children)
    while left and time.monotonic() < until:
        for child in list(left):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                left.discard(child)
                if status:
                    until = min(until, time.monotonic() + 20)
        select.select([], [], [], 0.02)
    for child in left:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)


def work(program: str, checkout: str, job: dict[str, Any], folder: Path, rank: int, port: str) -> bool:
    """One process of a run; what came of it is left in a file. Says whether it failed."""
    entry: dict[str, Any] = {
        "rank": rank,
        "steps": 0,
        "loss": None,
        "rate": None,
        "iteration": 0,
        "error": "",
        "where": "",
        "time": 0.0,
    }

    def receive(record: Mapping[str, Any]) -> None:
        if "split" not in record:
            entry.update(steps=entry["steps"] + 1, loss=record["lm_loss"])
            entry.update(rate=record["learning_rate"], iteration=record["iteration"])

    os.environ.update({**job["env"], "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(job["nproc"])})
    os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "LOCAL_WORLD_SIZE": str(job["nproc"])})
    os.chdir(folder)
    try:
        (train_bridge if program == "bridge" else train_megatron_lm)(checkout, job, receive)
    except SystemExit as exit_:
        entry["error"] = "" if exit_.code in (None, 0) else f"it exited with {exit_.code}"
    except BaseException as error:
        entry.update(error=_words(error), where=_where(error))
        if os.environ.get("STAGE_LOUD"):
            importlib.import_module("traceback").print_exc()
    entry["time"] = time.time()
    (folder / f"rank{rank}.json").write_text(json.dumps(entry))
    return bool(entry["error"])


def train_bridge(checkout: str, job: dict[str, Any], receive: Any) -> None:
    from bridge_args.training import added, container, loop
    from bridge_args.training.record import record

    if job["unchecked"]:
        setattr(container.choices, "wrong", lambda *_: ())
        setattr(container.checkpoint_rules, "broken", lambda *_: ())
    config = container.load(job["config"])
    record(receive)
    loop.pretrain(config, added.Added(), [loop.stop_after(job["steps"])])


def train_megatron_lm(checkout: str, job: dict[str, Any], receive: Any) -> None:
    from bridge_args.emulation import placeholders
    from bridge_args.verify import megatron_lm

    class Nobody:
        def built(self, *words: Any) -> None: ...
        def program(self, *words: Any) -> None: ...

    with placeholders.absent_packages():
        megatron_lm.record(receive)
        megatron_lm._hand_over(Nobody(), job["steps"])  # type: ignore[arg-type]  # only what is called of a watcher
        sys.argv = [str(Path(checkout, job["program"])), *job["argv"]]
        runpy.run_path(sys.argv[0], run_name="__main__")


def _words(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text[:600]


def _where(error: BaseException) -> str:
    """``core/transformer/attention.py __init__`` for the innermost frame in ``megatron``."""
    traceback = importlib.import_module("traceback")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/megatron/" in frame.filename]
    return f"{frames[-1].filename.rsplit('/megatron/', 1)[-1]} {frames[-1].name}" if frames else ""


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(*sys.argv[1:4])
