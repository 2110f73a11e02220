"""``bridge-args versions``."""

from __future__ import annotations

import argparse
import json
from typing import Final

from bridge_args.cli.command import Command
from bridge_args.cli.streams import write
from bridge_args.emit import versions


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def run(options: argparse.Namespace) -> int:
    found = versions.known()
    lines = [json.dumps(found, indent=1)] if options.format == "json" else versions.text(found)
    write("".join(f"{line}\n" for line in lines), None)
    return 0


COMMAND: Final = Command(
    "which versions of both programs are known to go together", run, add_options, takes_words=False
)
