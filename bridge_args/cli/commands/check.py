"""``bridge-args check``."""

from __future__ import annotations

import argparse
from typing import Final

from bridge_args.cli import options as shared
from bridge_args.cli.command import Command
from bridge_args.cli.streams import say
from bridge_args.mapping.check import check
from bridge_args.pairs.pairs import chosen_versions


def run(options: argparse.Namespace) -> int:
    problems = check(chosen_versions(options.megatron_lm, options.bridge))
    for problem in problems:
        say(problem)
    return 1 if problems else 0


COMMAND: Final = Command("check the mapping tables against catalogs and schemas", run, shared.none, takes_words=False)
