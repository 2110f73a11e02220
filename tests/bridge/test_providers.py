"""Classes of models by name: what was read in the wheels is what the installed Bridge has."""

from __future__ import annotations

import dataclasses
import importlib
import os
from typing import Any

import pytest

from bridge_args.bridge import installed, providers, schema

NAMED = [(version, name) for version in schema.versions() for name in providers.of_version(version)]


@pytest.mark.parametrize("version", schema.versions()[1:])
def test_every_base_is_in_the_schema(version: str) -> None:
    found = providers.of_version(version)
    assert found and {one.base for one in found.values()} <= schema.load(version).classes.keys()


def test_the_classes_of_recipes_go() -> None:
    old, new = providers.of_version("0.3.1"), providers.of_version("0.6.2")
    assert len(old) > 100 and len(old.keys() - new.keys()) > 90
    llama = old["megatron.bridge.models.llama.llama_provider.Llama31ModelProvider8B"]
    assert llama.values.items() >= {"rotary_base": 500000, "num_layers": 32, "rope_scaling": True}.items()
    assert not llama.code


@pytest.mark.skipif(os.environ.get("BRIDGE_ARGS_MIGRATE") != "all", reason="imports every model of Bridge")
def test_what_they_set_is_what_bridge_has() -> None:
    pytest.importorskip("torch")
    version = installed.version()
    if version is None or not providers.of_version(version):
        pytest.skip("no Megatron Bridge is installed whose wheel was read")
    from bridge_args.training import container

    container._import("training.config")
    seen = 0
    for name, provider in providers.of_version(version).items():
        module, _, short = name.rpartition(".")
        try:
            found = getattr(container._import(module.removeprefix("megatron.bridge.")), short)
        except container.BridgeMissing:
            continue  # it needs a package that is not here
        fields = {field.name: field for field in dataclasses.fields(found)}
        assert provider.base.rpartition(".")[2] in {above.__name__ for above in found.__mro__}
        for setting, value in provider.values.items():
            assert plain(default_of(fields[setting])) == value, f"{name}.{setting}"
        seen += 1
    assert seen > 20


def default_of(field: Any) -> Any:
    made = field.default_factory is not dataclasses.MISSING
    return field.default_factory() if made else field.default


def plain(value: Any) -> Any:
    """As a run config has it."""
    utils = importlib.import_module("megatron.bridge.utils.yaml_utils")
    import yaml

    with utils.safe_yaml_representers():
        return yaml.safe_load(yaml.safe_dump(value))
