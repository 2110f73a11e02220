"""Run in a process of its own: the configurations of the installed Megatron Bridge's pretraining recipes.

``python -m bridge_args.dev.recipes_probe OUTPUT`` writes them as JSON, as Bridge's own ``to_yaml`` writes them. Nothing
is fetched: a recipe that asks Hugging Face for the configuration of a model finds it in a cache that is laid out from
``hf_configs.yaml``. A recipe of a model that is not there cannot be built, and is told. A recipe that asks for the GPU
is answered as on an H100.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import pathlib
import pkgutil
import re
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

import yaml

from bridge_args.checkout.placeholders import stand_in
from bridge_args.newer_python import add_what_is_missing

_STAND_INS: Final = {"transformer_engine": "2.12.0", "triton": "0"}
_NEVER_IMPORTED: Final = {"modelopt": "0", "megatron.energon": "7.0.0"}
_PACKAGE: Final = "megatron.bridge.recipes"
_OFFLINE: Final = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
_MODELS: Final = pathlib.Path(__file__).with_name("hf_configs.yaml")
_REVISION: Final = "0" * 40
_A_REVISION: Final = re.compile(r"[\"']([0-9a-f]{40})[\"']")
_RANK: Final = re.compile(r"^  local_rank: .*\n", re.MULTILINE)  # of this very process
_LIKE: Final = {"kimi_k2": "deepseek_v3"}  # its own code, which is not run, has no class of its own for it either


def main(argv: list[str]) -> None:
    """See the module's text."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as cache:
        os.environ.update(dict.fromkeys(_OFFLINE, "1"), HF_HOME=cache, HF_HUB_CACHE=cache)
        _prepare()
        lay_out(pathlib.Path(cache), yaml.safe_load(_MODELS.read_text(encoding="utf-8")))
        found = _built()
    pathlib.Path(argv[0]).write_text(json.dumps(found), encoding="utf-8")


def lay_out(cache: pathlib.Path, models: dict[str, Any]) -> None:
    """A cache as Hugging Face's own client keeps one, with the ``config.json`` of these models and no other file.

    It is the same at each revision that a recipe may ask for.
    """
    revisions = {_REVISION, *_revisions()}
    for name, model in models.items():
        folder = cache / f"models--{name.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text(_REVISION, encoding="utf-8")
        for revision in revisions:
            (folder / "snapshots" / revision).mkdir(parents=True)
            (folder / ".no_exist" / revision).mkdir(parents=True)
            (folder / ".no_exist" / revision / "generation_config.json").touch()
            file = folder / "snapshots" / revision / "config.json"
            file.write_text(json.dumps(model["config"]), encoding="utf-8")


def _revisions() -> set[str]:
    """The revisions that recipes name."""
    (folder,) = _folders()
    return {one for file in pathlib.Path(folder).rglob("*.py") for one in _A_REVISION.findall(file.read_text("utf-8"))}


def _prepare() -> None:
    """What Bridge needs to be imported without a GPU."""
    import torch._inductor.runtime.triton_heuristics  # noqa: F401  (settles for no triton before the placeholder)

    add_what_is_missing()
    stand_in(_STAND_INS)
    stand_in(_NEVER_IMPORTED, always=True)
    time.sleep = lambda seconds: None  # loading tries again several times, each time a little later
    _as_on_an_h100()
    _know_models_of_their_own_code()


def _built() -> dict[str, dict[str, str]]:
    made: dict[str, str] = {}
    left_out: dict[str, str] = {}
    here = f"{pathlib.Path.cwd()}/"  # recipes put their own folders below it
    for name, recipe in _recipes():
        try:
            with tempfile.TemporaryDirectory() as folder:
                file = pathlib.Path(folder) / "recipe.yaml"
                recipe().to_yaml(str(file))
                made[name] = _RANK.sub("", file.read_text(encoding="utf-8").replace(here, ""))
        except BaseException as problem:  # whatever it is, this recipe cannot be built here
            left_out[name] = f"{type(problem).__name__}: {str(problem)[:200]}"
    return {"recipes": made, "left_out": left_out}


def _as_on_an_h100() -> None:
    import torch

    properties = types.SimpleNamespace(name="NVIDIA H100 80GB HBM3", major=9, minor=0)
    torch.cuda.get_device_properties = lambda device=None: properties


def _know_models_of_their_own_code() -> None:
    from transformers import CONFIG_MAPPING, AutoConfig

    for kind, like in _LIKE.items():
        if kind not in CONFIG_MAPPING:
            AutoConfig.register(kind, type("Config", (CONFIG_MAPPING[like],), {"model_type": kind}))


def _folders() -> list[str]:
    found = importlib.util.find_spec(_PACKAGE)
    assert found is not None and found.submodule_search_locations
    return list(found.submodule_search_locations)


def _recipes() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Functions that make a configuration for pretraining and need no argument, under their whole names."""
    package = types.ModuleType(_PACKAGE)  # its own imports all families, and stops at the first that lacks a package
    package.__path__ = _folders()
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
