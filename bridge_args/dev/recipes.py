"""``python -m bridge_args.dev recipes``: the configurations of the installed Bridge's pretraining recipes."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from bridge_args import children

_SECTION: Final = re.compile(r"^(?=\S)", re.MULTILINE)


def from_installed() -> dict[str, Any]:
    """``recipes``, name to configuration, and ``left_out``, name to why: in a process of its own, on the CPU.

    Raises:
        ValueError: when Bridge is not installed or cannot be imported.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "recipes.json"
        command = children.command("bridge_args.dev.recipes_probe", str(output))
        variables = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(command, env=children.environment(variables), capture_output=True, text=True)
        if done.returncode != 0:
            raise ValueError(f"the recipes of Megatron Bridge could not be read:\n{done.stderr[-3000:]}")
        found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return found


def content(found: dict[str, Any]) -> bytes:
    """What the package ships of them: compressed; the same bytes each time. Of those left out, the names.

    Most sections are the same in many recipes. Each is there once, those that are alike one after the other, and a
    recipe is the numbers of its sections.
    """
    recipes = {name: _SECTION.split(text) for name, text in sorted(found["recipes"].items())}
    sections = sorted({section for parts in recipes.values() for section in parts})
    number = {section: index for index, section in enumerate(sections)}
    data = {
        "sections": sections,
        "recipes": {name: [number[section] for section in parts] for name, parts in recipes.items()},
        "left_out": sorted(found["left_out"]),
    }
    return gzip.compress(json.dumps(data, indent=0).encode(), mtime=0)
