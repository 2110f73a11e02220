"""The folder of a run's checkpoints is mended after a save that did not end."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from saved_checkpoints import distributed, tracker

from bridge_args.checkpoint import layout
from bridge_args.checkpoint import mend as checkpoints
from bridge_args.checkpoint.layout import MEGATRON_TRACKER, TRACKER, folder_of
from bridge_args.checkpoint.mend import ASIDE


@pytest.fixture
def save(tmp_path: Path) -> Path:
    """A folder with the checkpoints of two iterations."""
    for step in (2, 4):
        make(tmp_path, step)
    checkpoints.point_to(tmp_path, 4)
    return tmp_path


def make(save: Path, step: int, mark: str = "") -> None:
    folder = folder_of(save, step)
    folder.mkdir()
    (folder / "common.pt").write_text(mark)
    (folder / "metadata.json").write_text(json.dumps({"sharded_backend": "torch_dist"}))
    (folder / "run_config.yaml").write_text("checkpoint: {}\nmodel: {}\ntrain: {}\n")
    tracker(step, folder / "train_state.pt")
    distributed(folder)


def step_of(tracker: Path) -> int | None:
    return layout.step_in(tracker) if zipfile.is_zipfile(tracker) else None


def latest(save: Path) -> tuple[int | None, str]:
    return step_of(save / TRACKER), (save / MEGATRON_TRACKER).read_text()


def test_what_is_right_stays(save: Path) -> None:
    assert checkpoints.mend(save) == ""
    assert latest(save) == (4, "4")


def test_an_empty_folder_stays(tmp_path: Path) -> None:
    assert checkpoints.mend(tmp_path) == checkpoints.mend(tmp_path / "nix") == ""


def test_checkpoints_of_megatron_lm_stay(tmp_path: Path) -> None:
    """They have no tracker of Bridge's, and no run_config.yaml."""
    (tmp_path / MEGATRON_TRACKER).write_text("7")
    (tmp_path / "iter_0000007").mkdir()
    assert checkpoints.mend(tmp_path) == ""
    assert (tmp_path / MEGATRON_TRACKER).read_text() == "7"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.json", ""),
        ("train_state.pt", "PK"),
        ("run_config.yaml", None),
        ("run_config.yaml", "checkpoint: {}\nmod"),
        ("run_config.yaml", "checkpoint: {}\nmodel: {}\ntrain: [\n"),
    ],
)
def test_a_checkpoint_that_is_not_complete_is_left_for_the_one_before(save: Path, name: str, text: str | None) -> None:
    file = folder_of(save, 4) / name
    file.unlink()
    if text is not None:
        file.write_text(text)
    assert checkpoints.mend(save).endswith("is not complete: going on from iteration 2")
    assert latest(save) == (2, "2")
    assert checkpoints.mend(save) == ""


def test_a_torn_tracker(save: Path) -> None:
    (save / TRACKER).write_bytes(b"PK")
    assert checkpoints.mend(save) == f"{TRACKER} in {save} is not complete: going on from iteration 4"
    assert latest(save) == (4, "4")


def test_no_checkpoint_is_complete(save: Path) -> None:
    for step in (2, 4):
        (folder_of(save, step) / "metadata.json").unlink()
    assert checkpoints.mend(save).endswith("there is no other: starting from the beginning")
    assert not (save / TRACKER).exists() and not (save / MEGATRON_TRACKER).exists()


def test_a_run_that_megatron_lm_has_begun_goes_on_from_there(save: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first save of Bridge's was killed."""

    def read(folder: Path) -> None:
        if folder != folder_of(save, 2):
            raise checkpoints.saved_args.SavedArgsError("no arguments")

    monkeypatch.setattr(checkpoints.saved_args, "read", read)
    (folder_of(save, 4) / "run_config.yaml").unlink()
    for name in ("run_config.yaml", "train_state.pt"):
        (folder_of(save, 2) / name).unlink()
    assert checkpoints.mend(save).endswith("the last one is Megatron-LM's: going on from its iteration 2")
    assert not (save / TRACKER).exists()
    assert (save / MEGATRON_TRACKER).read_text() == "2"


@pytest.mark.parametrize("name", ["metadata.json", "mp_rank_00/model_optim_rng.pt"])
def test_a_checkpoint_of_megatron_lms_is_not_thrown_away(tmp_path: Path, name: str) -> None:
    file = folder_of(tmp_path, 7) / name
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    checkpoints.make_way(tmp_path, 7)
    assert (tmp_path / ASIDE / "7" / name).read_text() == "{}"
    assert "the old one is back" in checkpoints.mend(tmp_path)
    assert file.read_text() == "{}"


def mark(save: Path, step: int) -> str:
    return (folder_of(save, step) / "common.pt").read_text()


def test_a_checkpoint_is_replaced_only_by_a_complete_one(save: Path) -> None:
    checkpoints.make_way(save, 4)
    assert not folder_of(save, 4).exists()
    assert not list(save.rglob("iter_0000004")), "Bridge would count it as a checkpoint"
    folder_of(save, 4).mkdir()  # a save begins, and the run is killed
    (folder_of(save, 4) / "common.pt").write_text("new")
    assert "the old one is back" in checkpoints.mend(save)
    assert latest(save) == (4, "4") and mark(save, 4) == ""

    checkpoints.make_way(save, 4)
    make(save, 4, "new")  # this one ends
    checkpoints.clear_aside(save)
    assert mark(save, 4) == "new" and not list((save / ASIDE).iterdir())


def test_a_replaced_one_goes_when_the_new_one_is_complete(save: Path) -> None:
    checkpoints.make_way(save, 4)
    make(save, 4, "new")  # the run is killed before it has cleared
    assert checkpoints.mend(save) == ""
    assert mark(save, 4) == "new" and not list((save / ASIDE).iterdir())


def test_the_rest_of_a_save_is_thrown_away_before_the_next_one(save: Path) -> None:
    (folder_of(save, 4) / "metadata.json").unlink()
    checkpoints.make_way(save, 4)
    assert not folder_of(save, 4).exists() and not (save / ASIDE).exists()
