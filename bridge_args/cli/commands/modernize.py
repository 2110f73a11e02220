"""``bridge-args modernize``."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from bridge_args.cli import options as shared
from bridge_args.cli.command import Command
from bridge_args.cli.given import STDIN, asked_of, is_checkpoint, source_of, typed, words_of_script
from bridge_args.cli.proving import request_of
from bridge_args.cli.streams import say, write
from bridge_args.errors import UserError
from bridge_args.secrets import Secret, masked
from bridge_args.seen import visible_lines

if TYPE_CHECKING:
    from bridge_args.source.source import Source


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--to-megatron-lm", required=True, metavar="VERSION", help="the version to move to, or a checkout of it"
    )
    command.add_argument(
        "--to-hybrid", action="store_true", help="a GPT model becomes one of pretrain_hybrid.py with the same layers"
    )
    command.add_argument("--write", action="store_true", help="change the file itself; a copy is kept beside it")
    command.add_argument(
        "--prove", action="store_true", help="train both and compare; name checkouts with --megatron-lm and --to-..."
    )
    command.add_argument(
        "--hand-over-at",
        type=shared.positive,
        metavar="N",
        help="both go on from what the older one saves after N steps",
    )
    shared.training(command, "scale the model down, on both sides")
    command.add_argument("--check", action="store_true", help="of a folder: exit 1 where a file has to change")
    command.add_argument(
        "--format", choices=("text", "json", "sarif"), default="text", help="sarif: of a folder; default: text"
    )
    shared.words(command)
    shared.unsaid(command)


def run(options: argparse.Namespace) -> int:
    """Exit 1 where the later version does not make the same run of it, or the user has to change something."""
    _checked(options)
    if options.source is None:
        return _of_words(options)
    return _of_folder(options) if is_checkpoint(options) else _of_text(options)


def _checked(options: argparse.Namespace) -> None:
    """Raises UserError for options that do not go together."""
    from bridge_args.megatron_lm.resolvers.of_checkout import is_checkout

    if options.write and options.source in (None, "-"):
        raise UserError("--write changes a file; name one")
    many = options.source is not None and is_checkpoint(options)
    if many and options.prove:
        raise UserError(f"{options.source} is a folder; --prove takes one script")
    if options.format == "sarif" and not many:
        raise UserError("--format sarif is for a folder")
    if options.prove:
        for flag, checkout in (("--megatron-lm", options.megatron_lm), ("--to-megatron-lm", options.to_megatron_lm)):
            if not checkout or not is_checkout(checkout):
                raise UserError(f"--prove trains with both programs; name a checkout with {flag} CHECKOUT")
    elif options.hand_over_at:
        raise UserError("--hand-over-at is for --prove")


def _of_text(options: argparse.Namespace) -> int:
    from bridge_args.modernize import move, page

    text = move.Text(STDIN, None, typed()) if options.source == "-" else move.text_of(options.source)
    text = text._replace(positional=tuple(words_of_script(options)), number=options.number)
    found = move.moved(text, asked_of(options), options.to_megatron_lm, options.to_hybrid)
    proven = not options.prove or all(_prove(options, source, found.secrets) for source in found.sources)
    written = move.write(found) if options.write and proven else []
    if options.format == "json":
        _write_json({**page.as_data(found), **({"proven": proven} if options.prove else {})}, found.secrets)
        return 0 if found.is_same_run and proven else 1
    if not options.write:
        write(visible_lines(masked("".join(move.diff(found)), found.secrets)), None)
    for plan in found.plans:
        for line in page.lines(plan, options.prove):
            say(line, found.secrets)
    for one in found.not_done:
        say(page.not_done(one, text.name), found.secrets)
    for path, backup in written:
        say(f"{path} is changed; {backup} is what it was")
    if options.write and not written:
        say("no file is changed")
    return 0 if found.is_same_run and proven else 1


def _of_folder(options: argparse.Namespace) -> int:
    """Exit 1 where a file cannot be moved as the same run; with ``--check``, where one has to change, too."""
    from bridge_args.audit.sources import sources_in
    from bridge_args.emit import sarif
    from bridge_args.modernize import many, move

    names = [name for name in sources_in(options.source) if os.path.isfile(name)]
    found = list(many.each(names, asked_of(options), options.to_megatron_lm, options.to_hybrid))
    known = [secret for one in found if one.moved for secret in one.moved.secrets]
    written = []
    for one in found:
        if options.write and one.status == "moved" and one.moved:
            written += move.write(one.moved)
    if options.format != "text":
        data = sarif.log(many.results(found)) if options.format == "sarif" else many.as_data(found)
        _write_json(data, known)
    elif not options.write:
        diffs = [line for one in found if one.moved for line in move.diff(one.moved)]
        write(visible_lines(masked("".join(diffs), known)), None)
    for line in many.text(found):
        say(line, known)
    for path, backup in written:
        say(f"{path} is changed; {backup} is what it was")
    left = {one.status for one in found} - {"as it was", "moved", "no Megatron-LM command"}
    return 1 if left or (options.check and any(one.status == "moved" for one in found)) else 0


def _of_words(options: argparse.Namespace) -> int:
    from bridge_args.modernize import move, page
    from bridge_args.source.source import secrets_of

    asked = asked_of(options)
    source = source_of(options, asked)
    plan = move.of_source(source, asked, options.to_megatron_lm, options.to_hybrid)
    known = secrets_of(source)
    proven = not options.prove or _prove(options, source, known)
    if options.format == "json":
        _write_json({**page.plan_as_data(plan), **({"proven": proven} if options.prove else {})}, known)
        return 0 if plan.is_same_run and proven else 1
    words = [word for item in (*plan.front, *plan.items) for word in item.words]
    write(f"{visible_lines(masked(shlex.join(words), known))}\n", None)
    for line in page.lines(plan, options.prove):
        say(line, known)
    return 0 if plan.is_same_run and proven else 1


def _prove(options: argparse.Namespace, source: Source, known: Sequence[Secret]) -> bool:
    """Trains both; is every step the same?"""
    from bridge_args.modernize import hybrid
    from bridge_args.verify import moved as proof
    from bridge_args.verify import versions

    with request_of(
        versions.Request,
        options,
        before=os.path.abspath(options.megatron_lm),
        after=os.path.abspath(options.to_megatron_lm),
        hand_over_at=options.hand_over_at,
        weight_of=hybrid.weight_of if options.to_hybrid else str,
    ) as request:
        made = proof.proof_of(source, asked_of(options), request, options.to_hybrid, lambda line: say(line, known))
    for line in proof.lines(made):
        say(line, known)
    return made.comparison.same


def _write_json(data: dict[str, Any], known: Sequence[Secret]) -> None:
    write(f"{visible_lines(masked(json.dumps(data, indent=1, ensure_ascii=False), known))}\n", None)


COMMAND: Final = Command("move a script to another version of Megatron-LM, in its own file", run, add_options)
