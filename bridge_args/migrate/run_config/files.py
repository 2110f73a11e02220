"""The files of a run that a migration reads, and how they are written: all of them, or none."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bridge_args.errors import UserError
from bridge_args.files import read_bytes, write_new, write_whole
from bridge_args.migrate.run_config.moving import Moved, Refused, said
from bridge_args.migrate.run_config.text import in_order, text_of
from bridge_args.records import Record
from bridge_args.source.yaml import nodes
from bridge_args.source.yaml.nodes import MAX_TEXT, YamlProblem
from bridge_args.source.yaml.plain import mapping_in

NAME: Final = "run_config.yaml"
_DEEP: Final = (
    4  # folders below RUN_DIR in which an iteration is looked for: NeMo-RL has step_10/policy/weights/iter_...
)
_MOST: Final = 10_000  # files of one run
_BACKUPS: Final = 1000


class File(Record):
    """One file, and what becomes of it.

    Attributes:
        path: as the user named it, or below what the user named.
        below: the same, from the folder that was named; of a file its name.
        before, after: the text.
    """

    path: Path
    below: str
    before: str
    after: str
    moved: Moved

    @property
    def is_same(self) -> bool:
        return self.before == self.after


def files_in(path: Path) -> list[Path]:
    """The run configs at a path: a file, the folder of an iteration, or that of a run.

    Raises:
        UserError: there is none.
    """
    if not path.is_dir():
        return [path]
    if (path / NAME).is_file():
        return [path / NAME]
    found: list[Path] = []
    _look(path, _DEEP, found)
    if not found:
        raise UserError(f"{path} has no {NAME}, and no folder iter_... below it that has one")
    return sorted(found)


def _look(folder: Path, deep: int, found: list[Path]) -> None:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if not entry.is_dir(follow_symlinks=entry.name.startswith("iter_")):
            continue
        file = Path(entry.path) / NAME
        if entry.name.startswith("iter_") and file.is_file():
            found.append(file)
        elif deep > 1 and not entry.name.startswith("."):
            _look(Path(entry.path), deep - 1, found)
        if len(found) > _MOST:
            raise UserError(f"{folder} has more than {_MOST} iterations; name one of them")


def read(path: Path, move: Callable[[dict[str, Any]], Moved]) -> list[File]:
    """Every file at a path, moved; nothing is written.

    Raises:
        UserError: one of them cannot be read, is no run config, or names what none may name.
    """
    made, seen = [], set()
    for file in files_in(path):
        real = os.path.realpath(file)
        if real in seen:
            continue
        seen.add(real)
        config = mapping_in(file)
        try:
            before = read_bytes(file, 4 * MAX_TEXT).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise YamlProblem(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
        try:
            done = move(config)
        except Refused as problem:
            told = [f"{_place_of(one.path, before, file)}: {said(one)}" for one in problem.wrong]
            raise UserError("\n".join(dict.fromkeys(told))) from problem
        except UserError as problem:
            raise UserError(f"{file}: {problem}") from problem
        after = before if done.config == config else text_of(in_order(done.config, config))
        below = str(file.relative_to(path)) if path.is_dir() else file.name
        made.append(File(file, below, before, after, done))
    return made


def _place_of(path: str, text: str, file: Path) -> str:
    """``FILE:LINE`` of a setting, ``model.layers[2].spec``; the file alone where it does not stand there."""
    node = nodes.read(text, str(file))
    line = 0
    for key, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        if index and isinstance(node, nodes.Sequence) and int(index) < len(node.items):
            node = node.items[int(index)]
        elif key and isinstance(node, nodes.Mapping):
            node = nodes.item(node, key)
        else:
            break
        line = node.place.line if node is not None else line
    if isinstance(node, nodes.Mapping) and (target := nodes.item(node, "_target_")) is not None:
        line = target.place.line
    return f"{file}:{line}" if line else str(file)


def write_in_place(files: list[File]) -> list[str]:
    """Writes over the files that change, each with a backup beside it; what was done, for the user.

    Raises:
        UserError: one of them cannot be written: it is as it was, and so are those after it.
    """
    done: list[str] = []
    for file in files:
        if file.is_same:
            done.append(f"{file.path} is as Bridge {file.moved.bridge} reads it; it was not written")
            continue
        try:
            backup = _backup(file)
            write_whole(file.path, file.after, over_source=True)
        except OSError as error:
            so_far = f"; {len(done)} files before it are done" if done else ""
            raise UserError(
                f"{file.path} cannot be written: {error.strerror or error}; it is as it was{so_far}"
            ) from error
        done.append(f"{file.path} is for Bridge {file.moved.bridge} now; {backup} is what it was")
    return done


def _backup(file: File) -> Path:
    """A copy of a file beside it, under a name that is free; of one that is there already, that one."""
    real, content = Path(os.path.realpath(file.path)), file.before.encode()
    for number in range(_BACKUPS):
        backup = real.with_name(f"{real.name}.bak{f'.{number}' if number else ''}")
        try:
            write_new(backup, content)
        except FileExistsError:
            if _holds(backup, content):
                return backup
            continue
        os.chmod(backup, os.stat(real).st_mode & 0o777)
        return backup
    raise OSError(errno.EEXIST, f"there are {_BACKUPS} backups", str(real))


def _holds(path: Path, content: bytes) -> bool:
    try:
        return read_bytes(path, 4 * MAX_TEXT) == content
    except OSError:
        return False


def write_elsewhere(files: list[File], output: Path) -> list[str]:
    """Writes the files to another place: one to a file, several below a folder.

    Raises:
        UserError: one of them cannot be written.
    """
    several = len(files) > 1 or output.is_dir()
    done = []
    for file in files:
        to = output / file.below if several else output
        try:
            if several:
                to.parent.mkdir(parents=True, exist_ok=True)
            write_whole(to, file.after)
        except OSError as error:
            raise UserError(f"{to} cannot be written: {error.strerror or error}") from error
        done.append(f"{to} is {file.path} for Bridge {file.moved.bridge}")
    return done
