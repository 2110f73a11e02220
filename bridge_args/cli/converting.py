"""What the commands that convert checkpoints have in common: where they run, and what they say."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from bridge_args.cli.streams import say, write

if TYPE_CHECKING:
    from bridge_args.convert.auto_bridge import Machine
    from bridge_args.convert.to_hugging_face import Done


def machine(options: argparse.Namespace) -> Machine:
    from bridge_args.convert.auto_bridge import Machine, needed

    if options.bridge is not None:
        needed(options.bridge)
    return Machine(options.device, say, sys.stderr)


def typed() -> list[str]:
    """The command, for the record of what was done."""
    return ["bridge-args", *sys.argv[1:]]


def said(done: Done) -> int:
    """Tells of a result; returns the exit code."""
    for note in done.notes:
        say(note)
    lines = [f"{done.folder} was written, and looked at:", *(f"  {line}" for line in done.checked)]
    write("\n".join(lines) + "\n", None)
    return 0
