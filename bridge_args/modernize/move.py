"""A script, a YAML file or a command line, moved to another version of Megatron-LM: what changes, and the new text."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from bridge_args.emit.releases import of_run
from bridge_args.errors import UserError
from bridge_args.files import read_bytes, read_instead, write_new, write_whole
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm.programs import HYBRID
from bridge_args.megatron_lm.resolvers.of_checkout import is_checkout
from bridge_args.modernize import edit, variables
from bridge_args.modernize.edit import NotDone
from bridge_args.modernize.plan import Plan, plan
from bridge_args.pairs.pairs import megatron_lm_of, megatron_version
from bridge_args.records import Record
from bridge_args.secrets import Secret
from bridge_args.source.read import MAX_SCRIPT, from_text
from bridge_args.source.source import Source, SourceError, secrets_of
from bridge_args.steps import Asked, translated
from bridge_args.words import Word, as_words

_MOST_COMMANDS: Final = 50  # of one script
_BACKUPS: Final = 1000


class File(Record):
    """One file that words stand in.

    Attributes:
        path: None for what has none: standard input.
        before, after: its text, with its own line ends.
    """

    name: str
    path: Path | None
    before: str
    after: str


class Moved(Record):
    """What becomes of a source.

    Attributes:
        sources, plans: one for each of its commands.
        files: those whose words belong to its commands, changed or not.
        not_done: changes that the user has to make.
        secrets: what no output may show.
    """

    sources: tuple[Source, ...]
    plans: tuple[Plan, ...]
    files: tuple[File, ...]
    not_done: tuple[NotDone, ...]
    secrets: tuple[Secret, ...]

    @property
    def changed(self) -> tuple[File, ...]:
        return tuple(file for file in self.files if file.before != file.after)

    @property
    def is_same_run(self) -> bool:
        return not self.not_done and all(plan.is_same_run for plan in self.plans)


def of_source(source: Source, asked: Asked, after: str, to_hybrid: bool = False) -> Plan:
    """What becomes of one command line.

    Args:
        asked: its version of Megatron-LM is the earlier one; None: the one that the source speaks of.
        after: a version of Megatron-LM, or a checkout.
        to_hybrid: a GPT model becomes a hybrid one of the same layers.

    Raises:
        UserError: the earlier version refuses it; or no hybrid model is the same.
    """
    texts = [word.text for word in source.command.argv]
    before = asked.megatron_lm
    if before is None:
        before, _ = megatron_lm_of(texts, source.text, source.name, None, source.command.program or "", asked.bridge)

    def translate(words: Sequence[str], version: str, program: str | None, variables: Mapping[str, str]) -> Translation:
        argv = as_words(words)
        if list(words) == texts:
            argv = source.command.argv  # which know their places
        environment = {**source.command.environment, **variables}
        other = source._replace(command=source.command._replace(argv=argv, environment=environment))
        return translated(other, asked._replace(megatron_lm=version, program=program or asked.program))

    every = _all_words(source)
    front = [word.text for word in every[: len(every) - len(texts)]]

    def planned(before: str, after: str) -> Plan:
        return plan(texts, translate, before, after, front, to_hybrid, _environment(source))

    if not is_checkout(before) and not is_checkout(after):
        return planned(before, after)
    # Asking a checkout takes seconds, and there are many trials: they are made on our own rules, and it is asked once.
    known = megatron_version(before), megatron_version(after)
    try:
        found = planned(*known)
    except UserError:
        return planned(before, after)

    def agree(words: Sequence[str], on: int, program: str | None, variables: Mapping[str, str]) -> bool:
        asked_for = (known[on], (before, after)[on])
        return _agree(*(translate(words, version, program, variables) for version in asked_for))

    if is_checkout(before) and not agree(texts, 0, None, {}):
        return planned(before, after)
    if is_checkout(after) and not agree(found.argv, 1, HYBRID if to_hybrid else None, found.values):
        return planned(before, after)
    return found


def _agree(one: Translation, other: Translation) -> bool:
    """Do our own rules and a checkout say the same of a command line?"""
    found = of_run(one, other)
    return not found.values and not found.refused and not found.accepted


def _environment(source: Source) -> dict[str, str]:
    return {**(source.environment or {}), **source.command.environment}


class Text(Record):
    """A source that is a text.

    Attributes:
        name: what it is called.
        path: where it lies; None: nowhere.
        text: with its own line ends.
        positional: words that a script is given: its ``$1``, ``$2``, ...
        number: which of its commands is meant; None: all.
    """

    name: str
    path: Path | None
    text: str
    positional: tuple[str, ...] = ()
    number: int | None = None


def text_of(path: str, positional: Sequence[str] = (), number: int | None = None) -> Text:
    """A file as a source, with its own line ends.

    Raises:
        SourceError: it cannot be read as text.
    """
    try:
        content = read_bytes(path, MAX_SCRIPT).decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not a text file: byte {error.start} is not UTF-8") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    return Text(path, Path(path), content, tuple(positional), number)


def moved(text: Text, asked: Asked, after: str, to_hybrid: bool = False) -> Moved:
    """Works out the new text; nothing is written.

    Args:
        asked, after, to_hybrid: as for ``of_source``.

    Raises:
        SourceError: it cannot be read, or holds no command that starts Megatron-LM.
        UserError: the earlier version refuses a command.
    """
    with read_instead({}) as read_too:
        sources = _sources(text, text.text, asked)
    plans = [of_source(source, asked, after, to_hybrid) for source in sources]
    paths = _paths(text, read_too)
    texts = {text.name: text.text, **{name: _text(path) for name, path in paths.items()}}
    changing = {name for plan in plans for name in plan.values}

    def read(others: Mapping[str, str]) -> list[Source] | None:
        with read_instead({path: _unix(others[name]) for name, path in paths.items()}):
            try:
                found = _sources(text, others[text.name], asked)
            except (UserError, ValueError):
                return None
        same = len(found) == len(sources) and not any(
            _differs(*both, changing) for both in zip(found, sources, strict=True)
        )
        return found if same else None

    def read_words(others: Mapping[str, str]) -> list[tuple[Word, ...]] | None:
        found = read(others)
        return None if found is None else [_all_words(source) for source in found]

    def read_variables(others: Mapping[str, str]) -> list[dict[str, str]] | None:
        found = read(others)
        if found is None or list(map(_texts, found)) != list(map(_texts, read(done.texts) or [])):
            return None
        return [_environment(source) for source in found]

    done = edit.edited(texts, [(*plan.front, *plan.items) for plan in plans], read_words)
    if changing:
        wanted = [{**_environment(source), **plan.values} for source, plan in zip(sources, plans, strict=True)]
        items = dict.fromkeys(item for plan in plans for item in plan.variables)
        done = variables.edited(done, tuple(items), wanted, read_variables)
    files = [File(text.name, text.path, text.text, done.texts[text.name])]
    files += [File(name, path, texts[name], done.texts[name]) for name, path in paths.items()]
    known = tuple(dict.fromkeys(secret for source in sources for secret in secrets_of(source)))
    return Moved(tuple(sources), tuple(plans), tuple(files), done.not_done, known)


def _all_words(source: Source) -> tuple[Word, ...]:
    """The launcher's too; of a manifest the program and its arguments, of other YAML those after the program."""
    command = source.command
    if source.words or command.program is None or command.place is None:
        return source.words or command.argv
    return (Word(command.program, command.place), *command.argv)


def _texts(source: Source) -> list[str]:
    return [word.text for word in _all_words(source)]


def _differs(one: Source, other: Source, changing: Collection[str]) -> bool:
    """Is anything else another one than the words, or in doubt that was not?

    Args:
        one: with a change.
        other: without.
        changing: variables whose values are to change.
    """
    also = [[[word.text for word in started.words] for started in source.also] for source in (one, other)]
    doubts = [{finding.message for finding in source.findings} for source in (one, other)]
    before, after = (
        {name: value for name, value in (source.environment or {}).items() if name not in changing}
        for source in (other, one)
    )
    # an exported text of flags changes with its flags
    kept = [name for name, value in before.items() if " --" not in f" {value}"]
    same = before.keys() == after.keys() and all(before[name] == after[name] for name in kept)
    return also[0] != also[1] or not same or not doubts[0] <= doubts[1]


def _sources(text: Text, content: str, asked: Asked) -> list[Source]:
    folder = text.path.resolve().parent if text.path is not None else None

    def read(number: int | None) -> Source:
        return from_text(
            _unix(content), text.name, asked.variables, text.positional, number, folder, megatron_lm=asked.megatron_lm
        )

    try:
        return [read(text.number)]
    except SourceError as error:
        if text.number is not None or not error.commands or not 1 < error.commands <= _MOST_COMMANDS:
            raise
        return [read(number) for number in range(1, error.commands + 1)]


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _paths(text: Text, read: Iterable[Path]) -> dict[str, Path]:
    """Files that the script reads, by the names that places have."""
    if text.path is None:
        return {}
    folder = text.path.resolve().parent
    own = Path(os.path.realpath(text.path))
    return {os.path.relpath(path, folder): path for path in read if path != own and path.is_file()}


def _text(path: Path) -> str:
    try:
        return read_bytes(path, MAX_SCRIPT).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""  # then no word stands in it


def diff(found: Moved) -> Iterator[str]:
    """Unified, of all files; the lines have their ends."""
    for file in found.changed:
        lines = difflib.unified_diff(
            file.before.splitlines(keepends=True),
            file.after.splitlines(keepends=True),
            f"a/{file.name.lstrip('/')}",
            f"b/{file.name.lstrip('/')}",
        )
        for line in lines:
            yield line if line.endswith(("\n", "\r")) else f"{line}\n\\ No newline at end of file\n"


def write(found: Moved) -> list[tuple[Path, Path]]:
    """Puts the new texts in the place of the old ones, which are kept beside them; returns each file and its backup.

    Raises:
        UserError: a file has changed since it was read; nothing is written then.
        OSError: the disk does not take it.
    """
    files = [(file, file.path) for file in found.changed if file.path is not None]
    for file, path in files:
        if _text(path) != file.before:
            raise UserError(f"{file.name} has changed while it was read; nothing was written")
    made = []
    for file, path in files:
        real = Path(os.path.realpath(path))
        backup = _backup(real, file.before.encode())
        write_whole(real, file.after, over_source=True)
        is_link = real.parent != Path(os.path.realpath(path.parent))
        made.append((path, backup if is_link else path.with_name(backup.name)))
    return made


def _backup(path: Path, content: bytes) -> Path:
    for number in range(_BACKUPS):
        backup = path.with_name(f"{path.name}.bak{number or ''}")
        try:
            write_new(backup, content)
        except FileExistsError:
            continue
        return backup
    raise UserError(f"{path}.bak and so on are all taken; remove old ones")
