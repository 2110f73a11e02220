"""Megatron-LM command lines as Megatron Bridge configurations. Importing this never imports torch."""

from __future__ import annotations

from bridge_args.emit.argv import to_argv
from bridge_args.emit.config_yaml import to_yaml
from bridge_args.emit.hydra import to_overrides
from bridge_args.emit.recipe import to_recipe
from bridge_args.emit.report import report
from bridge_args.emit.run_config import to_run_config
from bridge_args.findings import Finding
from bridge_args.mapping.translation import Assignment, Origin, Outcome, Translation
from bridge_args.steps import translate
from bridge_args.words import Place, Word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bridge_args.bridge.container import to_container as to_container

__version__ = "0.1.0"

__all__ = [
    "Assignment",
    "Finding",
    "Origin",
    "Outcome",
    "Place",
    "Translation",
    "Word",
    "report",
    "to_argv",
    "to_container",
    "to_overrides",
    "to_recipe",
    "to_run_config",
    "to_yaml",
    "translate",
]


def __getattr__(name: str) -> object:
    if name == "to_container":  # imports torch and Bridge, so only when asked for
        from bridge_args.bridge.container import to_container

        return to_container
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
