"""``bridge-args diff``."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from bridge_args.cli.command import Command
from bridge_args.cli.given import asked_of, source_of
from bridge_args.cli.streams import say, say_finding, say_findings, write
from bridge_args.errors import UserError
from bridge_args.megatron_lm.resolvers.of_checkout import is_checkout
from bridge_args.secrets import masked
from bridge_args.seen import visible_lines
from bridge_args.steps import Asked, compared
from bridge_args.wording import counted

if TYPE_CHECKING:
    from bridge_args.mapping.translation import Translation
    from bridge_args.source.source import Source


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--container",
        action="store_true",
        help="compare the checkout's own configuration container with Bridge's, field by field (Megatron-LM 0.18)",
    )
    command.add_argument("--format", choices=("text", "json", "html"), default="text", help="default: text")
    command.add_argument("--nearest-recipe", action="store_true", help="against the recipe of Bridge that is nearest")
    command.add_argument("-o", "--output", metavar="FILE", help="write what differs here, whole or not at all")


def run(options: argparse.Namespace) -> int:
    """Exit 1 where a setting differs that changes the numbers, or where the two resolvers disagree.

    With ``--container``, where a field differs and nobody knows why.
    """
    if options.nearest_recipe:
        return _nearest(options)
    checkout = bool(options.megatron_lm) and is_checkout(options.megatron_lm)
    if not checkout and not options.container and options.source is not None:
        return _two(options)
    if not checkout:
        raise UserError(
            "diff compares two sources: `bridge-args diff A B`, or `bridge-args diff A -- ARGV…`; or a checkout with "
            "what is built in; name one with --megatron-lm CHECKOUT"
        )
    if options.format == "html":
        raise UserError("--format html is for two sources: `bridge-args diff A B --format html`")
    if options.container:
        return _containers(options)
    if options.format != "text":
        raise UserError("--format json goes with --container, or with two sources")
    asked = asked_of(options)
    differing, findings = compared(source_of(options, asked), asked)
    for finding in findings:
        say_finding(finding)
    write("".join(f"{visible_lines(masked(line))}\n" for line in differing), None)
    say(counted(len(differing), "disagreement") if differing else "both resolvers agree on every argument")
    return 1 if differing else 0


def _two(options: argparse.Namespace) -> int:
    from bridge_args.diff import page, show
    from bridge_args.diff.compare import compare

    sides = _sides(options)
    left, right = translated_alike(sides, options)
    found = compare(left, right, (name_of(sides[0]), name_of(sides[1])))
    if options.format == "text":
        text = "".join(f"{visible_lines(line)}\n" for line in show.lines(found)) if found.differences else ""
    else:
        text = show.to_json(found) if options.format == "json" else page.to_html(found)
    write(text, options.output)
    say(show.summary(found))
    return 1 if found.numbers_differ else 0


def _nearest(options: argparse.Namespace) -> int:
    """The overrides that make this run of the recipe go to standard output, or what differs as JSON or a page."""
    from bridge_args.diff import page, show
    from bridge_args.diff.nearest import nearest
    from bridge_args.emit.hydra import shell_word

    (run,) = translated_alike([options], options)
    found = nearest(run, name_of(options))
    if options.format == "text":
        text = "".join(f"{shell_word(override)}\n" for override in found.overrides)
    else:
        text = show.to_json(found.compared) if options.format == "json" else page.to_html(found.compared)
    write(text, options.output)
    say(f"{found.title} ({found.name}); {show.summary(found.compared)}")
    say(f"the nearest of {found.among} recipes that make a configuration for pretraining")
    if found.left_out:
        say(f"{counted(len(found.left_out), 'recipe')} of this Bridge could not be read: {', '.join(found.left_out)}")
    if found.unsaid:
        say(f"no override changes {', '.join(found.unsaid)}")
    return 1 if found.compared.numbers_differ else 0


def _sides(options: argparse.Namespace) -> tuple[argparse.Namespace, argparse.Namespace]:
    """Two sources: both by name, or the second after ``--``."""
    after = options.rest is not None
    if len(options.words) + after != 1:
        raise UserError(
            "diff takes two sources, and this is one; the second may be a command line after --"
            if not options.words
            else "diff takes two sources; give the arguments of a script in quotes, with its name: 'train.sh 8 1'"
        )
    second = _side(options, None, options.rest) if after else _side(options, options.words[0], None)
    return _side(options, options.source, None), second


def _side(options: argparse.Namespace, source: str | None, rest: list[str] | None) -> argparse.Namespace:
    """The options for one of them. What names no file and has spaces is a script with its words, or a command line."""
    made = argparse.Namespace(**{**vars(options), "source": source, "words": [], "rest": rest})
    if source is None or source == "-" or os.path.exists(source) or not re.search(r"\s", source):
        return made
    try:
        words = shlex.split(source)
    except ValueError as error:
        raise UserError(f"{source[:100]!r} is no file, and no words of a command line either: {error}") from error
    if words and os.path.isfile(words[0]) and not words[0].endswith(".py"):
        made.source, made.words = words[0], words[1:]
    else:
        made.source, made.rest = None, words
    return made


def name_of(side: argparse.Namespace) -> str:
    if side.source is None:
        return "the command line"
    return "standard input" if side.source == "-" else masked(" ".join([side.source, *side.words]))


def translated_alike(sides: Sequence[argparse.Namespace], options: argparse.Namespace) -> list[Translation]:
    """The sources, in the words of one Bridge: that which is asked for, else the newest that a source is written for.

    Raises:
        UserError: one of them cannot be read, or Megatron-LM refuses it.
    """
    from bridge_args.migrate.run_config.source import in_words_of
    from bridge_args.pairs.pairs import chosen_versions
    from bridge_args.steps import translated
    from bridge_args.versions import number

    asked = asked_of(options)
    sources = [_source(side, asked) for side in sides]
    written_for = [source.stated.bridge for source in sources if source.stated and source.stated.bridge]
    asked = asked._replace(bridge=asked.bridge or max(written_for, key=number, default=None))
    bridge = chosen_versions(None, asked.bridge).bridge
    made = [translated(in_words_of(source, bridge), asked._replace(bridge=bridge)) for source in sources]
    for letter, side, one in zip("AB", sides, made, strict=False):
        if not one.errors and not one.losses:
            continue
        say(f"{letter}: {name_of(side)}:")
        told = [finding for finding in one.findings if finding in one.errors or finding in one.losses]
        say_findings(one._replace(findings=tuple(told)), options)
    if any(finding.kind != "bridge-rejects" for one in made for finding in one.errors):
        raise UserError("nothing is compared: Megatron-LM refuses what is marked as an error above")
    return made


def _source(side: argparse.Namespace, asked: Asked) -> Source:
    """A recipe of Bridge by its name, too.

    Raises:
        UserError: it cannot be read.
    """
    from bridge_args.diff.nearest import recipe_named
    from bridge_args.pairs.pairs import chosen_versions

    if side.source is not None and not os.path.lexists(side.source):
        recipe = recipe_named(side.source, chosen_versions(None, asked.bridge).bridge)
        if recipe is not None:
            return recipe
    if side.source is not None and os.path.isfile(os.path.join(side.source, "pretrain_gpt.py")):
        raise UserError(
            f"{side.source} is a checkout of Megatron-LM, not a run; `bridge-args versions A B` says what differs "
            "between two, and `bridge-args diff SOURCE --megatron-lm CHECKOUT` whether one agrees with what is built in"
        )
    return source_of(side, asked)


def _containers(options: argparse.Namespace) -> int:
    from bridge_args.verify import container, container_page

    asked = asked_of(options)
    found = container.compare(source_of(options, asked), asked)
    if options.format == "json":
        write(masked(container_page.json_of(found), found.secrets), None)
    else:
        write("".join(f"{visible_lines(masked(line, found.secrets))}\n" for line in container_page.lines(found)), None)
        say(masked(container_page.summary(found), found.secrets))
    return 1 if found.refused or found.without_cause else 0


COMMAND: Final = Command(
    "say what differs between two sources, or between a checkout's resolver and the built-in one",
    run,
    add_options,
    from_source=True,
)
