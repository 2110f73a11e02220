"""Training processes of a rehearsal or a verification: started fresh, their records read as they come."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from bridge_args import children
from bridge_args.errors import UserError
from bridge_args.training import variables
from bridge_args.wording import counted

Device = Literal["auto", "cpu", "cuda"]


_GRACE: Final = 30.0  # seconds


class RehearsalError(UserError):
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
    own_folder: Path | None = None,
    doing: str = "training",
) -> Iterator[dict[str, Any]]:
    """Starts ``nproc`` processes of a module in the working directory and yields what they report, as it comes.

    Args:
        module: takes the plan's file as its argument (``bridge_args.training.process``).
        of_the_run: environment variables of the run, from the user's script; some do not get there (``variables.py``).
        emulate: the processes see no GPU.
        log: file for what the training code prints; None: a temporary one.
        own_folder: where libraries write; None: where they do in a run.
        doing: what an error says has stopped.

    Raises:
        RehearsalError: it stopped with an error; with its own message and where it was raised.
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
                env=_environment(of_the_run, emulate, own_folder),
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
                    _end(process)
                process.stdout.close()
        if failure is not None:
            where = f" (at {failure['where']})" if failure["where"] else ""
            raise RehearsalError(f"{doing} stopped: {failure['error']}{where}", code or 1)
        if code:
            raise RehearsalError(
                f"{doing} stopped with exit code {code}; last lines of its log:\n{_tail(log_file)}", code
            )


def _end(process: subprocess.Popen[str]) -> None:
    """A launcher is given time to end its ranks; they end with it, whatever it does."""
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


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
            f"{counted(nproc, 'process')} need {counted(nproc, 'GPU')}, and this machine has {gpus}; "
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
    program = children.command(module, str(plan_file))
    if nproc == 1 and emulate:  # which says itself what a launcher would
        return program
    # A rank is a whole command: torchrun's own way to start Python would look for modules in the current folder.
    launcher = ["--standalone", "--nproc-per-node", str(nproc), "--no-python"]
    return [*children.command("torch.distributed.run", *launcher), *program]


def _environment(of_the_run: Mapping[str, str], emulate: bool, own_folder: Path | None = None) -> dict[str, str]:
    """This process's environment without a launcher's variables, with those of the run that may be passed on."""
    folder = None if own_folder is None else str(own_folder.resolve() / "libraries")
    environment = variables.of_this_session(os.environ, folder) | variables.passed_on(of_the_run)
    if emulate:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return children.environment(environment)


def _entry(line: str) -> dict[str, Any] | None:
    """A record; None for anything else a library writes to the real stdout."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _tail(log_file: Path, lines: int = 15) -> str:
    return "\n".join(f"    {line}" for line in log_file.read_text(errors="replace").splitlines()[-lines:])
