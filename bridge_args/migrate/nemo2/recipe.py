"""A recipe of NeMo 2.0 that only its Python function can make: run on request, in a process of its own.

The process runs the user's file and NeMo, as ``nemo llm pretrain`` would, and writes the recipe with NeMo-Run's own
serializer. What it writes is read like any other file: as data.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from bridge_args.errors import UserError
from bridge_args.files import read_bytes
from bridge_args.source.nemo2.read import from_recipe
from bridge_args.source.source import Source

_SECONDS: Final = 600
_LARGEST: Final = 1_000_000
# What the process does. It is no module of ours, so that the other Python need not have our package.
_PROGRAM: Final = """
import runpy, sys
file, name, output = sys.argv[1:]
sys.argv = [file]
made = runpy.run_path(file, run_name="nemo2_recipe")
if name not in made:
    sys.exit(f"{file} has no {name}")
recipe = made[name]() if callable(made[name]) and not hasattr(made[name], "__fn_or_cls__") else made[name]
from nemo_run.core.serialization.yaml import YamlSerializer
text = YamlSerializer().serialize(recipe)
with open(output, "w", encoding="utf-8") as stream:
    stream.write(text)
"""


def from_function(file: str, name: str, python: str | None = None) -> Source:
    """The recipe that a function of a Python file returns.

    Args:
        python: the interpreter that has NeMo; None for this one.

    Raises:
        UserError: the file cannot be run, or makes no recipe.
        SourceError: the recipe describes what is not translated.
    """
    if not os.path.isfile(file):
        raise UserError(f"{file} is no file")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "recipe.yaml"
        command = [python or sys.executable, "-c", _PROGRAM, os.path.abspath(file), name, str(output)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_SECONDS, stdin=subprocess.DEVNULL, cwd=folder
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(f"{file} has made no recipe in {_SECONDS} seconds") from error
        except OSError as error:
            raise UserError(f"{command[0]} cannot be run: {error.strerror or error}") from error
        if done.returncode != 0 or not output.is_file():
            told = done.stderr.strip().splitlines()
            raise UserError(f"{file} made no recipe: {told[-1] if told else 'it ended without one'}")
        try:
            text = read_bytes(output, _LARGEST).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file} made a recipe that cannot be read: {error}") from error
    return from_recipe(text, f"{file}:{name}")
