"""``#SBATCH`` lines -> the variables Slurm sets because of them. Facts: sbatch(1), OUTPUT ENVIRONMENT VARIABLES."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Final

_SHORT: Final = {
    "N": "nodes", "n": "ntasks", "J": "job-name", "c": "cpus-per-task", "G": "gpus", "p": "partition", "A": "account",
}  # fmt: skip
_GPUS: Final = re.compile(r"^(?:[A-Za-z][\w.-]*:)*(\d+)$")


def variables(text: str) -> dict[str, str] | None:
    """What a script's ``#SBATCH`` lines say; None when it has none. They stand before the first command."""
    words: list[str] = []
    found = False
    for line in text.splitlines():
        if line.startswith("#SBATCH"):
            found = True
            try:
                words += shlex.split(line[len("#SBATCH") :], comments=True)
            except ValueError:
                continue
        elif line.strip() and not line.lstrip().startswith("#"):
            break
    return from_options(words) if found else None


def from_options(words: Sequence[str]) -> dict[str, str]:
    """Options of sbatch, as on its command line."""
    options = _options(words)
    made: dict[str, str] = {}
    nodes, tasks, per_node = options.get("nodes"), options.get("ntasks"), options.get("ntasks-per-node")
    if nodes and nodes.isdigit():
        made["SLURM_NNODES"] = made["SLURM_JOB_NUM_NODES"] = nodes
    if per_node and per_node.isdigit():
        made["SLURM_NTASKS_PER_NODE"] = per_node
        if not tasks and nodes and nodes.isdigit():
            tasks = str(int(nodes) * int(per_node))
    if tasks and tasks.isdigit():
        made["SLURM_NTASKS"] = made["SLURM_NPROCS"] = tasks
    if "job-name" in options:
        made["SLURM_JOB_NAME"] = options["job-name"]
    if "cpus-per-task" in options:
        made["SLURM_CPUS_PER_TASK"] = options["cpus-per-task"]
    if "partition" in options and "," not in options["partition"]:
        made["SLURM_JOB_PARTITION"] = options["partition"]
    if "gpus" in options:
        made["SLURM_GPUS"] = options["gpus"]
    gpus = options.get("gpus-per-node")
    if gpus:
        made["SLURM_GPUS_PER_NODE"] = gpus
    count = _count(gpus or _gres(options.get("gres", "")))
    if count:
        made["SLURM_GPUS_ON_NODE"] = count
    return made


def _options(words: Sequence[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
        elif word.startswith("-") and len(word) > 1 and word[1] in _SHORT:
            name, value = _SHORT[word[1]], word[2:].removeprefix("=")
            equals = value
        else:
            continue
        if not equals and index < len(words) and not words[index].startswith("-"):
            value = words[index]
            index += 1
        options[name] = value
    return options


def _gres(text: str) -> str:
    return next((part[len("gpu:") :] for part in text.split(",") if part.startswith("gpu:")), "")


def _count(text: str) -> str:
    match = _GPUS.match(text)
    return match.group(1) if match else ""
