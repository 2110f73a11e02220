"""A run config as text: read within bounds, written as Bridge writes it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

import yaml


def text_of(config: dict[str, Any]) -> str:
    """The file, with the order of the mapping; of one that is sorted, as Bridge's own are, sorted.

    See ``ConfigContainer.to_yaml`` of Bridge (training/utils/config_utils.py).
    """
    return yaml.safe_dump(config, default_flow_style=False, sort_keys=False)


def in_order(config: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """A mapping that is sorted where another one is, at every depth."""
    return _sorted(config) if _is_sorted(like) else config


def _is_sorted(value: Any) -> bool:
    if isinstance(value, dict):
        keys = list(value)
        return (
            all(isinstance(key, str) for key in keys) and keys == sorted(keys) and all(map(_is_sorted, value.values()))
        )
    return all(map(_is_sorted, value)) if isinstance(value, list) else True


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        keys = sorted(value, key=str)
        return {key: _sorted(value[key]) for key in keys}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def has_comments(text: str) -> bool:
    """Has a file lines of comment, which a file that is written anew does not have?"""
    return any(line.lstrip().startswith("#") for line in text.splitlines())


def difference(before: str, after: str, name: str, bridge: str) -> Iterator[str]:
    """The lines of a unified diff."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    for line in difflib.unified_diff(old, new, name, f"{name} (Bridge {bridge})"):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
