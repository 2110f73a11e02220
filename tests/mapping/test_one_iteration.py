"""Folders of one iteration, on real command lines: what is said, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

import bridge_args
from bridge_args.findings import Finding
from bridge_args.source.read import from_path
from bridge_args.steps import Asked, translated

SMALL = (
    "pretrain_gpt.py --num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 64 "
    "--max-position-embeddings 64 --micro-batch-size 1 --train-iters 10 --lr 1e-3 --mock-data "
    "--tokenizer-type NullTokenizer --vocab-size 100"
)


def found(more: str, bridge: str = "0.3.1") -> list[Finding]:
    made = bridge_args.translate([*SMALL.split(), *more.split()], world_size=1, megatron_lm="0.16.1", bridge=bridge)
    assert not made.errors
    return [finding for finding in made.findings if finding.kind == "one-iteration"]


@pytest.mark.parametrize(
    ("more", "bridge", "said", "remedy"),
    [
        pytest.param(
            "--load out/iter_0000010",
            "0.3.1",
            "finds no tracker in it and trains from random weights, and so does Bridge",
            "write --load out --ckpt-step 10",
            id="load",
        ),
        pytest.param(
            "--load /out/iter_0000010/",
            "0.6.2",
            "trains from random weights; Bridge 0.6.2 loads that iteration",
            "write --load /out --ckpt-step 10",
            id="load, a Bridge that takes it",
        ),
        pytest.param(
            "--load iter_12345678 --exit-on-missing-checkpoint",
            "0.3.1",
            "finds no tracker in it and stops, and so does Bridge",
            "write --load . --ckpt-step 12345678",
            id="load or stop",
        ),
        pytest.param(
            "--load out/iter_0000010 --ckpt-step 20",
            "0.3.1",
            "looks for iteration 20 in it and stops, and so does Bridge",
            "write --load out --ckpt-step 10",
            id="load with a step",
        ),
        pytest.param(
            "--load out/iter_0000010 --pretrained-checkpoint base",
            "0.3.1",
            "takes --pretrained-checkpoint, and so does Bridge",
            "write --load out --ckpt-step 10",
            id="load before a pretrained one",
        ),
        pytest.param(
            "--pretrained-checkpoint base/iter_0000500",
            "0.3.1",
            "finds no tracker in it and stops; Bridge 0.3.1 trains from random weights",
            "write --pretrained-checkpoint base, which takes its newest iteration, or --load base --ckpt-step 500 "
            "--finetune",
            id="pretrained",
        ),
        pytest.param(
            "--pretrained-checkpoint base/iter_0000500 --load out",
            "0.6.2",
            "where --load has no checkpoint, Megatron-LM finds no tracker in it and stops; Bridge 0.6.2 takes it",
            "write --pretrained-checkpoint base, which takes its newest iteration",
            id="pretrained beside load",
        ),
        pytest.param(
            "--save out/iter_0000010 --save-interval 5",
            "0.3.1",
            "checkpoints are written to folders in it",
            "write --save out",
            id="save",
        ),
    ],
)
def test_what_is_said(more: str, bridge: str, said: str, remedy: str) -> None:
    [finding] = found(more, bridge)
    assert finding.level == "warning"
    assert finding.message.endswith(said)
    assert finding.remedy == remedy


@pytest.mark.parametrize("folder", ["out", "out/iter_10", "out/iter_0000010x", "iter_0000010/more"])
def test_other_folders(folder: str) -> None:
    assert found(f"--load {folder}") == []


def test_the_users_own_line_and_a_folder_that_has_a_tracker(tmp_path: Path) -> None:
    script = tmp_path / "train.sh"
    script.write_text(f"OUT={tmp_path}\ntorchrun {SMALL} \\\n    --load $OUT/iter_0000010\n", encoding="utf-8")

    def said() -> list[Finding]:
        made = translated(from_path(str(script)), Asked(bridge="0.3.1"))
        return [finding for finding in made.findings if finding.kind == "one-iteration"]

    [finding] = said()
    assert finding.place is not None and finding.place.line == 3 and finding.excerpt is not None
    assert finding.remedy == f"write --load {tmp_path} --ckpt-step 10"
    (tmp_path / "iter_0000010").mkdir()
    (tmp_path / "iter_0000010" / "latest_checkpointed_iteration.txt").write_text("5", encoding="utf-8")
    assert said() == []


@pytest.mark.parametrize(
    ("name", "flag", "bridge", "said", "remedy"),
    [
        ("release", "--load", "0.6.2", "Bridge 0.6.2 loads that iteration", "write --load {}"),
        (
            "step-5",
            "--load",
            "0.3.1",
            "trains from random weights, and so does Bridge",
            "write --load with the folder that",
        ),
        (
            "release",
            "--pretrained-checkpoint",
            "0.3.1",
            "stops; Bridge 0.3.1 trains",
            "write --pretrained-checkpoint {}",
        ),
        ("step-5", "--save", "0.3.1", "checkpoints are written to folders in it", "write --save {}"),
        ("iter_0000005/mp_rank_00", "--load", "0.6.2", "and so does Bridge", "write --load {} --ckpt-step 5"),
    ],
)
def test_a_checkpoint_is_known_by_what_is_in_it(
    name: str, flag: str, bridge: str, said: str, remedy: str, tmp_path: Path
) -> None:
    folder = tmp_path / name
    folder.mkdir(parents=True)
    script = tmp_path / "train.sh"
    script.write_text(f"torchrun {SMALL} {flag} {folder} --save-interval 5\n", encoding="utf-8")

    def told() -> list[Finding]:
        made = translated(from_path(str(script)), Asked(bridge=bridge))
        return [finding for finding in made.findings if finding.kind == "one-iteration"]

    if not name.startswith("iter_"):
        (folder / "metadata.json").write_text("{}")
        assert told() == []
        (folder / ".metadata").write_bytes(b"\x80\x02\xff")
    [finding] = told()
    assert said in finding.message and finding.remedy.startswith(remedy.format(tmp_path))
    (folder / "latest_checkpointed_iteration.txt").write_text("5")
    assert told() == []
