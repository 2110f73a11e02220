"""Which classes and functions a configuration file may name: a version of Bridge refuses to build others.

Read in ``megatron/bridge/utils/instantiate_utils.py``, and since Bridge 0.5 in Megatron Core's
``megatron/training/config/instantiate_utils.py`` too. A program may allow more; its files are then right for it only.
"""

from __future__ import annotations

from typing import Final

from bridge_args.versions import Versions, holds

_BRIDGE: Final = ("megatron.", "torch.", "nvidia.", "transformers.", "numpy.", "nemo.")
# Versions to the beginnings of names that they allow; a name of its own may stand here too. None for 0.3: all are.
_ALLOWED: Final = {
    "bridge >=0.4, <0.5": _BRIDGE,
    "bridge >=0.5": (*_BRIDGE, "signal.", "functools.partial"),
}


def prefixes(bridge: str) -> tuple[str, ...]:
    """The beginnings of allowed names; empty where a version allows all."""
    return next((names for condition, names in _ALLOWED.items() if holds(condition, Versions("0", bridge))), ())


def is_allowed(target: str, bridge: str) -> bool:
    """Does a version build it?"""
    allowed = prefixes(bridge)
    return not allowed or any(target.startswith(name) if name.endswith(".") else target == name for name in allowed)
