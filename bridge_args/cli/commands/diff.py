"""``bridge-args diff``."""

from __future__ import annotations

import argparse
from typing import Final

from bridge_args.cli import options as shared
from bridge_args.cli.command import Command
from bridge_args.cli.given import asked_of, source_of
from bridge_args.cli.streams import say, say_finding, write
from bridge_args.errors import UserError
from bridge_args.megatron_lm.resolvers.of_checkout import is_checkout
from bridge_args.secrets import masked
from bridge_args.seen import visible_lines
from bridge_args.steps import compared
from bridge_args.wording import counted


def run(options: argparse.Namespace) -> int:
    """Exit 1 where the two resolvers disagree."""
    if not options.megatron_lm or not is_checkout(options.megatron_lm):
        raise UserError("diff compares a checkout with what is built in; name one with --megatron-lm CHECKOUT")
    asked = asked_of(options)
    differing, findings = compared(source_of(options, asked), asked)
    for finding in findings:
        say_finding(finding)
    write("".join(f"{visible_lines(masked(line))}\n" for line in differing), None)
    say(counted(len(differing), "disagreement") if differing else "both resolvers agree on every argument")
    return 1 if differing else 0


COMMAND: Final = Command("compare a checkout's own resolver with the built-in one", run, shared.none, from_source=True)
