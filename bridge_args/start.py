"""From a source to its translation: what all commands do alike, for one source and for many."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from bridge_args.files import reader
from bridge_args.findings import Finding
from bridge_args.secrets import found_in_variables
from bridge_args.source.script import Source, SourceError, from_file, secrets_of

if TYPE_CHECKING:
    from bridge_args.mapping.translation import Translation
    from bridge_args.script.command import Command


class Settings(NamedTuple):
    """What the user says beside the source; the meanings are those of ``steps.translate``.

    Attributes:
        variables: values for what a script or a YAML file uses and does not set.
        within: folders outside of which nothing is read that a source names; none: anywhere.
    """

    megatron_lm: str | None = None
    bridge: str | None = None
    world_size: int | None = None
    mappings: str | None = None
    variables: Mapping[str, str] = MappingProxyType({})
    within: tuple[str, ...] = ()


def translated(source: Source, settings: Settings) -> Translation:
    """The translation of a command, with what could not be read of its source.

    Raises:
        ValueError: an unknown version, a checkout that cannot be asked, a table that is not right.
    """
    from bridge_args.mapping.hiding import hiding
    from bridge_args.steps import translate

    version, assumed = _version(source, settings)
    translation = translate(
        _command(source),
        world_size=settings.world_size,
        megatron_lm=version,
        bridge=settings.bridge,
        read=_reader(source, settings),
        mappings=settings.mappings,
    )
    known = (*secrets_of(source), *found_in_variables(settings.variables))
    return hiding(translation._replace(findings=(*assumed, *source.findings, *translation.findings)), known)


def _reader(source: Source, settings: Settings) -> Callable[[str], str]:
    """Reads what a command line names: where the script starts it, beside the script, or in the current folder."""
    if source.started is None and not source.text:
        return reader((), settings.within)
    beside = os.path.dirname(source.name)
    folder = source.started.folder if source.started else ""
    places = [os.path.join(beside, folder)] if folder and "$" not in folder else []
    return reader((*places, beside or "."), settings.within)


def _command(source: Source) -> Command:
    """The command with what its source sets: only a part of the run's environment, as what stands before a command."""
    return source.command._replace(environment={**(source.environment or {}), **source.command.environment})


def _version(source: Source, settings: Settings) -> tuple[str, tuple[Finding, ...]]:
    """The version or checkout the user names; else the one that the script or the flags speak of, and why."""
    from bridge_args.pairs import detect
    from bridge_args.steps import MEGATRON_LM

    if settings.megatron_lm is not None:
        return settings.megatron_lm, ()
    words = [word.text for word in source.command.argv]
    version, why = detect.detect(words, MEGATRON_LM, source.text, source.name)
    if not why:
        return version, ()
    message = f"Megatron-LM {version} is assumed: {why}"
    return version, (Finding("assumed-version", message, "say another with --megatron-lm VERSION, or name a checkout"),)


def translated_path(path: str, settings: Settings, number: int | None = None) -> Translation:
    """The translation of a script, a YAML file, or the folder of a checkpoint.

    Args:
        number: which of several commands is meant, counted from 1.

    Raises:
        SourceError: it cannot be read, or holds no command, or several and no ``number``.
        ValueError: as for ``translated``.
    """
    if not os.path.isdir(path):
        return translated(from_file(path, settings.variables, number=number), settings)
    from bridge_args.checkpoint import saved_args
    from bridge_args.steps import translate_saved

    try:
        values = saved_args.read(path).values
    except saved_args.SavedArgsError as problem:
        raise SourceError(str(problem)) from problem
    return translate_saved(
        values,
        settings.megatron_lm,
        bridge=settings.bridge,
        mappings=settings.mappings,
        read=reader((), settings.within),
    )


def compared(source: Source, settings: Settings) -> tuple[list[str], tuple[Finding, ...]]:
    """Where a checkout's own resolver and the built-in one disagree on a command, one line an argument.

    Returns:
        The disagreements, and what the checkout has to say against the command line.

    Raises:
        ValueError: the checkout cannot be asked.
    """
    from bridge_args.megatron_lm.resolvers.live import disagreements
    from bridge_args.steps import translate

    assert settings.megatron_lm is not None
    theirs = translated(source, settings)
    ours = translate(
        _command(source),
        world_size=theirs.world_size,
        megatron_lm=theirs.versions.megatron,
        bridge=settings.bridge,
        program=theirs.program,
        read=_reader(source, settings),
    )
    refused = [[str(finding) for finding in t.errors if finding.kind != "bridge-rejects"] for t in (ours, theirs)]
    if bool(refused[0]) != bool(refused[1]):
        who = ("the checkout accepts", "built in") if refused[0] else ("built in accepts", "the checkout")
        return [f"{who[0]} the command line, {who[1]} refuses it: {(refused[0] or refused[1])[0]}"], ()
    if refused[0]:
        return [], theirs.errors
    return [str(one) for one in disagreements(ours.args, theirs.args)], ()
