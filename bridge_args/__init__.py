"""Megatron-LM command lines as Megatron Bridge configurations. Importing this never imports torch."""

import sys

if sys.argv[:1] == ["-m"] and not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    # ``python -m bridge_args…`` is looking for its module, and has put the current folder first. Nothing that lies
    # there may stand in for a module of Python's; only a run of the user's own finds modules there, behind all others.
    _here = sys.path.pop(0)
    if __file__.startswith(_here) or any(word.startswith("bridge_args.pretrain_") for word in sys.orig_argv):
        sys.path.append(_here)
elif sys.argv[:1] == ["-m"] and any(word.startswith("bridge_args.pretrain_") for word in sys.orig_argv):
    sys.path.append("")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bridge_args.emit.argv import to_argv
    from bridge_args.emit.config_yaml import to_yaml
    from bridge_args.emit.hydra import to_overrides
    from bridge_args.emit.recipe import to_recipe
    from bridge_args.emit.report import report
    from bridge_args.emit.run_config import to_run_config
    from bridge_args.findings import Finding
    from bridge_args.mapping.translation import Assignment, Origin, Outcome, Translation
    from bridge_args.steps import translate
    from bridge_args.training.container import to_container
    from bridge_args.words import Place, Word

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

# Where each public name lives. They are imported when first used: the command line needs few of them, and
# to_container imports torch and Bridge.
_HOMES = {
    "to_container": "training.container",
    "to_argv": "emit.argv",
    "to_yaml": "emit.config_yaml",
    "to_overrides": "emit.hydra",
    "to_recipe": "emit.recipe",
    "report": "emit.report",
    "to_run_config": "emit.run_config",
    "Finding": "findings",
    "Assignment": "mapping.translation",
    "Origin": "mapping.translation",
    "Outcome": "mapping.translation",
    "Translation": "mapping.translation",
    "translate": "steps",
    "Place": "words",
    "Word": "words",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
