"""Which classes and functions a configuration file may name: a version of Bridge refuses to build others.

Read in ``megatron/bridge/utils/instantiate_utils.py``, and since Bridge 0.5 in Megatron Core's
``megatron/training/config/instantiate_utils.py`` too. A program may allow more; its files are then right for it only.
"""

from __future__ import annotations

import re
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


# What a file may name for us: classes and functions of Megatron, and what Bridge writes beside them.
_OURS: Final = re.compile(
    r"megatron\.[\w.]+|torch\.(b?float\w*|half|double|u?int\d*|short|long|bool)|torch\.(tanh|sigmoid|relu|_C\._nn\.\w+|nn\.(functional|init)\.\w+)"
    r"|signal\.Signals|functools\.partial|transformers\.[\w.]*Config(\.from_dict)?"
)
_MODULES: Final = frozenset(
    "os sys subprocess builtins shutil importlib pickle ctypes socket pty runpy posix torch".split()
)


def is_trusted(target: str) -> bool:
    """Is this a class or function of a configuration? What is reached through a module of Python's is none."""
    steps = target.split(".")[1:]
    return _OURS.fullmatch(target) is not None and not any(
        step in _MODULES or step.startswith("__") or step == "" for step in steps
    )


def is_allowed(target: str, bridge: str) -> bool:
    """Does a version build it?"""
    allowed = prefixes(bridge)
    return not allowed or any(target.startswith(name) if name.endswith(".") else target == name for name in allowed)
