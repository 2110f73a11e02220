"""Files of safetensors are copied as bytes, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from bridge_args.convert import weights
from bridge_args.convert.weights import Change, Copier, Entry, New


def file_of(path: Path, **tensors: bytes) -> Path:
    """Tensors of bytes, in a header as safetensors writes it."""
    header, end = {}, 0
    for name, held in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(held)], "data_offsets": [end, end + len(held)]}
        end += len(held)
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(tensors.values()))
    return path


def tensors_of(path: Path) -> dict[str, bytes]:
    content = path.read_bytes()
    return {entry.name: content[entry.begin : entry.end] for entry in weights.read(path).entries}


def more_by_one(entry: Entry) -> tuple[int, Change]:
    def change(at: int, held: memoryview, new: memoryview) -> None:
        new[:] = bytes((one + 1) % 256 for one in held)

    return 1, change


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_one_tensor_is_another_and_the_sums_are_those_of_the_files(
    piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "PIECE", piece)
    source = file_of(tmp_path / "source", a=b"first", b=b"second", c=b"third")
    with Copier() as copier:
        done: list[int] = []
        told = copier.weights(weights.read(source), tmp_path / "made", {"b": more_by_one}, done.append)
        copier.finished()
    assert tensors_of(tmp_path / "made") == {"a": b"first", "b": b"tfdpoe", "c": b"third"}
    assert done == [5, 6, 5]
    for file, said in ((source, told.read), (tmp_path / "made", told.written)):
        content = file.read_bytes()
        assert said == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_a_tensor_more(tmp_path: Path) -> None:
    source = file_of(tmp_path / "source", a=b"first", b=b"second")
    more = New("c", "U8", (5,), 5, lambda: b"third")
    with Copier() as copier:
        told = copier.weights(weights.read(source), tmp_path / "made", {}, lambda size: None, [more])
    assert tensors_of(tmp_path / "made") == {"a": b"first", "b": b"second", "c": b"third"}
    content = (tmp_path / "made").read_bytes()
    assert json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"] == {"format": "pt"}
    assert told.written == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert told.read["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()


def test_a_file_that_becomes_shorter(tmp_path: Path) -> None:
    source = file_of(tmp_path / "source", a=b"first", b=b"second")
    held = weights.read(source)
    os.truncate(source, source.stat().st_size - 3)
    with Copier() as copier, pytest.raises(OSError, match="has become shorter"):
        copier.weights(held, tmp_path / "made", {}, lambda size: None)


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    source = file_of(tmp_path / "source", a=b"first")
    with Copier() as copier, pytest.raises(FileExistsError):
        copier.copy(source, source)
    assert tensors_of(source) == {"a": b"first"}
