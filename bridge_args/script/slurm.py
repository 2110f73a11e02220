"""``#SBATCH`` lines -> options of the job, and the variables Slurm sets because of them.

Facts: sbatch(1), OPTIONS and OUTPUT ENVIRONMENT VARIABLES.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from bridge_args.records import Record
from bridge_args.words import OF_A_TASK as OF_A_TASK

_SHORT: Final = {
    "A": "account", "B": "extra-node-info", "C": "constraint", "D": "chdir", "F": "nodefile", "G": "gpus", "H": "hold",
    "J": "job-name", "L": "licenses", "M": "clusters", "N": "nodes", "O": "overcommit", "Q": "quiet", "S": "core-spec",
    "W": "wait", "a": "array", "b": "begin", "c": "cpus-per-task", "d": "dependency", "e": "error", "i": "input",
    "k": "no-kill", "m": "distribution", "n": "ntasks", "o": "output", "p": "partition", "q": "qos",
    "s": "oversubscribe", "t": "time", "v": "verbose", "w": "nodelist", "x": "exclude",
}  # fmt: skip
_SAME: Final = {"tasks-per-node": "ntasks-per-node"}
# Options without a value, or with one that is written behind "=".
_SWITCHES: Final = frozenset(
    (
        "contiguous exclusive get-user-env hold ignore-pbs nice no-kill no-requeue overcommit oversubscribe parsable "
        "propagate quiet reboot requeue spread-job test-only usage use-min-nodes verbose version wait"
    ).split()
)
_MAX_LINE: Final = 10_000  # characters
_GPUS: Final = re.compile(r"^(?:[A-Za-z][\w.-]*:)*(\d+)$")


def variables(text: str, more: Sequence[str] = ()) -> dict[str, str] | None:
    """What Slurm sets because of a script's ``#SBATCH`` lines, and of ``more`` options; None when there are none."""
    found = [*words(text), *more]
    return from_options(found) if found or _lines(text) else None


def words(text: str) -> list[str]:
    """The options in a script's ``#SBATCH`` lines, as on sbatch's command line."""
    return _split(_lines(text))


def _lines(text: str) -> list[str]:
    """What stands behind ``#SBATCH``, before the first command."""
    found = []
    for line in text.splitlines():
        if line.startswith("#SBATCH") and len(line) < _MAX_LINE:
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
    asked = size_of(options)
    if asked.nodes:
        made["SLURM_NNODES"] = made["SLURM_JOB_NUM_NODES"] = str(asked.nodes)
    if asked.per_node:
        made["SLURM_NTASKS_PER_NODE"] = str(asked.per_node)
    if asked.tasks:
        made["SLURM_NTASKS"] = made["SLURM_NPROCS"] = str(asked.tasks)
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


class Size(Record):
    """How many nodes and tasks a job asks for; None where it leaves that to Slurm."""

    nodes: int | None
    tasks: int | None
    per_node: int | None


def size_of(options: Mapping[str, str]) -> Size:
    """From options as ``options_of`` gives them: sbatch(1), --nodes, --ntasks and their neighbours."""
    if "hetjob" in options or "packjob" in options:
        return Size(None, None, None)  # a job of several parts: these are of the last one alone
    low, _, high = options.get("nodes", "").partition("-")
    nodes = _whole(low) if high in ("", low) else None
    tasks, per_node = _whole(options.get("ntasks", "")), _whole(options.get("ntasks-per-node", ""))
    gpus = _whole(_count(options.get("gpus", "")))
    on_node = _whole(_count(options.get("gpus-per-node", "") or _gres(options.get("gres", ""))))
    if gpus is None and on_node and (nodes or "nodes" not in options):
        gpus = on_node * (nodes or 1)
    for_each, on_each = _whole(_count(options.get("gpus-per-task", ""))), _whole(options.get("ntasks-per-gpu", ""))
    if tasks is None and per_node and (nodes or "nodes" not in options):
        tasks = (nodes or 1) * per_node
    elif tasks is None and gpus and (for_each or on_each):
        tasks = gpus * on_each if on_each else gpus // (for_each or 1)
    if nodes is None and "nodes" not in options and tasks and per_node:
        nodes = -(-tasks // per_node)
    return Size(nodes, tasks or None, per_node)


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text) > 0 else None


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
        options[_SAME.get(name, name)] = value
    return options


def _gres(text: str) -> str:
    return next((part[len("gpu:") :] for part in text.split(",") if part.startswith("gpu:")), "")


def _count(text: str) -> str:
    match = _GPUS.match(text)
    return match.group(1) if match else ""
