"""The actions of ``bridge-args checkpoint``: each module here is one, and has an ``ACTION`` (``cli/command.py``)."""

from __future__ import annotations

from importlib import import_module
from keyword import iskeyword
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bridge_args.cli.command import Command

# As the help lists them; the name of the module has _ for -, and one behind a word of Python's.
NAMES: Final = ("inspect", "adopt", "export", "import", "merge-lora", "to-hybrid")


def load(name: str) -> Command:
    """The action of that name."""
    module = f"{name}_" if iskeyword(name) else name.replace("-", "_")
    action: Command = import_module(f"{__name__}.{module}").ACTION
    return action
