"""``bridge-args checkpoint inspect``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

from bridge_args.checkpoint import contents, saved_args
from bridge_args.cli.command import Command
from bridge_args.cli.streams import write
from bridge_args.emit import checkpoint
from bridge_args.steps import translate_saved


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", metavar="DIR", help="the folder that a run saves to, or one checkpoint")
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def run(options: argparse.Namespace) -> int:
    one_file = os.path.isfile(options.path)
    found = None if one_file else contents.look_into(Path(options.path))
    saved = saved_args.read(options.path) if found is None else found.saved
    translation = None if saved is None else translate_saved(saved.values, options.megatron_lm)
    write(checkpoint.about(found, saved, translation, options.format), None)
    return 0 if found is None or found.complete else 1


ACTION: Final = Command("what a checkpoint is, and what it holds", run, add_options)
