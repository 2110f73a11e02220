"""From a source to its translation: what all commands do alike, for one source and for many."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from bridge_args.files import read_file
from bridge_args.source import Source, SourceError, from_file

if TYPE_CHECKING:
    from bridge_args.mapping.translation import Translation


class Settings(NamedTuple):
    """What the user says beside the source; the meanings are those of ``steps.translate``.

    Attributes:
        variables: values for what a script or a YAML file uses and does not set.
    """

    megatron_lm: str | None = None
    bridge: str | None = None
    world_size: int | None = None
    mappings: str | None = None
    variables: Mapping[str, str] = MappingProxyType({})


def translated(source: Source, settings: Settings) -> Translation:
    """The translation of a command, with what could not be read of its source.

    Raises:
        ValueError: an unknown version, a checkout that cannot be asked, a table that is not right.
    """
    from bridge_args.steps import MEGATRON_LM, translate

    translation = translate(
        source.command,
        world_size=settings.world_size,
        megatron_lm=settings.megatron_lm or MEGATRON_LM,
        bridge=settings.bridge,
        env=source.environment,
        read=read_file,
        mappings=settings.mappings,
    )
    return translation._replace(findings=(*source.findings, *translation.findings))


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
    return translate_saved(values, bridge=settings.bridge, mappings=settings.mappings, read=read_file)
