"""Is Megatron Bridge installed, with what it needs? Nothing of it is imported to find out."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from importlib.machinery import PathFinder
from typing import Final
from urllib.parse import unquote, urlparse

# Packages without which nothing of Bridge can be imported; the first that is missing is not always the only one.
NEEDED: Final = ("torch", "omegaconf", "hydra", "megatron.core", "megatron.bridge")
_DISTRIBUTION: Final = "bridge_args"


def missing(version: str) -> str | None:
    """What to tell a user whose machine cannot run Bridge; None where everything is there.

    Args:
        version: the Bridge version that is wanted.
    """
    absent = [name for name in NEEDED if not _is_there(name)]
    if not absent:
        return None
    verb = "is" if len(absent) == 1 else "are"
    return f"Megatron Bridge {version} is not installed ({', '.join(absent)} {verb} missing); {remedy(version)}"


def remedy(version: str) -> str:
    """The commands that install a Bridge version, with the Python that runs now."""
    pip = f"{os.path.basename(sys.executable) or 'python'} -m pip install"
    alone = f"{pip} --no-deps megatron-bridge=={version}"
    if all(map(_is_there, NEEDED[:-1])):  # only Bridge itself
        return f"install it with: {alone}"
    return f"install it with: {pip} {_what()} && {alone}"


def _is_there(name: str) -> bool:
    """The package lies on the path; a package around it is not imported, which could run what lies there."""
    if sys.modules.get(name) is not None:
        return True
    found = PathFinder.find_spec(name.partition(".")[0], sys.path)
    for part in name.split(".")[1:]:
        if found is None or found.submodule_search_locations is None:
            return False
        found = PathFinder.find_spec(part, list(found.submodule_search_locations))
    return found is not None


def _what() -> str:
    """The extra `bridge` in words for pip: of the folder this package was installed from, else what is in it."""
    try:
        ours = importlib.metadata.distribution(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return '".[bridge]"'  # a bare checkout: said in its folder
    url = urlparse(json.loads(ours.read_text("direct_url.json") or "{}").get("url", ""))
    folder = unquote(url.path)
    if url.scheme == "file" and os.path.isdir(folder):
        return f'"{folder}[bridge]"'
    wanted = [text for text in ours.requires or () if "extra == 'bridge'" in text or 'extra == "bridge"' in text]
    return " ".join(f'"{text.partition(";")[0].strip()}"' for text in wanted)
