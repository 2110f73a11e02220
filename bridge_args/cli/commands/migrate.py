"""``bridge-args migrate``."""

from __future__ import annotations

import argparse
from typing import Final

from bridge_args.cli import migrations
from bridge_args.cli import options as shared
from bridge_args.cli.command import Command


def add_options(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    for name in migrations.NAMES:
        action = migrations.load(name)
        options = actions.add_parser(name, help=action.summary, description=action.summary, allow_abbrev=False)
        action.add_options(options)
        shared.versions(options, again=True)


def run(options: argparse.Namespace) -> int:
    return migrations.load(options.action).run(options)


COMMAND: Final = Command(
    "from another program, or another version of Bridge, to Bridge", run, add_options, takes_words=False
)
