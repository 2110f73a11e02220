"""What bash takes for the name of a variable."""

from __future__ import annotations

import re
from typing import Final

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_name(text: str) -> bool:
    """Can a variable be called so? Unlike Python's names, bash's have only letters of ASCII."""
    return NAME.fullmatch(text) is not None
