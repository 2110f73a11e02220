"""Options of ``bridge-args launch``, and which options of sbatch they are."""

from __future__ import annotations

import argparse
from typing import Final

# Our flag -> sbatch's option; what a flag says counts more than the script's ``#SBATCH`` lines.
SBATCH: Final = (
    "account", "partition", "time", "nodes", "ntasks_per_node", "gpus_per_node", "array", "dependency",
    "job_name", "output",
)  # fmt: skip
CONTAINER: Final = ("container_image", "container_mounts", "container_workdir")  # of srun, by pyxis


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("--executor", choices=("local", "slurm"), default="local", help="default: local, this machine")
    command.add_argument("--dry-run", action="store_true", help="print the command or the batch file, start nothing")
    command.add_argument(
        "--accept", action="append", default=[], metavar="NAME", help="train although this argument is lost"
    )
    job = command.add_argument_group("a job of Slurm", "they count more than the #SBATCH lines of a script")
    for name in (*SBATCH, *CONTAINER):
        job.add_argument(f"--{name.replace('_', '-')}", metavar=_METAVARS.get(name, "TEXT"))
    job.add_argument(
        "--setup", action="append", default=[], metavar="LINE", help="a line for bash before the processes start"
    )
    job.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other option of sbatch; KEY= for a switch",
    )


def of_sbatch(options: argparse.Namespace) -> list[str]:
    """What the flags say, in sbatch's words.

    Raises:
        ValueError: ``--sbatch`` without a name.
    """
    words = [f"--{name.replace('_', '-')}={value}" for name in SBATCH if (value := getattr(options, name)) is not None]
    for pair in options.sbatch:
        key, equals, value = pair.lstrip("-").partition("=")
        if not key:
            raise ValueError(f"--sbatch expects KEY=VALUE, not {pair!r}")
        words.append(f"--{key.replace('_', '-')}={value}" if value else f"--{key.replace('_', '-')}")
    return words


def for_slurm(options: argparse.Namespace) -> list[str]:
    """The given flags that only a job of Slurm knows."""
    names = [*SBATCH, *CONTAINER, "setup", "sbatch"]
    return [f"--{name.replace('_', '-')}" for name in names if getattr(options, name)]


_METAVARS: Final = {
    "time": "TIME", "nodes": "N", "ntasks_per_node": "N", "gpus_per_node": "N", "array": "INDEXES",
    "container_image": "IMAGE", "container_mounts": "FROM:TO,...", "container_workdir": "DIR", "output": "FILE",
}  # fmt: skip
