"""Which sources are under a path: scripts, YAML files, checkpoints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from bridge_args.checkpoint import layout

MAX_SIZE: Final = 5_000_000  # bytes of a file that a walk looks at

_ENDINGS: Final = frozenset((".sh", ".bash", ".slurm", ".sbatch", ".job", ".yaml", ".yml"))


def sources_in(path: str) -> Iterator[str]:
    """The sources under a path, sorted.

    A folder is searched for scripts and YAML (by the ending of the name, or a first line ``#!...sh``) and for
    checkpoints. Hidden files and folders, links to folders, binary files and those over ``MAX_SIZE`` are passed over.

    Raises:
        OSError: the path does not exist.
    """
    if not os.path.isdir(path):
        os.stat(path)
        yield path
        return
    if layout.may_hold_arguments(os.listdir(path)):
        yield path
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if layout.may_hold_arguments([*folders, *files]):
            folders.clear()
            yield folder
            continue
        for name in sorted(files):
            file = os.path.join(folder, name)
            if not name.startswith(".") and _is_candidate(file):
                yield file


def _is_candidate(file: str) -> bool:
    ending = os.path.splitext(file)[1].lower()
    if ending not in _ENDINGS and ending:
        return False
    try:
        if not os.path.isfile(file) or os.stat(file).st_size > MAX_SIZE:
            return False
        with open(file, "rb") as opened:
            start = opened.read(1024)
    except OSError:
        return ending in _ENDINGS  # it is told that it cannot be read
    if b"\0" in start:
        return False
    first = start.split(b"\n", 1)[0]
    return ending in _ENDINGS or (first.startswith(b"#!") and b"sh" in first)
