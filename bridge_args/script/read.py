"""A launch script as data: bash, and around it the programs that start other programs, and Slurm's jobs."""

from __future__ import annotations

from functools import partial
from typing import Final

from bridge_args.script import nested, slurm
from bridge_args.script.bash import shell
from bridge_args.script.bash.hooks import Hooks
from bridge_args.script.bash.shell import Script

HOOKS: Final = Hooks(
    inside=nested.run,
    is_elsewhere=nested.is_in_container,
    job_variables=slurm.variables,
    is_of_job=lambda name: name.startswith("SLURM_"),
)

# Reads a launch script with all that is known of jobs and programs; ``shell.read`` says what it is given and gives.
read_script: Final = partial(shell.read, hooks=HOOKS)

__all__ = ["HOOKS", "Script", "read_script"]
