"""``bridge-args checkpoint merge-lora``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from bridge_args.cli import options as shared
from bridge_args.cli.command import Command
from bridge_args.cli.converting import machine, said, typed
from bridge_args.cli.streams import say, write
from bridge_args.errors import UserError, WrongValue


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("adapter", metavar="ADAPTER", help="folder of the adapter: one of PEFT's, or of Bridge's")
    command.add_argument("--base", metavar="DIR", help="the model of Hugging Face's that it was trained on")
    command.add_argument("--base-megatron", metavar="DIR", help="the checkpoint of Megatron's that it was trained on")
    command.add_argument("-o", "--output", metavar="OUT", required=True, help="a new folder")
    command.add_argument(
        "--backend",
        choices=("auto", "hf_peft", "megatron_bridge"),
        default="auto",
        help="default: megatron_bridge with --base-megatron, else hf_peft",
    )
    command.add_argument(
        "--base-is",
        metavar="NAME",
        help="the base is what the adapter calls NAME, where that is a name of the hub or a folder that has moved",
    )
    command.add_argument("--export-hf", metavar="OUT", help="with --base-megatron: a folder of Hugging Face's, too")
    command.add_argument("--hf-model", metavar="DIR|ID", help="for --export-hf: its configuration and tokenizer")
    command.add_argument("--no-smoke", action="store_true", help="the merged model is not run on a few tokens")
    shared.converting(command)


def run(options: argparse.Namespace) -> int:
    if _backend(options) == "hf_peft":
        return _of_peft(options)
    return _of_bridge(options)


def _backend(options: argparse.Namespace) -> str:
    """
    Raises:
        UserError: the base that goes with it is not named, or another one is.
    """
    named = {"hf_peft": options.base, "megatron_bridge": options.base_megatron}
    flags = {"hf_peft": "--base", "megatron_bridge": "--base-megatron"}
    backend: str = options.backend
    if backend == "auto":
        backend = "megatron_bridge" if options.base_megatron is not None else "hf_peft"
    if named[backend] is None:
        other = "" if options.backend != "auto" else ", or --base-megatron DIR for an adapter of Megatron Bridge's"
        raise WrongValue(f"say which model it was trained on: {flags[backend]} DIR{other}")
    if any(path is not None for name, path in named.items() if name != backend):
        raise WrongValue(f"{flags['hf_peft']} and {flags['megatron_bridge']} are two bases; an adapter has one")
    if backend == "hf_peft" and (options.export_hf or options.hf_model):
        raise WrongValue(
            "--export-hf and --hf-model go with --base-megatron: what is merged is of Hugging Face's already"
        )
    if options.hf_model and not options.export_hf:
        raise WrongValue("--hf-model goes with --export-hf")
    return backend


def _of_peft(options: argparse.Namespace) -> int:
    from bridge_args.convert import merge_lora

    to = Path(options.output)
    asked = merge_lora.Asked(
        Path(options.adapter),
        Path(options.base),
        to,
        options.base_is,
        not options.no_smoke,
        options.trust_remote_code,
    )
    write(merge_lora.told(merge_lora.merged(asked, typed(), sys.stderr, say), to), None)
    return 0


def _of_bridge(options: argparse.Namespace) -> int:
    from bridge_args.convert import merge_bridge, to_hugging_face

    to, here = Path(options.output), machine(options)
    export = None
    if options.export_hf is not None:
        export = to_hugging_face.Asked(
            checkpoint=to,
            output=Path(options.export_hf),
            model=options.hf_model,
            smoke=not options.no_smoke,
            trust_remote_code=options.trust_remote_code,
            words=typed(),
        )
    asked = merge_bridge.Asked(
        Path(options.adapter),
        Path(options.base_megatron),
        to,
        options.base_is,
        not options.no_smoke,
        options.megatron_lm,
        typed(),
        export,
    )
    said(merge_bridge.merged(asked, here))
    if export is not None:
        try:
            said(to_hugging_face.export(export, here))
        except UserError as error:
            raise type(error)(f"{error}\n{to} is whole; only the export was not made") from error
    return 0


ACTION: Final = Command("a model with a LoRA adapter merged into its weights", run, add_options, may_be_a_job=True)
