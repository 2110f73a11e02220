"""The parser of ``bridge-args``, put together from its commands."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final, NoReturn

from bridge_args.cli import commands
from bridge_args.cli import options as shared
from bridge_args.secrets import masked
from bridge_args.seen import visible_lines

_USAGE: Final = """bridge-args {name} [options] SOURCE [WORD...]
       bridge-args {name} [options] SOURCE -- WORD...
       bridge-args {name} [options] -- <argv…>"""


class Parser(argparse.ArgumentParser):
    """One whose errors are safe for a terminal."""

    def error(self, message: str) -> NoReturn:
        super().error(visible_lines(masked(message)))


def split(words: list[str]) -> tuple[list[str], list[str] | None]:
    """What stands after ``--`` is no option of ours: words of the script, or without SOURCE the command line itself."""
    if "--" in words:
        at = words.index("--")
        return words[:at], words[at + 1 :]
    return words, None


def parser_of(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser for these words: of the command that they name, or of all, which takes longer."""
    parser = Parser(
        prog="bridge-args",
        description="Translates a Megatron-LM command line into a Megatron Bridge configuration.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version of this program")
    parser.set_defaults(command=None)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", prog=parser.prog)
    for name in _named(words):
        command = commands.load(name)
        summary, usage = (
            command.summary,
            _USAGE.format(name=f"{name} {command.first}".rstrip()) if command.from_source else None,
        )
        options = subparsers.add_parser(name, help=summary, description=summary, allow_abbrev=False, usage=usage)
        options.set_defaults(command=name)
        command.add_options(options)
        shared.versions(options)
        if command.from_source:
            shared.source(options)
        shared.without_empty_names(options)
    return parser


def _named(words: Sequence[str]) -> Sequence[str]:
    """The commands that a parser for these words has to know."""
    if list(words) == ["--version"]:
        return ()
    return words[:1] if words and words[0] in commands.NAMES else commands.NAMES
