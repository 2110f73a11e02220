"""``bridge-args versions``: which pairs are known; with two versions of Megatron-LM, what changes between them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any, Final

from bridge_args.cli import options as shared
from bridge_args.cli.command import Command
from bridge_args.cli.given import asked_of, source_of, translation_of
from bridge_args.cli.streams import write
from bridge_args.errors import UserError
from bridge_args.secrets import masked
from bridge_args.seen import visible_lines


def add_options(command: argparse.ArgumentParser) -> None:
    for name in ("FROM", "TO"):
        command.add_argument(
            name.lower(), nargs="?", metavar=name, help="a version of Megatron-LM, or a checkout: what changes"
        )
    shared.words(command)
    shared.unsaid(command)
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def run(options: argparse.Namespace) -> int:
    """Exit 1 where the later version refuses what the other one takes."""
    if vars(options)["from"] is None:
        if options.rest:
            raise UserError("name two versions of Megatron-LM before the command line: versions 0.16.1 0.19.0 -- ...")
        return _written(options, *_pairs())
    if options.to is None:
        raise UserError(f"name another version beside {vars(options)['from']}: versions FROM TO [SOURCE]")
    if options.megatron_lm:
        raise UserError("versions FROM TO names both versions of Megatron-LM; leave --megatron-lm out")
    if options.source is None and options.rest is None:
        return _written(options, *_between(options))
    return _of_run(options)


def _pairs() -> tuple[dict[str, Any], Iterator[str]]:
    from bridge_args.emit import versions

    found = versions.known()
    return found, versions.text(found)


def _between(options: argparse.Namespace) -> tuple[dict[str, Any], Iterator[str]]:
    from bridge_args.emit import releases as emitted
    from bridge_args.megatron_lm import catalog as catalogs
    from bridge_args.megatron_lm import programs, releases
    from bridge_args.megatron_lm.catalog import Catalog
    from bridge_args.megatron_lm.resolvers import of_checkout
    from bridge_args.pairs.pairs import megatron_version

    def catalog(text: str) -> Catalog:
        if of_checkout.is_checkout(text):
            return of_checkout.catalog_of(text, programs.GPT)
        return catalogs.load(megatron_version(text))

    found = releases.between(catalog(vars(options)["from"]), catalog(options.to))
    return emitted.data(found), emitted.text(found)


def _of_run(options: argparse.Namespace) -> int:
    from bridge_args.emit import releases as emitted

    asked = asked_of(options)
    source = source_of(options, asked)
    before, after = (
        translation_of(options, asked._replace(megatron_lm=version), source)
        for version in (vars(options)["from"], options.to)
    )
    found = emitted.of_run(before, after)
    _written(options, emitted.run_data(found), emitted.run_text(found))
    return 1 if found.refused else 0


def _written(options: argparse.Namespace, data: dict[str, Any], text: Iterator[str]) -> int:
    lines = json.dumps(data, indent=1) if options.format == "json" else "\n".join(text)
    write(f"{visible_lines(masked(lines))}\n", None)
    return 0


COMMAND: Final = Command("which versions go together; what changes from one to another", run, add_options)
