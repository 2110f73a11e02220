"""Where a conversion runs: on this machine, or as a job of an executor."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from typing import Final

from bridge_args.cli.streams import tell, write
from bridge_args.errors import WrongValue
from bridge_args.launch import executors, profiles, steps

_TAKING: Final = ("--executor", "--profile", "--batch", "--env-file", "--with")
_ALONE: Final = ("--dry-run",)
# Options and arguments of conversions that are paths; a model of Hugging Face's may be a name of the hub, too.
_PATHS: Final = ("output", "export_hf", "adapter", "base", "base_megatron", "tokenizer")


def add(command: argparse.ArgumentParser) -> None:
    """The options of every conversion that may run elsewhere."""
    group = command.add_argument_group("where it runs", "without these, here")
    group.add_argument("--executor", choices=executors.NAMES, help="default: that of the profile, else local")
    group.add_argument("--profile", "--batch", metavar="NAME", help="settings of an executor, from a file of profiles")
    group.add_argument(
        "--env-file", metavar="FILE", help=f"the file of profiles; default: ${profiles.FILE_OF}, or {profiles.FILE}"
    )
    group.add_argument(
        "--with",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the executor, such as partition=batch",
    )
    group.add_argument("--dry-run", action="store_true", help="write the job that would be started")


def started(options: argparse.Namespace) -> int | None:
    """Starts the conversion elsewhere, if that is asked for.

    Returns:
        The exit code; None where it is to run here.
    """
    asked = (options.executor, options.profile, options.env_file, *options.settings)
    if not any(asked) or options.executor == "local" and not any(asked[1:]):
        if options.dry_run:
            raise WrongValue("--dry-run writes the job of an executor; name one by --executor or --profile")
        return None
    profile = profiles.asked(options.profile, options.executor, options.env_file, os.environ)
    words = ["bridge-args", *_without(options.words_given)]
    name = f"checkpoint-{options.action}"
    more = steps.settings_of(options.settings)
    if profile.executor == "local" and not (options.dry_run or profile.settings or more):
        return None
    paths = [getattr(options, name, None) for name in _PATHS] + ([options.path] if options.action == "export" else [])
    return steps.start(
        name, words, profile, more, [*filter(None, paths)], options.dry_run, os.environ, partial(write, path=None), tell
    )


def _without(words: Sequence[str]) -> list[str]:
    """The words without the options of this module."""
    kept, skip = [], False
    for word in words:
        flag, equals, _ = word.partition("=")
        if skip or word in _ALONE:
            skip = False
        elif flag in _TAKING:
            skip = not equals
        else:
            kept.append(word)
    return kept
