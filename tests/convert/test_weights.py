"""Files of safetensors are copied as bytes, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

from bridge_args import files
from bridge_args.convert import output, weights
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
    with Copier() as copier, pytest.raises(OSError, match=f"{source} has become shorter"):
        copier.weights(held, tmp_path / "made", {}, lambda size: None)


def test_an_error_of_the_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """read(2), write(2) and fsync(2) say none."""
    source = file_of(tmp_path / "source", a=b"first", b=b"second")

    def torn(handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", torn)
    with pytest.raises(OSError) as error, output.new_folder(tmp_path / "result") as folder, Copier() as copier:
        copier.copy(source, folder / "made")
        copier.finished()
    assert error.value.filename == str(tmp_path / "result")
    with pytest.raises(OSError) as error, files.named(source):
        torn(0)
    assert error.value.filename == str(source)


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    source = file_of(tmp_path / "source", a=b"first")
    with Copier() as copier, pytest.raises(FileExistsError):
        copier.copy(source, source)
    assert tensors_of(source) == {"a": b"first"}


@pytest.mark.parametrize("processors", [1, 2, 3, 64, None])
def test_several_files(processors: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if processors is None:  # as on macOS
        monkeypatch.delattr(os, "sched_getaffinity")
    else:
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(processors)))
    monkeypatch.setattr(weights, "PIECE", 3)
    sources = [file_of(tmp_path / f"{number}", a=b"first" * number, b=b"second") for number in range(5)]
    told = {}

    def copy(by: Copier, held: weights.Weights) -> None:
        told[held.path.name] = by.weights(held, held.path.with_suffix(".made"), {"b": more_by_one}, lambda size: None)

    weights.several([weights.read(file) for file in sources], copy)
    for number, file in enumerate(sources):
        made = file.with_suffix(".made")
        assert tensors_of(made) == {"a": b"first" * number, "b": b"tfdpoe"}
        for one, said in ((file, told[file.name].read), (made, told[file.name].written)):
            assert said["sha256"] == hashlib.sha256(one.read_bytes()).hexdigest()
    weights.several([], copy)


@pytest.mark.parametrize("processors", [1, 2, 8])
def test_the_others_stop_where_one_fails(processors: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that fails is not the one that goes first; who waits for the disk ends, too."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(processors)))
    held = [weights.read(file_of(tmp_path / f"{size}", a=b"x" * size)) for size in (40, 30, 20)]
    failed, begun = threading.Event(), []

    def copy(by: Copier, held: weights.Weights) -> None:
        begun.append(held.path.name)
        if held.path.name == "30":
            failed.set()
            raise OSError(28, "No space left on device")

        def change(entry: Entry) -> tuple[int, Change]:
            def endless(at: int, old: memoryview, new: memoryview) -> None:
                assert processors == 1 or failed.wait(60)

            return 1, endless

        while not failed.is_set() or processors > 1:
            by.weights(held, tmp_path / f"made{len(list(tmp_path.iterdir()))}", {"a": change}, lambda size: None)
            if processors == 1:
                break

    with pytest.raises(OSError, match="No space left"):
        weights.several(held, copy)
    assert processors > 2 or "20" not in begun


def test_a_signal_stops_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    held = [weights.read(file_of(tmp_path / name, a=b"x" * 10)) for name in "ab"]
    both = threading.Barrier(3)
    ended = []

    def copy(by: Copier, held: weights.Weights) -> None:
        both.wait(60)
        try:
            for number in range(1_000_000):
                by.copy(held.path, tmp_path / f"{held.path.name}{number}")
        finally:
            ended.append(held.path.name)

    def signalled(futures: object) -> object:
        both.wait(60)
        raise SystemExit(143)

    monkeypatch.setattr(weights, "as_completed", signalled)
    with pytest.raises(SystemExit):
        weights.several(held, copy)
    assert sorted(ended) == ["a", "b"]
