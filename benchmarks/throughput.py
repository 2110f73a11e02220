"""Tokens per second of Megatron-LM's own program and of Bridge, with the same kernels, in alternating runs on a GPU.

    python benchmarks/throughput.py --megatron-lm CHECKOUT [--rounds 3] [--steps 40] [SOURCE]

SOURCE is a launch script, by default ``examples/01_one_command/train.sh``, scaled down with ``--shrink``. Each round is
one ``bridge-args verify``, which runs one after the other. Prints both medians, their ratio, and the greatest relative
difference of the loss.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", default=str(ROOT / "examples" / "01_one_command" / "train.sh"))
    parser.add_argument("--megatron-lm", required=True, metavar="CHECKOUT")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--shrink", action="store_true", help="scale the model down to one GPU")
    options = parser.parse_args()

    command = [sys.executable, "-m", "bridge_args", "verify", options.source, "--megatron-lm", options.megatron_lm]
    command += ["--device", "cuda", "--format", "json", "--steps", str(options.steps)]
    command += ["--shrink"] * options.shrink
    speeds: list[tuple[float, float]] = []
    greatest = 0.0
    for number in range(1, options.rounds + 1):
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        if not done.stdout:
            raise SystemExit(done.returncode)
        found = json.loads(done.stdout)
        speeds.append(tuple(found["tokens_per_second"]))
        greatest = max(greatest, found["relative"]["lm_loss"])
        print(f"round {number}: {speeds[-1][0]:.0f} tokens/s, {speeds[-1][1]:.0f} tokens/s, {found['says']}")
    ours, theirs = (statistics.median(speed[side] for speed in speeds) for side in (1, 0))
    print(f"Megatron-LM {theirs:.0f} tokens/s, Bridge {ours:.0f} tokens/s, ratio of medians {ours / theirs:.3f}")
    print(f"greatest relative difference of the loss: {greatest:.3g}")


if __name__ == "__main__":
    main()
