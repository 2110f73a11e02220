"""The real Bridge builds and validates run configs; what it makes of them comes back as it would write them.

As a program it reads a line of JSON each (``config``, ``world_size``, ``env``), and answers with one: ``error``, or the
whole configuration after validation. Every configuration has a process of its own: validation leaves marks in Core.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]


def interpreter(bridge: str) -> Path | None:
    """The Python of an environment with that Bridge, as ``make`` makes it; None where there is none."""
    found = ROOT / f".venv-{bridge}" / "bin" / "python"
    return found if found.is_file() else None


class Judge:
    """One version of Bridge."""

    def __init__(self, bridge: str) -> None:
        self.bridge = bridge
        self._server: subprocess.Popen[str] | None = None

    def built(self, config: dict[str, Any], world_size: int, env: dict[str, str]) -> dict[str, Any]:
        """``error``, or ``config``: what it is after validation."""
        if self._server is None:
            self._server = subprocess.Popen(
                [str(interpreter(self.bridge)), __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if os.environ.get("STAGE_LOUD") else subprocess.DEVNULL,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
            )
        assert self._server.stdin is not None and self._server.stdout is not None
        asked = {"config": config, "world_size": world_size, "env": env}
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        answer: dict[str, Any] = json.loads(self._server.stdout.readline())
        return answer

    def close(self) -> None:
        if self._server is not None:
            assert self._server.stdin is not None and self._server.stdout is not None
            self._server.stdin.close()
            self._server.wait()
            self._server.stdout.close()


# ------------------------------------------------------------------------------- the process


def main() -> None:
    from bridge_args.training import container

    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    container._import("training.config")
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                told = _built(json.loads(line))
            except BaseException as error:
                told = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:1500]}
            with os.fdopen(writing, "w") as pipe:
                pipe.write(json.dumps(told))
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        os.waitpid(child, 0)
        out.write((said or '{"error": "it died without a word"}') + "\n")


def _built(asked: dict[str, Any]) -> dict[str, Any]:
    import importlib

    import yaml

    from bridge_args.training import container

    made = container.build(asked["config"], asked["world_size"], asked["env"])
    utils = importlib.import_module("megatron.bridge.utils.yaml_utils")
    with utils.safe_yaml_representers():
        text = yaml.safe_dump(made.to_dict(), default_flow_style=False)
    return {"error": "", "config": yaml.safe_load(text), "text": text}


if __name__ == "__main__":
    main()
