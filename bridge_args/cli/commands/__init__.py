"""The commands of ``bridge-args``: each module here is one, and has a ``COMMAND`` (``cli/command.py``)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bridge_args.cli.command import Command

# As the help lists them.
NAMES: Final = (
    "translate", "report", "validate", "rehearse", "verify", "launch", "audit", "diff", "checkpoint", "resume",
    "migrate", "explain", "versions", "modernize", "lint", "completion", "check",
)  # fmt: skip


def load(name: str) -> Command:
    """The command of that name; no other one is imported."""
    command: Command = import_module(f"{__name__}.{name}").COMMAND
    return command
