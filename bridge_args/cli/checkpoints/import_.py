"""``bridge-args checkpoint import``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from bridge_args.cli import options as shared
from bridge_args.cli.command import Command
from bridge_args.cli.converting import machine, said, typed


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", metavar="DIR|ID", help="a model of Hugging Face's")
    command.add_argument("-o", "--output", metavar="OUT", required=True, help="a new folder")
    command.add_argument("--dtype", choices=("bf16", "fp16", "fp32"), help="default: that of the model")
    shared.converting(command)


def run(options: argparse.Namespace) -> int:
    from bridge_args.convert import from_hugging_face

    asked = from_hugging_face.Asked(
        model=options.path,
        output=Path(options.output),
        dtype=options.dtype,
        trust_remote_code=options.trust_remote_code,
        words=typed(),
    )
    return said(from_hugging_face.import_(asked, machine(options)))


ACTION: Final = Command("from a folder of Hugging Face's to Megatron's format", run, add_options, may_be_a_job=True)
