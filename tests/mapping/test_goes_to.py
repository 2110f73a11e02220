"""Code asks for a setting by the argument that goes there, and gets it in every known Bridge."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bridge_args.bridge import schema as schemas
from bridge_args.emulation import adapt
from bridge_args.mapping.goes_to import settings_of
from bridge_args.rehearse import shrink
from bridge_args.training import process
from bridge_args.verify import cause

_NAMED = {"edit.get": 0, "edit.set": 0, "_smaller": 1}  # which of what a call is given names a setting
BRIDGES = [version for version in schemas.versions() if version != "0.2.2"]


def asked() -> set[str]:
    """Arguments that our code names: in its tables, and where it edits a run config."""
    found = {*shrink._PLACES, *process._OF_THE_LOOP, *cause._ELSEWHERE.values(), *cause._IN_SAMPLES.values()}
    found |= {name for name, _, _ in adapt._OFF}
    for module in (shrink, adapt):
        for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (at := _NAMED.get(ast.unparse(node.func))) is not None:
                if isinstance(node.args[at], ast.Constant):
                    found.add(node.args[at].value)
    return {name for name in found if name.replace("_", "").isalnum() and name.islower()}


@pytest.mark.parametrize("bridge", BRIDGES)
def test_every_argument_that_is_asked_for_has_its_setting(bridge: str) -> None:
    names = asked()
    assert {"eval_iters", "num_layers", "save", "lr_warmup_init", "eval_interval"} <= names and len(names) > 60
    schema = schemas.load(bridge)
    for name in names - schema.sections.keys():
        assert settings_of(name, bridge), name
        assert all(schema.class_with(path) for path in settings_of(name, bridge)), name


def test_another_name_follows_the_rows() -> None:
    assert settings_of("eval_iters", "0.3.1") == ("train.eval_iters",)
    assert settings_of("eval_iters", "0.6.2") == ("validation.eval_iters",)
    assert settings_of("eval_interval", "0.3.1") == ("train.eval_interval",)
    assert settings_of("eval_interval", "0.4.2") == ("validation.eval_interval",)
    assert settings_of("app_tag_run_name", "0.3.1") == ()
    with pytest.raises(KeyError):
        settings_of("evaluation_iters", "0.3.1")


def test_a_newer_bridge_is_shrunk_where_it_has_its_settings() -> None:
    config = {"train": {"eval_iters": None}, "validation": {"eval_iters": 100}, "model": {}}
    after, changes = shrink.shrink(config, bridge="0.6.2")
    assert after["validation"]["eval_iters"] == 2 and after["train"]["eval_iters"] is None
    assert "validation.eval_iters" in {change.path for change in changes}
    older, _ = shrink.shrink({"train": {"eval_iters": 100}, "model": {}}, bridge="0.3.1")
    assert older["train"]["eval_iters"] == 2
