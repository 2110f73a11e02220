"""How far a conversion is: tensors and bytes, as a bar on a terminal, and elsewhere a line now and then."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from threading import Lock
from typing import Any, Final, TextIO

_EVERY: Final = 30.0  # seconds between two lines where there is no terminal


class Progress:
    """Told of each tensor; tells the user.

    Args:
        what: is being done, such as ``merging``.
        tensors: how many there are.
        bytes: how many they have.
        stream: where the bar is drawn; None, or no terminal: lines go to ``say``.
        say: takes a line for the user.
    """

    def __init__(self, what: str, tensors: int, bytes: int, stream: TextIO | None, say: Callable[[str], None]) -> None:
        self.what, self.tensors, self.bytes, self._say = what, tensors, bytes, say
        self.done, self.done_bytes = 0, 0
        self._lock, self._told = Lock(), time.monotonic()
        self._bar = _bar(what, bytes, stream) if stream is not None and stream.isatty() else None

    def did(self, bytes: int, tensors: int = 1) -> None:
        """A tensor of so many bytes is done; threads may tell."""
        with self._lock:
            self.done, self.done_bytes = self.done + tensors, self.done_bytes + bytes
            if self._bar is not None:
                self._bar.set_postfix_str(f"{self.done} of {self.tensors} tensors", refresh=False)
                self._bar.update(bytes)
            elif time.monotonic() - self._told > _EVERY:
                self._told = time.monotonic()
                self._say(self._line())

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _line(self) -> str:
        share = f" ({100 * self.done_bytes // self.bytes} %)" if self.bytes else ""
        return f"{self.what}: {self.done} of {self.tensors} tensors, {self.done_bytes:,} of {self.bytes:,} bytes{share}"


def _bar(what: str, bytes: int, stream: TextIO) -> Any:
    """tqdm's, which comes with every package that converts; None without it."""
    try:
        tqdm = importlib.import_module("tqdm").tqdm
    except ImportError:
        return None
    return tqdm(desc=what, total=bytes, unit="B", unit_scale=True, unit_divisor=1024, file=stream, leave=False)
