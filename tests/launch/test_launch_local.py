"""Signals go to the command, its exit code comes back, and a run that fails ends with what ended it."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small import TRAINED

ROOT = Path(__file__).resolve().parents[2]
# Stands in for the launcher: says what it got, and ends as it is told.
CHILD = """\
import os, signal, sys, time
from pathlib import Path

told = Path(sys.argv[1])

def note(number, frame):
    with told.open("a") as file:
        file.write(signal.Signals(number).name + "\\n")
    if number == signal.SIGTERM:
        sys.exit(7)

for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP"):
    signal.signal(getattr(signal, name), note)
told.write_text("")
while True:
    time.sleep(0.05)
"""
STARTER = """\
import os, sys
from bridge_args.launch.executors.local import Local, run
sys.exit(run(Local((sys.executable, *sys.argv[1:]), {}), os.environ, lambda text: print(text, file=sys.stderr)))
"""


def starter(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STARTER, *words], cwd=ROOT, text=True, stderr=subprocess.PIPE, env=dict(os.environ)
    )


def until(condition: object, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def child(tmp_path: Path) -> tuple[Path, Path]:
    """A program, and the file it writes signals into."""
    program = tmp_path / "child.py"
    program.write_text(CHILD)
    return program, tmp_path / "told"


def test_signals_reach_the_command_once_and_its_exit_code_comes_back(child: tuple[Path, Path]) -> None:
    program, told = child
    process = starter(str(program), str(told))
    until(told.exists)
    names = ["SIGUSR1", "SIGUSR2", "SIGINT", "SIGHUP", "SIGTERM"]
    for count, name in enumerate(names, start=1):
        process.send_signal(getattr(signal, name))
        until(lambda count=count: len(told.read_text().split()) == count)  # type: ignore[misc]
    assert process.wait(20) == 7
    assert told.read_text().split() == names


def test_death_by_a_signal_is_128_and_its_number(tmp_path: Path) -> None:
    process = starter("-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGKILL
    assert "exit code 137" in said


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's own")
def test_when_it_is_killed_the_command_is_told_to_end(child: tuple[Path, Path]) -> None:
    program, told = child
    process = starter(str(program), str(told))
    until(told.exists)
    process.kill()
    process.communicate(timeout=20)
    until(lambda: told.read_text() == "SIGTERM\n")


def test_what_ended_a_rank_is_said_last() -> None:
    rank = (
        "import os; from bridge_args.drop_in.errors import reported\nwith reported({**os.environ, 'RANK': '3'}): 1 / 0"
    )
    process = starter("-c", rank)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    last = said[said.index("the run ended with exit code 1") :]
    assert "rank 3 failed first: ZeroDivisionError: division by zero" in last and "Traceback" not in last


def test_success_is_silent() -> None:
    process = starter("-c", "pass")
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "")


@pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron.bridge is not installed")
@pytest.mark.parametrize(
    ("ranks", "more", "code"), [(2, "", 0), (1, "--lr 1e38 --train-iters 5", 1)], ids=["trains", "fails"]
)
def test_a_script_is_trained_on_bridge(ranks: int, more: str, code: int, tmp_path: Path) -> None:
    script = tmp_path / "train.sh"
    script.write_text(
        "export BRIDGE_ARGS_CPU=1\nexport CUDA_DEVICE_MAX_CONNECTIONS=1\n"
        f"torchrun --standalone --nproc-per-node {ranks} pretrain_gpt.py {' '.join(TRAINED)} {more}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "bridge_args", "launch", "train.sh"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == code, done.stderr[-3000:]
    if code:
        last = done.stderr[done.stderr.index("the run ended with exit code 1") :].splitlines()
        assert last[1] == "rank 0 failed first: RuntimeError: value cannot be converted to type float without overflow"
        assert "megatron" in done.stderr[done.stderr.index(last[1]) :] and len(last) < 8
    else:
        assert "iteration        2/       2" in done.stdout + done.stderr
