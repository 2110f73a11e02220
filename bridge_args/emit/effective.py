"""Every setting of a run by its path, whether said or Bridge's default, and whichever way it was said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from bridge_args.bridge.schema import Schema
from bridge_args.emit.layout import class_of
from bridge_args.emit.run_config import plain_settings
from bridge_args.mapping.translation import Translation

TARGET: Final = "_target_"


def effective(t: Translation) -> dict[str, Any]:
    """``section.setting`` to its plain value, defaults included; a section that is closed is there as None.

    A section that is written as one object, or as the name of a preset (``mixed_precision``), is taken apart.
    """
    return dict(_flat(t))


def _flat(t: Translation) -> Iterator[tuple[str, Any]]:
    for name, section in plain_settings(t).items():
        if name == TARGET:
            continue
        if isinstance(section, str) and section in t.schema.presets and name == "mixed_precision":
            section = {TARGET: t.schema.sections[name].classes[0], **t.schema.presets[section]}
        if not isinstance(section, dict):
            yield name, section
            continue
        class_name = section.get(TARGET) or class_of(t, name)
        if class_name is not None:
            yield f"{name}.{TARGET}", class_name
        for key, value in {**_defaults(t.schema, class_name), **section}.items():
            if key != TARGET:
                yield f"{name}.{key}", value


def _defaults(schema: Schema, class_name: str | None) -> dict[str, Any]:
    if class_name not in schema.classes:
        return {}
    assert class_name is not None
    return {
        field.name: field.default
        for field in schema.classes[class_name].values()
        if field.init and field.declared and not field.required and not field.environment and field.name[0] != "_"
    }
