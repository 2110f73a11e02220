"""What is to be started, as every executor is handed it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Protocol

from bridge_args.errors import WrongValue
from bridge_args.findings import Finding
from bridge_args.launch.entrypoint import DROP_IN, More, Start
from bridge_args.launch.options import Options
from bridge_args.mapping.translation import Translation
from bridge_args.records import Record
from bridge_args.script.programs import SHELLS
from bridge_args.source.read import from_text
from bridge_args.source.source import Source
from bridge_args.source.yaml import kubernetes
from bridge_args.steps import PROGRAMS


class Read(Protocol):
    """Gives the source for an environment, for options of sbatch that count more, and for the first task."""

    def __call__(self, inherited: Mapping[str, str], job: Sequence[str] = (), first_task: bool = False) -> Source: ...


class Job(Record):
    """A source, read for an executor.

    Attributes:
        source: with what only the job will know left open.
        translated: the same with examples of it filled in, which is what is translated beforehand.
        inherited: the environment they were read with.
        world_size: number of ranks, where neither the words nor the user say it.
    """

    source: Source
    translated: Source
    inherited: Mapping[str, str]
    world_size: int | None = None


class Work(Record):
    """A start, and all that is known about it.

    Attributes:
        start: the command, with the drop-in in place of Megatron-LM's program.
        job: None for a saved checkpoint, whose words alone are started.
        translation: without errors.
        given: the options of ``bridge-args launch``.
        env: the environment of this process.
        write: takes results.
        say: tells the user.
    """

    start: Start
    job: Job | None
    translation: Translation
    given: Options
    env: Mapping[str, str]
    write: Callable[[str], None]
    say: Callable[[str | Finding], None]


class Step(Record):
    """A command that is no training, such as a conversion, for a job of its own.

    Attributes:
        name: of the job.
        words: the command, as it is to run there.
        settings: of the executor, by the names that profiles have (``profiles.py``).
        paths: those of the words that are paths for certain.
        dry_run: write what would be started.
        env: the environment of this process.
        write: takes results.
        say: tells the user.
    """

    name: str
    words: tuple[str, ...]
    settings: Mapping[str, Any]
    paths: tuple[str, ...]
    dry_run: bool
    env: Mapping[str, str]
    write: Callable[[str], None]
    say: Callable[[str | Finding], None]


class Executor(Record):
    """A way to start a job; a module of ``executors/`` has one, under the name ``EXECUTOR``.

    Attributes:
        step: starts a command that is no training, or writes it; returns the exit code. Raises ValueError for what
            cannot be started or said.
        read: reads the source as bash would, in the environment it would run in, given the options, what reads it, and
            the environment of this process. Raises SourceError, and ValueError for an option that is not right.
        changing: what else becomes other words in the command of a source.
        start: starts it, or with ``--dry-run`` writes what would be started; returns the exit code. Raises ValueError
            for what cannot be started or said.
    """

    step: Callable[[Step], int]
    read: Callable[[Options, Read, Mapping[str, str]], Job]
    changing: Callable[[Options, Source], More]
    start: Callable[[Work], int]


def conversions_only(name: str, step: Callable[[Step], int]) -> Executor:
    """An executor that starts no training."""

    def no(*words: object) -> NoReturn:
        raise WrongValue(f"launch starts no training on {name}; conversions of checkpoints can run there")

    return Executor(step, no, no, no)


def no_manifest(source: Source, given: Options) -> Source:
    """The source, unless it is what only Kubernetes starts."""
    if kubernetes.is_manifest(source.text):
        module = DROP_IN[PROGRAMS[0]]
        raise WrongValue(
            f"{given.source} is a manifest of Kubernetes, which launch does not start; put -m {module} into it "
            f"in place of the program, in an image that has bridge_args and Megatron Bridge, and apply it"
        )
    return source


def opened(source: Source, inherited: Mapping[str, str], first_task: bool = False) -> Source:
    """Words with the text of a shell among them are read as a script is."""
    if source.started is None and set(source.command.wrappers) & set(SHELLS):
        text = shlex.join(word.text for word in source.words)
        return from_text(text, "<words>", inherited=inherited, first_task=first_task)
    return source
