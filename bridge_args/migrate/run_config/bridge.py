"""One version of Bridge to another: names, classes, and defaults that are others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bridge_args.bridge import names, providers
from bridge_args.bridge.providers import Provider
from bridge_args.bridge.schema import Field, Schema
from bridge_args.bridge.unread import is_unread
from bridge_args.findings import Changes
from bridge_args.migrate.run_config.change import Change
from bridge_args.migrate.run_config.rows import rows_of
from bridge_args.migrate.run_config.state import SPECIAL, State
from bridge_args.migrate.run_config.together import TOGETHER

TABLE: Final = "bridge/settings"
# What a class by name does before a file is saved; the file has the outcome.
_BEFORE_SAVING: Final = ("__post_init__", "finalize")
# The value of a setting at which a version that does not have it does the same.
WITHOUT: Final[dict[str, tuple[Any, str]]] = {
    "checkpoint.async_strategy": ("mcore", "it saves so"),
    "tokenizer.pad_vocab_size": (False, "it pads no tokenizer, only the model where should_pad_vocab is on"),
}
KEPT: Final = ("checkpoint.async_strategy",)  # those whose default does something else
# What counts as saying nothing, where no default is known.
_NOTHING: Final[tuple[Any, ...]] = (None, False, "", 0, [], {})
# What a loss changes in the run, by section.
_LOGS: Final = ("logger", "profiling", "straggler", "nvrx_straggler", "tensor_inspect")


def to_version(state: State, old: Schema, new: Schema) -> None:
    """What one version of Bridge has written, as another one reads it."""
    state.container = new.container if state.container is not None else None
    state.read_as = {name: found for name in state.classes if (found := state.class_in(name, old)) is not None}
    _with_defaults(state, old)
    for put in TOGETHER:
        put(state, old, new)
    _by_rows(state, old, new)
    sections(state, old, new)
    settings(state, old, new)
    _without_defaults(state, old, new)


def _with_defaults(state: State, old: Schema) -> None:
    """Adds what the file does not say; where that is another value in the new version, it must."""
    for name, section in old.sections.items():
        if name in state.whole or not section.classes or (name not in state.classes and not section.default_class):
            continue
        fields = state.fields(name, old) if name in state.classes else old.classes[section.default_class or ""]
        for field in (fields or {}).values():
            path = f"{name}.{field.name}"
            given = field.init and field.declared and not field.required and not field.environment
            if given and path not in state.settings and field.name[0] != "_":
                state.settings[path] = field.default


def _without_defaults(state: State, old: Schema, new: Schema) -> None:
    """Takes away again what is the default of the new version, too."""
    for path in [path for path in state.settings if path not in state.origins]:
        section, _, name = path.partition(".")
        target = new.sections.get(section)
        fields = state.fields(section, new) if section in state.classes else None
        if fields is None and target is not None and target.default_class:
            fields = new.classes[target.default_class]
        value = state.settings[path]
        if fields is None or name not in fields or fields[name].default == value or fields[name].environment:
            del state.settings[path]
            continue
        if section not in state.classes:
            state.classes[section] = target.default_class if target else None
        del state.settings[path]
        before = shown_default(fields[name])
        state.put(path, value, f"it is the default of Bridge {old.version}; that of Bridge {new.version} is {before}")


def shown_default(field: Field) -> str:
    from bridge_args.migrate.run_config.change import shown

    return shown(field.default)


def _by_rows(state: State, old: Schema, new: Schema) -> None:
    """What the table has a row for."""
    for path, row in rows_of(TABLE, new.version).items():
        if path not in state.settings:
            continue
        value, section = state.settings[path], path.partition(".")[0]
        if row.fate == "not_needed":
            state.drop(path, row.reason)
        elif row.fate in ("no_equivalent", "not_yet"):
            _gone(state, path, state.fields(section, old), row.reason, row.changes)
        elif row.to and row.to[0] != path:
            to = row.to[0]
            if state.settings.get(to) is not None and to in state.origins or value is None and to in state.settings:
                state.drop(path, f"{to} says it")
                continue
            state.settings.pop(to, None)
            state.origins.pop(to, None)
            _moved(state, path, to, new)


def _moved(state: State, path: str, to: str, new: Schema) -> None:
    """Another name, maybe in a section that is not there yet."""
    section = to.partition(".")[0]
    was_stated = path in state.origins
    if section not in state.classes and section in new.sections and was_stated:
        state.whole.pop(section, None)
        state.classes[section] = new.sections[section].default_class or new.sections[section].classes[0]
    state.move(path, to)
    if not was_stated:
        state.origins.pop(to, None)


def complete(state: State, schema: Schema) -> None:
    """Writes out the defaults of settings that a whole file does not have: so Bridge does, and one sees its version."""
    if state.container is None:
        return
    for name, section in schema.sections.items():
        if name not in state.classes and name not in state.whole and section.default_class:
            state.classes[name] = section.default_class
        if state.classes.get(name) is None:
            continue
        for field in (state.fields(name, schema) or {}).values():
            given = field.init and field.declared and not field.required and not field.environment
            if given and field.name[0] != "_" and f"{name}.{field.name}" not in state.settings:
                path = f"{name}.{field.name}"
                if path in KEPT:
                    value, how = WITHOUT[path]
                    state.put(path, value, f"the Bridge that wrote the file has no such setting: {how}")
                else:
                    state.add(path, field.default, f"Bridge {schema.version} has it; it is the default")


# Sections -------------------------------------------------------------------------------------------------------------


def sections(state: State, old: Schema | None, new: Schema) -> None:
    """Every section with a class that the new version has."""
    for name in [*state.whole, *state.classes]:
        known = new.sections.get(name)
        if name == "data_parallel_size":
            continue
        if known is None:
            _without_section(state, name, old, new)
        elif name in state.classes and state.classes[name] is not None:
            _class(state, name, old, new)


def _without_section(state: State, name: str, old: Schema | None, new: Schema) -> None:
    reason = f"Bridge {new.version} has no section {name}"
    if name in state.classes:
        for path in state.of(name):
            _gone(state, path, state.fields(name, old) if old else None, reason)
        del state.classes[name]
        state.kept.pop(name, None)
    elif state.whole[name] in _NOTHING:
        state.drop(name, reason)
    else:
        state.lose(name, reason, _changes_of(name))


def _class(state: State, name: str, old: Schema | None, new: Schema) -> None:
    target, known = state.classes[name], new.sections[name]
    found = class_for(target, known.classes, old, new)
    if found is not None:
        state.classes[name] = found
    elif isinstance(target, str) and old is not None and (provider := providers.named(target, old.version)):
        _flat(state, name, provider, known.classes, new)
    elif not isinstance(target, str):
        state.refuse(f"{name}._target_", "the name of a class is a text")
    else:
        offered = ", ".join(one.rpartition(".")[2] for one in known.classes)
        message = f"Bridge {new.version} has no class {target}, and none that is like it; it has {offered}"
        state.refuse(f"{name}._target_", message)


def _flat(state: State, name: str, provider: Provider, offered: tuple[str, ...], new: Schema) -> None:
    """A class by name becomes its base; what it set is in the file, or has been added."""
    target, base = state.classes[name], in_role(provider.base, new)
    short = target.rpartition(".")[2]
    if base not in offered:
        state.refuse(f"{name}._target_", f"Bridge {new.version} has neither {target} nor {base}")
        return
    state.classes[name] = base
    own = [method for method in provider.code if method not in _BEFORE_SAVING]
    path = f"{name}._target_"
    if own:
        reason = f"Bridge {new.version} has no class {short}, whose {', '.join(own)} its base does not do"
        state.changes.append(Change("lost", path, path, target, base, reason, "model"))
    else:
        reason = f"Bridge {new.version} has no class {short}; what it set is written out"
        state.changes.append(Change("changed", path, path, target, base, reason))


def class_for(target: Any, offered: tuple[str, ...], old: Schema | None, new: Schema) -> str | None:
    """The class of the new version that takes the place of another; None where there is none."""
    if not isinstance(target, str):
        return None
    if target in offered or target in providers.of_version(new.version):
        return target
    row = rows_of(TABLE, new.version).get(target)
    if row is not None and row.to:
        return row.to[0]
    if (same := in_role(target, new)) != target and same in offered:
        return same
    if old is not None and target in old.classes and len(offered) == 1:
        return offered[0]
    last = target.rpartition(".")[2]
    return next((one for one in offered if one.rpartition(".")[2] == last), None)


def in_role(target: str, new: Schema) -> str:
    """What plays the part of a class or function in the new version."""
    role = next((role for role, known in names.ROLES.items() if any(name.path == target for name in known)), None)
    return (names.name_of(role, new.version) or target) if role is not None else target


# Settings -------------------------------------------------------------------------------------------------------------


def settings(state: State, old: Schema | None, new: Schema) -> None:
    """Every setting that the classes of the new version have, with a value that they take."""
    for path in list(state.settings):
        section, _, name = path.partition(".")
        if section not in state.classes:
            continue
        fields = state.fields(section, new)
        if fields is None:
            continue  # a class that no schema has
        if name not in fields:
            reason = f"Bridge {new.version} has no setting {path}"
            was = state.read_as.get(section, "")
            if old is not None and is_unread(old.version, was, name) and path in state.origins:
                state.drop(path, f"{reason}; no code of Bridge {old.version} reads it")
                continue
            _gone(state, path, providers.fields_of(was, old) if old else None, reason, _of_class(was, name, old))
            continue
        before = state.settings[path]
        after = value_for(fields[name], before, old, new)
        if after is not before and after != before:
            if path in state.origins and not _is_same(before, after):
                state.put(path, after, f"Bridge {new.version} has another name for it, or another form")
            else:
                state.settings[path] = after


def value_for(field: Field, value: Any, old: Schema | None, new: Schema) -> Any:
    """A value as a setting of the new version takes it: its numbers for members of enums, names that are new."""
    if isinstance(value, dict) and "_target_" in value:
        target, arguments = value["_target_"], value.get("_args_")
        if field.by_number and isinstance(arguments, list) and len(arguments) == 1:
            return arguments[0]
        return _object(value, target, old, new)
    if isinstance(value, list):
        made = [value_for(field, item, old, new) if isinstance(item, (dict, list)) else item for item in value]
        return made if made != value else value
    is_member = field.enum is not None and isinstance(value, int) and not isinstance(value, bool)
    if is_member and not field.by_number and field.enum in _BY_NUMBER:
        return {"_args_": [value], "_call_": True, "_target_": field.enum}
    return value


_BY_NUMBER: Final = ("signal.Signals",)


def _object(value: dict[Any, Any], target: Any, old: Schema | None, new: Schema) -> dict[Any, Any]:
    if not isinstance(target, str):
        return value
    row = rows_of(TABLE, new.version).get(target)
    here = row.to[0] if row is not None and row.to else in_role(target, new)
    if here == target and old is not None and target in old.classes and target not in new.classes:
        last = target.rpartition(".")[2]
        here = next((one for one in new.classes if one.rpartition(".")[2] == last), target)
    if old is not None and here in new.enums and target in old.enums:
        return _member(value, target, here, old, new)
    fields = new.classes.get(here)
    made = {}
    for key, item in value.items():
        if key == "_target_":
            made[key] = here
        elif key in SPECIAL or fields is None or key not in fields:
            made[key] = item
        else:
            made[key] = value_for(fields[key], item, old, new)
    return made


def _is_same(before: Any, after: Any) -> bool:
    """Is it the same member of an enum, with its name or without?"""
    if isinstance(before, dict) and isinstance(after, dict):
        return {key: item for key, item in before.items() if key != "_name_"} == after
    return False


def _member(value: dict[Any, Any], target: str, here: str, old: Schema, new: Schema) -> dict[Any, Any]:
    """A member of an enum, by the number that it has in the new version; 0.6 writes its name too, and reads it."""
    made = {key: item for key, item in value.items() if key != "_name_"} | {"_target_": here}
    arguments = value.get("_args_")
    if isinstance(arguments, list) and len(arguments) == 1:
        name = next((name for name, number in old.enums[target].items() if number == arguments[0]), "")
        made["_args_"] = [new.enums[here].get(name, arguments[0])]
    return made


def _gone(
    state: State,
    path: str,
    fields: Mapping[str, Field] | None,
    reason: str,
    changes: Changes | None = None,
) -> None:
    """A setting that the new version does not have: lost, unless it says what is so without it."""
    section, _, name = path.partition(".")
    value, field = state.settings[path], fields.get(name) if fields is not None else None
    if path not in state.origins:
        del state.settings[path]
    elif field is not None and not field.init:
        state.drop(path, f"{reason}; it was worked out, not set")
    elif path in WITHOUT and value == WITHOUT[path][0]:
        state.drop(path, f"{reason}; {WITHOUT[path][1]}")
    elif field is not None and value in _NOTHING and field.default in _NOTHING and not field.required:
        state.drop(path, f"{reason}; it says nothing")
    elif field is not None and not field.required and (value == field.default):
        state.drop(path, f"{reason}; it was the default")
    elif field is None and (value in _NOTHING):
        state.drop(path, f"{reason}; it says nothing")
    else:
        state.lose(path, reason, changes or _changes_of(section))


def _of_class(class_name: str, setting: str, old: Schema | None) -> Changes | None:
    """What a class by name has beyond its base makes another model."""
    provider = providers.named(class_name, old.version) if old is not None else None
    if provider is None or old is None or provider.base not in old.classes:
        return None
    return None if setting in old.classes[provider.base] else "model"


def _changes_of(section: str) -> Changes:
    return "logs" if section in _LOGS else "numbers"
