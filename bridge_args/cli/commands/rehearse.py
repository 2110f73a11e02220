"""``bridge-args rehearse``."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from bridge_args.cli import options as shared
from bridge_args.cli.command import Command
from bridge_args.cli.given import asked_for_processes, runnable
from bridge_args.rehearse.rehearse import rehearse


def add_options(command: argparse.ArgumentParser) -> None:
    shared.training(command, "scale the model down, keep every other choice")
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    command.add_argument("--plot", metavar="FILE", help="also draw the loss curve as a PNG")
    written = command.add_mutually_exclusive_group()
    written.add_argument("--workdir", metavar="DIR", help="keep what it writes there; default: a folder that goes")
    written.add_argument(
        "--real-folders", action="store_true", help="save, log and cache where the command line says, as the run would"
    )


def run(options: argparse.Namespace) -> int:
    translation = runnable(options, asked_for_processes(options))
    if translation is None:
        return 1

    return rehearse(
        translation,
        sys.stdout,
        sys.stderr,
        steps=options.steps,
        shrink=options.shrink,
        nproc=options.nproc,
        device=options.device,
        format=options.format,
        plot=options.plot,
        folder=options.workdir,
        real_folders=options.real_folders,
    )


COMMAND: Final = Command("train with the real Bridge loop, on a CPU if need be", run, add_options, from_source=True)
