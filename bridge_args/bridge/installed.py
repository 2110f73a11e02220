"""Is Megatron Bridge installed, which one, and with what it needs? Nothing of it is imported to find out."""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Final

from bridge_args.versions import number

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


def refusal(wanted: str) -> str | None:
    """Why a translation for a Bridge cannot run here; None where it can.

    Args:
        wanted: the Bridge version that the translation is for.
    """
    if told := missing(wanted):
        return told
    there = version()
    if there is None or number(there)[:2] == number(wanted)[:2]:
        return None
    return (
        f"Megatron Bridge {there} is installed, and the translation is for {wanted}: "
        f"leave --bridge out, or {remedy(wanted)}"
    )


def doubt(wanted: str) -> str | None:
    """What is to be said before a run that can start: Bridge or Core are not those that the data is of."""
    from bridge_args.bridge import series

    there, core = version(), version("megatron_core")
    said = []
    if there is not None and there != wanted:
        said.append(f"Megatron Bridge {there} is installed, and the translation is for {wanted}")
    ours = series.find(wanted)
    if core is not None and ours is not None and number(core)[:2] != number(ours.core)[:2]:
        said.append(f"Megatron Core {core} is installed, and Bridge {ours.bridge} is known with {ours.core} only")
    return "; ".join(said) or None


def version(distribution: str = "megatron_bridge") -> str | None:
    """The installed version, from the name of its metadata folder; None where there is none."""
    return _version(distribution, tuple(sys.path))


@cache
def _version(distribution: str, folders: tuple[str, ...]) -> str | None:
    for folder in folders:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            if name.startswith(f"{distribution}-") and name.endswith(".dist-info"):
                return name[len(distribution) + 1 : -len(".dist-info")]
    return None


def remedy(wanted: str) -> str:
    """The commands that install a Bridge version, with the Python that runs now."""
    from bridge_args.bridge import series

    pip = f"{os.path.basename(sys.executable) or 'python'} -m pip install"
    ours, here = series.find(wanted), sys.version_info[:2]
    if ours is not None and not ours.has_python(here):
        oldest, newest = ours.pythons
        return f"this is Python {here[0]}.{here[1]}, and it needs Python {oldest} to {newest}"
    alone = f"{pip} --no-deps megatron-bridge=={wanted}"
    if ours is not None and not ours.is_published_for(here):  # then pip leaves Core out of the extra, too
        alone = f"{pip} --no-deps --ignore-requires-python megatron-core=={ours.core} megatron-bridge=={wanted}"
        return f"install it with: {pip} {_what(ours.extra)} && {alone}"
    if all(map(_is_there, NEEDED[:-1])) and version("megatron_bridge") is None:  # only Bridge itself
        return f"install it with: {alone}"
    return f"install it with: {pip} {_what(ours.extra if ours else 'bridge')} && {alone}"


def _is_there(name: str) -> bool:
    """The package lies on the path; a package around it is not imported, which could run what lies there."""
    if sys.modules.get(name) is not None:
        return True
    from importlib.machinery import PathFinder

    found = PathFinder.find_spec(name.partition(".")[0], sys.path)
    for part in name.split(".")[1:]:
        if found is None or found.submodule_search_locations is None:
            return False
        found = PathFinder.find_spec(part, list(found.submodule_search_locations))
    return found is not None


def _what(extra: str) -> str:
    """An extra in words for pip: of the folder this package was installed from, else what is in it."""
    import importlib.metadata
    import json
    from urllib.parse import unquote, urlparse

    try:
        ours = importlib.metadata.distribution(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return f'".[{extra}]"'  # a bare checkout: said in its folder
    url = urlparse(json.loads(ours.read_text("direct_url.json") or "{}").get("url", ""))
    folder = unquote(url.path)
    if url.scheme == "file" and os.path.isdir(folder):
        return f'"{folder}[{extra}]"'
    wanted = [text for text in ours.requires or () if f"extra == '{extra}'" in text or f'extra == "{extra}"' in text]
    return " ".join(f'"{text.partition(";")[0].strip()}"' for text in wanted)
