"""``bridge-args translate``."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Final

from bridge_args.cli import options as shared
from bridge_args.cli.command import Command
from bridge_args.cli.given import refused, reported, translation_of
from bridge_args.cli.streams import coloured, say_as_is, say_finding, say_findings, write
from bridge_args.values import finite, references_in

if TYPE_CHECKING:
    from bridge_args.mapping.translation import Translation

FORMATS: Final = ("yaml", "overrides", "run-config", "recipe", "argv", "script", "json")


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", choices=FORMATS, default="yaml", help="default: yaml")
    command.add_argument("-o", "--output", metavar="FILE", help="write the result here, whole or not at all")
    command.add_argument("--full", action="store_true", help="every setting, not only those that matter")
    command.add_argument("--report", choices=shared.REPORTS, help="also print a report (to stderr)")


def run(options: argparse.Namespace) -> int:
    translation = translation_of(options)
    say_findings(translation, options)
    if options.report:
        say_as_is(reported(translation, options, options.report, coloured(sys.stderr)).rstrip("\n"))
    if refused(translation, options):
        return 1
    if options.format in ("argv", "script"):
        return _megatron_lm(translation, options)
    write(rendered(translation, options), options.output)
    return 0


def _megatron_lm(translation: Translation, options: argparse.Namespace) -> int:
    """A command line of Megatron-LM's: the words that there are, else those that say the same as the settings."""
    from bridge_args.emit.argv import to_argv
    from bridge_args.emit.hydra import shell_word
    from bridge_args.emit.script import to_script
    from bridge_args.mapping.hiding import with_references

    there, secrets, made_from = translation, translation.secrets, translation.made_from
    if not translation.program:
        from bridge_args.inverse.correct import command_line

        line = command_line(translation, options.megatron_lm)
        for finding in line.findings:
            say_finding(finding, secrets)
        there = line.translation
        if there.errors or refused(there._replace(findings=line.findings), options):
            return 1
    words = [with_references(word, secrets) for word in to_argv(there)]
    variables = (*translation.unresolved, *(name for word in words for name in references_in(word)))
    if options.format == "script":
        write(to_script(there, words, variables, made_from), options.output)
    else:
        write(" ".join(shell_word(word, variables) for word in words) + "\n", options.output)
    return 0


def rendered(translation: Translation, options: argparse.Namespace) -> str:
    """The translation in the format that is asked for."""
    match options.format:
        case "yaml":
            from bridge_args.emit.config_yaml import to_yaml

            return to_yaml(translation, full=options.full)
        case "overrides":
            from bridge_args.emit.hydra import shell_word, to_overrides, unsayable

            for finding in unsayable(translation):
                say_finding(finding)
            return "".join(shell_word(word, translation.referred) + "\n" for word in to_overrides(translation))
        case "run-config":
            from bridge_args.emit.config_yaml import to_yaml

            return to_yaml(translation, full=True)
        case "recipe":
            from bridge_args.emit.recipe import to_recipe

            return to_recipe(translation)
        case _:
            from bridge_args.emit.run_config import to_run_config

            return json.dumps(finite(to_run_config(translation)), indent=1, allow_nan=False) + "\n"


COMMAND: Final = Command("translate a command line or a script", run, add_options, from_source=True)
