"""Run in a process of its own: the configurations of the installed Megatron Bridge's pretraining recipes.

``python -m bridge_args.dev.recipes_probe OUTPUT`` writes them as JSON, as Bridge's own ``to_yaml`` writes them. A
recipe that fetches a model's configuration from Hugging Face cannot be built here, and is counted: nothing is fetched.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import pathlib
import pkgutil
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

from bridge_args.checkout.placeholders import stand_in
from bridge_args.newer_python import add_what_is_missing

_STAND_INS: Final = {"transformer_engine": "2.12.0", "triton": "0"}
_NEVER_IMPORTED: Final = {"modelopt": "0", "megatron.energon": "7.0.0"}
_PACKAGE: Final = "megatron.bridge.recipes"
_OFFLINE: Final = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")


def main(argv: list[str]) -> None:
    """See the module's text."""
    warnings.simplefilter("ignore")
    os.environ.update(dict.fromkeys(_OFFLINE, "1"))
    import torch._inductor.runtime.triton_heuristics  # noqa: F401  (settles for no triton before the placeholder)

    add_what_is_missing()
    stand_in(_STAND_INS)
    stand_in(_NEVER_IMPORTED, always=True)
    time.sleep = lambda seconds: None  # loading tries again several times, each time a little later
    made: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name, recipe in _recipes():
        try:
            with tempfile.TemporaryDirectory() as folder:
                file = pathlib.Path(folder) / "recipe.yaml"
                recipe().to_yaml(str(file))
                made[name] = file.read_text(encoding="utf-8")
        except BaseException as problem:  # whatever it is, this recipe cannot be built here
            left_out[name] = f"{type(problem).__name__}: {str(problem)[:200]}"
    text = json.dumps({"recipes": made, "left_out": left_out})
    pathlib.Path(argv[0]).write_text(text, encoding="utf-8")


def _recipes() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Functions that make a configuration for pretraining and need no argument, under their whole names."""
    package = types.ModuleType(_PACKAGE)  # its own imports all families, and stops at the first that lacks a package
    found = importlib.util.find_spec(_PACKAGE)
    assert found is not None and found.submodule_search_locations
    package.__path__ = list(found.submodule_search_locations)
    sys.modules[_PACKAGE] = package
    for module in pkgutil.walk_packages(package.__path__, f"{_PACKAGE}.", onerror=lambda name: None):
        try:
            there = importlib.import_module(module.name)
        except BaseException as problem:
            print(f"{module.name}: {problem!r}", file=sys.stderr)
            continue
        for name, function in inspect.getmembers(there, inspect.isfunction):
            if function.__module__ != module.name or "pretrain" not in name or not name.endswith("_config"):
                continue
            if name.startswith("_"):
                continue
            parameters = inspect.signature(function).parameters.values()
            if all(one.default is not one.empty or one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
                   for one in parameters):  # fmt: skip
                yield f"{module.name}.{name}", function


if __name__ == "__main__":
    main(sys.argv[1:])
