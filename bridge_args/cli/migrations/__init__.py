"""The actions of ``bridge-args migrate``: each module here is one, and has an ``ACTION`` (``cli/command.py``)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bridge_args.cli.command import Command

# As the help lists them; the name of the module has _ for -.
NAMES: Final = ("run-config", "nemo2")


def load(name: str) -> Command:
    """The action of that name."""
    action: Command = import_module(f"{__name__}.{name.replace('-', '_')}").ACTION
    return action
