"""What the options ask for: a source, versions, and the translation of the one for the others."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from bridge_args.cli.streams import say, say_findings
from bridge_args.errors import UserError
from bridge_args.files import remember
from bridge_args.source.read import MAX_SCRIPT, from_argv, from_checkpoint, from_file, from_text
from bridge_args.source.source import Source
from bridge_args.wording import counted
from bridge_args.words import OF_A_TASK

if TYPE_CHECKING:
    from bridge_args.emit.report import Format
    from bridge_args.mapping.translation import Translation
    from bridge_args.steps import Asked

STDIN: Final = "<stdin>"


def source_of(
    options: argparse.Namespace,
    asked: Asked,
    inherited: Mapping[str, str] | None = None,
    job: Sequence[str] = (),
    first_task: bool = False,
) -> Source:
    if options.source is None and options.rest is not None:
        return from_argv(options.rest)
    if options.source is None:
        raise UserError("nothing to translate: name a launch script, or put the command line after --")
    if is_checkpoint(options):
        return from_checkpoint(options.source)
    words, about = words_of_script(options), (inherited, job, first_task, asked.megatron_lm)
    if options.source == "-":
        remember("/dev/stdin")
        return from_text(options.typed(), STDIN, asked.variables, words, options.number, None, *about)
    return from_file(options.source, asked.variables, words, options.number, *about)


def is_checkpoint(options: argparse.Namespace) -> bool:
    """Raises UserError for one that is given words: they would be lost."""
    if not options.source or not os.path.isdir(options.source):
        return False
    if words := words_of_script(options):
        raise UserError(f"{options.source} is a folder, which takes no arguments: {' '.join(words)}")
    return True


def words_of_script(options: argparse.Namespace) -> list[str]:
    """Behind the script's name, those after ``--`` too: its ``$1``, ``$2``, ..."""
    return [*options.words, *(options.rest or ())]


def typed() -> str:
    """What stands on standard input."""
    if sys.stdin is None:
        raise UserError("standard input is closed; name a launch script")
    try:
        text = sys.stdin.read(MAX_SCRIPT + 1)
    except UnicodeDecodeError as error:
        raise UserError(f"{STDIN} is no text: byte {error.start} is not UTF-8") from error
    if len(text) > MAX_SCRIPT:
        raise UserError(f"{STDIN} has more than {MAX_SCRIPT} characters; that is no launch script")
    return text


def asked_of(options: argparse.Namespace) -> Asked:
    from bridge_args.steps import Asked

    variables = _variables(options)
    return Asked(options.megatron_lm, options.bridge, options.world_size, options.mappings, variables=variables)


def asked_for_processes(options: argparse.Namespace) -> Asked:
    """As many ranks as processes, unless something else is said or the model is scaled down."""
    asked = asked_of(options)
    ranks = asked.world_size or (None if options.shrink else options.nproc)
    return asked._replace(world_size=ranks)


def _variables(options: argparse.Namespace) -> dict[str, str]:
    """What ``--set`` gives."""
    variables = {}
    for pair in options.set:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UserError(f"--set expects NAME=VALUE, not {pair!r}")
        variables[name] = value
    return variables


def translation_of(
    options: argparse.Namespace, asked: Asked | None = None, source: Source | None = None
) -> Translation:
    from bridge_args.steps import translated

    asked = asked or asked_of(options)
    source = source or source_of(options, asked)
    if source.stated is not None and asked.bridge:
        from bridge_args.migrate.run_config.source import in_words_of
        from bridge_args.pairs.pairs import bridge_version

        source = in_words_of(source, bridge_version(asked.bridge))
    return translated(source, asked)


def runnable(options: argparse.Namespace, asked: Asked) -> Translation | None:
    """The translation, where it can run on this machine: no errors, and a value for every variable; else None."""
    translation = to_run(options, asked)
    return None if is_stopped(translation, options) else translation


def to_run(options: argparse.Namespace, asked: Asked) -> Translation:
    """The translation for a command that runs it, with its findings said.

    A variable that the source leaves open has the value that this process has for it, as in the user's shell. What the
    run needs beside its configuration is there, unless the configuration is one of the user's own.

    Raises:
        UserError: Bridge is not installed, or another one, which is said before anything is read.
    """
    from bridge_args.bridge import installed
    from bridge_args.pairs.pairs import bridge_version
    from bridge_args.training import added

    wanted = options.bridge or bridge_version(None)
    if refusal := installed.refusal(wanted):
        raise UserError(refusal)
    if doubt := installed.doubt(bridge_version(wanted)):
        say(doubt)
    translation = translation_of(options, asked)
    here = {name: os.environ[name] for name in translation.unresolved if name in os.environ}
    told = {name for word in translation.words for name in OF_A_TASK if f"${name}" in word or f"${{{name}" in word}
    here |= dict.fromkeys(sorted(told - set(os.environ)), "0")  # as the first task has it
    if here:
        translation = translation_of(options, asked._replace(variables={**here, **asked.variables}))
    if not getattr(options, "run_config", None):
        translation = added.settled(translation)
    say_findings(translation, options)
    return translation


def is_stopped(translation: Translation, options: argparse.Namespace) -> bool:
    """Has it errors, or losses under ``--strict``?

    Raises:
        UserError: the value of a variable is not known.
    """
    if refused(translation, options):
        return True
    if translation.unresolved and not getattr(options, "shrink", False):  # scaled down, the run's files are left alone
        names = translation.unresolved
        given = " ".join(f"--set {name}=VALUE" for name in names)
        raise UserError(f"the value of {', '.join(f'${name}' for name in names)} is not known; give it with {given}")
    return False


def refused(translation: Translation, options: argparse.Namespace) -> bool:
    if translation.errors:
        return True
    lost = len(translation.number_losses)
    if options.strict and lost:
        what = "changes the numbers has" if lost == 1 else "change the numbers have"
        say(f"--strict: {counted(lost, 'setting')} that {what} no equivalent")
    if options.strict and translation.doubts:
        say("--strict: the pair of versions is not proven")
    if options.strict and (lost or translation.doubts):
        return True
    return False


def reported(translation: Translation, options: argparse.Namespace, format: Format, coloured: bool) -> str:
    from bridge_args.emit.report import report

    sources = _texts(translation, options) if format == "html" else {}
    return report(translation, format, sources=sources, colour=coloured, verbose=options.verbose)


def _texts(translation: Translation, options: argparse.Namespace) -> dict[str, str]:
    """The files that the words come from, as far as they can be read again."""
    from bridge_args.files import read_file

    texts = {}
    for name in dict.fromkeys(place.source for place in translation.places if place):
        try:
            texts[name] = options.typed() if options.source == "-" and name == STDIN else read_file(name)
        except OSError:
            continue  # the page shows the words instead
    return texts
