"""Whole launch scripts in the manner of published ones: under each environment the words are those real bash passes."""

from __future__ import annotations

from pathlib import Path

import by_bash
import pytest

from bridge_args.script.read import read_script

FOLDER = Path(__file__).with_name("whole_scripts")
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.sh"))
# What the scripts use and do not set is set here, so that every word is known.
BASE = {
    "HOME": "/home/somebody", "LC_ALL": "C.UTF-8", "SLURM_NNODES": "2",
    **dict.fromkeys(("EXTRA_ARGS", "FFN", "GQA", "HEADS", "HIDDEN", "NUM_LAYERS", "WARM"), ""),
}  # fmt: skip

# Environment, and words behind the script's name.
STARTS: dict[str, tuple[dict[str, str], list[str]]] = {
    "plain": ({}, []),
    "with words": ({"GPUS": "4"}, ["13b", "8", "--recompute", "--seed", "5 6"]),
    "numbers": ({"NNODES": "4", "GPUS": "2", "PP": "8", "EP": "16", "ITERS": "7"}, ["4", "6", "--seq=128"]),
    "switches": (
        {
            "TENSORBOARD": "1", "PRECISION": "fp8", "WANDB_PROJECT": "a b", "MODE": "debug", "RUN_NAME": "x", "LR": "1",
            "OVERLAP": "yes", "GROUPED": "0", "SHARED": "512", "OVERRIDES": "a=b c:d=e", "EXTRA_ARGS": "--x 1",
        },
        ["-b", "16", "-dn", "other", "-l", "1,2,3", "--", "--more"],
    ),
    "refused": ({"PRECISION": "bf16", "RANK": "3", "DATA_DIR": "/d", "TOPK": "1"}, ["900", "3", "-q"]),
}  # fmt: skip

pytestmark = pytest.mark.skipif(not by_bash.available, reason="bash is not installed")


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_words_are_those_of_bash(name: str, start: str, tmp_path: Path) -> None:
    text = (FOLDER / f"{name}.sh").read_text()
    variables, positional = STARTS[start]
    environment = {**BASE, **variables}
    expected = [words for words in by_bash.passed(text, tmp_path, environment, positional) if words[0] == "torchrun"]
    read = read_script(text, "train.sh", positional=positional, inherited=environment)
    found = [[word.text for word in one.words] for one in read.commands]
    ours = [words[words.index("torchrun") :] for words in found if "torchrun" in words]
    assert ours == expected
    unsaid = [finding for finding in read.findings if not finding.message.startswith("bash ")]
    assert not unsaid, "nothing is told about what is read wholly"


def test_every_script_starts_something(tmp_path: Path) -> None:
    for name in SCRIPTS:
        (tmp_path / name).mkdir()
        text = (FOLDER / f"{name}.sh").read_text()
        assert any(
            by_bash.passed(text, _folder(tmp_path, name, start), {**BASE, **STARTS[start][0]}, STARTS[start][1])
            for start in STARTS
        ), name


def _folder(tmp_path: Path, name: str, start: str) -> Path:
    folder = tmp_path / name / start
    folder.mkdir()
    return folder
