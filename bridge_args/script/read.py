"""A launch script as data: bash, and around it the programs that start other programs, and Slurm's jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
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


def read_script(
    text: str,
    source: str,
    variables: Mapping[str, str] | None = None,
    positional: Sequence[str] = (),
    folder: Path | None = None,
    inherited: Mapping[str, str] | None = None,
    job: Sequence[str] = (),
    first_task: bool = False,
) -> Script:
    """Reads a launch script; nothing of it is run.

    Args:
        text: the script.
        source: its name, for places and ``$0``.
        variables: values for what the script uses and does not know.
        positional: ``$1``, ``$2``, ...
        folder: where it lies; files beside it may be read, never written.
        inherited: the environment it is started in, where that is known; what it sets itself counts more.
        job: options of sbatch that count more than those in the script.
        first_task: what the environment says of a task (``SLURM_PROCID``) is so in the tasks too.
    """
    return shell.read(text, source, variables, positional, folder, inherited, job, first_task, HOOKS)


__all__ = ["HOOKS", "Script", "read_script"]
