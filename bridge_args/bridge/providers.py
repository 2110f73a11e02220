"""Classes of models by name, ``Llama3ModelProvider8B``: what each version of Bridge has, and what each of them sets.

Generated from the published wheels (``python -m bridge_args.dev providers WHEEL``).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from bridge_args.bridge.schema import Field, Schema
from bridge_args.records import Record

FOLDER: Final = Path(__file__).parent / "providers_by_name"

# What they are derived from: the schemas have these.
BASES: Final = frozenset(
    (
        "megatron.bridge.models.gpt_provider.GPTModelProvider",
        "megatron.bridge.models.mla_provider.MLAModelProvider",
        "megatron.bridge.models.mamba.mamba_provider.MambaModelProvider",
        "megatron.bridge.models.hybrid.hybrid_provider.HybridModelProvider",
        "megatron.bridge.models.t5_provider.T5ModelProvider",
    )
)


class Provider(Record):
    """One class.

    Attributes:
        base: the class of ``BASES`` that it is derived from.
        values: what it sets beyond its base, as plain data.
        unknown: what it sets to something that cannot be read.
        code: methods of its own: built from the base, the model would lack what they do.
    """

    base: str
    values: dict[str, Any]
    unknown: tuple[str, ...] = ()
    code: tuple[str, ...] = ()


def fields_of(class_name: str, schema: Schema) -> dict[str, Field] | None:
    """What a class of a version has, whether it is one of the schema or one by name; None where it is not known."""
    if class_name in schema.classes:
        return schema.classes[class_name]
    provider = of_version(schema.version).get(class_name)
    if provider is None or provider.base not in schema.classes:
        return None
    fields = dict(schema.classes[provider.base])
    for name, value in provider.values.items():
        fields[name] = fields.get(name, Field(name, "Any"))._replace(default=value, environment=False)
    for name in provider.unknown:
        fields[name] = fields.get(name, Field(name, "Any"))._replace(environment=True)
    return fields


def named(class_name: str, bridge: str) -> Provider | None:
    """A class by name as a version has it, or any other version where the wheel of that one was not read."""
    if (FOLDER / f"{bridge}.json").is_file():
        return of_version(bridge).get(class_name)
    read = sorted(path.stem for path in FOLDER.glob("*.json"))
    return next((found for version in read if (found := of_version(version).get(class_name))), None)


@cache
def of_version(bridge: str) -> dict[str, Provider]:
    """The classes of a version, by their qualified names; of one whose wheel was not read, none."""
    file = FOLDER / f"{bridge}.json"
    if not file.is_file():
        return {}
    data = json.loads(file.read_bytes())
    return {
        name: Provider(one["base"], one["values"], tuple(one.get("unknown", ())), tuple(one.get("code", ())))
        for name, one in data["providers"].items()
    }
