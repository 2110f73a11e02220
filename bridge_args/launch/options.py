"""Options of ``bridge-args launch``, and which options of sbatch they are."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bridge_args.errors import WrongValue
from bridge_args.launch import executors
from bridge_args.records import Record
from bridge_args.steps import Asked

# Our flag -> sbatch's option; what a flag says counts more than the script's ``#SBATCH`` lines.
SBATCH: Final = (
    "account", "partition", "time", "nodes", "ntasks_per_node", "gpus_per_node", "array", "dependency",
    "job_name", "output",
)  # fmt: skip
CONTAINER: Final = ("container_image", "container_mounts", "container_workdir")  # of srun, by pyxis


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("--executor", choices=executors.NAMES, default="local", help="default: local, this machine")
    command.add_argument("--dry-run", action="store_true", help="print the command or the batch file, start nothing")
    command.add_argument(
        "--accept",
        action="append",
        default=[],
        metavar="NAME",
        help="start even though this argument has no equivalent",
    )
    job = command.add_argument_group("a job of Slurm", "override the script's #SBATCH lines")
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


class Options(Record):
    """What the user says of a launch.

    Attributes:
        executor: where it is started: ``local`` or ``slurm``.
        source: the name of what was read; None for words.
        sbatch: options of sbatch by name, ``SBATCH`` first, each as it was given.
        container: image, mounts and working folder, where given.
        setup: lines for bash before the processes start.
        more: other options of sbatch, ``KEY=VALUE``.
        asked: what was said of the translation.
    """

    executor: str = "local"
    dry_run: bool = False
    accept: tuple[str, ...] = ()
    source: str | None = None
    sbatch: Mapping[str, str] = MappingProxyType({})
    container: tuple[str | None, str | None, str | None] = (None, None, None)
    setup: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    asked: Asked = Asked()

    @property
    def nodes(self) -> int | None:
        """``--nodes``, where it is one number."""
        text = self.sbatch.get("nodes", "")
        return int(text) if text.isdigit() else None


def from_namespace(given: argparse.Namespace, asked: Asked) -> Options:
    """The options, once argparse has read them."""
    image, mounts, workdir = (getattr(given, name) for name in CONTAINER)
    return Options(
        given.executor,
        given.dry_run,
        tuple(given.accept),
        given.source,
        {name: value for name in SBATCH if (value := getattr(given, name)) is not None},
        (image, mounts, workdir),
        tuple(given.setup),
        tuple(given.sbatch),
        asked,
    )


def of_sbatch(options: Options) -> list[str]:
    """What the flags say, in sbatch's words.

    Raises:
        ValueError: ``--sbatch`` without a name.
    """
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.sbatch.items()]
    for pair in options.more:
        key, equals, value = pair.lstrip("-").partition("=")
        if not key:
            raise WrongValue(f"--sbatch expects KEY=VALUE, not {pair!r}")
        words.append(f"--{key.replace('_', '-')}={value}" if value else f"--{key.replace('_', '-')}")
    return words


def for_slurm(options: Options) -> list[str]:
    """The given flags that only a job of Slurm knows."""
    names = [name for name, value in options.sbatch.items() if value]
    names += [name for name, value in zip(CONTAINER, options.container, strict=True) if value]
    names += ["setup"] * bool(options.setup) + ["sbatch"] * bool(options.more)
    return [f"--{name.replace('_', '-')}" for name in names]


_METAVARS: Final = {
    "time": "TIME", "nodes": "N", "ntasks_per_node": "N", "gpus_per_node": "N", "array": "INDEXES",
    "container_image": "IMAGE", "container_mounts": "FROM:TO,...", "container_workdir": "DIR", "output": "FILE",
}  # fmt: skip
