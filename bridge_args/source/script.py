"""What a translation can start from: words, a launch script, or YAML. Read as data, never run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from bridge_args.files import read_bytes, remember
from bridge_args.findings import Finding
from bridge_args.script import slurm
from bridge_args.script.command import Command, read_command
from bridge_args.script.programs import WRAPPERS
from bridge_args.secrets import Secret, found_in, found_in_variables, found_in_words, masked
from bridge_args.words import Word, as_words

if TYPE_CHECKING:
    from bridge_args.script.bash.started import Started
    from bridge_args.script.read import Script
    from bridge_args.source.yaml.kubernetes import Container

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
MAX_SCRIPT: Final = 500_000  # bytes; the largest public launch script met has 40 kB
_MANIFEST: Final = re.compile(
    r"(\s*(#.*|---)?\n)*(apiVersion|kind):\s*[\w./]+\s*\n"
)  # of Kubernetes, by its first line
_SHOWN: Final = 12  # commands in a list for people


class SourceError(ValueError):
    """The source cannot be read, or holds no Megatron-LM command; the message says where and what to do.

    Attributes:
        commands: how many commands it holds: 0, or more than one; None where that is not known.
    """

    def __init__(self, message: str, commands: int | None = None) -> None:
        super().__init__(masked(message))
        self.commands = commands


class Source(NamedTuple):
    """A command and what its surroundings say.

    Attributes:
        environment: variables the script exports; None when there is no script to say so.
        findings: what could not be read.
        text: the script or YAML file itself; empty for words.
        name: what it is called.
        words: the whole command line, launcher and all; empty where the source has none.
        started: the command as the script starts it, where there is a script.
        also: what else the script starts.
        alternatives: commands that a task may start instead, when it runs.
        same_shell: other commands of Megatron-LM that the same inner shell starts.
        job: options of sbatch, of the script and of what calls it.
    """

    command: Command
    environment: Mapping[str, str] | None
    findings: tuple[Finding, ...]
    text: str = ""
    name: str = ""
    words: tuple[Word, ...] = ()
    started: Started | None = None
    also: tuple[Started, ...] = ()
    alternatives: tuple[Started, ...] = ()
    same_shell: tuple[Started, ...] = ()
    job: tuple[str, ...] = ()


def secrets_of(source: Source) -> tuple[Secret, ...]:
    """What the source says that no output may show: in its text, and in the words and variables bash makes of it."""
    found = [*_secrets_in(source.text, source.also), *found_in_words([word.text for word in source.words])]
    found += found_in_variables({**(source.environment or {}), **source.command.environment})
    return tuple(dict.fromkeys(found))


def _secrets_in(text: str, commands: Sequence[Started]) -> tuple[Secret, ...]:
    found = [*found_in(text)]
    for one in commands:
        found += [*found_in_words([word.text for word in one.words]), *found_in_variables(one.exports)]
    return tuple(dict.fromkeys(found))


def from_argv(words: Sequence[str]) -> Source:
    """Words of a command line, with or without a launcher in front."""
    return Source(read_command(as_words(words)), None, (), words=as_words(words))


def from_file(
    path: str,
    variables: Mapping[str, str] | None = None,
    positional: Sequence[str] = (),
    number: int | None = None,
    inherited: Mapping[str, str] | None = None,
    job: Sequence[str] = (),
    first_task: bool = False,
) -> Source:
    """A launch script on disk; see ``from_text``.

    Raises:
        SourceError: when it cannot be read, or holds no command that starts Megatron-LM.
    """
    file = Path(path)
    try:
        if "\0" not in path and file.exists() and not file.is_file():
            raise SourceError(f"{path} is not a file")
        if "\0" not in path and file.is_file() and file.stat().st_size > MAX_SCRIPT:
            raise SourceError(f"{path} has {file.stat().st_size} bytes; that is no launch script")
        remember(path)
        text = read_bytes(path, MAX_SCRIPT).decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not a text file: byte {error.start} is not UTF-8") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return from_text(text, path, variables, positional, number, file.resolve().parent, inherited, job, first_task)


def from_text(
    text: str,
    name: str,
    variables: Mapping[str, str] | None = None,
    positional: Sequence[str] = (),
    number: int | None = None,
    folder: Path | None = None,
    inherited: Mapping[str, str] | None = None,
    job: Sequence[str] = (),
    first_task: bool = False,
) -> Source:
    """A launch script.

    Args:
        variables: values for what the script uses and does not know (``--set``).
        positional: words given to the script: its ``$1``, ``$2``, ...
        number: which of several commands is meant, counted from 1.
        folder: where the script lies; files beside it may be read.
        inherited: the environment the script is started in, where that is known.
        job: options of sbatch that count more than the script's own.
        first_task: that environment is what the first task of a job has.

    Raises:
        SourceError: when it holds no command that starts Megatron-LM, or more than one and no ``number``.
    """
    if _is_yaml(text, name):
        if positional:
            raise SourceError(f"{name} is YAML, which takes no words: {' '.join(positional)}")
        return _from_yaml(text, name, variables or {}, number, folder)
    from bridge_args.script.bash.started import same_shell, together
    from bridge_args.script.read import read_script

    script = read_script(text, name, variables, positional, folder, inherited, job, first_task)
    found = megatron_commands(script)
    groups = together(found)
    started = [group[0] for group in groups]
    if not started:
        unread = script.findings and _MENTIONED.search(text)
        raise SourceError(
            masked(_nothing_found(script, name), _secrets_in(text, script.commands)), None if unread else 0
        )
    if number is None and len(started) > 1:
        raise SourceError(masked(_listed(started, name), _secrets_in(text, script.commands)), len(started))
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
    also = tuple(one for one in script.commands if one not in found and not same_shell(one, chosen))
    siblings = tuple(one for one in found if one is not chosen and one not in others and same_shell(one, chosen))
    exports = {**(script.job or {}), **chosen.exports}
    return Source(
        command, exports, tuple(findings), text, name, chosen.words, chosen, also, tuple(others), siblings, of_job
    )


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


def _listed(started: Sequence[Started], name: str) -> str:
    lines = [f"{name} starts Megatron-LM {len(started)} times; say which is meant with --command N:"]
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
    return "\n".join([*(script.ends or [message]), *_reasons(script)])


def _reasons(script: Script) -> Iterable[str]:
    for finding in script.findings:
        yield f"  {finding}"
    yield from (f"  {reason}" for reason in script.reasons)


def _is_yaml(text: str, name: str) -> bool:
    """By what is in it: a script may be called anything, and what comes on standard input has no name."""
    if text.startswith("#!"):
        return False
    keys = ("MODEL_ARGS", "language_model:", "model_parallel:")
    if _MANIFEST.match(text):
        return True
    return name.endswith((".yaml", ".yml")) or any(
        line.startswith(keys) and line.rstrip().endswith(":") for line in text.splitlines()
    )


def _from_yaml(text: str, name: str, variables: Mapping[str, str], number: int | None, folder: Path | None) -> Source:
    from bridge_args.source.yaml.kubernetes import is_manifest
    from bridge_args.source.yaml.nodes import YamlProblem
    from bridge_args.source.yaml.run import read_run

    try:
        if is_manifest(text):
            return _from_manifest(text, name, variables, number)
        run = read_run(text, name, variables, number, folder)
    except YamlProblem as problem:
        raise SourceError(str(problem), problem.commands) from problem
    return Source(run.command, run.environment, run.findings, text, name)


def _from_manifest(text: str, name: str, variables: Mapping[str, str], number: int | None) -> Source:
    """The command of a container; what its shell reads is read as a script is.

    Raises:
        YamlProblem, SourceError: it cannot be read; no container starts Megatron-LM, or several do and no ``number``.
    """
    from bridge_args.script.bash.started import Started
    from bridge_args.script.read import Script, read_script
    from bridge_args.source.yaml.kubernetes import containers

    found: dict[tuple[str, ...], tuple[Started, Script, Container]] = {}
    unread: list[Script] = []
    for container in containers(text, name):
        if container.text is None:
            script = Script((Started(container.words, container.environment),))
        else:
            script = read_script(container.text, name, variables, container.positional, inherited=container.environment)
        started = megatron_commands(script)
        unread += [] if started else [script]
        for one in started:  # master and workers run the same
            found.setdefault(tuple(word.text for word in one.words), (one, script, container))
    listed = [started for started, _, _ in found.values()]
    if not listed:
        reasons = [line for script in unread for line in _reasons(script)]
        message = f"{name} has no container whose command starts pretrain_gpt.py; put the command line after -- instead"
        raise SourceError("\n".join([message, *dict.fromkeys(reasons)]), 0)
    if number is None and len(listed) > 1:
        raise SourceError(_listed(listed, name), len(listed))
    if number is not None and not 1 <= number <= len(listed):
        raise SourceError(f"there is no command {number}: {name} holds {len(listed)}")
    chosen, script, container = list(found.values())[(number or 1) - 1]
    command = read_command(chosen.words)
    options = dict(command.launcher_options)
    if container.gpus and options.get("nproc_per_node") in ("gpu", "auto"):
        options["nproc_per_node"] = container.gpus
    exports = {**container.environment, **chosen.exports}
    findings = (*script.findings, *chosen.findings)
    return Source(command._replace(launcher_options=options), exports, findings, text, name)
