"""Files a script reads: those it wrote itself, and those beside it. Nothing is ever written.

Only regular files inside the script's own folder, or inside the checkout it lies in, are opened.
"""

from __future__ import annotations

import os.path
import stat
from functools import lru_cache
from pathlib import Path
from typing import Final

from bridge_args.files import remember, text_instead
from bridge_args.script.bash.budget import MAX_PATH
from bridge_args.script.bash.state import State
from bridge_args.script.bash.traced import FIRST_HOLE, Traced, is_hole

MAX_SIZE: Final = 1_000_000  # bytes


def key_of(path: Traced) -> str:
    """One name for ``./x`` and ``x``."""
    return os.path.normpath(path.text) if path.text else ""


class Files:
    def __init__(self, state: State) -> None:
        self.state = state

    def store(self, path: Traced, content: Traced | None, append: bool = False) -> None:
        key = key_of(path)
        if append:
            before = self.state.files.get(key)
            if before is None or content is None:
                content = None
            else:
                self.state.shared.budget.work(len(before) + len(content))
                content = before + content
        self.state.files[key] = content

    def is_written(self, path: Traced) -> bool:
        """Does the script write the file, whatever is in it?"""
        return key_of(path) in self.state.files

    def content(self, path: Traced) -> Traced | None:
        """The text of a file; None when it is not known."""
        key = key_of(path)
        if key in self.state.files:
            return self.state.files[key]
        found = self.find(path)
        if found is None:
            return None
        shared = self.state.shared
        if found not in shared.sources.files:
            shared.sources.files[found] = self._read(found)
        return shared.sources.files[found]

    def _read(self, path: Path) -> Traced | None:
        remember(path)
        try:
            instead = text_instead(path)
            text = path.read_text(encoding="utf-8") if instead is None else instead
        except (OSError, UnicodeDecodeError):
            return None
        self.state.shared.budget.work(len(text))
        return self.state.shared.sources.add(text, self._name(path))

    def find(self, path: Traced) -> Path | None:
        """A file that may be read, for a path as the script writes it."""
        folder = self.state.shared.folder
        text = self.known(path)
        if folder is None or not text:
            return None
        self.state.shared.budget.work(500 + 20 * len(text))  # each folder on the way is looked at
        root = _root(folder)
        for start in self._starts(folder, root):
            candidate = Path(os.path.realpath(start / text))
            if root not in candidate.parents:
                continue
            try:
                status = candidate.stat()
            except (OSError, ValueError):
                continue
            if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_SIZE:
                return candidate
        return None

    def _starts(self, folder: Path, root: Path) -> list[Path]:
        """Folders a relative path may begin in: where the script has gone, or where it may have been started."""
        made = [] if self.state.cwd is None else [self.state.cwd]
        if self.state.cwd_is_start:
            made += [folder, root]
            before = os.path.dirname(self.state.shared.name)
            if before and not os.path.isabs(before) and str(folder).endswith(os.sep + before):
                made.append(Path(str(folder)[: -len(before)]))
        return made

    def known(self, path: Traced) -> str:
        """The path with folders in place of holes that stand for one; empty when another hole is in it.

        No system has a path with a NUL in it, or a very long one: they are empty too.
        """
        if "\0" in path.text or len(path) > MAX_PATH:
            return ""
        made = ""
        for char in path.text:
            if is_hole(char):
                known = self.state.shared.holes[ord(char) - FIRST_HOLE].path
                if not known:
                    return ""
                made += known
            else:
                made += char
        return made

    def folder(self, path: Traced) -> Path | None:
        """A folder for ``cd``, where it is one that is known here."""
        text = self.known(path)
        folder = self.state.shared.folder
        if not text or folder is None:
            return None
        self.state.shared.budget.work(500 + 20 * len(text))
        root = _root(folder)
        for start in self._starts(folder, root):
            found = Path(os.path.realpath(start / text))
            if (found == root or root in found.parents) and found.is_dir():
                return found
        return None

    def _name(self, path: Path) -> str:
        folder = self.state.shared.folder
        try:
            return os.path.relpath(path, folder) if folder else str(path)
        except ValueError:
            return str(path)


@lru_cache(maxsize=8)
def _root(folder: Path) -> Path:
    """The checkout a folder lies in, or the folder itself."""
    folder = Path(os.path.realpath(folder))
    for parent in (folder, *folder.parents):
        if (parent / ".git").exists():
            return parent
    return folder
