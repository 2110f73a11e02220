"""What Megatron Core needs of a Python newer than the one that runs."""

from __future__ import annotations

import typing


def add_what_is_missing() -> None:
    """``typing.override`` is of Python 3.12; Megatron Core imports it from 0.18 on, and its wheels exist for 3.11.

    It stays, because modules are imported late too. Nothing else of Megatron Core 0.18 and 0.19 or of Megatron Bridge
    0.5 and 0.6 needs Python 3.12: all of it compiles on 3.11.
    """
    if not hasattr(typing, "override"):
        typing.override = lambda method: method  # type: ignore[attr-defined]
