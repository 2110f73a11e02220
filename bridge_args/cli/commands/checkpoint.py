"""``bridge-args checkpoint``."""

from __future__ import annotations

import argparse
from typing import Final

from bridge_args.cli import checkpoints
from bridge_args.cli import options as shared
from bridge_args.cli.checkpoints import _elsewhere
from bridge_args.cli.checkpoints._spelling import reworded
from bridge_args.cli.command import Command


def add_options(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    for name in checkpoints.NAMES:
        action = checkpoints.load(name)
        options = actions.add_parser(name, help=action.summary, description=action.summary, allow_abbrev=False)
        action.add_options(options)
        if action.may_be_a_job:
            _elsewhere.add(options)
        shared.versions(options, again=True)


def run(options: argparse.Namespace) -> int:
    action = checkpoints.load(options.action)
    code = _elsewhere.started(options) if action.may_be_a_job else None
    return action.run(options) if code is None else code


COMMAND: Final = Command(
    "what a checkpoint is, and what can be made of it",
    run,
    add_options,
    takes_words=False,
    reworded=reworded,
)
