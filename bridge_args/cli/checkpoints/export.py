"""``bridge-args checkpoint export``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from bridge_args.cli import options as shared
from bridge_args.cli.command import Command
from bridge_args.cli.converting import machine, said, typed


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", metavar="DIR", help="the folder that a run saves to, or one checkpoint")
    command.add_argument(
        "--hf-model",
        metavar="DIR|ID",
        help="the model whose configuration and tokenizer it gets; default: the configuration that the checkpoint says",
    )
    command.add_argument("--tokenizer", metavar="DIR", help="without --hf-model: a folder with the tokenizer")
    command.add_argument("-o", "--output", metavar="OUT", required=True, help="a new folder")
    command.add_argument("--iteration", type=int, metavar="N", help="default: the one that the tracker names")
    command.add_argument("--no-smoke", action="store_true", help="the result is not loaded and run")
    shared.converting(command)


def run(options: argparse.Namespace) -> int:
    from bridge_args.convert import to_hugging_face

    asked = to_hugging_face.Asked(
        checkpoint=Path(options.path),
        output=Path(options.output),
        model=options.hf_model,
        tokenizer=Path(options.tokenizer) if options.tokenizer is not None else None,
        iteration=options.iteration,
        smoke=not options.no_smoke,
        trust_remote_code=options.trust_remote_code,
        megatron_lm=options.megatron_lm,
        words=typed(),
    )
    return said(to_hugging_face.export(asked, machine(options)))


ACTION: Final = Command("from Megatron's format to a folder of Hugging Face's", run, add_options, may_be_a_job=True)
