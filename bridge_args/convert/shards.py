"""Tensors into files of safetensors as they come, a gigabyte each, with an index where there are several."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any, Final

from bridge_args.convert.hugging_face import INDEX

LARGEST: Final = 10**9  # bytes of a file; what it holds is in memory beside the model itself


class Shards:
    """Holds tensors until a file is full.

    Args:
        folder: where the files lie in the end.
        largest: bytes of a file; a tensor that has more is alone in one.
    """

    def __init__(self, folder: Path, largest: int = LARGEST) -> None:
        self._folder, self._largest = folder, largest
        self._held: dict[str, Any] = {}
        self._size = 0
        self.total = 0
        self._files: list[list[str]] = []

    def add(self, name: str, tensor: Any) -> int:
        """Takes a tensor; returns its bytes.

        Raises:
            OSError: the disk does not take a file.
            ValueError: there was one of this name.
        """
        if name in self._held or any(name in names for names in self._files):
            raise ValueError(f"{name} comes twice")
        size = int(tensor.numel() * tensor.element_size())
        if self._held and self._size + size > self._largest:
            self._write()
        self._held[name] = tensor
        self._size += size
        self.total += size
        return size

    def finish(self) -> list[str]:
        """The last file, the names of all, and the index; returns the names of the tensors.

        Raises:
            OSError: the disk does not take it.
        """
        if self._held:
            self._write()
        count = len(self._files)
        placed: dict[str, str] = {}
        for number, names in enumerate(self._files, 1):
            name = "model.safetensors" if count == 1 else f"model-{number:05d}-of-{count:05d}.safetensors"
            os.rename(self._folder / _unnamed(number), self._folder / name)
            placed |= dict.fromkeys(names, name)
        if count > 1:
            index = {"metadata": {"total_size": self.total}, "weight_map": dict(sorted(placed.items()))}
            (self._folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        return list(placed)

    def _write(self) -> None:
        save = importlib.import_module("safetensors.torch").save_file
        self._files.append(list(self._held))
        file = self._folder / _unnamed(len(self._files))
        save(self._held, file, metadata={"format": "pt"})
        os.chmod(file, self._folder.stat().st_mode & 0o666)  # safetensors makes one that nobody else can read
        self._held, self._size = {}, 0


def _unnamed(number: int) -> str:
    return f"model-{number:05d}.unfinished"


def empty_of_shape(file: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """A file of safetensors with these tensors and nothing in them, which takes no room: it has names and sizes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes.items():
        size = 2
        for length in shape:
            size *= length
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + at)
