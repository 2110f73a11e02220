"""Run in a process of its own: starts a Megatron-LM program and takes the argument parser it builds.

``python -m bridge_args.dev.parser_probe PROGRAM OUTPUT [--kitchen] [--hide PACKAGE]``: PROGRAM runs as ``__main__``
up to the moment it parses its command line; what its parser knows then is written to OUTPUT as JSON. Needs what the
program imports, no GPU. ``--kitchen`` pretends that nvidia-kitchen is there, ``--hide`` that a package is not.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import runpy
import sys
from pathlib import Path

from bridge_args.checkout.describe import ParserFound, described, remember_fields, stop_at_parse_args
from bridge_args.checkout.placeholders import stand_in
from bridge_args.newer_python import add_what_is_missing

# Packages the programs import on their way to the parser, that cannot be had on every machine.
_STAND_INS = ("triton", "modelopt")
# Adds no flag, and from 0.17 on Megatron-LM stops at the version that is published.
_HIDDEN = ("nvidia_resiliency_ext",)


def main(argv: list[str]) -> None:
    """See the module's text."""
    options = argparse.ArgumentParser()
    options.add_argument("program", type=Path)
    options.add_argument("output", type=Path)
    options.add_argument("--kitchen", action="store_true")
    options.add_argument("--hide", action="append", default=[])
    wanted = options.parse_args(argv)

    sys.path[0] = str(wanted.program.parent)
    sys.argv = [wanted.program.name]
    for package in (*_HIDDEN, *wanted.hide):
        sys.modules[package] = None  # type: ignore[assignment]

    import torch
    import torch._inductor.runtime.triton_heuristics  # makes up its mind about triton before the placeholder is there

    stand_in(_STAND_INS)
    torch.cuda.is_available = lambda: True  # asked before the command line is parsed
    if wanted.kitchen and importlib.util.find_spec("megatron.core.extensions.kitchen"):  # from 0.13 on
        importlib.import_module("megatron.core.extensions.kitchen").HAVE_KITCHEN = True  # type: ignore[attr-defined]
    add_what_is_missing()
    remember_fields()
    stop_at_parse_args()
    try:
        runpy.run_path(str(wanted.program), run_name="__main__")
    except ParserFound as found:
        wanted.output.write_text(json.dumps(described(found.parser, found.program_defaults)))
        return
    raise SystemExit(f"{wanted.program} ended without parsing a command line")


if __name__ == "__main__":
    main(sys.argv[1:])
