"""What a command of ``bridge-args`` is."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from bridge_args.records import Record


class Command(Record):
    """One command; a module of ``cli/commands`` has one.

    Attributes:
        summary: what it does, in the help.
        run: does it; returns the exit code. What the user must do is a ``UserError``.
        add_options: adds its own options to its parser.
        from_source: it starts from a command line: SOURCE, and the options that go with one.
        may_be_a_job: it may run as a job of an executor, too.
        takes_words: words after ``--`` mean something to it.
        first: what stands before SOURCE, in the usage.
        reworded: makes of what was typed the words that its parser takes; ``options.words_given`` has them.
    """

    summary: str
    run: Callable[[argparse.Namespace], int]
    add_options: Callable[[argparse.ArgumentParser], None]
    from_source: bool = False
    takes_words: bool = True
    may_be_a_job: bool = False
    reworded: Callable[[list[str]], list[str]] = list
    first: str = ""
