"""Start-up time of the drop-in against a hand-written Bridge script (``by_hand.py``) with the same configuration.

    python benchmarks/launch.py [--runs 15]

Both are run in turns, on one process, from the start of the process to the log line of the first iteration: on a GPU
if there is one, else both under the CPU emulation. Wall time says what a user waits; on a machine that others use as
well, CPU time (user and system, of the process and its children) says more. First it is checked that the two
configurations are the same.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
WORDS = (
    "--transformer-impl local --no-gradient-accumulation-fusion --no-persist-layer-norm --num-layers 2 "
    "--hidden-size 64 --num-attention-heads 4 --seq-length 64 --max-position-embeddings 64 --mock-data "
    "--tokenizer-type NullTokenizer --vocab-size 1023 --micro-batch-size 2 --global-batch-size 4 --train-iters 2 "
    "--eval-iters 0 --eval-interval 1000 --log-interval 1 --lr 1e-3 --swiglu --disable-bias-linear "
    "--normalization RMSNorm --position-embedding-type rope --no-rope-fusion --untie-embeddings-and-output-weights "
    "--bf16"
).split()
COMMANDS = {
    "drop-in": [sys.executable, "-m", "bridge_args.pretrain_gpt", *WORDS],
    "by hand": [sys.executable, str(HERE / "by_hand.py")],
}

# Prints where the two configurations differ, as JSON. Run in a process of its own.
COMPARE = """
import json, sys
import by_hand
with by_hand.prepare():
    import megatron.bridge.training.pretrain
import bridge_args
from bridge_args.training import container
from bridge_args.emulation import adapt
translated = bridge_args.to_run_config(bridge_args.translate(json.loads(sys.argv[1]), world_size=1, env={}))
if len(sys.argv) > 2:
    translated, _ = adapt.adapt(translated)
ours, theirs = container.load(translated).to_dict(), by_hand.config().to_dict()
def differing(a, b, path=""):
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b}):
            yield from differing(a.get(key), b.get(key), f"{path}.{key}" if path else key)
    elif a != b:
        yield [path, str(a), str(b)]
json.dump(list(differing(ours, theirs)), sys.stdout)
"""


class Run(NamedTuple):
    """Seconds from the start of the process to its first iteration, and what that iteration says."""

    wall: float
    cpu: float
    losses: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    env = environment()
    if differences := compared(env):
        print("the configurations differ:", *differences, sep="\n  ")
        return 1
    for command in COMMANDS.values():  # warms up: bytecode, files in memory
        run(command, env)
    runs: dict[str, list[Run]] = {name: [] for name in COMMANDS}
    for index in range(options.runs):
        names = list(COMMANDS) if index % 2 else list(reversed(COMMANDS))
        for name in names:
            runs[name].append(run(COMMANDS[name], env))
    said = {one.losses for several in runs.values() for one in several}
    if len(said) > 1:
        print("the first iterations differ:", *sorted(said), sep="\n  ")
        return 1
    report(runs)
    return 0


def environment() -> dict[str, str]:
    """That of this process; installed programs have their bytecode, so nothing forbids it."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= {"CUDA_DEVICE_MAX_CONNECTIONS": "1", "PYTHONUNBUFFERED": "1"}
    env |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost"}
    env["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), str(HERE)])
    if shutil.which("nvidia-smi") is None:
        env["BRIDGE_ARGS_CPU"] = "1"
    return env


def compared(env: dict[str, str]) -> list[str]:
    """What differs between the two configurations."""
    emulated = ["emulated"] if "BRIDGE_ARGS_CPU" in env else []
    command = [sys.executable, "-c", COMPARE, json.dumps(WORDS), *emulated]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    return [f"{path}: {ours} in the drop-in, {theirs} by hand" for path, ours, theirs in found]


def run(command: list[str], env: dict[str, str]) -> Run:
    env = {**env, "MASTER_PORT": free_port()}
    start = time.perf_counter()
    process = subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "iteration        1/" in line:
            wall, cpu = time.perf_counter() - start, cpu_seconds(process.pid)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return Run(wall, cpu, line.split("| learning rate", 1)[1].split("| number of skipped")[0])
    raise SystemExit("".join(said[-30:]))


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return str(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """User and system time of a living process and of its children, dead or alive."""
    ticks = 0
    processes = [pid]
    while processes:
        current = processes.pop()
        fields = Path(f"/proc/{current}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime; proc(5)
        for task in Path(f"/proc/{current}/task").iterdir():
            processes += map(int, (task / "children").read_text().split())
    return ticks / os.sysconf("SC_CLK_TCK")


def report(runs: dict[str, list[Run]]) -> None:
    for what in ("wall", "cpu"):
        seconds = {name: [getattr(one, what) for one in several] for name, several in runs.items()}
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        for name, values in seconds.items():
            least, runs_ = min(values), len(values)
            print(f"{what:>4} time, {name}: median {medians[name]:.3f} s, least {least:.3f} s, {runs_} runs")
        least_ratio = min(seconds["drop-in"]) / min(seconds["by hand"])
        ratio = medians["drop-in"] / medians["by hand"]
        print(f"{what:>4} time, drop-in to by hand: {ratio:.4f} of medians, {least_ratio:.4f} of the least")


if __name__ == "__main__":
    sys.exit(main())
