"""Files: those that a command line names are read as text and never run; ours are written whole or not at all."""

from __future__ import annotations

import os
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


def write_whole(path: Path, content: str | bytes) -> None:
    """Replaces a file by another, with the same permissions; whatever goes wrong, the old one stays as it was.

    Args:
        content: text is written as UTF-8.

    Raises:
        OSError: the folder, or its disk, does not take it.
    """
    import tempfile

    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
