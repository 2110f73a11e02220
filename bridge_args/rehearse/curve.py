"""A loss curve as text for a terminal, and as a PNG."""

from __future__ import annotations

import importlib
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bridge_args.files import write_whole

Point = tuple[int, float]

_LEVELS: Final = "▁▂▃▄▅▆▇█"  # eighths of a character cell, bottom up


def draw(points: Sequence[Point], width: int = 64, height: int = 10) -> str:
    """The curve as lines of text: bars of loss over iterations, with both scales.

    Args:
        points: (iteration, loss), iterations rising; what is not finite is left out.
        width, height: of the plot area, in characters. Long curves are averaged to ``width`` columns.

    Returns:
        Lines joined by newlines; empty when there is nothing finite to draw.
    """
    finite = [(iteration, loss) for iteration, loss in points if math.isfinite(loss)]
    if not finite:
        return ""
    columns = _columns([loss for _, loss in finite], width)
    if len(columns) < width // 2:
        columns = [value for value in columns for _ in range(max(1, width // len(columns) // 2))]
    low, high = min(columns), max(columns)
    span = (high - low) or 1.0
    eighths = [1 + round((value - low) / span * (8 * height - 1)) for value in columns]
    label = max(len(f"{high:.4g}"), len(f"{low:.4g}"))
    lines = []
    for row in range(height - 1, -1, -1):
        scale = f"{high:.4g}" if row == height - 1 else f"{low:.4g}" if row == 0 else ""
        cells = (min(8, max(0, level - 8 * row)) for level in eighths)
        lines.append(f"{scale:>{label}} ┤" + "".join(_LEVELS[cell - 1] if cell else " " for cell in cells).rstrip())
    first, last = str(finite[0][0]), str(finite[-1][0])
    lines.append(f"{'':>{label}} └" + "─" * len(columns))
    lines.append(f"{'':>{label}}  {first}{last:>{max(1, len(columns) - len(first))}}")
    return "\n".join(lines)


def _columns(values: Sequence[float], width: int) -> list[float]:
    """At most ``width`` values: means of equal stretches."""
    if len(values) <= width:
        return list(values)
    bounds = [index * len(values) // width for index in range(width + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


def plotting() -> Any:
    """``matplotlib.pyplot``, for files alone; it needs no screen.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    importlib.import_module("matplotlib").use("agg")
    return importlib.import_module("matplotlib.pyplot")


def save_png(points: Sequence[Point], path: Path, evaluations: Sequence[Point] = ()) -> None:
    """Writes the curve as a PNG, with evaluation losses as marks.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    plots = plotting()
    figure, axes = plots.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(*zip(*points, strict=True), marker=".", label="training")
    if evaluations:
        axes.plot(*zip(*evaluations, strict=True), "o", label="evaluation")
        axes.legend()
    axes.set_xlabel("iteration")
    axes.set_ylabel("lm loss")
    axes.grid(alpha=0.3)
    write_png(figure, path)
    plots.close(figure)


def write_png(figure: Any, path: Path) -> None:
    """A figure of matplotlib's as a file, written as every file of ours.

    Raises:
        OSError: the file cannot be written.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=120)
    write_whole(path, drawn.getvalue())
