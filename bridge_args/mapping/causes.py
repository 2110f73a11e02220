"""Where a setting that a builder decided comes from: the arguments that bring it about, found by trying without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge_args.mapping.rows import Row
from bridge_args.mapping.sections.registry import Builder, place_of
from bridge_args.mapping.translation import BuilderStep, Origin
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.parse import Given
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs
from bridge_args.records import Record
from bridge_args.values import Symbol


class Built(Record):
    """What a builder has decided, from which values, and the rows that handed it arguments."""

    decided: dict[str, Any]
    function: Builder
    values: dict[str, Any]
    rows: tuple[Row, ...]


def origin_of(path: str, causes: list[str], built: Built, args: MegatronArgs, given: Given) -> Origin:
    name, value = path.rpartition(".")[2], built.decided[path]
    if name in built.values and name in args and value == args[name]:  # handed on as it is
        if args.settings[name].source == "checkpoint":
            return Origin("checkpoint", (name,), args.settings[name].where)
        if name in given.typed:
            return Origin("flag", (name,), given.text(name))
    if not causes:
        return Origin("default", ())
    step = BuilderStep(place_of(built.function))
    return Origin("derived", tuple(causes), "", {cause: args[cause] for cause in causes}, step)


def causes_of(path: str, built: Built, args: MegatronArgs, catalog: Catalog) -> list[str]:
    """The arguments that bring a decision about: without them, or with another value, it would be another.

    Where several would do it alone, one is named. Of a derived value and what was typed for it, that is the latter.
    """
    settings, values = args.settings, dict(built.values)
    handed = {row.argument for row in built.rows}

    def is_same(changed: Mapping[str, Any]) -> bool:
        decided = built.function(*changed.values())
        return path in decided and bool(decided[path] == built.decided[path])

    causes = []
    for name in values:
        setting = settings.get(name) if name in handed else None
        if setting is None or (setting.typed is None and setting.source == "default"):
            continue
        default = catalog.defaults.get(name)
        default = catalog.program_defaults.get(name) if default is None else default
        has_default = default is not None or "None" in built.function.__annotations__[name]
        if setting.typed is not None and setting.value != default and has_default:
            without = {**values, name: default}
            if is_same(without):
                values = without
            else:
                causes.append(name)
        elif not is_same({**values, name: _another(setting.value)}):
            causes.append(name)
    return [name for name in causes if settings[name].typed or not set(causes) & settings[name].inputs.keys()]


def _another(value: Any) -> Any:
    """A value of the same type, to see whether anything depends on it; the same where none is at hand."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}_"
        case list():
            return []
        case Symbol(path):
            return Symbol("torch.float32" if path != "torch.float32" else "torch.bfloat16")
    return value
