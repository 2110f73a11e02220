"""Whatever a script holds, reading and translating it ends, in bounded memory, and raises nothing.

Few scripts by default; ``BRIDGE_ARGS_FUZZ=100000`` asks for more, and ``BRIDGE_ARGS_SEED=N`` for others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

COUNT = int(os.environ.get("BRIDGE_ARGS_FUZZ", "150"))
SEED = int(os.environ.get("BRIDGE_ARGS_SEED", "0"))


def test_scripts_that_are_nearly_right_are_read_or_refused() -> None:
    worker = Path(__file__).parents[1] / "helpers" / "script_fuzz.py"
    done = subprocess.run(
        [sys.executable, str(worker), str(SEED), str(COUNT)], capture_output=True, text=True, errors="replace"
    )
    assert done.returncode == 0, done.stderr[-2000:]  # killed: a script that no bound holds
    *problems, counts = map(json.loads, done.stdout.splitlines())
    assert not problems, "\n".join(f"{problem['seed']}: {problem['problem']}" for problem in problems)
    assert counts["read"] == COUNT
    assert counts["translated"] > COUNT // 100  # most of what is made gets somewhere
