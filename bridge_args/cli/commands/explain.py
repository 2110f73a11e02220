"""``bridge-args explain``."""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import Final

from bridge_args import explain
from bridge_args.cli.command import Command
from bridge_args.cli.streams import say, write
from bridge_args.errors import UserError
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm import unknown
from bridge_args.pairs.pairs import chosen_versions
from bridge_args.steps import translate


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("names", nargs="*", metavar="NAME", help="--moe-router-topk, moe_router_topk, or router top k")
    command.add_argument("--format", choices=("text", "json", "markdown"), default="text", help="default: text")


def run(options: argparse.Namespace) -> int:

    names = [*options.names, *(options.rest or ())]
    if not names:
        raise UserError("nothing to explain: name an argument, or describe it in a few words")
    if file := next((name for name in names if os.path.exists(name) and ("/" in name or "." in name)), None):
        raise UserError(
            f"{file} is a file, and explain tells of one argument; `bridge-args report {file}` tells what becomes of "
            f"each setting of a run, `bridge-args lint {file}` what is wrong with a configuration of Bridge's"
        )
    versions = chosen_versions(options.megatron_lm, options.bridge)
    catalog = catalogs.load(versions.megatron)
    dests = [explain.dest_of(name, catalog) for name in names]
    queries = [name for name, dest in zip(names, dests, strict=True) if dest is None]
    if len(queries) == len(names) and not all(name.startswith("--") for name in names):
        queries = [" ".join(names)]  # explain router top k
    example = partial(translate, world_size=8, megatron_lm=versions.megatron, bridge=versions.bridge)
    facts = [explain.about(dest, versions, example) for dest in dict.fromkeys(dests) if dest is not None]
    missing = False
    if facts:
        write(explain.pages(facts, options.format), None)
    for query in queries:
        hits = explain.search(query, versions)
        if hits and (options.format != "json" or not facts):  # one document
            write(("\n" if facts else "") + explain.found(query, hits, options.format), None)
        else:
            old = "" if " " in query else unknown.remedy_of_old("--" + query.lstrip("-"))
            say(f"no Megatron-LM argument is called {query}" + (f"; {old}" if old else ""))
            missing = True
    return 1 if missing else 0


COMMAND: Final = Command("everything known about an argument", run, add_options)
