"""``bridge-args checkpoint``."""

from __future__ import annotations

import argparse
from typing import Final

from bridge_args.checkpoint import saved_args
from bridge_args.cli.command import Command
from bridge_args.cli.streams import write
from bridge_args.emit import checkpoint
from bridge_args.steps import translate_saved


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("action", choices=("inspect",), help="inspect: what the checkpoint stores about its run")
    command.add_argument("path", metavar="DIR", help="the folder given to --save, or one iteration of it")
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def run(options: argparse.Namespace) -> int:
    saved = saved_args.read(options.path)
    translation = translate_saved(saved.values, options.megatron_lm)
    write(checkpoint.about(saved, translation, options.format), None)
    return 0


COMMAND: Final = Command("look into a checkpoint that Megatron-LM has written", run, add_options, takes_words=False)
