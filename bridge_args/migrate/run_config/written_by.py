"""Who wrote a run config: nemo.tron, or which version of Bridge. No version stands in the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bridge_args.bridge import schema as schemas
from bridge_args.bridge.schema import Schema
from bridge_args.errors import WrongValue
from bridge_args.records import Record

NEMO_TRON: Final = "nemo.tron"


class Writer(Record):
    """Who wrote it.

    Attributes:
        name: ``nemo.tron``, or a version of Bridge.
        others: versions of Bridge that could have written it as well.
    """

    name: str
    others: tuple[str, ...] = ()


def written_by(config: Mapping[str, Any]) -> Writer:
    """The version whose settings the file has.

    Raises:
        ValueError: it is the file of another program.
    """
    target = config.get("_target_")
    if isinstance(target, str) and target.startswith("nemo.tron."):
        return Writer(NEMO_TRON)
    known = [schemas.load(version) for version in schemas.versions()]
    if target is not None and not (isinstance(target, str) and target.startswith("megatron.bridge.")):
        raise WrongValue(f"it is a configuration for {target}, and neither one of nemo.tron nor of Megatron Bridge")
    if not any(name in schema.sections for name in config for schema in known):
        raise WrongValue(
            "it has no section of Megatron Bridge's and none of nemo.tron's (model, train, ...; model_config, ...)"
        )
    marks = {schema.version: _misfit(config, schema) for schema in known}
    best = min(marks.values())
    fitting = [version for version, mark in marks.items() if mark == best]
    return Writer(fitting[-1], tuple(fitting[:-1]))


def _misfit(config: Mapping[str, Any], schema: Schema) -> tuple[int, int]:
    """How many names of the file a version does not have, and how many of its own the file does not have."""
    foreign = missing = 0
    for name, body in config.items():
        section = schema.sections.get(name) if isinstance(name, str) else None
        if section is None:
            foreign += name not in ("_target_", "data_parallel_size")
        elif isinstance(body, Mapping) and section.classes:
            target = body.get("_target_", section.default_class or section.classes[0])
            if target not in schema.classes:
                foreign += 1
                continue
            fields = schema.classes[target]
            foreign += sum(1 for key in body if isinstance(key, str) and key[:1] != "_" and key not in fields)
            if "_target_" in body:
                missing += sum(
                    1 for key, field in fields.items() if key[:1] != "_" and field.declared and key not in body
                )
    complete = "_target_" in config
    missing += sum(1 for name in schema.sections if name[:1] != "_" and name not in config) if complete else 0
    return foreign, missing
