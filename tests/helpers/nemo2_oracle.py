"""Run where nemo-toolkit is installed: what NeMo's own objects hold after its precision plugin and its strategy.

``python nemo2_oracle.py RECIPES...`` reads recipes with NeMo's own serializer, builds the model's configuration, the
plugin, the strategy and the optimizer's configuration as NeMo does on the way to training, and writes one line of JSON
for each: its file, and the fields of model, optim and ddp.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
from typing import Any


def main(files: list[str]) -> None:
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from bridge_args.dev.nemo2_imports import nemo_collections
    from bridge_args.emulation import placeholders

    nemo_collections()
    for file in files:
        try:
            with placeholders.fused_functions():
                told = {"file": file, **read(file)}
        except Exception as error:
            told = {"file": file, "error": f"{type(error).__name__}: {error}"[:500]}
        out.write(json.dumps(told) + "\n")


def read(file: str) -> dict[str, Any]:
    import yaml

    with open(file, encoding="utf-8") as stream:
        return built(yaml.safe_load(stream))


def built(recipe: dict[str, Any]) -> dict[str, Any]:
    """See megatron_strategy.py MegatronStrategy.connect."""
    from nemo.lightning import _strategy_lib
    from nemo.lightning.pytorch.plugins.mixed_precision import update_config_with_dtype_overrides

    config, strategy = make(recipe["model"]["config"]), make(recipe["trainer"]["strategy"])
    plugins = make(recipe["trainer"]["plugins"])
    (plugin,) = plugins if isinstance(plugins, list) else [plugins]
    strategy._precision_plugin = plugin
    optim = make(recipe["optim"]["config"])
    model = type("Model", (), {"configure_model": None})()
    model.config = config
    _strategy_lib.set_model_parallel_attributes(model, strategy.parallelism)
    config = update_config_with_dtype_overrides(plugin.dtype_config, model.config)
    for callback in recipe["trainer"].get("callbacks") or []:
        if callback["_target_"].endswith(".DeepEPCallback"):
            make(callback)._apply_deepep_cfgs(config)
    optim = update_config_with_dtype_overrides(plugin.dtype_config, optim)
    ddp = update_config_with_dtype_overrides(plugin.dtype_config, strategy.ddp_config)
    ddp.use_distributed_optimizer = optim.use_distributed_optimizer
    return {"model": plain_fields(config), "optim": plain_fields(optim), "ddp": plain_fields(ddp)}


def make(node: Any) -> Any:
    """The object that a recipe of ours describes, by importing and calling what it names."""
    if isinstance(node, list):
        return [make(one) for one in node]
    if not isinstance(node, dict):
        return node
    given = {key: make(value) for key, value in node.items() if key not in ("_target_", "_call_", "_partial_")}
    if "_target_" not in node:
        return given
    module, _, name = node["_target_"].rpartition(".")
    found = getattr(importlib.import_module(module), name)
    return found if node.get("_call_") is False else found(**given)


def plain_fields(one: Any) -> dict[str, Any]:
    return {
        field.name: plain(getattr(one, field.name)) for field in dataclasses.fields(one) if hasattr(one, field.name)
    }


def plain(value: Any) -> Any:
    """A value as both sides write it: functions and dtypes by their own name, enums by that of the member."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "name") and hasattr(type(value), "__members__"):
        return value.name
    if str(value).startswith("torch."):
        return str(value)
    return getattr(value, "__name__", None) or type(value).__name__


if __name__ == "__main__":
    main(sys.argv[1:])
