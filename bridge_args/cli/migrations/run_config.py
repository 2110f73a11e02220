"""``bridge-args migrate run-config``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bridge_args.cli.command import Command
from bridge_args.cli.streams import say, say_finding, write
from bridge_args.errors import UserError
from bridge_args.pairs.pairs import bridge_version
from bridge_args.secrets import Secret, found_in, masked, masked_values
from bridge_args.seen import visible_lines

if TYPE_CHECKING:
    from bridge_args.migrate.run_config.files import File

NEMO_TRON: Final = "nemo.tron"


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "path", metavar="FILE|DIR", help="a run_config.yaml, the folder of an iteration, or that of a whole run"
    )
    where = command.add_mutually_exclusive_group()
    where.add_argument("-o", "--output", metavar="OUT", help="a new file; of several, the folder for them")
    where.add_argument("--in-place", action="store_true", help="write over the file; run_config.yaml.bak keeps the old")
    where.add_argument("--dry-run", action="store_true", help="write nothing; show what would change")
    command.add_argument("--to-bridge", metavar="VERSION", help="default: that of --bridge, else the installed one")
    command.add_argument(
        "--from-bridge", metavar="VERSION", help="who wrote the file, or nemo.tron; default: its settings tell"
    )
    command.add_argument(
        "--as-documented",
        action="store_true",
        help="of nemo.tron: also set what its migration guide sets, whatever the run had",
    )
    command.add_argument("--report", choices=("text", "json"), help="on standard output, what became of every setting")
    command.add_argument("--strict", action="store_true", help="a loss that changes the numbers is an error")


def run(options: argparse.Namespace) -> int:
    from bridge_args.migrate.run_config import files, moved

    to = bridge_version(options.to_bridge or options.bridge)
    source = options.from_bridge
    if source is not None and source != NEMO_TRON:
        source = bridge_version(source)
    found = files.read(Path(options.path), lambda config: moved(config, to, source, options.as_documented))
    known = found_in("\n".join(file.before for file in found))
    stopped = [file for file in found if _is_stopped(file, options.strict)]
    _tell(found, known)
    if len(found) > 1 and not (options.output or options.in_place or options.dry_run or options.report):
        raise UserError(f"{options.path} has {len(found)} run configs; say --in-place, --dry-run or -o FOLDER")
    if options.report:
        _report(found, options.report, known)
    if stopped:
        say(f"{stopped[0].path}: nothing was written")
        return 1
    if options.dry_run:
        if options.report is None:
            write("".join(_differences(found, known)), None)
    elif options.in_place:
        for line in files.write_in_place(found):
            say(line)
    elif options.output:
        for line in files.write_elsewhere(found, Path(options.output)):
            say(line)
    elif options.report is None:
        write(found[0].after, None)
    return 0


def _is_stopped(file: File, strict: bool) -> bool:
    return bool(file.moved.refused) or strict and any(one.changes in ("model", "numbers") for one in file.moved.lost)


def _tell(found: list[File], known: tuple[Secret, ...]) -> None:
    """What each file loses, and one line about it; the same is not said of every iteration of a run."""
    from bridge_args import lint
    from bridge_args.migrate.run_config import report, text

    said = set()
    for file in found:
        for finding in file.moved.findings:
            if str(finding) not in said:
                say_finding(finding, known)
                said.add(str(finding))
        for wrong in lint.lint_text(file.after, str(file.path), file.moved.bridge):
            # A text for a number, a number for a section; Bridge itself writes 1.0 where its type says int.
            plain = "." not in wrong.path or isinstance(wrong.value, str)
            if wrong.kind == "wrong-value" and plain and wrong.message not in said:
                say(f"warning: {file.path}: {wrong.message}; Bridge stops at it, or takes it for something else", known)
                said.add(wrong.message)
        if not file.is_same and text.has_comments(file.before):
            say(f"{file.path}: comments are not kept", known)
        say(f"{file.path}: {report.summary(file.moved)}", known)


def _report(found: list[File], format: str, known: tuple[Secret, ...]) -> None:
    from bridge_args.migrate.run_config import report

    if format == "json":
        told = masked_values(report.data(found), known)
        write(json.dumps(told, indent=1, default=str) + "\n", None)
    else:
        write(visible_lines(masked(report.text(found), known)) + "\n", None)


def _differences(found: list[File], known: tuple[Secret, ...]) -> list[str]:
    from bridge_args.migrate.run_config import text

    lines = [
        line for file in found for line in text.difference(file.before, file.after, str(file.path), file.moved.bridge)
    ]
    return [visible_lines(masked("".join(lines), known))]


ACTION: Final = Command("a run_config.yaml of nemo.tron or of another Bridge", run, add_options)
