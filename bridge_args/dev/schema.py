"""``python -m bridge_args.dev schema``: a schema from the installed Megatron Bridge."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from bridge_args import children


def from_installed() -> dict[str, Any]:
    """The content of a schema file: what one version of Bridge has with one version of Megatron Core.

    Bridge is imported in a process of its own that sees no launcher, so that defaults are those of a plain start.

    Raises:
        ValueError: when Bridge is not installed or cannot be imported.
    """
    variables = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "RANK", "WORLD_SIZE")}
    variables["CUDA_VISIBLE_DEVICES"] = ""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "schema.json"
        command = children.command("bridge_args.dev.schema_probe", str(output))
        done = subprocess.run(command, env=children.environment(variables), capture_output=True, text=True)
        if done.returncode != 0:
            raise ValueError(f"Megatron Bridge could not be read:\n{done.stderr[-3000:]}")
        found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return found
