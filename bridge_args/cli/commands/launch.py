"""``bridge-args launch``."""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import Final

from bridge_args.cli.command import Command
from bridge_args.cli.given import asked_of, is_checkpoint, refused, source_of, translation_of
from bridge_args.cli.streams import say_findings, tell, write
from bridge_args.launch import job
from bridge_args.launch.options import add, from_namespace
from bridge_args.training import added


def run(options: argparse.Namespace) -> int:
    asked = asked_of(options)
    given = from_namespace(options, asked)
    read = None if is_checkpoint(options) else job.read(given, partial(source_of, options, asked), os.environ)
    if read is not None:
        asked = asked._replace(world_size=read.world_size)
    translation = added.settled(translation_of(options, asked, read.translated if read else None))
    say_findings(translation, options)
    if refused(translation, options):
        return 1
    told = partial(tell, known=translation.secrets)
    return job.launch(given, read, translation, os.environ, partial(write, path=None), told)


COMMAND: Final = Command("start what the script would have started, on Bridge", run, add, from_source=True)
