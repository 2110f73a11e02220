"""``bridge-args resume``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from bridge_args.cli.command import Command
from bridge_args.cli.given import translation_of
from bridge_args.cli.streams import say_findings, write
from bridge_args.errors import UserError
from bridge_args.seen import visible_lines


def add_options(command: argparse.ArgumentParser) -> None:
    about = "the folder that a run saves to, or one checkpoint; as the first word it needs no --checkpoint"
    command.add_argument("--checkpoint", metavar="FOLDER", help=about)
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def reworded(words: list[str]) -> list[str]:
    """``resume CHECKPOINT SOURCE``: the first word is the checkpoint, wherever options stand behind it."""
    if len(words) > 1 and not words[1].startswith("-"):
        return [words[0], f"--checkpoint={words[1]}", *words[2:]]
    return words


def run(options: argparse.Namespace) -> int:
    from bridge_args.resume import compare, tell

    translation = translation_of(options)
    if translation.errors:
        say_findings(translation, options)
        return 1
    if options.checkpoint is None:
        raise UserError("no checkpoint to go on from: bridge-args resume CHECKPOINT SOURCE")
    found = compare.resumption(compare.read(Path(options.checkpoint), translation.versions.bridge), translation)
    write(visible_lines(tell.as_json(found) if options.format == "json" else tell.as_text(found)), None)
    return 1 if found.refused else 0


COMMAND: Final = Command(
    "what counts when a run goes on from a checkpoint: its flags, or what is saved",
    run,
    add_options,
    from_source=True,
    reworded=reworded,
    first="CHECKPOINT",
)
