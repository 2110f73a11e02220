"""A result appears whole or not at all, outside of what it is made of."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bridge_args.convert import output, progress, provenance
from bridge_args.errors import UserError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_the_folder_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    result = tmp_path / "a" / "b" / "result"
    with output.new_folder(result) as unfinished:
        (unfinished / "file").write_text("x")
        assert not result.exists()
        assert output.left_beside(result) == [unfinished]
    assert (result / "file").read_text() == "x"
    assert output.left_beside(result) == []


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    result = tmp_path / "result"
    result.mkdir()
    with output.new_folder(result) as unfinished:
        (unfinished / "file").write_text("x")
    assert [file.name for file in result.iterdir()] == ["file"]


def test_names_that_are_no_text(tmp_path: Path, source: Path) -> None:
    """A result names itself in files of UTF-8; what is only read may be called as it likes."""
    name = os.fsdecode(b"\xff\xfe")
    (reason,) = output.reasons_against(tmp_path / name / "result", [source])
    assert "no UTF-8" in reason
    source = source.rename(tmp_path / name)
    made = provenance.Provenance("step", [name])
    made.input("source", source, provenance.hashes(source))
    (tmp_path / "result").mkdir()
    made.write(tmp_path / "result")
    assert json.loads((tmp_path / "result" / provenance.NAME).read_text())["inputs"]["source"]["path"] == str(source)


@pytest.mark.parametrize("change", ["written", "deleted", "added", "replaced"])
def test_an_input_that_changes_meanwhile(tmp_path: Path, source: Path, change: str) -> None:
    seen = output.Seen(source)
    seen.unchanged()
    file = source / "model.safetensors"
    if change == "replaced":
        (tmp_path / "other").write_bytes(file.read_bytes())
        os.rename(tmp_path / "other", file)
    elif change == "deleted":
        file.unlink()
    else:
        (file if change == "written" else source / "new").write_bytes(b"weight!")
    with pytest.raises(UserError, match="changed while it was read, so nothing was made"):
        seen.unchanged()


def test_what_lies_beside_a_file_that_is_read_may_change(tmp_path: Path, source: Path) -> None:
    file = source / "model.safetensors"
    seen = output.Seen(file)
    (source / "log.txt").write_text("of a run that goes on")
    seen.unchanged()
    file.unlink()
    with pytest.raises(UserError, match=f"^{file} changed"):
        seen.unchanged()


def test_what_is_filled_meanwhile_stays(tmp_path: Path) -> None:
    result = tmp_path / "result"
    with pytest.raises(OSError), output.new_folder(result) as unfinished:
        (unfinished / "mine").write_text("x")
        result.mkdir()
        (result / "theirs").write_text("y")
    assert [file.name for file in result.iterdir()] == ["theirs"]
    assert output.left_beside(result) == []


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt(), SystemExit(143)])
def test_nothing_is_left_of_what_fails(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), output.new_folder(tmp_path / "new" / "result") as unfinished:
        (unfinished / "file").write_text("x")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_no_result(tmp_path: Path) -> None:
    code = f"""
import time
from pathlib import Path
from bridge_args.convert.output import new_folder
with new_folder(Path({str(tmp_path / "result")!r})) as folder:
    (folder / "half").write_text("x")
    print("now", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "now\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (tmp_path / "result").exists()
    left = output.left_beside(tmp_path / "result")
    assert [sorted(file.name for file in folder.iterdir()) for folder in left] == [["half"]]
    assert output.reasons_against(tmp_path / "result", []) == []


def test_the_inputs_are_never_written_to(tmp_path: Path, source: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(source)
    for path in (source, source / "inner", tmp_path, link, link / "x", source / ".." / "source"):
        assert output.reasons_against(path, [source]), path
        assert output.reasons_against(path, [link]), path
    assert output.reasons_against(tmp_path / "other", [source]) == []
    assert output.reasons_against(tmp_path / "source2", [source]) == []  # the same first letters


def test_what_is_there_is_not_written_over(tmp_path: Path, source: Path) -> None:
    assert "not empty" in output.reasons_against(source, [])[0]
    assert "no folder" in output.reasons_against(source / "model.safetensors", [])[0]
    assert "no folder" in output.reasons_against(source / "model.safetensors" / "x", [])[0]
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    assert output.reasons_against(tmp_path / "dangling", []) == []


def test_the_disk_must_have_room(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    assert "free" in output.reasons_against(tmp_path / "result", [], free * 2)[0]
    assert output.reasons_against(tmp_path / "result", [], 1) == []


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_takes_nothing_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot be written" in output.reasons_against(tmp_path / "result", [])[0]


def test_provenance_says_of_what_and_by_what(tmp_path: Path, source: Path) -> None:
    words = ["bridge-args", "checkpoint", "export", "--hf-token", "hf_abcdefghijklmnopqrstuvwxyz012345"]
    told = provenance.Provenance("checkpoint export", words)
    told.input("base", source, provenance.hashes(source), kind="hugging-face")
    told.tell(backend="hf_peft")
    told.write(source)
    said = json.loads((source / provenance.NAME).read_text())
    assert said["inputs"]["base"]["files"]["model.safetensors"]["bytes"] == 7
    assert said["outputs"] == said["inputs"]["base"]["files"]
    assert said["backend"] == "hf_peft" and said["versions"]["bridge_args"] and said["peak_memory_bytes"] > 1 << 20
    assert "abcdefghijklmnop" not in json.dumps(said)


def test_hashes_are_those_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "large").write_bytes(os.urandom((8 << 20) + 5))
    seen: list[int] = []
    found = provenance.hashes(tmp_path, seen.append)
    asked = subprocess.run(["sha256sum", tmp_path / "below" / "large"], capture_output=True, text=True, check=True)
    assert found == {"below/large": {"bytes": (8 << 20) + 5, "sha256": asked.stdout.split()[0]}}
    assert sum(seen) == (8 << 20) + 5


def test_progress_tells_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    now = time.monotonic()
    clock = iter((now, now + 1, now + 31, now + 31, now + 32))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.Progress("merging", 3, 300, None, said.append) as bar:
        for _ in range(3):
            bar.did(100)
    assert said == ["merging: 2 of 3 tensors, 200 of 300 bytes (66 %)"]
