"""``bridge-args completion``."""

from __future__ import annotations

import argparse
from typing import Final

from bridge_args.bridge import schema as schemas
from bridge_args.cli.command import Command
from bridge_args.cli.parser import parser_of
from bridge_args.cli.streams import write
from bridge_args.emit.completion import completion
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.pairs.pairs import chosen_versions


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("shell", choices=("bash", "zsh", "fish"), help="bash: source <(bridge-args completion bash)")


def run(options: argparse.Namespace) -> int:
    catalog = catalogs.load(chosen_versions(options.megatron_lm, options.bridge).megatron)
    flags = {flag: argument.choices or argument.members or () for flag, argument in catalog.by_flag.items()}
    values = {"--megatron-lm": catalogs.versions(), "--bridge": schemas.versions(), "explain": catalog.by_flag}
    write(completion(options.shell, parser_of(), flags, values), None)
    return 0


COMMAND: Final = Command("print a completion script for a shell", run, add_options, takes_words=False)
