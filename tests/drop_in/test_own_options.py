"""The drop-in's own options stand among Megatron-LM's arguments and are none of them."""

from __future__ import annotations

import pytest

from bridge_args.drop_in.options import OPTIONS, OwnOptionError, take
from bridge_args.megatron_lm import catalog


def test_they_are_taken_out_wherever_they_stand() -> None:
    own = take(["--accept", "a_b", "--lr", "1", "--mappings", "own.yaml", "--accept=--c-d,e", "--bridge", "0.4"])
    assert own.words == ("--lr", "1")
    assert own.accept == ("a_b", "--c-d", "e")
    assert (own.mappings, own.megatron_lm, own.bridge) == ("own.yaml", None, "0.4")


def test_the_last_of_a_repeated_one_counts() -> None:
    assert take(["--megatron-lm", "0.14", "--megatron-lm", "0.15"]).megatron_lm == "0.15"


def test_other_spellings_are_megatron_lms() -> None:
    words = ("--acc", "x", "-accept", "y", "--megatron_lm", "z", "--acceptance=1", "accept")
    assert take(words).words == words


def test_an_accepted_argument_may_be_named_by_its_flag() -> None:
    own = take(["--accept", "--adlr-autoresume", "--lr", "1"])
    assert own.accept == ("--adlr-autoresume",) and own.words == ("--lr", "1")


@pytest.mark.parametrize("words", [["--accept"], ["--bridge="], ["--mappings", "--lr"], ["--accept", "--bridge", "1"]])
def test_a_missing_value_is_said(words: list[str]) -> None:
    with pytest.raises(OwnOptionError, match=f"{words[0].rstrip('=')} expects a value: "):
        take(words)


@pytest.mark.parametrize("version", catalog.versions())
def test_no_version_of_megatron_lm_has_such_a_flag(version: str) -> None:
    assert not set(OPTIONS) & set(catalog.load(version).by_flag)
