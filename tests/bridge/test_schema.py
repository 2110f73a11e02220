"""The schemas hold what Bridge's classes hold, in the words Bridge itself writes and reads."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from recorded import configurations

from bridge_args.bridge import schema
from bridge_args.dev.layout import as_text

ROOT = Path(__file__).resolve().parents[2]
HAS_BRIDGE = find_spec("megatron") is not None and find_spec("megatron.bridge") is not None
GPT = "megatron.bridge.models.gpt_provider.GPTModelProvider"
NEEDED = (
    "models.gpt_provider.GPTModelProvider models.mla_provider.MLAModelProvider models.t5_provider.T5ModelProvider "
    "models.mamba.mamba_provider.MambaModelProvider training.config.GPTDatasetConfig "
    "training.config.MockGPTDatasetConfig training.config.GPTFIMDatasetConfig "
    "training.mixed_precision.MixedPrecisionConfig peft.lora.LoRA peft.dora.DoRA "
    "training.comm_overlap.CommOverlapConfig training.comm_overlap.TransformerLayerTPOverlapCfg "
    "training.comm_overlap.PipelineOverlapCfg training.comm_overlap.RingExchangeOverlapCfg "
    "training.comm_overlap.BulkOverlapCfg training.config.FaultToleranceConfig training.config.InProcessRestartConfig "
    "training.config.NVRxStragglerDetectionConfig training.config.TensorInspectConfig"
).split()


@pytest.fixture(params=schema.versions())
def loaded(request: pytest.FixtureRequest) -> schema.Schema:
    return schema.load(request.param)


def test_unknown_version_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no schema of Megatron Bridge 9\.9; there are 0\.2\.2, 0\.3\.1"):
        schema.load("9.9")


def test_every_class_is_there(loaded: schema.Schema) -> None:
    for section in loaded.sections.values():
        assert set(section.classes) <= set(loaded.classes), section.name
        assert section.default_class is None or section.default_class in section.classes
        assert not (section.required and section.optional)
    if loaded.version == "0.3.1":
        assert {f"megatron.bridge.{name}" for name in NEEDED} <= set(loaded.classes)


def test_every_field_can_be_read(loaded: schema.Schema) -> None:
    for cls, fields in loaded.classes.items():
        for name, field in fields.items():
            where = f"{cls}.{name}"
            assert field.name == name, where
            assert field.enum is None or field.enum in loaded.enums, where
            assert not (field.required and field.default is not None), where
            if field.choices is not None and field.default is not None:
                assert field.default in field.choices, where


def test_every_symbol_can_be_resolved(loaded: schema.Schema) -> None:
    """A default with a ``_target_`` is a member of a known enum, a class of ours, or a plain name not to be called."""
    seen = 0
    for value in _mappings([f.default for fields in loaded.classes.values() for f in fields.values()]):
        if "_target_" not in value:
            continue
        seen += 1
        if "_args_" in value:
            assert value["_call_"] is True
            assert value["_args_"][0] in loaded.enums[value["_target_"]].values(), value
        elif "_call_" in value:
            assert value["_call_"] is False and re.fullmatch(r"[a-z_]\w*(\.\w+)+", value["_target_"]), value
        else:
            assert value["_target_"] in loaded.classes, value
    assert seen > 10


def test_presets_are_values_of_the_precision_class(loaded: schema.Schema) -> None:
    fields = loaded.classes["megatron.bridge.training.mixed_precision.MixedPrecisionConfig"]
    assert loaded.presets["bf16_mixed"] == loaded.presets["bf16-mixed"]
    assert loaded.presets["bf16_mixed"]["params_dtype"] == {"_target_": "torch.bfloat16", "_call_": False}
    for name, values in loaded.presets.items():
        assert set(values) == set(fields), name


def test_find() -> None:
    loaded = schema.load("0.3.1")
    backend = loaded.find("model.attention_backend")
    assert backend is not None and backend.enum == "megatron.core.transformer.enums.AttnBackend"
    assert backend.default == {"_target_": backend.enum, "_call_": True, "_args_": [loaded.enums[backend.enum]["auto"]]}
    assert loaded.find("model.q_lora_rank") is None
    chosen = {"model": "megatron.bridge.models.mla_provider.MLAModelProvider"}
    assert (rank := loaded.find("model.q_lora_rank", chosen)) is not None and rank.default == 512
    assert loaded.find("model.no_such_field") is None and loaded.find("no_such_section.field") is None


def test_find_a_section_itself() -> None:
    loaded = schema.load("0.3.1")
    precision, train = loaded.find("mixed_precision"), loaded.find("train")
    assert precision is not None and not precision.required and "str" in precision.type
    assert train is not None and train.required
    target = loaded.find("model._target_")
    assert target is not None and target.choices is not None and GPT in target.choices


def test_find_in_a_mapping() -> None:
    newest, older = schema.load("0.6.2"), schema.load("0.3.1")
    assert newest.find("env_vars.CUDA_DEVICE_MAX_CONNECTIONS") is not None
    assert older.find("env_vars.CUDA_DEVICE_MAX_CONNECTIONS") is None
    assert older.find("__version__.anything") is None


def test_constructor_parameters_that_are_no_fields() -> None:
    fields = schema.load("0.3.1").classes["megatron.bridge.training.config.GPTDatasetConfig"]
    assert not fields["seq_length"].declared and fields["seq_length"].required
    assert fields["sequence_length"].declared and not fields["sequence_length"].required
    assert fields["random_seed"].required
    skip = fields["skip_getting_attention_mask_from_dataset"]
    assert not skip.declared and skip.default is True


def test_file_is_laid_out_as_the_generator_lays_it_out(loaded: schema.Schema) -> None:
    text = (schema.FOLDER / f"{loaded.version}.json").read_text(encoding="utf-8")
    assert as_text(json.loads(text)) == text


# What was observed of 0.6.0 was a checkout, with the Megatron Core that it names; the wheels differ in these.
OBSERVED = {"0.6.2": "0.6.0"}
OF_WHEELS = {"0.6.2": {"moe_ncclep_use_symm_mem", "moe_ncclep_zero_copy", "stream_ckpt_dequant"}}


def test_nothing_observed_is_lost(loaded: schema.Schema) -> None:
    observed = configurations()[OBSERVED.get(loaded.version, loaded.version)]
    other = OF_WHEELS.get(loaded.version, set())
    assert list(loaded.sections) == [section["name"] for section in observed["sections"]]
    for section in observed["sections"]:
        ours = loaded.sections[section["name"]]
        assert (ours.type, ours.optional, ours.required) == (
            section["type"],
            section["accepts_none"],
            section["required"],
        )
        concrete = [name for name in section["alternatives"] if not observed["classes"][name]["abstract"]]
        assert list(ours.classes[: len(concrete)]) == concrete
    compared = 0
    for cls in loaded.classes.keys() & observed["classes"].keys():
        fields = loaded.classes[cls]
        theirs = {field["name"]: field for field in observed["classes"][cls]["fields"] if field["name"] not in other}
        by_hand = bool(observed["classes"][cls].get("custom_init"))
        assert [name for name, field in fields.items() if field.declared and name not in other] == list(theirs), cls
        for name, field in theirs.items():
            compared += 1
            ours = fields[name]
            assert list(ours.choices or ()) == field.get("choices", []), (cls, name)
            assert ours.init == field.get("init", True), (cls, name)
            assert ours.environment == ("default_depends_on" in field), (cls, name)
            assert ours.required == field["required"] or (by_hand and name == "sequence_length"), (cls, name)
            default = _plain(field.get("default"), field["type"], loaded)
            assert ours.default == (default["_args_"][0] if ours.by_number else default), (cls, name)
            for enum, members in field.get("enums", {}).items():
                assert list(loaded.enums[enum]) == members, enum
    assert compared > 1000
    for preset in observed["mixed_precision_presets"].values():
        for name in preset["names"]:
            expected = {key: _plain(value, "torch.dtype", loaded) for key, value in preset["values"].items()}
            assert loaded.presets[name] == expected


def test_a_signal_is_a_number_for_the_one_bridge_that_makes_no_object_of_it() -> None:
    """Bridge 0.4 builds nothing whose name does not begin as its own list says."""
    found = {version: schema.load(version).find("train.exit_signal") for version in schema.versions()}
    assert [version for version, field in found.items() if field and field.by_number] == ["0.4.2"]
    assert found["0.4.2"] is not None and (found["0.4.2"].type, found["0.4.2"].default) == ("int", 15)


def _plain(value: Any, annotation: str, loaded: schema.Schema) -> Any:
    """An observed default in the way ``values.to_plain`` writes it."""
    match value:
        case {"enum": str(cls), "name": str(name)}:
            return {"_target_": cls, "_call_": True, "_args_": [loaded.enums[cls][name]]}
        case {"callable": str(path)}:
            return {"_target_": path, "_call_": False}
        case {"dataclass": str(cls), "values": dict(values)}:
            return {"_target_": cls, **{key: _plain(item, "", loaded) for key, item in values.items()}}
        case {"set": list(items)}:
            return sorted(items)
        case {"float": str(text)}:
            return float(text)
        case str() if value.startswith("torch.") and "torch.dtype" in annotation:
            return {"_target_": value, "_call_": False}
    return value


def _mappings(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _mappings(item)


# In a process of its own, because of the placeholders: every class of the schema is built by its target with only
# what it requires, and every other field then has the value that Bridge's own reader makes of the schema's default.
CONSTRUCT = """
import dataclasses, importlib, inspect, json, sys, types
import torch._inductor.runtime.triton_heuristics
from bridge_args.bridge import schema
from bridge_args.checkout.placeholders import stand_in

stand_in({"transformer_engine": "2.12.0", "megatron.energon": "7.0.0", "triton": "0"})
from megatron.bridge.utils.instantiate_utils import instantiate

SET_WHILE_BUILDING = {  # by __post_init__
    "megatron.bridge.training.mixed_precision.MixedPrecisionConfig": {"fp8_param", "fp4_param"},
    "megatron.bridge.training.tokenizers.config.TokenizerConfig": {"pad_vocab_size"},
    "megatron.bridge.training.config.CheckpointConfig": {"async_strategy"},
    "megatron.bridge.peft.canonical_lora.CanonicalLoRA": {"canonical_mapping"},
}
DUMMIES = {"int": 1, "float": 1.0, "str": "x", "bool": True}
built, wrong = 0, []
for path, fields in schema.load(sys.argv[1]).classes.items():
    module, _, name = path.rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    required = {f.name: DUMMIES.get(f.type) for f in fields.values() if f.required}
    try:
        instance = cls(**required)
    except (ValueError, ZeroDivisionError):  # it wants more than it says: each field by itself
        instance = types.SimpleNamespace()
        for field in dataclasses.fields(cls):
            made = field.default_factory is not dataclasses.MISSING
            setattr(instance, field.name, field.default_factory() if made else field.default)
        for parameter in set(fields) - set(vars(instance)):
            setattr(instance, parameter, inspect.signature(cls).parameters[parameter].default)
    built += 1
    for field in fields.values():
        if field.required or not field.init or field.environment or field.name in SET_WHILE_BUILDING.get(path, ()):
            continue
        if field.name == "sequence_length":  # filled from seq_length
            continue
        default = instantiate({"value": field.default})["value"]
        actual = getattr(instance, field.name)
        if isinstance(actual, (tuple, set)):
            actual, default = list(actual), list(default)
        if actual != default or type(actual) is not type(default) and not hasattr(default, "items"):
            wrong.append(f"{path}.{field.name}: {actual!r}, not {default!r}")
print(json.dumps({"built": built, "wrong": wrong}))
"""


@pytest.mark.skipif(not HAS_BRIDGE, reason="Bridge is not installed")
def test_every_class_builds_with_the_defaults_of_the_schema() -> None:
    version = importlib.metadata.version("megatron-bridge")
    if version not in schema.versions():
        pytest.skip(f"there is no schema of the installed Bridge {version}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", CONSTRUCT, version], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["wrong"] == []
    assert outcome["built"] == len(schema.load(version).classes)
