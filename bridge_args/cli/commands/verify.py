"""``bridge-args verify``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bridge_args.cli import options as shared
from bridge_args.cli.command import Command
from bridge_args.cli.given import asked_for_processes, runnable
from bridge_args.cli.proving import request_of, told
from bridge_args.cli.streams import say, write
from bridge_args.errors import UserError
from bridge_args.files import read_file
from bridge_args.megatron_lm.resolvers.of_checkout import is_checkout
from bridge_args.secrets import masked
from bridge_args.verify import page
from bridge_args.verify.changed import change
from bridge_args.verify.reduce import translations
from bridge_args.verify.verify import Request, verify

if TYPE_CHECKING:
    from bridge_args.mapping.translation import Translation
    from bridge_args.steps import Asked


def add_options(command: argparse.ArgumentParser) -> None:
    shared.training(command, "scale the model down, on both sides")
    command.add_argument("--run-config", metavar="FILE", help="verify this run config of Bridge, not the translation")
    command.add_argument(
        "--against",
        metavar="SOURCE",
        help="train this one too, instead of SOURCE with the other program: with Megatron-LM, or without a checkout "
        "with Bridge",
    )
    command.add_argument(
        "--against-megatron-lm", metavar="CHECKOUT", help="the checkout that runs it; default: the same one"
    )
    command.add_argument("--override", action="append", default=[], metavar="PATH=VALUE", help="a setting of Bridge's")
    command.add_argument(
        "--hand-over-at",
        type=shared.positive,
        metavar="N",
        help="both go on from what Megatron-LM saves after N iterations",
    )
    command.add_argument("--workdir", metavar="DIR", help="keep what both sides write; a later run resumes from it")
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    command.add_argument("-o", "--output", metavar="FILE", help="write the result here, whole or not at all")
    command.add_argument("--plot", metavar="FILE", help="also draw both loss curves as a PNG")


def run(options: argparse.Namespace) -> int:
    """Exit 1 where the two runs differ."""
    checkout = options.megatron_lm
    if options.against and not (checkout and is_checkout(checkout)):
        return _by_bridge(options)
    if not checkout or not is_checkout(checkout):
        raise UserError("verify runs Megatron-LM's own program; name a checkout of it with --megatron-lm CHECKOUT")
    asked = asked_for_processes(options)
    if options.against_megatron_lm and not options.against:
        raise UserError("--against-megatron-lm goes with --against SOURCE")
    translation = runnable(options, asked)
    if translation is None:
        return 1
    if options.against:
        return _against(options, asked, translation)
    try:
        text = read_file(options.run_config) if options.run_config else None
        changed = change(text, options.run_config or "", options.override)
        with request_of(
            Request,
            options,
            checkout=os.path.abspath(checkout),
            changed=changed,
            hand_over_at=options.hand_over_at,
            own=text is not None,
        ) as request:
            result = verify(translation, translations(translation, checkout, options.mappings), request, say)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read or written: {error.strerror}") from error
    made = page.json_of(result) if options.format == "json" else page.text_of(result)
    write(masked(made, translation.secrets), options.output)
    if options.plot:
        try:
            page.save_png(result, Path(options.plot))
        except ModuleNotFoundError as error:
            raise UserError(f"{options.plot} was not drawn: pip install matplotlib") from error
        except OSError as error:
            raise UserError(f"{options.plot} cannot be written: {error.strerror or error}") from error
    return 0 if result.comparison.same else 1


def _against(options: argparse.Namespace, asked: Asked, translation: Translation) -> int:
    """Two sources, each by Megatron-LM's own program."""
    from bridge_args.source.read import from_path
    from bridge_args.steps import translated
    from bridge_args.verify import versions

    _only_two(options)
    checkout = options.against_megatron_lm or options.megatron_lm
    if not is_checkout(checkout):
        raise UserError(f"{checkout} is no checkout of Megatron-LM")
    asked = asked._replace(megatron_lm=checkout)
    other = translated(from_path(options.against, asked.variables, None, checkout), asked)
    if errors := versions.refusals(other):
        raise UserError(f"{options.against} is refused: {errors[0]}")
    with request_of(
        versions.Request,
        options,
        before=os.path.abspath(options.megatron_lm),
        after=os.path.abspath(checkout),
        hand_over_at=options.hand_over_at,
    ) as request:
        made = versions.against(
            translation,
            other,
            translations(translation, options.megatron_lm, options.mappings),
            translations(other, checkout, options.mappings),
            request,
            say,
        )
    return told(made, options, (*translation.secrets, *other.secrets))


def _by_bridge(options: argparse.Namespace) -> int:
    """Two sources, each by Bridge."""
    from bridge_args.verify import bridges

    _only_two(options)
    if options.against_megatron_lm or options.hand_over_at:
        flag = "--against-megatron-lm" if options.against_megatron_lm else "--hand-over-at"
        raise UserError(f"{flag} is for Megatron-LM's program; name a checkout of it with --megatron-lm CHECKOUT")
    asked = asked_for_processes(options)
    other = argparse.Namespace(
        **{**vars(options), "source": options.against, "words": [], "rest": None, "number": None}
    )
    made = []
    for side in (options, other):
        translation = runnable(side, asked)
        if translation is None:
            return 1
        made.append(translation)
    with request_of(bridges.Request, options) as request:
        proof = bridges.against(made[0], made[1], request, say)
    return told(proof, options, (*made[0].secrets, *made[1].secrets))


def _only_two(options: argparse.Namespace) -> None:
    if options.run_config or options.override or options.plot or options.format != "text" or options.workdir:
        raise UserError("--against compares two sources: it takes no settings of Bridge's beside, and prints text")


COMMAND: Final = Command("run Megatron-LM and Bridge, and compare the two runs", run, add_options, from_source=True)
