"""A launch script: which of its commands starts Megatron-LM, and what the script says around it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from bridge_args.findings import Finding
from bridge_args.script import slurm
from bridge_args.script.command import Command, read_command
from bridge_args.script.programs import WRAPPERS
from bridge_args.secrets import masked
from bridge_args.source.source import Source, SourceError, secrets_in
from bridge_args.words import Word

if TYPE_CHECKING:
    from bridge_args.script.bash.started import Started
    from bridge_args.script.read import Script

_PRETRAIN: Final = re.compile(r"(^|/)pretrain_\w+\.py$")
# They are given names of files and start none of them.
_NAMES_FILES: Final = frozenset(
    (
        "aws awk basename black cat chmod chown cmp cp curl diff dirname du echo file find flake8 git grep gsutil head "
        "isort kill killall less ln ls md5sum mkdir more mv mypy patch pgrep pip pip3 pkill printf ps pylint rclone rm "
        "rsync ruff scp sed sha256sum shellcheck stat tail tar tee test touch unzip vi vim wc wget zip ["
    ).split()
)
# What a script has in it that starts Megatron-LM in a way that is not read; ``--pretrained-model`` is nothing of ours.
_MENTIONED: Final = re.compile(r"\bpretrain_\w*\.py\b|\bpretrain_(gpt|mamba|hybrid)\b|[Mm]egatron-LM\b")
_SPLITS: Final = re.compile(r"-[A-Za-z0]*S|--split-string")  # options of env that take a text apart
_ASSIGNS: Final = re.compile(r"[A-Za-z_]\w*=")
_SHOWN: Final = 12  # commands in a list for people


def of_script(script: Script, text: str, name: str, number: int | None = None, job: Sequence[str] = ()) -> Source:
    """The command of a script that starts Megatron-LM.

    Args:
        script: what was read of the text.
        number: which of several commands is meant, counted from 1.
        job: options of sbatch that count more than the script's own.

    Raises:
        SourceError: when it holds no such command, or more than one and no ``number``.
    """
    from bridge_args.script.bash.started import same_shell, together

    found = megatron_commands(script)
    groups = together(found)
    started = [group[0] for group in groups]
    if not started:
        unread = script.findings and _MENTIONED.search(text)
        raise SourceError(
            masked(_nothing_found(script, name), secrets_in(text, script.commands)), None if unread else 0
        )
    if number is None and len(started) > 1:
        raise SourceError(masked(listed(started, name), secrets_in(text, script.commands)), len(started))
    if number is not None and not 1 <= number <= len(started):
        count = f"{len(started)} commands that start" if len(started) > 1 else "one command that starts"
        raise SourceError(f"there is no command {number}: {name} holds {count} Megatron-LM")
    chosen, *others = groups[(number or 1) - 1]
    of_job = (*(chosen.sbatch or slurm.words(text)), *_of_salloc(chosen.words), *job)
    command = _with_slurm(read_command(chosen.words), slurm.from_options(of_job))
    findings = [*script.findings, *chosen.findings]
    differing = [one for one in others if read_command(one.words).argv != command.argv]
    if differing:
        message = f"tasks have different arguments: {_differing(differing[0].words, [chosen, *differing])}"
        findings.append(Finding("not-read", message, place=differing[0].words[0].place))
    if chosen.when:
        message = f"this command depends on what reading cannot tell: {'; '.join(chosen.when)}"
        findings.append(Finding("not-read", message, place=chosen.words[0].place))
    findings += [*_more_from_xargs(chosen, len(command.argv)), *_split_by_env(script.commands)]
    also = tuple(one for one in script.commands if one not in found and not same_shell(one, chosen))
    siblings = tuple(one for one in found if one is not chosen and one not in others and same_shell(one, chosen))
    exports = {**(script.job or {}), **chosen.exports}
    return Source(
        command, exports, tuple(findings), text, name, chosen.words, chosen, also, tuple(others), siblings, of_job
    )


def _more_from_xargs(started: Started, arguments: int) -> Iterator[Finding]:
    """``xargs torchrun pretrain_gpt.py``: what it reads becomes more arguments."""
    for word in started.words[: len(started.words) - arguments]:
        if word.text.rsplit("/", 1)[-1] == "xargs":
            message = "xargs adds words to this command, which it reads when it runs; they are not read here"
            yield Finding("not-read", message, "write the whole command line without xargs", place=word.place)


def _split_by_env(commands: Iterable[Started]) -> Iterator[Finding]:
    """``env -S "A=1 torchrun pretrain_gpt.py"``: env makes words of one text by rules of its own."""
    for one in commands:
        names = [word.text.rsplit("/", 1)[-1] for word in one.words]
        options = names[names.index("env") + 1 :] if "env" in names else []
        front = itertools.takewhile(lambda text: text.startswith("-") or _ASSIGNS.match(text), options)
        if any(map(_SPLITS.match, front)) and any(_MENTIONED.search(word.text) for word in one.words):
            message = "env -S makes the words of this command out of one text, which is not read"
            yield Finding("not-read", message, "write them behind env, without -S", place=one.words[0].place)


def megatron_commands(script: Script) -> list[Started]:
    """Those of a script's commands that start Megatron-LM: by the name of the program, else by its options.

    A program of another name counts where most of its options are Megatron-LM's, of whatever version.
    """
    programs = [(started, read_command(started.words)) for started in script.commands if not _only_names(started.words)]
    named = [
        started
        for started, command in programs
        if (_program(command).startswith("pretrain") or any(map(_PRETRAIN.search, map(str, started.words))))
        and _is_megatron(command)
    ]
    if named:
        return named
    launched = [
        started
        for started, command in programs
        if command.launcher not in (None, "python", "srun", "mpirun") and _is_training(command, 1)
    ]
    return launched or [started for started, command in programs if _is_training(command, 8)]


def _only_names(words: Sequence[Word]) -> bool:
    """Does the command only name files, as ``cp pretrain_gpt.py`` does, and start nothing that is named in it?"""
    names = (word.text.rsplit("/", 1)[-1] for word in words)
    return next((name for name in names if name not in WRAPPERS), "") in _NAMES_FILES


def _program(command: Command) -> str:
    program = command.program or ""
    return program.rpartition(".")[2] if command.module else program.rsplit("/", 1)[-1]


def _is_training(command: Command, options: int) -> bool:
    """A Python program with at least so many options, which are Megatron-LM's."""
    if not command.program or command.program == "-c" or not (command.module or command.program.endswith(".py")):
        return False
    return sum(word.text.startswith("--") for word in command.argv) >= options and _is_megatron(command)


def _is_megatron(command: Command) -> bool:
    """A program of Megatron-LM's own, or one most of whose options are."""
    from bridge_args.megatron_lm import programs, unknown

    if command.program is None or programs.meaning_of(command.program, command.module).own:
        return True
    return unknown.are_mostly_known([word.text for word in command.argv])


def _of_salloc(words: Sequence[Word]) -> list[str]:
    """The options of a job that ``salloc`` is asked for, in front of a command."""
    texts = [word.text for word in words]
    at = next((i for i, text in enumerate(texts) if "=" not in text), len(texts))
    if at >= len(texts) or texts[at].rsplit("/", 1)[-1] != "salloc":
        return []
    options = []
    at += 1
    while at < len(texts) and texts[at].startswith("-"):
        options.append(texts[at])
        if slurm.takes_the_next(texts[at]) and at + 1 < len(texts):
            at += 1
            options.append(texts[at])
        at += 1
    return options


def _with_slurm(command: Command, job: Mapping[str, str]) -> Command:
    """srun starts what the job asked for, unless it says otherwise itself; without a number, one task a node."""
    options = dict(command.launcher_options)
    if command.launcher != "srun" or "ntasks" in options:
        return command
    if "nodes" not in options and "ntasks_per_node" not in options and "SLURM_NTASKS" in job:
        options["ntasks"] = int(job["SLURM_NTASKS"])
    else:
        for option, variable in (("nodes", "SLURM_NNODES"), ("ntasks_per_node", "SLURM_NTASKS_PER_NODE")):
            if variable in job:
                options.setdefault(option, int(job[variable]))
        if "nodes" in options:
            options.setdefault("ntasks_per_node", 1)
    return command._replace(launcher_options=options)


def listed(started: Sequence[Started], name: str) -> str:
    lines = [f"{name} starts Megatron-LM {len(started)} times; choose one with --command N:"]
    for index, one in enumerate(started[:_SHOWN], start=1):
        place = one.words[0].place
        line = f"line {place.line}: " if place else ""
        lines.append(f"  {index}  {line}{_differing(one.words, started)}")
        lines += [f"     when {condition}" for condition in one.when]
    if len(started) > _SHOWN:
        lines.append(f"  ... and {len(started) - _SHOWN} more")
    return "\n".join(lines)


def _differing(words: Sequence[Word], started: Sequence[Started]) -> str:
    """What tells one command from the others, at most a line of it."""
    common = set.intersection(*({word.text for word in one.words} for one in started))
    texts = [word.text for word in words]
    shown = [
        text
        for index, text in enumerate(texts)
        if text not in common or (text.startswith("--") and index + 1 < len(texts) and texts[index + 1] not in common)
    ]
    text = " ".join(shown or texts)
    return text if len(text) <= 100 else text[:97] + "..."


def _nothing_found(script: Script, name: str) -> str:
    message = f"{name} holds no command that starts pretrain_gpt.py; put the command line after -- instead"
    return "\n".join([*(script.ends or [message]), *reasons(script)])


def reasons(script: Script) -> Iterable[str]:
    for finding in script.findings:
        yield f"  {finding}"
    yield from (f"  {finding}" for finding in _split_by_env(script.commands))
    yield from (f"  {reason}" for reason in script.reasons)
