"""The loss curve in a terminal and as a picture."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bridge_args.rehearse.curve import draw, save_png


def test_a_falling_curve() -> None:
    lines = draw([(1, 3.0), (2, 2.0), (3, 1.0)], width=3, height=2).splitlines()
    assert lines == [
        "3 ┤█▁",
        "1 ┤██▁",
        "  └───",
        "   1 3",
    ]  # fmt: skip


def test_long_curves_are_averaged() -> None:
    lines = draw([(step, 1 / step) for step in range(1, 1001)], width=40, height=5).splitlines()
    assert max(len(line) for line in lines) <= 40 + 10
    assert lines[-1].split() == ["1", "1000"]


def test_nothing_finite() -> None:
    assert draw([(1, math.nan), (2, math.inf)]) == ""


def test_a_flat_curve() -> None:
    assert draw([(1, 2.0), (2, 2.0)]).splitlines()[-1].split() == ["1", "2"]


def test_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    save_png([(1, 3.0), (2, 2.0)], tmp_path / "loss.png", [(2, 2.5)])
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
