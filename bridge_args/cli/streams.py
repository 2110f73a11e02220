"""What stands on standard output and standard error, and in the file of ``-o``.

Results go to standard output or the file, everything said to the user to standard error. The user may see neither
secrets nor what a terminal would act on.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from bridge_args.errors import UserError
from bridge_args.findings import KINDS, Finding, without_secrets
from bridge_args.secrets import Secret, masked
from bridge_args.seen import visible_lines

if TYPE_CHECKING:
    from bridge_args.mapping.translation import Translation


def open_what_is_closed() -> None:
    """Results are UTF-8 whatever the locale; a closed stream is one that takes nothing, and no other file gets it."""
    if sys.stdout is None:
        os.open(os.devnull, os.O_RDONLY)
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")


def give_up_output() -> None:
    """Nothing more is written to stdout, also not when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str, known: Sequence[Secret] = ()) -> None:
    """Tells the user, who may see neither secrets nor what a terminal would act on."""
    say_as_is(visible_lines(masked(text.rstrip("\n"), known)))


def say_findings(translation: Translation, options: argparse.Namespace) -> None:
    """Errors first: they are what must be fixed. Of notes only the number, unless they are asked for."""
    levels = ("error", "warning", "note")
    notes = 0
    for finding in sorted(translation.findings, key=lambda finding: levels.index(finding.level)):
        if options.verbose or KINDS[finding.kind].group != "note":
            say_finding(finding)
        else:
            notes += 1
    if notes and getattr(options, "report", None) != "text":  # which counts them itself
        from bridge_args.emit.report_data import notes_left_out

        say(notes_left_out(notes))


def tell(said: str | Finding, known: Sequence[Secret] = ()) -> None:
    if isinstance(said, Finding):
        say_finding(said, known)
    else:
        say(said, known)


def say_finding(finding: Finding, known: Sequence[Secret] = ()) -> None:
    level = finding.level
    if coloured(sys.stderr):
        colour = {"error": "31", "warning": "33", "note": "36"}[level]
        level = f"\033[{colour}m{level}\033[0m"  # type: ignore[assignment]
    say_as_is(f"{level}: {visible_lines(str(without_secrets(finding, known)))}")


def say_as_is(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # closed or full: there is nobody to tell
        print(text, file=sys.stderr, flush=True)


def coloured(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def write(text: str, path: str | None) -> None:
    """To stdout, or to a file that is replaced whole or not at all."""
    if path is None:
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError:  # half of a surrogate pair that is no byte of the command line
            sys.stdout.write(text.encode("utf-8", "backslashreplace").decode())
        sys.stdout.flush()
        return
    from bridge_args.files import write_whole

    try:
        write_whole(Path(path), _bytes_of(text))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}; it is as it was") from error


def _bytes_of(text: str) -> bytes:
    """UTF-8; bytes of the command line that are none stay as they were."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")
