"""A run is not started while an argument the user gave would be lost, unless the user accepts that."""

from __future__ import annotations

import pytest

import bridge_args
from bridge_args.drop_in.accept import refusal, refused

SMALL = "--num-layers 2 --hidden-size 32 --num-attention-heads 2 --seq-length 16 --max-position-embeddings 16".split()
SMALL += "--mock-data --tokenizer-type NullTokenizer --vocab-size 100 --micro-batch-size 1 --train-iters 2".split()
SMALL += ["--lr", "1e-3"]


def translated(*words: str) -> bridge_args.Translation:
    made = bridge_args.translate([*SMALL, *words], world_size=1)
    assert not made.errors
    return made


def test_a_lost_argument_stops_the_run() -> None:
    (finding,) = refused(translated("--adlr-autoresume"))
    assert finding.arguments == ("adlr_autoresume",)
    text = refusal([finding])
    assert "--adlr-autoresume = True is lost" in text and "--accept adlr_autoresume" in text


@pytest.mark.parametrize("name", ["adlr_autoresume", "--adlr-autoresume", "adlr-autoresume"])
def test_an_accepted_one_does_not(name: str) -> None:
    assert refused(translated("--adlr-autoresume"), [name]) == ()


def test_another_accepted_name_does_not_help() -> None:
    both = translated("--adlr-autoresume", "--sft")
    assert len(refused(both)) == 2
    assert [finding.arguments for finding in refused(both, ["adlr_autoresume"])] == [
        finding.arguments for finding in refused(both) if finding.arguments != ("adlr_autoresume",)
    ]


def test_what_the_user_has_not_given_is_no_reason() -> None:
    assert refused(translated()) == ()


def test_a_misspelt_name_is_said() -> None:
    with pytest.raises(ValueError, match="no such argument; did you mean adlr_autoresume"):
        refused(translated(), ["--adlr-autoresum"])
