"""``bridge-args diff``."""

from __future__ import annotations

import argparse
from typing import Final

from bridge_args.cli.command import Command
from bridge_args.cli.given import asked_of, source_of
from bridge_args.cli.streams import say, say_finding, write
from bridge_args.errors import UserError
from bridge_args.megatron_lm.resolvers.of_checkout import is_checkout
from bridge_args.secrets import masked
from bridge_args.seen import visible_lines
from bridge_args.steps import compared
from bridge_args.wording import counted


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--container",
        action="store_true",
        help="compare the checkout's own configuration container with Bridge's, field by field (Megatron-LM 0.18)",
    )
    command.add_argument("--format", choices=("text", "json"), default="text", help="of --container; default: text")


def run(options: argparse.Namespace) -> int:
    """Exit 1 where the two resolvers disagree; with ``--container``, where a field differs and nobody knows why."""
    if not options.megatron_lm or not is_checkout(options.megatron_lm):
        raise UserError("diff compares a checkout with what is built in; name one with --megatron-lm CHECKOUT")
    if options.container:
        return _containers(options)
    if options.format != "text":
        raise UserError("--format json goes with --container")
    asked = asked_of(options)
    differing, findings = compared(source_of(options, asked), asked)
    for finding in findings:
        say_finding(finding)
    write("".join(f"{visible_lines(masked(line))}\n" for line in differing), None)
    say(counted(len(differing), "disagreement") if differing else "both resolvers agree on every argument")
    return 1 if differing else 0


def _containers(options: argparse.Namespace) -> int:
    from bridge_args.verify import container, container_page

    asked = asked_of(options)
    found = container.compare(source_of(options, asked), asked)
    if options.format == "json":
        write(masked(container_page.json_of(found), found.secrets), None)
    else:
        write("".join(f"{visible_lines(masked(line, found.secrets))}\n" for line in container_page.lines(found)), None)
        say(masked(container_page.summary(found), found.secrets))
    return 1 if found.refused or found.without_cause else 0


COMMAND: Final = Command("compare a checkout's own resolver with the built-in one", run, add_options, from_source=True)
