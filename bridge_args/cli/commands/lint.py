"""``bridge-args lint``."""

from __future__ import annotations

import argparse
import json
from typing import Final

from bridge_args import lint
from bridge_args.cli.command import Command
from bridge_args.cli.streams import say, write
from bridge_args.pairs.pairs import bridge_version
from bridge_args.secrets import masked
from bridge_args.seen import visible_lines
from bridge_args.wording import counted


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="a run_config.yaml of Bridge's, or another YAML of its settings")
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def run(options: argparse.Namespace) -> int:
    version = bridge_version(options.bridge)
    problems = lint.lint(options.file, version)
    wrong = [problem for problem in problems if problem.level != "note"]
    if options.format == "json":
        written = json.dumps(lint.as_data(problems, options.file, version), indent=1)
    else:
        written = "\n".join(lint.text(problems))
    write(f"{visible_lines(masked(written))}\n" if written else "", None)
    if options.format == "text":
        say(f"{options.file}: {counted(len(wrong), 'problem')} for Bridge {version}")
    return 1 if wrong else 0


COMMAND: Final = Command("what is wrong with a configuration file of Bridge's", run, add_options, takes_words=False)
