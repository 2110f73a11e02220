"""Command lines a second: parse, resolve, map and write the run_config, in one process on one core.

    python benchmarks/translate.py --checkout MEGATRON_LM [--seconds 5]
    python benchmarks/translate.py --recorded command_lines.jsonl [--seconds 5]

``--checkout`` takes the command lines of the functional tests of a Megatron-LM checkout, ``--recorded`` those of a file
with a JSON object a line (``{"case": {"argv": [...], "world_size": 8, "env": {}, "entry": "pretrain_gpt.py"}}``).
Reading them is not timed. CPU seconds of this process are counted, so that other work on the machine matters little;
``--seconds`` is how many. Tables, catalog and schema are loaded before, and every command line is translated once.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bridge_args import steps
from bridge_args.emit import run_config
from bridge_args.files import read_file
from bridge_args.megatron_lm.resolvers import built_in
from bridge_args.source.read import from_file
from bridge_args.source.source import SourceError


class Case(NamedTuple):
    argv: list[str]
    world_size: int | None
    env: Mapping[str, str] | None
    program: str | None

    def run(self) -> None:
        t = steps.translate(self.argv, world_size=self.world_size, env=self.env, program=self.program, read=read_file)
        run_config.to_run_config(t)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, help="a Megatron-LM checkout")
    parser.add_argument("--recorded", type=Path, help="a file of recorded command lines")
    parser.add_argument("--seconds", type=float, default=5.0, help="CPU seconds to spend; default: 5")
    options = parser.parse_args()
    if options.checkout is None and options.recorded is None:
        parser.error("name command lines with --checkout or --recorded")
    cases = [
        *(from_checkout(options.checkout) if options.checkout else ()),
        *(from_recorded(options.recorded) if options.recorded else ()),
    ]
    for case in cases:
        case.run()
    gc.collect()
    gc.freeze()

    shares: dict[str, float] = defaultdict(float)
    rates = []
    begin = time.process_time()
    while time.process_time() - begin < options.seconds:
        start = time.process_time()
        for case in cases:
            case.run()
        rates.append(len(cases) / (time.process_time() - start))
    with timed(shares):
        start = time.process_time()
        for case in cases:
            case.run()
        total = time.process_time() - start

    rates.sort()
    print(f"{len(cases)} command lines, {len(rates)} rounds")
    print(
        f"{rates[len(rates) // 2]:.0f} command lines/s/core (median; slowest {rates[0]:.0f}, fastest {rates[-1]:.0f})"
    )
    for name, seconds in shares.items():
        print(f"{name:>8}: {100 * seconds / total:4.1f} %")
    print(f"{'rest':>8}: {100 * (total - sum(shares.values())) / total:4.1f} %")


@contextmanager
def timed(shares: dict[str, float]) -> Iterator[None]:
    """While it is open, the CPU seconds of each step are added up in ``shares``."""
    places: dict[str, tuple[Any, str]] = {
        "parse": (steps, "parse"),
        "resolve": (built_in, "resolve"),
        "map": (steps, "apply"),
        "emit": (run_config, "to_run_config"),
    }
    before = {name: getattr(module, function) for name, (module, function) in places.items()}
    for name, (module, function) in places.items():
        setattr(module, function, _measured(before[name], name, shares))
    try:
        yield
    finally:
        for name, (module, function) in places.items():
            setattr(module, function, before[name])


def _measured(function: Callable[..., Any], name: str, shares: dict[str, float]) -> Callable[..., Any]:
    def measured(*args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            shares[name] += time.process_time() - start

    return measured


def from_recorded(file: Path) -> list[Case]:
    cases = [json.loads(line)["case"] for line in file.read_text(encoding="utf-8").splitlines()]
    return [Case(case["argv"], case["world_size"], case["env"], case["entry"]) for case in cases]


def from_checkout(checkout: Path) -> list[Case]:
    cases = []
    for file in sorted((checkout / "tests" / "functional_tests" / "test_cases").rglob("model_config.yaml")):
        try:
            source = from_file(str(file))
        except SourceError:  # not GPT, not training, or several runs
            continue
        options = source.command.launcher_options
        world_size = int(options["nproc_per_node"]) * int(options["nnodes"])
        argv = [word.text for word in source.command.argv]
        cases.append(Case(argv, world_size, source.environment, source.command.program))
    return cases


if __name__ == "__main__":
    main()
