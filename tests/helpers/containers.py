"""Bridge's containers of a translation, in a form that can be compared."""

from __future__ import annotations

import dataclasses
from typing import Any

from bridge_args.emit.layout import class_of, field_of
from bridge_args.emit.run_config import to_run_config
from bridge_args.mapping.translation import Translation


def loaded(t: Translation) -> Any:
    """The container Bridge makes of the complete configuration."""
    from bridge_args.training import container

    return container.load(to_run_config(t))


def untouched(t: Translation) -> Any:
    """Bridge's defaults, and beyond them only what its classes cannot be built without."""
    needed = tuple(a for a in t.assignments if (field := field_of(t, a)) is not None and field.required)
    sections = {name for name, section in t.schema.sections.items() if section.required or section.default_class}
    classes = {name: class_name for name in sections if (class_name := class_of(t, name)) is not None}
    return loaded(t._replace(assignments=needed, classes=classes))


def listed(value: Any) -> Any:
    """Bridge's merging makes lists of tuples."""
    return [listed(item) for item in value] if isinstance(value, (list, tuple)) else value


def comparable(container: Any) -> dict[str, Any]:
    """Every attribute of every section by name; partial functions by what they hold."""
    found = {}
    for name, section in vars(container).items():
        if name.startswith("_"):  # what Bridge notes for itself while it merges
            continue
        names = {field.name for field in dataclasses.fields(section)} if dataclasses.is_dataclass(section) else {""}
        for key in names | set(getattr(section, "__dict__", ())):
            value = getattr(section, key, None) if key else section
            if hasattr(value, "func"):
                value = (value.func, value.args, value.keywords)
            found[f"{name}.{key}"] = (type(section), listed(value))
    return found
