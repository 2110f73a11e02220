"""The user's own command with one thing changed: Megatron-LM's program is the drop-in.

Everything in front of the program stays as it is written and in its order (rendezvous, restarts, log folders, numactl,
nsys, srun, ...), and everything behind it stays the user's. Bare arguments get a launcher of their own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from bridge_args.findings import Finding
from bridge_args.script import slurm
from bridge_args.script.command import Command, is_program
from bridge_args.script.programs import LAUNCHERS
from bridge_args.script.state import Hole
from bridge_args.source import Source
from bridge_args.words import Word

DROP_IN: Final = {"pretrain_gpt.py": "bridge_args.pretrain_gpt", "pretrain_mamba.py": "bridge_args.pretrain_mamba"}

_SHOWN: Final = 8  # commands in a list for people
_LONGEST: Final = 60  # characters of one of them
# They say something, or wait.
_HARMLESS: Final = frozenset(
    (
        "cat date df env free getent hostname ibdev2netdev id ls lscpu lspci nvidia-smi ping printenv ps pwd scontrol "
        "sinfo sleep squeue tee wait which whoami"
    ).split()
)


class NotStarted(ValueError):
    """There is no telling what to start; the message says why and what to do."""


class Start(NamedTuple):
    """A command that trains on Bridge.

    Attributes:
        words: launcher, drop-in, its own options, the user's arguments; what is not known of them is in ``unknown``.
        environment: what the script sets for it.
        folder: where the script starts it; empty for where the script itself is started.
        unknown: what reading the script does not tell; ``Hole.written`` is how it stands in the words.
        launcher: what starts the processes, as ``Command.launcher``; None for bare arguments.
        front: how many words stand before the drop-in.
    """

    words: tuple[Word, ...]
    environment: Mapping[str, str]
    folder: str
    unknown: tuple[Hole, ...]
    launcher: str | None
    front: int


def replaced(
    source: Source, program: str, own: Sequence[str] = (), inherited: Mapping[str, str] | None = None
) -> Start:
    """The command of a source with the drop-in in place of Megatron-LM's program.

    Args:
        program: ``pretrain_gpt.py`` or ``pretrain_mamba.py``.
        own: options of the drop-in itself, which stand before the user's arguments.
        inherited: the environment that the source was read with; what only comes from there is left out.

    Raises:
        NotStarted: the program is hidden in something that cannot be taken apart.
    """
    command, started = source.command, source.started
    front = list(source.words[: len(source.words) - len(command.argv)]) if command.program else []
    if front and source.words[len(front) :] != command.argv:
        raise NotStarted("the arguments stand inside the text of a shell; put them into a script, and name that")
    while front and _is_assignment(front[0], command):
        del front[0]
    if front:
        front = _with_drop_in(front, command, program)
    environment = {**(started.exports if started else source.environment or {}), **command.environment}
    made_by_slurm = slurm.variables(source.text) or {} if started else {}
    for name, value in {**made_by_slurm, **(inherited or {})}.items():
        if environment.get(name) == value:
            del environment[name]
    return Start(
        words=(*front, *map(Word, own), *command.argv),
        environment=environment,
        folder=started.folder if started else "",
        unknown=started.unknown if started else (),
        launcher=command.launcher if front else None,
        front=len(front),
    )


def left_out(source: Source) -> Finding | None:
    """What a script does beside the command that is started, and what nobody does now."""
    told = []
    for one in source.also:
        texts = [word.text for word in one.words]
        asks = {"hostname", "scontrol"} & set(texts)  # srun … hostname --ip-address
        if texts[0].rsplit("/", 1)[-1] not in _HARMLESS and not asks:
            line = " ".join(texts)
            place = f" (line {one.words[0].place.line})" if one.words[0].place else ""
            told.append(f"{line if len(line) <= _LONGEST else line[: _LONGEST - 3] + '...'}{place}")
    if not told:
        return None
    more = [] if len(told) <= _SHOWN else [f"and {len(told) - _SHOWN} more"]
    message = f"the script does more than start the training, which is left to you: {'; '.join(told[:_SHOWN] + more)}"
    return Finding("not-read", message)


def bare(start: Start, launcher: Sequence[str], program: str) -> Start:
    """Bare arguments behind a launcher."""
    front = [*map(Word, launcher), Word("-m"), Word(DROP_IN[program])]
    return start._replace(words=(*front, *start.words), front=len(front), launcher="torchrun")


def text_of(words: Sequence[str]) -> str:
    """A command line for people and for bash: an option and its values on one line, the others continued."""
    lines: list[list[str]] = [[]]
    for word in words:
        is_option = word.startswith("-") and len(word) > 1 and not word[1].isdigit()
        if word == "-m" and lines[-1] and is_program(lines[-1][-1]):  # python -m
            is_option = False
        if lines[-1] and (is_option or (is_program(word) and lines[-1][0].startswith("-"))):
            lines.append([])
        lines[-1].append(word)
    return " \\\n    ".join(" ".join(line) for line in lines)


def _with_drop_in(front: list[Word], command: Command, program: str) -> list[Word]:
    """The words in front, their last one or two replaced."""
    module, last = DROP_IN[program], front[-1].text
    if command.module:
        if last.startswith("-"):  # -mpretrain_gpt
            return [*front[:-1], Word("-m"), Word(module)]
        return [*front[:-1], Word(module)]
    if command.program is None or not command.program.endswith(".py") or last != command.program:
        name = os.path.basename(command.program or last)
        raise NotStarted(f"{name} is no Python program that could be replaced; put the command line after -- instead")
    before = front[-2].text if len(front) > 1 else ""
    behind_python = os.path.basename(before).startswith("python") or command.launcher == "python"
    if command.launcher == "deepspeed":
        return [*front[:-1], Word("--module"), Word(module)]
    starts_scripts = command.launcher in LAUNCHERS and LAUNCHERS[command.launcher].starts_scripts
    if starts_scripts or behind_python or _has_python(front):
        return [*front[:-1], Word("-m"), Word(module)]
    return [*front[:-1], Word("python"), Word("-m"), Word(module)]


def _has_python(front: Sequence[Word]) -> bool:
    return any(os.path.basename(word.text).startswith("python") for word in front)


def _is_assignment(word: Word, command: Command) -> bool:
    name, equals, value = word.text.partition("=")
    return bool(equals) and command.environment.get(name) == value
