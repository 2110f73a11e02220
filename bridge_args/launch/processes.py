"""Training processes of a rehearsal or a verification: started fresh, their records read as they come."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Protocol

Device = Literal["auto", "cpu", "cuda"]

# What a launcher tells its processes; a rehearsal started from inside one must not inherit it.
_LAUNCHER_VARIABLES: Final = (
    "RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE GROUP_RANK MASTER_ADDR MASTER_PORT "
    "SLURM_NTASKS SLURM_PROCID SLURM_LOCALID"
).split()


class RehearsalError(Exception):
    """The processes cannot be started, or the training stopped with an error; the message is for the user.

    Attributes:
        code: exit code of the training process; 1 when there was none.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class Plan(Protocol):
    """What a process runs, as a file that it reads."""

    def write(self, path: Path) -> None: ...


def records(
    module: str,
    plan: Plan,
    nproc: int,
    of_the_run: Mapping[str, str],
    *,
    emulate: bool,
    log: Path | None = None,
) -> Iterator[dict[str, Any]]:
    """Starts ``nproc`` processes of a module in the working directory and yields what they report, as it comes.

    Args:
        module: takes the plan's file as its argument (``bridge_args.launch.train``).
        of_the_run: environment variables of the run, from the user's script.
        emulate: the processes see no GPU.
        log: file for what the training code prints; None: a temporary one.

    Raises:
        RehearsalError: the training stopped with an error; with its own message and where it was raised.
    """
    with tempfile.TemporaryDirectory(prefix="bridge-args-") as folder:
        plan_file = Path(folder, "plan.json")
        plan.write(plan_file)
        log_file = log or Path(folder, "log")
        failure: dict[str, Any] | None = None
        with log_file.open("w") as printed:
            process = subprocess.Popen(
                _command(module, plan_file, nproc, emulate),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=printed,
                text=True,
                env=_environment(of_the_run, emulate),
            )
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    entry = _entry(line)
                    if entry and "error" in entry:
                        failure = failure or entry  # the first rank to fail; the others only lose it
                    elif entry:
                        yield entry
                code = process.wait()
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
                process.stdout.close()
        if failure is not None:
            where = f" (at {failure['where']})" if failure["where"] else ""
            raise RehearsalError(f"training stopped: {failure['error']}{where}", code or 1)
        if code:
            raise RehearsalError(f"training stopped with exit code {code}; its last words:\n{_tail(log_file)}", code)


def on_cpu(device: Device, nproc: int) -> bool:
    """Whether ``nproc`` processes run under the CPU emulation: asked for, or because no GPU is there.

    Raises:
        RehearsalError: there are GPUs, but fewer than processes; or none where they were asked for.
    """
    gpus = 0 if device == "cpu" else _gpus()
    if device == "cuda" and not gpus:
        raise RehearsalError("no GPU is visible to PyTorch; --device cpu runs the emulation")
    if gpus and gpus < nproc:
        raise RehearsalError(
            f"{nproc} processes want {nproc} GPUs and {gpus} are here; "
            "add --shrink to scale the run down to one, or --device cpu for the emulation"
        )
    return not gpus


def _gpus() -> int:
    """GPUs that PyTorch can use. It is asked only where there is a driver, since importing it takes seconds."""
    if not any(Path(path).exists() for path in ("/dev/nvidiactl", "/dev/dxg")):
        return 0
    cuda = importlib.import_module("torch").cuda
    return int(cuda.device_count()) if cuda.is_available() else 0


def _command(module: str, plan_file: Path, nproc: int, emulate: bool) -> list[str]:
    program = ["-m", module, str(plan_file)]
    if nproc == 1 and emulate:  # which says itself what a launcher would
        return [sys.executable, *program]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(nproc)]
    return [sys.executable, *launcher, *program]


def _environment(of_the_run: Mapping[str, str], emulate: bool) -> dict[str, str]:
    """This process's environment without a launcher's variables, with those of the run, and this package in reach."""
    environment = {name: value for name, value in os.environ.items() if name not in _LAUNCHER_VARIABLES}
    environment.update((name, value) for name, value in of_the_run.items() if name not in _LAUNCHER_VARIABLES)
    if emulate:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    package = str(Path(sys.modules["bridge_args"].__file__ or "").resolve().parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    return environment


def _entry(line: str) -> dict[str, Any] | None:
    """A record; None for anything else a library writes to the real stdout."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _tail(log_file: Path, lines: int = 15) -> str:
    return "\n".join(f"    {line}" for line in log_file.read_text(errors="replace").splitlines()[-lines:])
