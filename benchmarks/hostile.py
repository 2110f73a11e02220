"""Hostile inputs through every command, each in a process with limits: how many hang, burst or crash.

    python benchmarks/hostile.py [--only PART] [FOLDER ...]

Without folders, inputs made here. A folder's files ending in ``.sh`` and ``.yaml`` are sources too. Exit 1 where one
of the counts is not 0.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS, MEGABYTES = 10, 1024
SMALL = (
    "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 64 --max-position-embeddings 64 "
    "--micro-batch-size 1 --global-batch-size 1 --train-iters 1 --lr 1e-4 --mock-data --tokenizer-type NullTokenizer "
    "--vocab-size 128 --bf16 --eval-interval 1"
).split()
LINE = "torchrun --nproc-per-node 1 pretrain_gpt.py " + " ".join(SMALL)
COMMANDS = (("translate",), ("report",), ("report", "--format", "json"), ("report", "--format", "html"), ("validate",))


def argument_lists() -> Iterator[tuple[str, list[str]]]:
    """Names and words that are put behind a good command line; a word is at most what the system takes (128 kB)."""
    most = 120_000
    yield "sum of repeats", ["--num-experts", "2", "--moe-layer-freq", "[0]*1000000" + "+[0]*1000000" * 60]
    yield "sum of ones", ["--num-experts", "2", "--moe-layer-freq", "+".join(["[0]"] * 25_000)]
    yield "a million layers", ["--num-experts", "2", "--moe-layer-freq", "[0]*1000000"]
    yield "nested lists", ["--num-experts", "2", "--moe-layer-freq", "[" * 50_000 + "]" * 50_000]
    yield "stars", ["--num-experts", "2", "--moe-layer-freq", "[" + "*[0]*999999," * 5000 + "]"]
    yield "power", ["--num-experts", "2", "--moe-layer-freq", "[0]*9**9**9"]
    for name in ("--no-rope-freq", "--linear-attention-freq", "--window-attn-skip-freq"):
        yield name, [name, "[0]*1000000" + "+[0]*1000000" * 60]
    for layout in ("Et*999999999|L", "E(t|)*99999999L", "(((((" * 20_000, "E" + "t*9" * 30_000, "(t*9)*9" * 10_000):
        yield f"layout {layout[:12]}", ["--pipeline-model-parallel-layout", layout]
        yield f"hybrid {layout[:12]}", ["--hybrid-override-pattern", layout]
    yield "unknown flags", [f"--unknown-{number}-{'x' * (number % 50)}" for number in range(20_000)]
    yield "near flags", [f"--num-layer{chr(97 + number % 26)}{number}" for number in range(20_000)]
    yield "stray words", ["word"] * 100_000
    yield "long words", ["x" * most] * 15
    yield "long flags", ["--" + "num-layers-" * 10_000] * 10
    yield "the same flag", ["--lr", "1e-4"] * 100_000
    for number in ("9" * 4000, "9" * most, "1e400", "-1e400", "nan", "inf", "-0", "1e-400", "0x10", "1_0", "٣", " 5 "):
        yield f"number {number[:8]}", ["--hidden-size", number]
        yield f"number {number[:8]} as a rate", ["--lr", number]
        yield f"number {number[:8]} of iterations", ["--train-iters", number]
    yield "numbers", ["--seq-length", "9" * 300, "--hidden-size", "9" * 300, "--num-attention-heads", "9" * 299]
    yield "json", ["--heterogeneous-layers-config-encoded-json", "[" * 100_000]
    yield (
        "json of numbers",
        ["--heterogeneous-layers-config-encoded-json", '{"num_hidden_layers": ' + "9" * 100_000 + "}"],
    )
    yield "json of names", ["--heterogeneous-layers-config-encoded-json", '{"block_configs": [{"attention": {}}]}']
    yield "data", ["--data-path", *["0.5", "/d/x"] * 50_000]
    yield "escapes", ["--save", "/x\x1b[31m\x1b]0;t\x07\u202e\u2066\x85\x9b31m", "--save-interval", "1"]
    yield "bytes", ["--save", b"/x\xff\xfe\x80".decode("utf-8", "surrogateescape"), "--save-interval", "1"]
    yield "interpolations", ["--save", "${oc.env:HOME}" * 5000, "--save-interval", "1"]
    yield "quotes", ["--save", "'\"$`\\" * 20_000, "--save-interval", "1"]
    yield "secrets", ["--x-api-key=" + "A_KEY=" * 15_000, "https://u:" * 10_000]
    for flag in ("--data-args-path", "--per-split-data-args-path", "--per-dataset-sequences-path", "--yaml-cfg"):
        for file in (
            "/dev/zero",
            "/dev/stdin",
            "pipe",
            ".",
            "hole",
            "bytes",
            "deep.json",
            "deep.yaml",
            "bomb.yaml",
            "x\n",
        ):
            yield f"{flag} {file}", [flag, file, "--split", "1,0,0"]


def sources(folder: Path) -> Iterator[Path]:
    """Files that are sources, and files that words above name."""
    os.mkfifo(folder / "pipe")
    with (folder / "hole").open("wb") as file:
        file.truncate(10 << 30)
    (folder / "bytes").write_bytes(bytes(range(256)) * 1000)
    (folder / "deep.json").write_text("[" * 1_000_000)
    texts = {
        "deep.yaml": "a: " + "[" * 100_000,
        "deep2.yaml": "MODEL_ARGS:\n" + "".join(f"{' ' * n}a:\n" for n in range(1, 3000)),
        "bomb.yaml": "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True)),
        "model_bomb.yaml": "x0: &x0 {--lr: 1}\n"
        + "".join(f"x{n}: &x{n} [*x{n - 1}, *x{n - 1}]\n" for n in range(1, 60))
        + "MODEL_ARGS: *x59\n",
        "numbers.yaml": "MODEL_ARGS:\n  --num-layers: " + "9" * 100_000 + "\n",
        "escapes.sh": LINE + " --save '\x1b[31m\u202e' --save-interval 1\n",
        "nul.sh": "source a\0b\n" + LINE + "\n",
        "nul_word.sh": LINE + " --data-args-path $'a\\0b'\n",
        "long_line.sh": LINE + " " + "--lr 1e-4 " * 45_000 + "\n",
        "many_lines.sh": "X=1\n" * 100_000 + LINE + "\n",
        "secrets.sh": "export A_KEY=abcd1234\n" * 10_000 + LINE + "\n",
        "comment.sh": "#" * 400_000 + "\n" + LINE + "\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    yield from (folder / name for name in (*texts, "pipe", "hole", "bytes", "deep.json"))


def limits() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES << 20, MEGABYTES << 20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 20, 256 << 20))


def outcome(words: list[str], folder: Path) -> tuple[str, float]:
    """What became of a command: ``done``, ``refused``, ``hang``, ``memory``, ``traceback``, ``signal``, ``raw``."""
    start = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bridge_args", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS * 12,  # of waiting; what counts is the time of the processor
            preexec_fn=limits,
        )
    except subprocess.TimeoutExpired:
        return "hang", time.monotonic() - start
    except OSError as error:  # more words than the system takes
        return f"not started ({error.strerror})", 0.0
    took = time.monotonic() - start
    if done.returncode < 0:
        return "signal", took
    if b"Traceback" in done.stderr:
        return "traceback", took
    if b"MemoryError" in done.stderr:
        return "memory", took
    if b"\x1b" in done.stderr or "\u202e".encode() in done.stderr or (words[0] == "report" and b"\x1b" in done.stdout):
        return "raw", took
    return ("done", "refused", "wrong use")[done.returncode] if done.returncode in (0, 1, 2) else "signal", took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", metavar="FOLDER")
    parser.add_argument("--only", default="", metavar="PART", help="of the names of inputs")
    parser.add_argument("--commands", type=int, default=2, metavar="N", help="how many of the commands; default: 2")
    options = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = [(str(path.name), [str(path)]) for path in sources(folder)]
        runs += [(what, ["--", *SMALL, *words]) for what, words in argument_lists()]
        if options.folders:
            found = [path for one in options.folders for path in sorted(Path(one).resolve().rglob("*"))]
            runs = [(str(path), [str(path)]) for path in found if path.suffix in (".sh", ".yaml", ".sbatch")]
        for what, words in runs:
            if options.only not in what:
                continue
            for command in COMMANDS[: options.commands]:
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                result, took = outcome([*command, *words], folder)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                if used > SECONDS and result in ("done", "refused", "wrong use"):
                    result = "slow"
                counts[result] += 1
                if result not in ("done", "refused", "wrong use"):
                    print(f"{result:10} {used:6.1f} s  {' '.join(command)}  {what}", flush=True)
    print(json.dumps(dict(counts)))
    return 0 if set(counts) <= {"done", "refused", "wrong use"} else 1


if __name__ == "__main__":
    sys.exit(main())
