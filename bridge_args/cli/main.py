"""``bridge-args``: finds the command that the words name, runs it, and says what is in the way.

Exit 0: done. 1: problems found. 2: wrong use. 3: a fault of ours; ``BRIDGE_ARGS_TRACEBACK=1`` shows where.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import cache

from bridge_args import __version__
from bridge_args.cli import commands
from bridge_args.cli.given import typed
from bridge_args.cli.options import owners
from bridge_args.cli.parser import parser_of, split
from bridge_args.cli.streams import give_up_output, open_what_is_closed, say, write
from bridge_args.errors import UserError
from bridge_args.megatron_lm import unknown
from bridge_args.source.read import from_argv
from bridge_args.wording import listed


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``bridge-args``.

    Returns:
        0: done. 1: problems found. 2: wrong use (from argparse). 3: a fault of ours.
    """
    open_what_is_closed()
    try:
        return _main(argv)
    except Exception as error:  # whatever was typed, a user meets no traceback
        say(_fault(error))
        return 3


def _fault(error: Exception) -> str:
    """What is said of a fault of ours: enough for a report, and nothing of what the user's files hold."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}bridge_args{os.sep}" in frame.filename] or frames
    place = f"{ours[-1].filename.rpartition(f'bridge_args{os.sep}')[2]}:{ours[-1].lineno}" if ours else "?"
    text = (
        f"this is a fault of bridge-args, not of your input: {type(error).__name__} at {place}, in version "
        f"{__version__}; nothing more was done. Please report this line, with the command that leads to it."
    )
    if os.environ.get("BRIDGE_ARGS_TRACEBACK"):
        return "".join(traceback.format_exception(error)) + text
    return f"{text} BRIDGE_ARGS_TRACEBACK=1 in the environment shows where it comes from."


def _main(argv: Sequence[str] | None) -> int:
    try:
        os.getcwd()
    except OSError:
        say("the current folder no longer exists; change to another one and try again")
        return 1
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        words = commands.load(words[0]).reworded(words) if words and words[0] in commands.NAMES else words
    except UserError as problem:
        say(str(problem))
        return 2
    given = tuple(words)
    words, rest = split(words)
    parser = parser_of(words)
    options, unknown = parser.parse_known_args(words)
    if unknown and getattr(options, "source", None) and not any(word.startswith("-") for word in unknown):
        options.words, unknown = [*options.words, *unknown], []  # SOURCE --set A=1 WORD
    if unknown and words[0] != "explain":
        after = "; arguments of the script that begin with - go after --" if getattr(options, "source", None) else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{after}")
    options.words_given = given
    options.rest = [*unknown, *(rest or ())] if unknown else rest  # explain --moe-router-topk
    if options.command is None:
        return _version(parser, options)
    command = commands.load(options.command)
    if rest and not command.takes_words:
        parser.error(f"{options.command} takes no arguments after --: {' '.join(rest)}")
    options.typed = cache(typed)  # standard input is read once
    try:
        if rest and getattr(options, "source", "") is None:
            _none_of_ours_among(rest, options)
        return command.run(options)
    except UserError as problem:
        say(str(problem))
        return problem.code
    except BrokenPipeError:  # the reader of our output went away: not our problem
        give_up_output()
        return 1
    except OSError as error:  # a full disk behind our output, a file that went away in between
        give_up_output()
        say(f"{error.filename or 'the standard output'}: {error.strerror or error}")
        return 1
    except ValueError as error:  # a name that no file can have
        if "null byte" not in str(error) and "null character" not in str(error):
            raise
        say("a name of a file has a NUL character in it, which no file can have")
        return 1
    except (MemoryError, RecursionError) as error:
        say(f"this is more than can be read ({type(error).__name__}); nothing was translated")
        return 1
    except KeyboardInterrupt:
        return 130


def _version(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if not options.version:
        parser.print_help(sys.stderr)
        return 2
    write(f"bridge-args {__version__}\n", None)
    return 0


def _none_of_ours_among(words: Sequence[str], options: argparse.Namespace) -> None:
    """Refuses options of our own among the arguments of Megatron-LM, which has none of these names.

    Raises:
        UserError: it says where they belong.
    """
    flags = dict.fromkeys(
        word.text.partition("=")[0] for word in from_argv(words).command.argv if word.text.startswith("-")
    )
    foreign = [flag for flag in flags if not unknown.is_known(flag)]
    if not foreign or (options.megatron_lm and "/" in options.megatron_lm):  # a fork may have a flag of any name
        return
    owned_by = owners(parser_of())
    here = [flag for flag in foreign if options.command in owned_by.get(flag, ())]
    said = []
    if here:
        what = "is an option of bridge-args: put it" if len(here) == 1 else "are options of bridge-args: put them"
        said.append(f"{listed(here)} {what} before --")
    for flag in foreign:
        if flag in owned_by and flag not in here:
            having = " and ".join(f"bridge-args {command}" for command in owned_by[flag])
            said.append(f"{flag} is an option of {having}, not of {options.command}: leave it out")
    if said:
        raise UserError("\n".join(said))
