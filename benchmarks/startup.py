"""Start-up time of ``bridge-args``: what a small translation costs, next to a Python that does nothing.

    python benchmarks/startup.py [--runs 30] [--against translate_mlm_to_bridge.py]

All programs run in turn, so that a busy machine is as bad for one as for another. Time is that of the processor, which
other programs change less than that of the clock. ``ratio`` is to ``python -c pass`` in the same environment.
``--against`` is NVIDIA's ``scripts/translate_mlm_to_bridge.py`` from a Megatron Bridge checkout (v0.4 or newer), which
gets the same arguments: those of ``examples/01_one_command/train.sh``.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "examples" / "01_one_command" / "train.sh"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--runs", type=int, default=30)
    options = parser.parse_args()

    programs = _programs(options.against and options.against.resolve())
    os.chdir(ROOT)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for words in programs.values():
        seconds(words)  # bytecode is written, files are in memory
    for _ in range(options.runs):
        for name, words in programs.items():
            times[name].append(seconds(words))

    nothing = statistics.median(processor for processor, _ in times["python -c pass"])
    print(f"{'median of ' + str(options.runs) + ' runs':<24} processor    clock    ratio")
    for name, measured in times.items():
        processor, clock = (statistics.median(values) for values in zip(*measured, strict=True))
        print(f"{name:<24} {1e3 * processor:6.1f} ms {1e3 * clock:5.1f} ms {processor / nothing:8.2f}")


def _programs(against: Path | None) -> dict[str, list[str]]:
    from bridge_args.source.read import from_file

    argv = [word.text for word in from_file(str(SCRIPT)).command.argv]
    ours = [sys.executable, "-m", "bridge_args"]
    translate = [*ours, "translate", "--format", "overrides", "--world-size", "8"]
    programs = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "--version": [*ours, "--version"],
        "translate -- ARGUMENTS": [*translate, "--", *argv],
        "translate SCRIPT": [*translate, str(SCRIPT)],
    }
    if against is not None:
        programs[against.name] = [sys.executable, str(against), "--args", shlex.join(argv)]
    return programs


def seconds(words: list[str]) -> tuple[float, float]:
    """Of one run: on the processor, and by the clock."""
    # Installed programs have their bytecode; a variable that forbids it is not part of what is measured.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    start = time.perf_counter()
    _, status, used = os.wait4(os.posix_spawn(words[0], words, env, file_actions=quiet), 0)
    if status:
        raise SystemExit(f"{shlex.join(words)} failed")
    return used.ru_utime + used.ru_stime, time.perf_counter() - start


if __name__ == "__main__":
    main()
