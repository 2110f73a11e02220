"""Settings that a version of Bridge accepts and no code of it or of its Megatron Core reads: they do nothing.

Generated beside the schemas (``python -m bridge_args.dev unread``). What is not certain counts as read.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "unread_settings"


def file_of(bridge: str) -> Path:
    """Where the settings of a version stand."""
    return FOLDER / f"{bridge}.json"


def is_unread(bridge: str, class_name: str, setting: str) -> bool:
    """Does nothing read this setting of a class? False too where it is not known for the version."""
    return setting in classes(bridge).get(class_name, ())


@cache
def classes(bridge: str) -> dict[str, frozenset[str]]:
    """Class to its settings that nothing reads; empty for a version that was not looked at."""
    file = file_of(bridge)
    if not file.is_file():
        return {}
    return {name: frozenset(settings) for name, settings in json.loads(file.read_bytes())["unread"].items()}
