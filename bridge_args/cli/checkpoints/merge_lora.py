"""``bridge-args checkpoint merge-lora``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from bridge_args.cli.command import Command
from bridge_args.cli.streams import say, write
from bridge_args.errors import UserError


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("adapter", metavar="ADAPTER", help="folder of the adapter")
    command.add_argument("--base", metavar="DIR", help="the model of Hugging Face's that it was trained on")
    command.add_argument("-o", "--output", metavar="DIR", required=True, help="folder for the merged model; a new one")
    command.add_argument(
        "--backend",
        choices=("auto", "hf_peft", "megatron_bridge"),
        default="auto",
        help="default: auto, by the base",
    )
    command.add_argument(
        "--base-is",
        metavar="NAME",
        help="the base is what the adapter calls NAME, where that is a name of the Hub or a folder that has moved",
    )
    command.add_argument("--no-smoke", action="store_true", help="do not run the merged model on a few tokens")
    command.add_argument("--trust-remote-code", action="store_true", help="run the code that comes with the base")


def run(options: argparse.Namespace) -> int:
    from bridge_args.convert import merge_lora

    if options.base is None:
        raise UserError("say which model it was trained on: --base DIR")
    to = Path(options.output)
    asked = merge_lora.Asked(
        Path(options.adapter),
        Path(options.base),
        to,
        options.base_is,
        not options.no_smoke,
        options.trust_remote_code,
    )
    found = merge_lora.merged(asked, ["bridge-args", *options.words_given], sys.stderr, say)
    write(merge_lora.told(found, to), None)
    return 0


ACTION: Final = Command("a model with a LoRA adapter merged into its weights", run, add_options, may_be_a_job=True)
