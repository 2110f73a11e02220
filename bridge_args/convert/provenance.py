"""``conversion.json``: what a result was made of, by what, and what was found of it afterwards."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import resource
import sys
import time
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from bridge_args.files import open_regular
from bridge_args.secrets import found_in_words, masked

NAME: Final = "conversion.json"
_PIECE: Final = 8 << 20  # bytes read at once
_PROGRAMS: Final = tuple(
    "bridge_args megatron-bridge megatron-core torch transformers safetensors transformer-engine".split()
)


class Provenance:
    """What is written beside a result, put together while it is made.

    Args:
        step: the command, such as ``checkpoint export``.
        words: as they were typed; secrets in them are not repeated.
    """

    def __init__(self, step: str, words: Sequence[str]) -> None:
        self._begun = time.monotonic()
        found = found_in_words(words)
        self.said: dict[str, Any] = {
            "step": step,
            "command": [masked(word, found) for word in words],
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "versions": versions(),
            "inputs": {},
        }

    def input(self, name: str, path: Path, files: Mapping[str, Mapping[str, Any]], **about: Any) -> None:
        """What was read: ``files`` as ``hashes`` tells them, and what else is known of it."""
        self.said["inputs"][name] = {"path": os.path.realpath(path), **about, "files": dict(files)}

    def tell(self, **about: Any) -> None:
        self.said |= about

    @property
    def seconds(self) -> float:
        """Since it was begun."""
        return time.monotonic() - self._begun

    def write(self, folder: Path, known: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """The last file of a result.

        Args:
            known: ``bytes`` and ``sha256`` of files that were hashed while they were written, by name.
        """
        outputs = {**hashes(folder, known=known), **(known or {})}
        (folder / NAME).write_text(self.text(dict(sorted(outputs.items()))), encoding="utf-8")

    def text(self, outputs: Mapping[str, Mapping[str, Any]]) -> str:
        """What is written, for files that ``hashes`` has told."""
        self.said["outputs"] = dict(outputs)
        self.said["seconds"] = round(self.seconds, 3)
        self.said["peak_memory_bytes"] = peak_memory()
        said = json.dumps(self.said, indent=2, ensure_ascii=False) + "\n"
        return said.encode("utf-8", "backslashreplace").decode()  # bytes of a name that are no text; JSON reads them so


def versions() -> dict[str, str]:
    """Of what takes part in a conversion, as far as it is installed."""
    found = {"python": platform.python_version()}
    for name in _PROGRAMS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hashes(
    folder: Path,
    did: Callable[[int], None] | None = None,
    known: Container[str] | None = None,
    largest: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Every regular file below a folder, or one file: its name to ``bytes`` and ``sha256``, in order of names.

    Args:
        did: is told of bytes as they are read.
        known: names of files that are left out.
        largest: bytes of a file; one that has more is not read, and has no ``sha256``.

    Raises:
        OSError: a file cannot be read.
    """
    files = sorted(_below(folder)) if folder.is_dir() else [folder]
    above = folder if folder.is_dir() else folder.parent
    files = [file for file in files if file.relative_to(above).as_posix() not in (known or ())]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # hashlib leaves other threads running
        found = list(pool.map(lambda file: _hash(file, did, largest), files))
    return {file.relative_to(above).as_posix(): one for file, one in zip(files, found, strict=True)}


def _below(folder: Path) -> list[Path]:
    return [Path(above, name) for above, _, names in os.walk(folder) for name in names if Path(above, name).is_file()]


def _hash(file: Path, did: Callable[[int], None] | None, largest: int | None) -> dict[str, Any]:
    if largest is not None and (bytes := file.stat().st_size) > largest:
        return {"bytes": bytes}
    sha, size = hashlib.sha256(), 0
    with open_regular(file) as opened:
        while piece := opened.read(_PIECE):
            sha.update(piece)
            size += len(piece)
            if did is not None:
                did(len(piece))
    return {"bytes": size, "sha256": sha.hexdigest()}


def peak_memory() -> int:
    """Bytes that this process, or the largest one that it has waited for, has held at once."""
    unit = 1 if sys.platform == "darwin" else 1024
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    return max(_own_peak() or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, children)


def _own_peak() -> int | None:
    """On Linux getrusage(2) counts what the program held that has started this one, proc(5) does not."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None
