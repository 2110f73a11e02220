"""The user's own command with one thing changed: Megatron-LM's program is the drop-in.

Everything in front of the program stays as it is written and in its order (rendezvous, restarts, log folders, numactl,
nsys, srun, ...), and everything behind it stays the user's. Bare arguments get a launcher of their own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from bridge_args.errors import UserError
from bridge_args.findings import Finding
from bridge_args.megatron_lm.programs import TRANSLATED
from bridge_args.records import Record
from bridge_args.script import slurm
from bridge_args.script.bash.state import Hole
from bridge_args.script.command import Command, is_program, read_command
from bridge_args.script.kept import Edits, NotChanged, Outer, changed
from bridge_args.script.programs import LAUNCHERS
from bridge_args.source.source import Source
from bridge_args.words import Word

DROP_IN: Final = {program: f"bridge_args.{program.removesuffix('.py')}" for program in TRANSLATED}

_SHOWN: Final = 8  # commands in a list for people
_LONGEST: Final = 60  # characters of one of them
# They say something, or wait.
_HARMLESS: Final = frozenset(
    (
        "cat date df env free getent hostname ibdev2netdev id ls lscpu lspci nvidia-smi ping printenv ps pwd scontrol "
        "sinfo sleep squeue tee wait which whoami"
    ).split()
)


class NotStarted(UserError, ValueError):
    """There is no telling what to start; the message says why and what to do."""


class Start(Record):
    """A command that trains on Bridge.

    Attributes:
        words: launcher, drop-in, its own options, the user's arguments; or up to the text of an inner shell, in which
            they stand. A character of ``holes`` stands for what is not known.
        environment: what the script sets for it.
        folder: where the script starts it; empty for where the script itself is started.
        holes: what reading the script does not tell, by the character that stands for it.
        launcher: what starts the processes, as ``Command.launcher``; None for bare arguments.
        front: how many words stand before the drop-in, or the text it stands in.
        options: of the launcher, as ``Command.launcher_options``.
    """

    words: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str
    holes: Mapping[str, Hole]
    launcher: str | None
    front: int
    options: Mapping[str, str | int] = MappingProxyType({})


# Which of a command's words are to be others; the words are those in front of the user's arguments.
More = Callable[[Sequence[Word]], Edits]


def replaced(
    source: Source,
    program: str,
    own: Sequence[str] = (),
    inherited: Mapping[str, str] | None = None,
    more: More = lambda words: {},
) -> Start:
    """The command of a source with the drop-in in place of Megatron-LM's program.

    Args:
        program: one of ``TRANSLATED``.
        own: options of the drop-in itself, which stand before the user's arguments.
        inherited: the environment that the source was read with; what only comes from there is left out.
        more: other words that change.

    Raises:
        NotStarted: the program is hidden in something that cannot be taken apart.
    """
    command, started = source.command, source.started
    count = len(source.words) - len(command.argv) if command.program and source.words else 0
    if count and source.words[count:] != command.argv:
        raise NotStarted("the arguments are inside a quoted shell command; put them into a script, and pass that")
    holes: Mapping[str, Hole] = {}
    options = command.launcher_options
    if not count:
        words, front, folder = (*own, *(word.text for word in command.argv)), 0, ""
        environment = {**(source.environment or {}), **command.environment}
    elif started is None or started.raw is None:
        edits = _edits(source.words, command, program, own, more)
        texts = [edits.get(index, (word.text,)) for index, word in enumerate(source.words)]
        assigned = _assigned(source.words)
        words = tuple(text for some in texts[assigned:] for text in some)
        front, folder = sum(map(len, texts[assigned:count])), ""
        environment = {**(source.environment or {}), **command.environment}
    else:
        if source.same_shell:
            place = source.same_shell[0].words[0].place
            raise NotStarted(
                f"{place}: the same shell starts Megatron-LM more than once; give each a script of its own"
            )
        try:
            outer = _outer(source, program, own, more, count)
        except NotChanged as problem:
            where = f"{problem.place}: " if problem.place else ""
            raise NotStarted(f"{where}{problem.what}; write the arguments where the program is started") from problem
        words, front, folder, holes, environment = (
            outer.words,
            outer.front,
            outer.folder,
            outer.holes,
            {**outer.exports},
        )
        options = read_command([Word(word.text) for word in started.raw.found.words]).launcher_options
    for name, value in {**slurm.from_options(source.job), **(inherited or {})}.items():
        if environment.get(name) == value:
            del environment[name]
    return Start(words, environment, folder, holes, command.launcher if count else None, front, options)


def _outer(source: Source, program: str, own: Sequence[str], more: More, count: int) -> Outer:
    """The command as the script's own shell starts it."""
    assert source.started is not None
    all_of = [(source.started, _edits(source.words, source.command, program, own, more))]
    for other in source.alternatives:
        all_of.append((other, _edits(other.words, read_command(other.words), program, own, more)))
    return changed(all_of, count)


def _edits(words: Sequence[Word], command: Command, program: str, own: Sequence[str], more: More) -> Edits:
    front = list(words[: len(words) - len(command.argv)])
    last = len(front) - 1
    edits = {index: tuple(texts) for index, texts in more(front).items()}
    before = edits.pop(last, ())  # what comes right before the program
    return {**edits, last: (*before, *_drop_in(front, command, program), *own)}


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
    """Bare arguments behind a launcher.

    Raises:
        UserError: there is no program that takes them.
    """
    if program not in DROP_IN:
        raise UserError(
            "launch starts a command line of Megatron-LM, and this source is none; make a script of it: bridge-args "
            "translate SOURCE --format script -o run.sh"
        )
    front = (*launcher, "-m", DROP_IN[program])
    return start._replace(words=(*front, *start.words), front=len(front), launcher="torchrun")


def text_of(words: Sequence[str]) -> str:
    """A command line for people and for bash: an option and its values on one line, the others continued."""
    lines: list[list[str]] = [[]]
    for word in words:
        is_option = word.startswith("-") and len(word) > 1 and not word[1].isdigit()
        if word in ("-m", "-c") and lines[-1] and is_program(lines[-1][-1]):  # python -m, bash -c
            is_option = False
        if lines[-1] and (is_option or (is_program(word) and lines[-1][0].startswith("-"))):
            lines.append([])
        lines[-1].append(word)
    return " \\\n    ".join(" ".join(line) for line in lines)


def _drop_in(front: Sequence[Word], command: Command, program: str) -> tuple[str, ...]:
    """What stands in the place of the last word in front."""
    module, last = DROP_IN[program], front[-1].text
    if command.module:
        return ("-m", module) if last.startswith("-") else (module,)  # -mpretrain_gpt
    if command.program is None or not command.program.endswith(".py") or last != command.program:
        name = os.path.basename(command.program or last)
        raise NotStarted(f"{name} is no Python program that could be replaced; put the command line after -- instead")
    before = front[-2].text if len(front) > 1 else ""
    behind_python = os.path.basename(before).startswith("python") or command.launcher == "python"
    if command.launcher == "deepspeed":
        return ("--module", module)
    starts_scripts = command.launcher in LAUNCHERS and LAUNCHERS[command.launcher].starts_scripts
    if starts_scripts or behind_python or _has_python(front):
        return ("-m", module)
    return ("python", "-m", module)


def _has_python(front: Sequence[Word]) -> bool:
    return any(os.path.basename(word.text).startswith("python") for word in front)


def _assigned(words: Sequence[Word]) -> int:
    """How many words in front are ``NAME=value``."""
    names = (word.text.partition("=") for word in words)
    return next((i for i, (name, equals, _) in enumerate(names) if not (equals and name.isidentifier())), 0)
