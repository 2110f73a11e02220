"""Run where nemo-toolkit is installed: what NeMo 2.0's configuration classes have when nobody says anything.

``python -m bridge_args.dev.nemo2_probe OUTPUT`` writes what ``bridge_args/source/nemo2/defaults.json`` is made of.
Everything is read from the live classes: fields of dataclasses as the class body says them, parameters of constructors.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib
import importlib.metadata
import inspect
import json
import os
import pathlib
import pkgutil
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

from bridge_args.dev.nemo2_imports import nemo_collections

# Modules whose classes and functions a run's configuration is made of; packages with all that is in them.
_MODULES: Final = (
    "nemo.collections.llm.gpt.data",
    "nemo.collections.llm.peft",
    "nemo.collections.common.tokenizers",
    "nemo.lightning.pytorch.callbacks",
    "nemo.lightning.pytorch.optim",
    "nemo.lightning.pytorch.plugins.mixed_precision",
    "nemo.lightning.pytorch.plugins.data_sampler",
    "nemo.lightning.pytorch.strategies.megatron_strategy",
    "nemo.lightning.pytorch.strategies.utils",
    "nemo.lightning.pytorch.trainer",
    "nemo.lightning.nemo_logger",
    "nemo.lightning.resume",
    "nemo.lightning.run.plugins",
    "nemo.utils.exp_manager",
)
_OTHERS: Final = (
    "megatron.core.optimizer.optimizer_config.OptimizerConfig",
    "megatron.core.distributed.distributed_data_parallel_config.DistributedDataParallelConfig",
    "lightning.pytorch.loggers.tensorboard.TensorBoardLogger",
    "lightning.pytorch.loggers.wandb.WandbLogger",
    "nemo.collections.llm.api.pretrain",
    "nemo.collections.llm.api.finetune",
    "nemo.collections.llm.api.train",
    "nemo.collections.common.tokenizers.tokenizer_utils.get_nmt_tokenizer",
    "nemo.lightning.io.pl.TrainerContext",
)


def main(argv: list[str]) -> None:
    """See the module's text."""
    llm = nemo_collections()
    from megatron.core.transformer.transformer_config import TransformerConfig

    for _ in _walked(llm):
        pass
    data: dict[str, Any] = {
        "nemo": importlib.metadata.version("nemo-toolkit"),
        "core": importlib.metadata.version("megatron-core"),
        "models": _models(TransformerConfig),
        "classes": dict(sorted(_others())),
    }
    pathlib.Path(argv[0]).write_text(json.dumps(data), encoding="utf-8")


def _walked(package: ModuleType) -> Iterator[ModuleType]:
    """The module and all modules below it that can be imported."""
    yield package
    for found in pkgutil.walk_packages(getattr(package, "__path__", []), f"{package.__name__}.", lambda name: None):
        try:
            yield importlib.import_module(found.name)
        except Exception as problem:  # a module for which packages are missing declares nothing of ours
            print(f"{found.name}: {problem!r}"[:200], file=sys.stderr)


def _models(root: type) -> dict[str, Any]:
    """Every configuration of a model by its qualified name: its parent, and the fields in which it differs from it."""
    found: dict[str, Any] = {}
    ahead = [root]
    while ahead:
        model = ahead.pop(0)
        if model is root or _name(model).startswith(("nemo.collections.", "megatron.core.")):
            found[_name(model)] = _model(model, root)
        below: list[type] = type.__subclasses__(model)
        ahead += sorted((one for one in below if _name(one) not in found), key=_name)
    return found


def _model(model: type, root: type) -> dict[str, Any]:
    parent = next((one for one in model.__mro__[1:] if issubclass(one, root)), None)
    mine, theirs = _fields(model), _fields(parent) if parent else {}
    return {
        "parent": _name(parent) if parent else None,
        "fields": {name: value for name, value in mine.items() if name not in theirs or theirs[name] != value},
    }


def _fields(made: type) -> dict[str, Any]:
    fields = {}
    for field in dataclasses.fields(made):
        if field.init:
            has = field.default is not dataclasses.MISSING
            value = field.default if has else None
            if field.default_factory is not dataclasses.MISSING:
                value = field.default_factory()
            fields[field.name] = _plain(value)
    return fields


def _others() -> Iterator[tuple[str, Any]]:
    for name in _MODULES:
        for module in _walked(importlib.import_module(name)):
            for member in vars(module).values():
                if inspect.isclass(member) and vars(member).get("__module__") == module.__name__:
                    yield _name(member), {"is": _ancestors(member), "fields": _parameters(member)}
    for name in _OTHERS:
        module_name, _, member_name = name.rpartition(".")
        yield name, {"fields": _parameters(getattr(importlib.import_module(module_name), member_name))}


def _ancestors(made: type) -> list[str]:
    return [_name(one) for one in made.__mro__[1:] if one.__module__.partition(".")[0] in ("nemo", "lightning")]


def _parameters(made: Any) -> dict[str, Any]:
    """What the constructor takes, with what its parents take where it hands on; without a default: None."""
    if dataclasses.is_dataclass(made):
        return _fields(made)  # type: ignore[arg-type]
    taken: dict[str, Any] = {}
    for one in made.__mro__ if inspect.isclass(made) else [made]:
        maker = one.__dict__.get("__init__") if inspect.isclass(one) else one
        if maker is None or one is object:
            continue
        try:
            parameters = list(inspect.signature(maker).parameters.values())
        except (TypeError, ValueError):
            break
        parameters = parameters[1:] if inspect.isclass(one) else parameters
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                has = parameter.default is not parameter.empty
                taken.setdefault(parameter.name, _plain(parameter.default) if has else None)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return taken


def _name(made: Any) -> str:
    return f"{made.__module__}.{made.__qualname__}"


def _plain(value: Any) -> Any:
    """Plain data; everything else by its name, as configuration files write it."""
    if isinstance(value, enum.Enum):
        return {"_target_": _name(type(value)), "_call_": True, "_args_": [_plain(value.value)]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, pathlib.PurePath):
        return str(value)
    if str(value).startswith("torch."):
        return {"_target_": str(value), "_call_": False}
    if isinstance(value, functools.partial):
        return {"_target_": _name(value.func), "_partial_": True, **{k: _plain(v) for k, v in value.keywords.items()}}
    if callable(value) and hasattr(value, "__qualname__"):
        return {"_target_": _name(value), "_call_": False}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            "_target_": _name(type(value)),
            **{f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)},
        }
    return {"_target_": _name(type(value))}


if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    main(sys.argv[1:])
