"""Processes of our own: nothing foreign runs in them, and none outlives the one that has started it (``begin.py``)."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from bridge_args.begin import importable

BEGIN: Final = Path(__file__).with_name("begin.py")


def command(module: str, *words: str) -> list[str]:
    """The command of a fresh interpreter that runs a module; ``environment`` has to go with it."""
    options = ["-I", "-B"] if sys.dont_write_bytecode else ["-I"]
    return [sys.executable, *options, str(BEGIN), module, *words]


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables for such a command, made of those that the process is to have.

    ``PYTHON*`` goes, except folders of ``PYTHONPATH`` by their whole paths, for processes that a library starts.
    """
    folders = variables.get("PYTHONPATH", "").split(os.pathsep)
    made = {name: value for name, value in variables.items() if not name.startswith("PYTHON")}
    made["BRIDGE_ARGS_PATH"] = os.pathsep.join(importable(folders))
    made["BRIDGE_ARGS_PARENT"] = str(os.getpid())
    made["PYTHONSAFEPATH"] = "1"
    if path := os.pathsep.join(filter(os.path.isabs, folders)):
        made["PYTHONPATH"] = path
    return made


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within this, a signal that ends the process lets it clean up first: folders for the moment go, children end.

    SIGKILL cannot be caught; the children see to themselves then.

    Raises:
        SystemExit: such a signal has come; the code is what a shell says of it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    numbers = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
