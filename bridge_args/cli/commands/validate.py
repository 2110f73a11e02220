"""``bridge-args validate``."""

from __future__ import annotations

import argparse
from typing import Final

from bridge_args.cli.command import Command
from bridge_args.cli.given import asked_of, is_stopped, to_run
from bridge_args.cli.streams import say, write
from bridge_args.emit import validation
from bridge_args.errors import UserError
from bridge_args.findings import Finding
from bridge_args.source.source import SourceError
from bridge_args.training import container


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    command.add_argument("-o", "--output", metavar="FILE", help="write the answer here, with --format json")


def run(options: argparse.Namespace) -> int:
    """With ``--format json`` the answer is written whatever it is."""
    translation, more, message = None, [], ""
    status: validation.Status = "errors"
    try:
        translation = to_run(options, asked_of(options))
        if not is_stopped(translation, options):
            container.to_container(translation)
            status = "ok"
        elif not translation.errors:
            status = "losses"
    except SourceError as problem:
        more = [Finding("unreadable-source", str(problem))]
    except container.BridgeRejects as problem:
        more = [Finding("bridge-rejects", str(problem))]
    except UserError as problem:
        status, message = "not-validated", str(problem)
    for said in [message, *(finding.message for finding in more)]:
        if said:
            say(said)
    if status == "ok" and translation is not None:
        say(f"Megatron Bridge {translation.versions.bridge} accepts the configuration")
    if options.format == "json":
        answer = validation.validation(status, translation, more, message)
        write(validation.text_of(answer), options.output)
    return 0 if status == "ok" else 1


COMMAND: Final = Command(
    "build the real ConfigContainer and let Bridge validate it", run, add_options, from_source=True
)
