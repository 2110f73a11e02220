"""What a translation starts from, whatever it was read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bridge_args.errors import UserError
from bridge_args.findings import Finding
from bridge_args.records import Record
from bridge_args.script.command import Command, read_command
from bridge_args.secrets import Secret, found_in, found_in_variables, found_in_words, masked
from bridge_args.words import Word

if TYPE_CHECKING:
    from bridge_args.mapping.settings import Statements
    from bridge_args.script.bash.started import Started


class SourceError(UserError, ValueError):
    """The source cannot be read, or holds no Megatron-LM command; the message says where and what to do.

    Attributes:
        commands: how many commands it holds: 0, or more than one; None where that is not known.
    """

    def __init__(self, message: str, commands: int | None = None) -> None:
        super().__init__(masked(message))
        self.commands = commands


class Source(Record):
    """A command, or the values that a run has saved, or the settings of a file; and what its surroundings say.

    Attributes:
        command: empty where there is none.
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
        values: name to effective value, of a run that has saved its arguments; else None.
        stated: what a file states that is no command line of Megatron-LM; else None.
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
    values: Mapping[str, object] | None = None
    stated: Statements | None = None

    @classmethod
    def of_statements(cls, stated: Statements, text: str, name: str) -> Source:
        """A file that configures a run under other names than Megatron-LM's."""
        return cls(read_command(()), None, (), text, name, stated=stated)

    @classmethod
    def of_values(cls, values: Mapping[str, object], name: str = "") -> Source:
        """The arguments that a run has saved."""
        return cls(read_command(()), None, (), name=name, values=values)


def secrets_of(source: Source) -> tuple[Secret, ...]:
    """What the source says that no output may show: in its text, and in the words and variables bash makes of it."""
    found = [*secrets_in(source.text, source.also), *found_in_words([word.text for word in source.words])]
    found += found_in_variables({**(source.environment or {}), **source.command.environment})
    return tuple(dict.fromkeys(found))


def secrets_in(text: str, commands: Sequence[Started]) -> tuple[Secret, ...]:
    found = [*found_in(text)]
    for one in commands:
        found += [*found_in_words([word.text for word in one.words]), *found_in_variables(one.exports)]
    return tuple(dict.fromkeys(found))
