"""Files that a command line names: read as text, never run."""

from __future__ import annotations

from pathlib import Path


def read_file(name: str) -> str:
    """The text of a file.

    Raises:
        OSError: when it cannot be read as UTF-8 text.
    """
    try:
        return Path(name).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise OSError(f"{name} is not a text file: byte {error.start} is not UTF-8") from error
