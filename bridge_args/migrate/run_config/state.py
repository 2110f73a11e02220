"""State: a configuration taken apart, while it is moved from one version to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bridge_args.bridge import providers
from bridge_args.bridge.schema import Field, Schema
from bridge_args.findings import Changes
from bridge_args.migrate.run_config.change import Change

SPECIAL: Final = frozenset(("_call_", "_args_", "_partial_", "_recursive_", "_convert_", "_mode_", "_name_"))


class State:
    """Sections with their classes and settings; every step changes it, and says what it did.

    Attributes:
        container: the class of the whole.
        whole: sections that are no mapping of settings: None, the name of a recipe, environment variables.
        classes: section to its class; None where the file names none.
        settings: ``section.setting`` to its value.
        origins: the same to how the file calls it; what is not there has been added.
        read_as: section to the class of the old version that it was made from, where that is known.
        kept: special keys of a section, as they are.
        changes: what became of settings.
    """

    def __init__(self, config: Mapping[str, Any], is_section: Any) -> None:
        self.container = config.get("_target_")
        self.whole: dict[str, Any] = {}
        self.classes: dict[str, Any] = {}
        self.settings: dict[str, Any] = {}
        self.kept: dict[str, dict[Any, Any]] = {}
        self.read_as: dict[str, str] = {}
        self.changes: list[Change] = []
        for name, body in config.items():
            if name == "_target_":
                continue
            if isinstance(body, Mapping) and is_section(name):
                self.classes[name] = body.get("_target_")
                for key, value in body.items():
                    if key in SPECIAL or not isinstance(key, str):
                        self.kept.setdefault(name, {})[key] = value
                    elif key != "_target_":
                        self.settings[f"{name}.{key}"] = value
            else:
                self.whole[name] = body
        self.origins = {path: path for path in (*self.settings, *self.whole)}
        self.stated = len(self.settings) + sum(name not in self.classes for name in self.whole)

    # ------------------------------------------------------------------------------------------ what steps do

    def of(self, section: str) -> list[str]:
        """The settings of a section."""
        return [path for path in self.settings if path.partition(".")[0] == section]

    def move(self, path: str, to: str) -> None:
        """Another name for a setting; it keeps its place in the order."""
        self.settings = {to if name == path else name: value for name, value in self.settings.items()}
        self.origins[to] = self.origins.pop(path, "")

    def rename(self, section: str, to: str) -> None:
        """Another name for a section."""
        self.classes = {to if name == section else name: value for name, value in self.classes.items()}
        self.whole = {to if name == section else name: value for name, value in self.whole.items()}
        self.kept = {to if name == section else name: value for name, value in self.kept.items()}
        for old in (*self.of(section), *([section] if section in self.origins else ())):
            new = f"{to}{old.removeprefix(section)}"
            self.settings = {new if name == old else name: value for name, value in self.settings.items()}
            self.origins[new] = self.origins.pop(old)

    def put(self, path: str, value: Any, reason: str) -> None:
        """Another value, or one that was not there."""
        before, there = self.settings.get(path), path in self.settings
        self.settings[path] = value
        old = self.origins.setdefault(path, "")
        self.changes.append(Change("changed" if there and old else "set", old, path, before, value, reason))

    def add(self, path: str, value: Any, reason: str) -> None:
        """A setting that the writer of the file did not have, with the value it has anyway."""
        self.settings[path] = value
        self.origins[path] = ""
        self.changes.append(Change("new", "", path, None, value, reason))

    def drop(self, path: str, reason: str) -> None:
        """A setting that is not needed."""
        self._away(path, "dropped", reason, None)

    def lose(self, path: str, reason: str, changes: Changes = "numbers") -> None:
        """A setting without which the run may differ."""
        self._away(path, "lost", reason, changes)

    def _away(self, path: str, fate: Any, reason: str, changes: Changes | None) -> None:
        value = self.settings.pop(path) if path in self.settings else self.whole.pop(path)
        if old := self.origins.pop(path, ""):
            self.changes.append(Change(fate, old, "", value, None, reason, changes))

    def refuse(self, path: str, reason: str) -> None:
        """What stops the migration."""
        old = self.origins.get(path, path) or path
        self.changes.append(Change("refused", old, "", self.settings.get(path), None, reason))

    # ------------------------------------------------------------------------------------------ what it is

    def config(self) -> dict[str, Any]:
        """The whole, as plain data."""
        made: dict[str, Any] = {"_target_": self.container} if self.container is not None else {}
        for name in (*self.whole, *self.classes):
            if name in self.classes:
                target = self.classes[name]
                made[name] = {"_target_": target} if target is not None else {}
                made[name] |= self.kept.get(name, {})
            else:
                made[name] = self.whole[name]
        for path, value in self.settings.items():
            section, _, name = path.partition(".")
            made[section][name] = value
        return made

    def class_in(self, section: str, schema: Schema) -> str | None:
        """The class that a section is made from; None where the schema does not know it."""
        target, known = self.classes.get(section), schema.sections.get(section)
        if target is not None:
            return target if isinstance(target, str) and providers.fields_of(target, schema) is not None else None
        return known.default_class or next(iter(known.classes), None) if known else None

    def fields(self, section: str, schema: Schema) -> Mapping[str, Field] | None:
        """What a section has; None where that is not known."""
        name = self.class_in(section, schema)
        return providers.fields_of(name, schema) if name is not None else None
