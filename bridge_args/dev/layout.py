"""How generated JSON is laid out: one fact a line, so that a difference between two files reads like a list."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

# Under these keys of the top level, this many more levels are opened up; all below stands on one line.
_LEVELS: Final = {"arguments": 1, "sections": 1, "classes": 2, "enums": 1, "presets": 1, "versions": 2, "providers": 1}


def as_text(data: Mapping[str, Any]) -> str:
    """The mapping as JSON text, ending in a newline; keys keep their order."""
    parts = [f"{_word(key)}: {_opened(value, _LEVELS.get(key, 0), 1)}" for key, value in data.items()]
    return "{\n " + ",\n ".join(parts) + "\n}\n"


def _opened(value: Any, levels: int, depth: int) -> str:
    if not levels or not value or not isinstance(value, (dict, list)):
        return _word(value)
    gap = ",\n" + " " * (depth + 1)
    start, end = "\n" + " " * (depth + 1), "\n" + " " * depth
    if isinstance(value, dict):
        inner = gap.join(f"{_word(key)}: {_opened(item, levels - 1, depth + 1)}" for key, item in value.items())
        return "{" + start + inner + end + "}"
    return "[" + start + gap.join(_opened(item, levels - 1, depth + 1) for item in value) + end + "]"


def _word(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
