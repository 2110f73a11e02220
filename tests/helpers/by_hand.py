"""Translations made by hand, for tests of what is written from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bridge_args.bridge import schema as schemas
from bridge_args.findings import Finding
from bridge_args.mapping.rows import Row
from bridge_args.mapping.translation import Assignment, Origin, Outcome, Translation
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.parse import parse
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs, Setting
from bridge_args.pairs.pairs import chosen_versions
from bridge_args.versions import Versions

VERSIONS = Versions("0.16.1", "0.3.1")
HERE = chosen_versions()  # where the installed Bridge is the judge
GPT = "megatron.bridge.models.gpt_provider.GPTModelProvider"
MOCK = "megatron.bridge.training.config.MockGPTDatasetConfig"
DATASET = "megatron.bridge.training.config.GPTDatasetConfig"

# What Bridge's constructors cannot do without.
NEEDED: Mapping[str, Any] = {
    "model.num_layers": 2,
    "model.hidden_size": 64,
    "model.num_attention_heads": 4,
    "dataset.random_seed": 1234,
    "dataset.seq_length": 128,
    "dataset.reset_position_ids": False,
    "dataset.reset_attention_mask": False,
    "dataset.eod_mask_loss": False,
}


def assignment(path: str, value: Any, origin: Origin | None = None) -> Assignment:
    """A setting with its value; typed by the user, unless the origin says otherwise."""
    name = path.rpartition(".")[2]
    return Assignment(
        path, value, origin or Origin("flag", (name,), f"--{name} {value}"), Row(name, "to", (path,), area="x")
    )


def translation(
    settings: Mapping[str, Any] | Iterable[Assignment] = (),
    *,
    words: Iterable[str] = (),
    findings: Iterable[Finding] = (),
    outcomes: Mapping[str, Outcome] | None = None,
    derived: Mapping[str, Setting] | None = None,
    classes: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    versions: Versions = VERSIONS,
) -> Translation:
    """A Translation with these settings; ``words`` are parsed, nothing is derived but what is given as derived."""
    schema = schemas.load(versions.bridge)
    catalog = catalogs.load(versions.megatron)
    given = parse(tuple(words), catalog)
    values = {
        name: Setting(given.values[name], "given", typed=given.typed[name])
        if name in given.typed
        else Setting(default, "default")
        for name, default in catalog.defaults.items()
    }
    for name, setting in (derived or {}).items():
        values[name] = Setting(setting.value, "derived", setting.inputs, given.typed.get(name))
    made = [assignment(path, value) for path, value in settings.items()] if isinstance(settings, Mapping) else settings
    known = {name: section.default_class for name, section in schema.sections.items() if section.default_class}
    required = {name: section.classes[0] for name, section in schema.sections.items() if section.required}
    return Translation(
        assignments=tuple(made),
        outcomes=outcomes or {},
        findings=(*given.findings, *findings),
        args=MegatronArgs(values, (), 8),
        classes={**known, **required, **(classes or {})},
        schema=schema,
        versions=versions,
        world_size=8,
        program="pretrain_gpt.py",
        environment=environment or {},
        launcher={},
        words=tuple(word.text for word in given.words),
        catalog=catalog,
    )
