"""A rank that ends by an exception leaves word of it; the first to fail is told first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge_args.drop_in.errors import failures, reported, told


def fail(rank: int, folder: Path, problem: Exception, attempt: int = 0) -> None:
    env = {"RANK": str(rank), "BRIDGE_ARGS_ERRORS": str(folder), "TORCHELASTIC_RESTART_COUNT": str(attempt)}
    with pytest.raises(type(problem)), reported(env):
        raise problem


def test_the_first_to_fail_is_told_first(tmp_path: Path) -> None:
    fail(3, tmp_path, ValueError("no such index file"))
    fail(0, tmp_path, RuntimeError("Connection closed by peer"))
    fail(10, tmp_path, RuntimeError("Connection closed by peer"))
    assert [failure.rank for failure in failures(tmp_path)] == ["3", "0", "10"]
    text = told(failures(tmp_path))
    assert text.startswith("rank 3 failed first: ValueError: no such index file\n")
    assert f"{Path(__file__).name}:" in text.splitlines()[1] and "in fail" in text.splitlines()[1]
    assert "then ranks 0, 10" in text and "Connection closed" not in text


def test_after_a_restart_only_the_last_attempt_counts(tmp_path: Path) -> None:
    fail(1, tmp_path, ValueError("first attempt"))
    fail(0, tmp_path, ValueError("second attempt"), attempt=1)
    assert [failure.message for failure in failures(tmp_path)] == ["second attempt"]


def test_success_leaves_nothing(tmp_path: Path) -> None:
    with reported({"RANK": "0", "BRIDGE_ARGS_ERRORS": str(tmp_path)}):
        pass
    assert list(tmp_path.iterdir()) == [] and failures(tmp_path) == []


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError), reported({"RANK": "0"}):
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_a_file_cut_short_and_an_unwritable_folder_hide_nothing(tmp_path: Path) -> None:
    (tmp_path / "rank-0.json").write_text('{"rank": ')
    (tmp_path / "rank-1.json").write_text(json.dumps({"rank": "1"}))
    assert failures(tmp_path) == []
    (tmp_path / "file").write_text("")
    fail(0, tmp_path / "file", ValueError("the exception itself comes through"))
