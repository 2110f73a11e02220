"""``bridge-args checkpoint adopt``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from bridge_args.cli import options as shared
from bridge_args.cli.command import Command
from bridge_args.cli.given import refused
from bridge_args.cli.streams import say, say_findings, write
from bridge_args.errors import UserError


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", metavar="DIR", help="the folder that a run of Megatron-LM saves to, or one checkpoint")
    shared.iteration(command)
    command.add_argument("--tokenizer", metavar="DIR", help="a folder with the files of the tokenizer, to go with it")
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument("--in-place", action="store_true", help="only add files; none that is there is changed")
    where.add_argument(
        "-o", "--output", metavar="NEW", help="a new folder, whose tensors are hard links to those of DIR"
    )
    command.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    command.add_argument("--mappings", metavar="FILE", help="rows of your own, for the flags of a fork")
    command.add_argument("--strict", action="store_true", help="a loss that changes the numbers is an error")
    command.add_argument("--verbose", action="store_true", help="show notes, not only their number")


def run(options: argparse.Namespace) -> int:
    from bridge_args.convert import adopt, output
    from bridge_args.convert.provenance import Provenance

    provenance = Provenance("checkpoint adopt", sys.argv[1:])
    target = Path(options.output) if options.output else None
    plan = adopt.plan(
        adopt.Request(
            Path(options.path),
            options.iteration,
            target,
            Path(options.tokenizer) if options.tokenizer else None,
            options.megatron_lm,
            options.bridge,
            options.mappings,
        )
    )
    if plan.translation is not None:
        say_findings(plan.translation, options)
    for note in plan.notes:
        say(f"note: {note}")
    for reason in plan.reasons:
        say(reason)
    if plan.reasons or plan.translation is None or refused(plan.translation, options):
        return 1
    for name in plan.kept:
        say(f"{plan.root / name} is there already and stays as it is")
    for left in output.left_beside(target) if target is not None else ():
        say(f"{left} is left of a command that was killed, or that is still at work")
    if not options.dry_run:
        try:
            adopt.carry_out(plan, provenance, say)
        except OSError as error:
            rest = "there is no new folder" if target else "what was there is as it was, and the same command goes on"
            raise UserError(f"{plan.root} cannot be written: {error.strerror or error}; {rest}") from error
    else:
        say("nothing is written; without --dry-run these files would be:")
    write("".join(f"{os.path.join(plan.root, name)}\n" for name in plan.written), None)
    return 0


ACTION: Final = Command("make a checkpoint of Megatron-LM one that Bridge takes", run, add_options)
