"""Where a job is started: each module here is one executor, and is found by its name.

``--executor NAME`` means the module ``NAME``, which has an ``EXECUTOR`` (``launch/work.py``). A module whose name
begins with ``_`` is none.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Final

NAMES: Final = tuple(sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_")))


def load(name: str) -> Any:
    """The ``work.Executor`` of that name."""
    return import_module(f"{__name__}.{name}").EXECUTOR
