"""``#SBATCH`` lines -> options of the job, and the variables Slurm sets because of them.

Facts: sbatch(1), OPTIONS and OUTPUT ENVIRONMENT VARIABLES.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Final

_SHORT: Final = {
    "A": "account", "B": "extra-node-info", "C": "constraint", "D": "chdir", "F": "nodefile", "G": "gpus", "H": "hold",
    "J": "job-name", "L": "licenses", "M": "clusters", "N": "nodes", "O": "overcommit", "Q": "quiet", "S": "core-spec",
    "W": "wait", "a": "array", "b": "begin", "c": "cpus-per-task", "d": "dependency", "e": "error", "i": "input",
    "k": "no-kill", "m": "distribution", "n": "ntasks", "o": "output", "p": "partition", "q": "qos",
    "s": "oversubscribe", "t": "time", "v": "verbose", "w": "nodelist", "x": "exclude",
}  # fmt: skip
# Options without a value, or with one that is written behind "=".
_SWITCHES: Final = frozenset(
    (
        "contiguous exclusive get-user-env hold ignore-pbs nice no-kill no-requeue overcommit oversubscribe parsable "
        "propagate quiet reboot requeue spread-job test-only usage use-min-nodes verbose version wait"
    ).split()
)
_GPUS: Final = re.compile(r"^(?:[A-Za-z][\w.-]*:)*(\d+)$")


def variables(text: str) -> dict[str, str] | None:
    """What Slurm sets because of a script's ``#SBATCH`` lines; None when it has none."""
    lines = _lines(text)
    return from_options(_split(lines)) if lines else None


def words(text: str) -> list[str]:
    """The options in a script's ``#SBATCH`` lines, as on sbatch's command line."""
    return _split(_lines(text))


def _lines(text: str) -> list[str]:
    """What stands behind ``#SBATCH``, before the first command."""
    found = []
    for line in text.splitlines():
        if line.startswith("#SBATCH"):
            found.append(line[len("#SBATCH") :])
        elif line.strip() and not line.lstrip().startswith("#"):
            break
    return found


def _split(lines: Sequence[str]) -> list[str]:
    made: list[str] = []
    for line in lines:
        try:
            made += shlex.split(line, comments=True)
        except ValueError:
            continue
    return made


def from_options(words: Sequence[str]) -> dict[str, str]:
    """Options of sbatch, as on its command line."""
    options = options_of(words)
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


def takes_the_next(word: str) -> bool:
    """Is the value of this option of sbatch the next word?"""
    if word.startswith("--"):
        return "=" not in word and word[2:] not in _SWITCHES
    return len(word) == 2 and _SHORT.get(word[1], "") not in _SWITCHES


def options_of(words: Sequence[str]) -> dict[str, str]:
    """Options of sbatch by their long names; a switch is empty text, and so is an option whose value is missing.

    A word that is no option (``hetjob``) is there as it is written.
    """
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
            options[word] = ""
            continue
        if not equals and name not in _SWITCHES and index < len(words) and not words[index].startswith("-"):
            value = words[index]
            index += 1
        options[name] = value
    return options


def _gres(text: str) -> str:
    return next((part[len("gpu:") :] for part in text.split(",") if part.startswith("gpu:")), "")


def _count(text: str) -> str:
    match = _GPUS.match(text)
    return match.group(1) if match else ""
