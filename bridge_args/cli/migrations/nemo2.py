"""``bridge-args migrate nemo2``."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Final

from bridge_args.cli import options as shared
from bridge_args.cli.command import Command
from bridge_args.cli.commands.translate import rendered
from bridge_args.cli.given import asked_of, refused, reported, source_of, translation_of
from bridge_args.cli.streams import coloured, say_as_is, say_findings, write
from bridge_args.errors import UserError

if TYPE_CHECKING:
    from bridge_args.source.source import Source
    from bridge_args.steps import Asked

FORMATS: Final = ("run-config", "yaml", "overrides", "recipe", "json")


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "source",
        metavar="SOURCE",
        help="a recipe in YAML, model.yaml or io.json of a checkpoint's context, the folder of a checkpoint, or - "
        "for stdin; with --run FUNCTION a Python file",
    )
    command.add_argument(
        "--run",
        metavar="FUNCTION",
        help="run the Python file SOURCE where NeMo is installed, in a process of its own, and take the recipe that "
        "this function of it returns; default: no code of a source is run",
    )
    command.add_argument("--python", metavar="FILE", help="with --run: the Python that has NeMo; default: this one")
    command.add_argument("--format", choices=FORMATS, default="run-config", help="default: run-config")
    command.add_argument("-o", "--output", metavar="FILE", help="write the result here, whole or not at all")
    command.add_argument("--full", action="store_true", help="yaml: every setting, not only those that matter")
    command.add_argument("--report", choices=shared.REPORTS, help="also print a report (to stderr)")
    command.add_argument("--verbose", action="store_true", help="show notes, not only their number")
    shared.common(command)
    command.set_defaults(words=[], number=None)


def run(options: argparse.Namespace) -> int:
    asked = asked_of(options)
    translation = translation_of(options, asked, _source(options, asked))
    if translation.program or not translation.made_from.startswith("a NeMo"):
        raise UserError(f"{options.source} is no configuration of NeMo 2.0, but {translation.told_source}")
    say_findings(translation, options)
    if options.report:
        say_as_is(reported(translation, options, options.report, coloured(sys.stderr)).rstrip("\n"))
    if refused(translation, options):
        return 1
    write(rendered(translation, options), options.output)
    return 0


def _source(options: argparse.Namespace, asked: Asked) -> Source:
    if options.run is not None:
        from bridge_args.migrate.nemo2.recipe import from_function

        return from_function(options.source, options.run, options.python)
    if options.python is not None:
        raise UserError("--python is of --run FUNCTION")
    if options.source.endswith(".py") and os.path.isfile(options.source):
        raise UserError(
            f"{options.source} is a program, and none is run unasked: say --run FUNCTION, where the function returns "
            "the recipe, or have NeMo write it with --to-yaml"
        )
    return source_of(options, asked)


ACTION: Final = Command("a recipe of NeMo 2.0, or what a checkpoint of NeMo keeps of its run", run, add_options)
