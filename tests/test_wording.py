"""Numbers and lists in sentences."""

from __future__ import annotations

import pytest

from bridge_args.wording import counted, listed


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (0, "note", "0 notes"),
        (1, "setting", "1 setting"),
        (2, "process", "2 processes"),
        (1, "process", "1 process"),
        (3, "more run", "3 more runs"),
    ],
)
def test_counted(number: int, noun: str, said: str) -> None:
    assert counted(number, noun) == said


@pytest.mark.parametrize(
    ("items", "said"), [([], ""), (["A"], "A"), (["A", "B"], "A and B"), (["A", "B", "C"], "A, B and C")]
)
def test_listed(items: list[str], said: str) -> None:
    assert listed(items) == said
