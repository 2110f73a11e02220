"""Where the mapping tables lie: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).resolve().parents[1]


def mappings_folder() -> Path:
    """The folder with our tables, ``mappings/``.

    A wheel carries a copy as ``bridge_args/mappings`` (``pyproject.toml``, force-include); a bare checkout and an
    editable install read the top-level folder itself, so that an edited row counts at once.

    Raises:
        FileNotFoundError: when the installation has lost its tables.
    """
    inside, beside = _PACKAGE / "mappings", _PACKAGE.parent / "mappings"
    if inside.is_dir():
        return inside
    if beside.is_dir():
        return beside
    raise FileNotFoundError(f"the mapping tables are neither at {inside} nor at {beside}; install bridge_args again")
