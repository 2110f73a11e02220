"""What a translation can start from: words, or a launch script. Read as data, never run."""

from __future__ import annotations

from typing import NamedTuple

from collections.abc import Mapping, Sequence
from pathlib import Path

from bridge_args.findings import Finding
from bridge_args.script.command import Command, read_command
from bridge_args.words import as_words


class SourceError(ValueError):
    """The source cannot be read, or holds no Megatron-LM command; the message says where and what to do."""


class Source(NamedTuple):
    """A command and what its surroundings say.

    Attributes:
        environment: variables the script exports; None when there is no script to say so.
        findings: what could not be read.
    """

    command: Command
    environment: Mapping[str, str] | None
    findings: tuple[Finding, ...]


def from_argv(words: Sequence[str]) -> Source:
    """Words of a command line, with or without a launcher in front."""
    return Source(read_command(as_words(words)), None, ())


def from_file(path: str, variables: Mapping[str, str] | None = None) -> Source:
    """A launch script on disk.

    Raises:
        SourceError: when it cannot be read, or holds no command that starts Megatron-LM.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not a text file: byte {error.start} is not UTF-8") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    return from_text(text, path, variables)


def from_text(text: str, name: str, variables: Mapping[str, str] | None = None) -> Source:
    """A launch script.

    Raises:
        SourceError: when it holds no command that starts Megatron-LM, or more than one.
    """
    from bridge_args.script.shell import read_script

    script = read_script(text, name, variables)
    commands = [read_command(words) for words in script.commands if _starts_megatron(words)]
    if not commands:
        raise SourceError(f"{name} holds no command that starts pretrain_gpt.py; put the command line after -- instead")
    if len(commands) > 1:
        places = ", ".join(str(c.argv[0].place) for c in commands if c.argv)
        raise SourceError(f"{name} starts Megatron-LM {len(commands)} times ({places}); put the one you mean after --")
    return Source(commands[0], script.exports, script.findings)


def _starts_megatron(words: Sequence[object]) -> bool:
    return any(str(word).rsplit("/", 1)[-1].startswith("pretrain_") for word in words)
