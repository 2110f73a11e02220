"""Every place in Megatron Core that refuses has been read, and has a verdict; what arguments lead to is told."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re

import pytest

from bridge_args.megatron_lm.derive.registry import REGISTERED
from tests.against.refusals import refusals, table

VERDICTS = {"told", "inside", "unreachable", "inference", "checkpoint", "file", "package", "gpu"}


def test_verdicts_are_of_the_known_kinds_and_say_why() -> None:
    assert {row.verdict for row in table().values()} == VERDICTS
    assert all(row.why for row in table().values())


def test_what_is_told_is_told_by_a_check_that_exists() -> None:
    """Every check that tells a stop later is named, but for those of other files than Megatron Core's parts here."""
    names = {step.name for step in REGISTERED}
    told = " ".join(row.why for row in table().values() if row.verdict == "told")
    single = set(re.findall(r"\b[a-z]+(?:_[a-z0-9]+)+\b", told))
    assert single - names == {"stages_of", "cuda_graphs"}  # a function, and a module


@pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="Megatron Core is absent")
def test_every_refusal_has_a_verdict() -> None:
    version = importlib.metadata.version("megatron-core")
    if version != "0.16.1":
        pytest.skip(f"the verdicts are for 0.16.1, and megatron-core is {version}")
    known = {key: (row.count, row.digest) for key, row in table().items()}
    found = refusals()
    new = [f"{file} {function}" for (file, function), what in found.items() if known.get((file, function)) != what]
    assert not new, "read these, and give them a verdict:\n" + "\n".join(new)
    assert set(known) <= set(found), "gone: " + ", ".join(map(str, set(known) - set(found)))
