"""Start-up time of ``bridge-args translate`` against another translator, in alternating runs.

    python benchmarks/startup.py --against translate_mlm_to_bridge.py [--runs 30]

``--against`` is NVIDIA's ``scripts/translate_mlm_to_bridge.py`` from a Megatron Bridge checkout (v0.4 or newer).
Both get the same arguments, those of ``examples/01_one_command/train.sh``. Prints both medians and their ratio.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", required=True, type=Path)
    parser.add_argument("--runs", type=int, default=30)
    options = parser.parse_args()

    from bridge_args.source.read import from_file

    argv = [word.text for word in from_file(str(ROOT / "examples" / "01_one_command" / "train.sh")).command.argv]
    ours = [sys.executable, "-m", "bridge_args", "translate", "--format", "overrides", "--world-size", "8", "--", *argv]
    theirs = [sys.executable, str(options.against), "--args", shlex.join(argv)]

    # Installed programs have their bytecode; a variable that forbids it is not part of what is measured.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for command in (ours, theirs):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, env=env)

    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(options.runs):
        for name, command in (("ours", ours), ("theirs", theirs)):
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, env=env)
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        print(f"{name:>7}: median {1e3 * medians[name]:.1f} ms, fastest {1e3 * min(values):.1f} ms, {len(values)} runs")
    print(f"ratio of medians, ours to theirs: {medians['ours'] / medians['theirs']:.2f}")


if __name__ == "__main__":
    main()
