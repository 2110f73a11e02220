"""``bridge-args modernize``."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from typing import Any, Final

from bridge_args.cli import options as shared
from bridge_args.cli.command import Command
from bridge_args.cli.given import STDIN, asked_of, is_checkpoint, source_of, typed, words_of_script
from bridge_args.cli.streams import say, write
from bridge_args.errors import UserError
from bridge_args.secrets import Secret, masked
from bridge_args.seen import visible_lines


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--to-megatron-lm", required=True, metavar="VERSION", help="the version to move to, or a checkout of it"
    )
    command.add_argument(
        "--to-hybrid", action="store_true", help="a GPT model becomes one of pretrain_hybrid.py with the same layers"
    )
    command.add_argument("--write", action="store_true", help="change the file itself; a copy is kept beside it")
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    shared.words(command)
    shared.unsaid(command)


def run(options: argparse.Namespace) -> int:
    """Exit 1 where the later version does not make the same run of it, or the user has to change something."""
    if options.source is None:
        return _of_words(options)
    from bridge_args.modernize import move, page

    if is_checkpoint(options):
        raise UserError(f"{options.source} is a folder; name a script or a YAML file")
    text = move.Text(STDIN, None, typed()) if options.source == "-" else move.text_of(options.source)
    text = text._replace(positional=tuple(words_of_script(options)), number=options.number)
    if options.write and text.path is None:
        raise UserError("--write changes a file, and what comes on standard input has none")
    found = move.moved(text, asked_of(options), options.to_megatron_lm, options.to_hybrid)
    written = move.write(found) if options.write else []
    if options.format == "json":
        _write_json(page.as_data(found), found.secrets)
        return 0 if found.is_same_run else 1
    if not options.write:
        write(visible_lines(masked("".join(move.diff(found)), found.secrets)), None)
    for plan in found.plans:
        for line in page.lines(plan):
            say(line, found.secrets)
    for one in found.not_done:
        say(page.not_done(one, text.name), found.secrets)
    for path, backup in written:
        say(f"{path} is changed; {backup} is what it was")
    if options.write and not written:
        say("no file is changed")
    return 0 if found.is_same_run else 1


def _of_words(options: argparse.Namespace) -> int:
    from bridge_args.modernize import move, page
    from bridge_args.source.source import secrets_of

    if options.write:
        raise UserError("--write changes a file, and a command line after -- has none")
    asked = asked_of(options)
    source = source_of(options, asked)
    plan, known = move.of_source(source, asked, options.to_megatron_lm, options.to_hybrid), secrets_of(source)
    if options.format == "json":
        _write_json(page.plan_as_data(plan), known)
        return 0 if plan.is_same_run else 1
    words = [word for item in (*plan.front, *plan.items) for word in item.words]
    write(f"{visible_lines(masked(shlex.join(words), known))}\n", None)
    for line in page.lines(plan):
        say(line, known)
    return 0 if plan.is_same_run else 1


def _write_json(data: dict[str, Any], known: Sequence[Secret]) -> None:
    write(f"{visible_lines(masked(json.dumps(data, indent=1, ensure_ascii=False), known))}\n", None)


COMMAND: Final = Command("move a script to another version of Megatron-LM, in its own file", run, add_options)
