"""Processes that are alive, known by a mark in their environment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path


def processes(mark: str) -> Iterator[int]:
    """The numbers of those that have it."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                yield int(folder.name)
        except OSError:
            continue


def gone(mark: str, seconds: float = 60) -> bool:
    """Does the last of them end in this time?"""
    end = time.monotonic() + seconds
    while list(processes(mark)):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
