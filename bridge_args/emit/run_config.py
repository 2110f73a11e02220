"""A complete run_config: what Bridge's ``ConfigContainer.from_yaml`` loads in strict mode."""

from __future__ import annotations

from typing import Any

from bridge_args.emit.layout import class_of
from bridge_args.mapping.translation import Translation
from bridge_args.values import to_plain


def to_run_config(t: Translation) -> dict[str, Any]:
    """Every section with its class, every setting with its value: the translation's, else Bridge's default.

    Left out are settings the constructor does not take, and those whose default Bridge works out on the machine
    the run starts on (``schema.Field.environment``), unless the translation sets them.

    Returns:
        A nested mapping of plain YAML values, ``_target_`` at every object.
    """
    config: dict[str, Any] = {"_target_": t.schema.container}
    for name, section in t.schema.sections.items():
        class_name = class_of(t, name)
        if class_name is not None:
            config[name] = _section(t, class_name)
        elif not name.startswith("_"):  # __version__ is not for the constructor
            config[name] = dict(section.default) if isinstance(section.default, dict) else section.default
    for assignment in t.assignments:
        section_name, _, leaf = assignment.path.partition(".")
        if leaf:
            config[section_name][leaf] = to_plain(assignment.value)
        else:
            config[section_name] = to_plain(assignment.value)
    return config


def _section(t: Translation, class_name: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"_target_": class_name}
    for field in t.schema.classes[class_name].values():
        if field.init and field.declared and not field.required and not field.environment and field.name[0] != "_":
            settings[field.name] = field.default
    return settings
