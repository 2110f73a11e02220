"""The functional tests of a checkout of Megatron-LM: the command lines that it trains itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bridge_args.megatron_lm.parse import parse
from bridge_args.megatron_lm.resolvers import of_checkout
from bridge_args.script.command import world_size_of
from bridge_args.source.read import from_file
from bridge_args.source.source import Source, SourceError


def functional_tests(checkout: str) -> Iterator[tuple[str, Source, int]]:
    """Every training run of the checkout's own functional tests, with a number of GPUs that its parallel sizes fit."""
    for file in sorted((Path(checkout) / "tests" / "functional_tests" / "test_cases").glob("*/*/model_config.yaml")):
        if file.parts[-3] not in ("gpt", "moe", "mixtral"):  # others are of other programs
            continue
        name = f"{file.parts[-3]}/{file.parts[-2]}"
        runs: Sequence[int | None] = [None]
        try:
            from_file(str(file))
        except SourceError as problem:
            runs = range(1, (problem.commands or 0) + 1)  # none for a run of inference
        for number in runs:
            source = from_file(str(file), number=number)
            if Path(source.command.program or "").name == "pretrain_gpt.py":
                yield f"{name}#{number or 1}", source, gpus_of(source, checkout)


def gpus_of(source: Source, checkout: str) -> int:
    given = parse(source.command.argv, of_checkout.catalog_of(checkout, "pretrain_gpt.py")).values
    sizes = [given.get(f"{kind}_model_parallel_size", 1) for kind in ("tensor", "pipeline")]
    return world_size_of(source.command) or max(8, math.prod([*map(int, map(str, sizes)), *context_of(given)]))


def context_of(given: Mapping[str, object]) -> list[int]:
    return [size for size in [given.get("context_parallel_size", 1)] if isinstance(size, int)]
