"""The one place that decides what kind of source something is. Everything is read as data, nothing is run."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from bridge_args.files import read_bytes, remember
from bridge_args.script.command import read_command
from bridge_args.source import kinds
from bridge_args.source.source import Source, SourceError
from bridge_args.words import as_words

MAX_SCRIPT: Final = 500_000  # bytes; the largest public launch script met has 40 kB
_MANIFEST: Final = re.compile(
    r"(\s*(#.*|---)?\n)*(apiVersion|kind):\s*[\w./]+\s*\n"
)  # of Kubernetes, by its first line


def from_argv(words: Sequence[str]) -> Source:
    """Words of a command line, with or without a launcher in front."""
    return Source(read_command(as_words(words)), None, (), words=as_words(words))


def from_path(
    path: str,
    variables: Mapping[str, str] | None = None,
    number: int | None = None,
    megatron_lm: str | None = None,
) -> Source:
    """A file, or the folder of a checkpoint; see ``from_file``.

    Raises:
        SourceError: it cannot be read, or holds no command, or several and no ``number``.
    """
    if os.path.isdir(path):
        return from_checkpoint(path)
    return from_file(path, variables, number=number, megatron_lm=megatron_lm)


def from_checkpoint(path: str) -> Source:
    """The arguments that a run has saved, or the configuration that NeMo keeps with a checkpoint.

    Raises:
        SourceError: there are none, or their file is not one to trust.
    """
    from bridge_args.checkpoint import saved_args
    from bridge_args.source.nemo2.read import folder_with_context, from_context

    if (context := folder_with_context(path)) is not None:
        return from_context(context)
    try:
        return Source.of_values(saved_args.read(path).values, path)
    except saved_args.SavedArgsError as problem:
        raise SourceError(str(problem)) from problem


def from_file(
    path: str,
    variables: Mapping[str, str] | None = None,
    positional: Sequence[str] = (),
    number: int | None = None,
    inherited: Mapping[str, str] | None = None,
    job: Sequence[str] = (),
    first_task: bool = False,
    megatron_lm: str | None = None,
) -> Source:
    """A launch script on disk; see ``from_text``.

    Raises:
        SourceError: when it cannot be read, or holds no command that starts Megatron-LM.
    """
    file = Path(path)
    if file.name == "io.json":
        from bridge_args.source.nemo2.read import from_context

        return from_context(path)
    try:
        if "\0" not in path and file.exists() and not file.is_file():
            raise SourceError(f"{path} is not a file")
        if "\0" not in path and file.is_file() and file.stat().st_size > MAX_SCRIPT:
            if log := _printed_in(path):
                return from_text(log, path)
            raise SourceError(f"{path} has {file.stat().st_size} bytes; that is no launch script")
        remember(path)
        text = read_bytes(path, MAX_SCRIPT).decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not a text file: byte {error.start} is not UTF-8") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return from_text(
        text, path, variables, positional, number, file.resolve().parent, inherited, job, first_task, megatron_lm
    )


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
    megatron_lm: str | None = None,
) -> Source:
    """A launch script, or YAML; which of them, what is in it says.

    Args:
        variables: values for what the script uses and does not know (``--set``).
        positional: words given to the script: its ``$1``, ``$2``, ...
        number: which of several commands is meant, counted from 1.
        folder: where the script lies; files beside it may be read.
        inherited: the environment the script is started in, where that is known.
        job: options of sbatch that count more than the script's own.
        first_task: that environment is what the first task of a job has.
        megatron_lm: the version that is asked for, where the kind of source has to know it.

    Raises:
        SourceError: when it holds no command that starts Megatron-LM, or more than one and no ``number``.
    """
    kind = _kind_of(text, name)
    if positional and kind != "a script":
        raise SourceError(f"{name} is {kind}, which takes no arguments: {' '.join(positional)}")
    if kind == "YAML":
        return _from_yaml(text, name, variables or {}, number, folder, megatron_lm)
    if kind != "a script":
        return _flat(kind, text, name, number)
    from bridge_args.script.read import read_script
    from bridge_args.source.script import of_script

    script = read_script(text, name, variables, positional, folder, inherited, job, first_task)
    return of_script(script, text, name, number, job)


def _printed_in(path: str) -> str:
    """The arguments that stand in a log, which may be as long as a training; empty where there are none."""
    from bridge_args.source import flat

    remember(path)
    with open(path, "rb") as file:
        return flat.block_in(file)


_Kind = Literal["a script", "YAML", "a log", "a file of words", "a configuration of wandb", "a recipe"]


def _kind_of(text: str, name: str) -> _Kind:
    """What a text is; whatever is nothing else is a script."""
    if kinds.is_python(text, name):
        return "a recipe"
    if kinds.is_log(text):
        return "a log"
    if kinds.is_wandb(text):
        return "a configuration of wandb"
    if kinds.is_words(text):
        return "a file of words"
    return "YAML" if _is_yaml(text, name) else "a script"


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


def _flat(kind: _Kind, text: str, name: str, number: int | None) -> Source:
    """What a run has told of itself, or words.

    Raises:
        SourceError: it cannot be read.
    """
    from bridge_args.source import flat
    from bridge_args.source.yaml.nodes import YamlProblem

    if number not in (None, 1):
        raise SourceError(f"there is no command {number}: {name} holds one run")
    try:
        if kind == "a log":
            return flat.from_log(text, name)
        if kind == "a recipe":
            from bridge_args.source.bridge_recipe import from_recipe

            return from_recipe(text, name)
        return flat.from_words(text, name) if kind == "a file of words" else flat.from_wandb(text, name)
    except YamlProblem as problem:
        raise SourceError(str(problem), problem.commands) from problem


def _from_yaml(
    text: str,
    name: str,
    variables: Mapping[str, str],
    number: int | None,
    folder: Path | None,
    megatron_lm: str | None,
) -> Source:
    from bridge_args.source import flat
    from bridge_args.source.yaml.kubernetes import is_manifest
    from bridge_args.source.yaml.nodes import YamlProblem
    from bridge_args.source.yaml.run import read_run

    try:
        if (stated := _stated(text, name)) is not None:
            if number not in (None, 1):
                raise SourceError(f"there is no command {number}: {name} holds one run")
            return stated
        if kinds.is_primus(text):
            return flat.from_primus(text, name, variables)
        if is_manifest(text):
            from bridge_args.source.manifest import from_manifest

            return from_manifest(text, name, variables, number)
        run = read_run(text, name, variables, number, folder, megatron_lm)
    except YamlProblem as problem:
        raise SourceError(str(problem), problem.commands) from problem
    return Source(run.command, run.environment, run.findings, text, name)


def _stated(text: str, name: str) -> Source | None:
    """A file that states settings under names of its own; None where it is none.

    Raises:
        SourceError, YamlProblem: it is one, and cannot be read.
    """
    from bridge_args.source.bridge_config import from_bridge_config, is_bridge_config
    from bridge_args.source.nemo2.read import command_for, from_recipe, is_recipe

    command = command_for(text, name)
    if command.startswith("bridge-args migrate run-config"):
        raise SourceError(f"{name} is a configuration of nemo.tron; make one of Bridge of it: {command}")
    if is_recipe(text):
        return from_recipe(text, name)
    if is_bridge_config(text, name):
        return from_bridge_config(text, name)
    return None
