"""``bridge-args audit``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Final

from bridge_args.audit import run as runs
from bridge_args.audit import summary
from bridge_args.cli import options as shared
from bridge_args.cli.command import Command
from bridge_args.cli.given import asked_of
from bridge_args.cli.streams import write
from bridge_args.emit import sarif
from bridge_args.errors import UserError
from bridge_args.pairs.pairs import chosen_versions


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("sources", nargs="+", metavar="DIR|FILE", help="scripts, YAML files; folders are searched")
    command.add_argument("--format", choices=("text", "json", "sarif"), default="text", help="default: text")
    command.add_argument("-o", "--output", metavar="FILE", help="write the result here, whole or not at all")
    command.add_argument("--jobs", type=shared.positive, metavar="N", help="processes; default: one a core")
    command.add_argument(
        "--timeout", type=shared.positive, metavar="SECONDS", default=60, help="for one file; default: 60"
    )
    shared.common(command)


def run(options: argparse.Namespace) -> int:
    chosen_versions(options.megatron_lm, options.bridge)
    told = runs.Bar(sys.stderr) if sys.stderr.isatty() else runs.silent
    try:
        result = runs.audit(options.sources, asked_of(options), jobs=options.jobs, timeout=options.timeout, told=told)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from error
    if options.format == "json":
        write(json.dumps(result, indent=1) + "\n", options.output)
    elif options.format == "sarif":
        write(json.dumps(sarif.log(summary.results_of(result)), indent=1) + "\n", options.output)
    else:
        write(summary.text_of(result), options.output)
    searched = any(map(os.path.isdir, options.sources))
    return 1 if summary.has_problems(result, strict=options.strict, searched=searched) else 0


COMMAND: Final = Command("translate many scripts and YAML files, and sum up", run, add_options, takes_words=False)
