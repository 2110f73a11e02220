"""``bridge-args checkpoint to-hybrid``."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Final

from bridge_args.cli import options as shared
from bridge_args.cli.command import Command
from bridge_args.cli.converting import typed
from bridge_args.cli.streams import say, write
from bridge_args.errors import UserError
from bridge_args.wording import counted


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", metavar="DIR", help="the folder that a GPT run saves to, or one checkpoint of it")
    shared.iteration(command)
    command.add_argument("-o", "--output", metavar="NEW", required=True, help="a new folder")
    command.add_argument("--dry-run", action="store_true", help="say what would become of it, and write nothing")


def run(options: argparse.Namespace) -> int:
    from bridge_args.convert import output, to_hybrid
    from bridge_args.convert.provenance import Provenance

    to = Path(options.output)
    provenance = Provenance("checkpoint to-hybrid", typed())
    made = to_hybrid.plan(Path(options.path), options.iteration, to, options.megatron_lm)
    for left in output.left_beside(to):
        say(f"{left} is left of a command that was killed, or that is still at work")
    lines = [f"--hybrid-layer-pattern {shlex.quote(made.pattern)}"]
    if options.dry_run:
        say("nothing is written; without --dry-run the tensors would be called:")
        lines += sorted({move.name for move in made.renaming.moves})
    else:
        try:
            done = to_hybrid.carry_out(made, to, provenance, sys.stderr, say)
        except OSError as error:
            rest = f"there is no new folder, and {options.path} is as it was"
            raise UserError(f"{to} cannot be written: {error.strerror or error}; {rest}") from error
        say(f"{to} was written, and compared with {made.source.place.folder}: {'; '.join(done.checked)}")
        say(f"{counted(done.rewritten, 'file')} written anew, {done.linked} linked, {done.copied} copied")
    write("\n".join(lines) + "\n", None)
    return 0


ACTION: Final = Command("make a checkpoint of a GPT model one of the same hybrid model", run, add_options)
