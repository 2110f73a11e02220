"""A complete run_config: what Bridge's ``ConfigContainer.from_yaml`` loads in strict mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bridge_args.emit.layout import INSTANTIATED, class_of, escaped
from bridge_args.mapping.translation import Translation
from bridge_args.values import filled, to_plain

# CanonicalLoRA.canonical_mapping: it makes one of its target_modules, and cannot add to an empty one from a file. See
# megatron/bridge/peft/canonical_lora.py __post_init__.
_FILLED_LATER: Final = "dict[str, set]"


def to_run_config(t: Translation, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Every section with its class, every setting with its value: the translation's, else Bridge's default.

    It is what a file holds that Bridge loads with ``ConfigContainer.from_yaml``: texts with ``${`` are written so that
    OmegaConf reads them literally, and a variable that a setting refers to is ``${oc.env:NAME}``. Left out are
    settings the constructor does not take, and those whose default Bridge works out on the machine the run starts on
    (``schema.Field.environment``), unless the translation sets them.

    Args:
        variables: values for variables that settings refer to; their values are written, then, and not their names.

    Returns:
        A nested mapping of plain YAML values, ``_target_`` at every object.
    """
    return {name: _literal(value) for name, value in plain_settings(t, variables).items()}


def _literal(plain: Any) -> Any:
    """Texts as Bridge's loader reads them; OmegaConf looks for ``${`` in values only, not in keys."""
    match plain:
        case str():
            return escaped(plain, INSTANTIATED) if "$" in plain else plain
        case list() | tuple():
            return [_literal(item) for item in plain]
        case dict():
            return {key: _literal(item) for key, item in plain.items()}
    return plain


def plain_settings(t: Translation, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The same with every text as the program has it, for those who look at values rather than load them."""
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
    return filled(config, variables) if variables else config


def _section(t: Translation, class_name: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"_target_": class_name}
    for field in t.schema.classes[class_name].values():
        if field.type == _FILLED_LATER:
            continue
        if field.init and field.declared and not field.required and not field.environment and field.name[0] != "_":
            settings[field.name] = field.default
    return settings
