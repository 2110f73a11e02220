"""A ``run_config.yaml`` for another version of Bridge; ``moved`` is the way from plain data to plain data."""

from __future__ import annotations

from bridge_args.migrate.run_config.change import Change
from bridge_args.migrate.run_config.moving import Moved, moved

__all__ = ["Change", "Moved", "moved"]
