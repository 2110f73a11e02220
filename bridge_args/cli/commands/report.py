"""``bridge-args report``."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from bridge_args.cli import options as shared
from bridge_args.cli.command import Command
from bridge_args.cli.given import reported, translation_of
from bridge_args.cli.streams import coloured, write


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", choices=shared.REPORTS, default="text", help="default: text")
    command.add_argument("-o", "--output", metavar="FILE", help="write the report here")


def run(options: argparse.Namespace) -> int:
    translation = translation_of(options)
    in_colour = options.output is None and coloured(sys.stdout)
    write(reported(translation, options, options.format, in_colour), options.output)
    return 1 if translation.errors or (options.strict and (translation.number_losses or translation.doubts)) else 0


COMMAND: Final = Command("report what becomes of every flag", run, add_options, from_source=True)
