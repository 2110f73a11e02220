"""The assignments of a translation, section by section, and what Bridge's merging does to each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from bridge_args.bridge.schema import Field
from bridge_args.mapping.translation import Assignment, Translation
from bridge_args.records import Record
from bridge_args.seen import visible
from bridge_args.values import Member, Referring, to_plain
from bridge_args.versions import Versions, holds

_DTYPE: Final = re.compile(r"torch\.(b?float\w*|half|double|u?int\d*|short|long|bool)")

INSTANTIATED: Final = 3  # readings of a text that Bridge merges, or loads from a file, and then instantiates

_KEEPS_FUNCTION: Final = "Bridge takes functions out of a configuration before it merges, and puts the old ones back"
# Those that it makes texts of instead, and functions again: ``_SERIALIZABLE_CALLABLE_FIELDS`` in the same file.
_MERGED_FUNCTIONS: Final = {"activation_func": "bridge >=0.4"}
_LEAVES_MAPPING: Final = "Bridge builds no objects inside a list or a mapping when it merges"
MISSING: Final = 'OmegaConf reads the text "???" as a value that is not there'


class Part(Record):
    """One section of Bridge's configuration, as far as the translation speaks of it.

    Attributes:
        class_name: the class it is built from; None for a section that is a plain value.
        target: the assignment of that class, where the translation chooses it.
        opened: Bridge has nothing here until something opens it.
        value: the assignment of the whole section, ``mixed_precision = bf16_mixed``.
        settings: the assignments of its settings, without ``_target_``.
    """

    name: str
    class_name: str | None
    target: Assignment | None = None
    opened: bool = False
    value: Assignment | None = None
    settings: tuple[Assignment, ...] = ()


def parts(t: Translation) -> list[Part]:
    """The sections the translation speaks of, in Bridge's order."""
    by_section: dict[str, list[Assignment]] = {name: [] for name in t.schema.sections}
    for assignment in t.assignments:
        by_section.setdefault(assignment.path.partition(".")[0], []).append(assignment)
    found = []
    for name, assignments in by_section.items():
        section = t.schema.sections.get(name)
        class_name = class_of(t, name)
        opened = section is not None and section.default_class is None and not section.required
        if not assignments and not (opened and class_name):
            continue
        whole = [a for a in assignments if a.path == name]
        target = [a for a in assignments if a.path == f"{name}._target_"]
        found.append(
            Part(
                name,
                class_name,
                target[0] if target else None,
                opened and class_name is not None,
                whole[0] if whole else None,
                tuple(a for a in assignments if a not in whole and a not in target),
            )
        )
    return found


def class_of(t: Translation, section_name: str) -> str | None:
    """The class a section is built from in this run."""
    section = t.schema.sections.get(section_name)
    if section_name in t.classes:
        return t.classes[section_name]
    return section.classes[0] if section and section.required and section.classes else None


def field_of(t: Translation, assignment: Assignment) -> Field | None:
    """The field an assignment goes to; None where the schema does not have it."""
    section = assignment.path.partition(".")[0]
    class_name = class_of(t, section)
    return t.schema.find(assignment.path, {**t.classes, section: class_name} if class_name else t.classes)


def origin_of(t: Translation, assignment: Assignment) -> str:
    """Where a setting comes from, in the user's own words where there are some."""
    origin = assignment.origin
    if origin.kind != "derived" or origin.text:
        return str(origin)
    if not origin.inputs:
        return "decided by Megatron-LM"
    ((name, value), *others) = origin.inputs.items()
    setting = t.args.settings.get(name)
    if not others and setting is not None and setting.typed is not None and _equal(value, assignment.value):
        return words_of(t, name)  # handed on as it is
    return str(origin)


def words_of(t: Translation, argument: str) -> str:
    """The user's words for an argument; empty where it was not typed."""
    setting = t.args.settings.get(argument)
    if setting is None or setting.typed is None:
        return ""
    typed = setting.typed
    return " ".join(t.words[index] for index in sorted({typed.index, *typed.values}))


def leaf(assignment: Assignment) -> str:
    """``num_layers`` of ``model.num_layers``."""
    return assignment.path.partition(".")[2]


def is_dtype(plain: Any) -> bool:
    """Is this plain value a dtype?"""
    return isinstance(plain, dict) and _DTYPE.fullmatch(str(plain.get("_target_"))) is not None


def mergeable(t: Translation, part: Part, assignment: Assignment, *, anew: bool) -> tuple[Any, str]:
    """The plain value to write for Bridge's merging (``training/utils/omegaconf_utils.py``), and what is wrong with it.

    Args:
        anew: Bridge builds the whole section from the merged mapping, so mappings inside lists become objects.

    Returns:
        The value, and why merging it has no effect; the reason is empty where merging works.
    """
    plain = to_plain(assignment.value)
    field = field_of(t, assignment)
    if not part.opened and field is not None and keeps_function(field.name, field.default, t.versions):
        return plain, _KEEPS_FUNCTION
    if not anew and not (isinstance(plain, dict) and "_target_" in plain) and has_target(plain):
        if field is not None and "list[str]" in field.type and _only_members(assignment.value):
            return [member.name for member in assignment.value], ""
        return plain, _LEAVES_MAPPING
    if anew and "???" in map(str, _walk(plain)):
        return plain, MISSING
    return plain, ""


def escaped(text: str, readings: int = 1) -> str:
    """The text as OmegaConf reads it literally: ``${`` would otherwise be an interpolation.

    A variable that nobody has given (``values.Referring``) is one on purpose: ``${oc.env:NAME}``.

    Args:
        readings: how often it will be read. Bridge's ``instantiate`` reads twice (``OmegaConf.resolve``, then once
            more where it takes the value out: ``megatron/bridge/utils/instantiate_utils.py``), after the reading of
            the file or of the overrides.
    """
    if isinstance(text, Referring):  # resolved in the first reading
        return "".join(f"${{oc.env:{name}}}" if name else escaped(piece, readings) for piece, name in text.pieces())
    for _ in range(readings):
        text = re.sub(r"(\\*)\$\{", lambda match: match.group(1) * 2 + r"\${", text)
    return text


def on_one_line(text: str, limit: int = 160) -> str:
    """The text without line breaks and characters that cannot be seen, cut at ``limit`` characters."""
    text = " ".join(visible(text).split())
    return text if len(text) <= limit else text[: limit - 3].rstrip() + "..."


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def keeps_function(name: str, old: Any, versions: Versions) -> bool:
    """Is what a setting has a function that Bridge's merging puts back, whatever is said?"""
    since = _MERGED_FUNCTIONS.get(name)
    return _is_function(old) and (since is None or not holds(since, versions))


def has_target(plain: Any) -> bool:
    """Is there an object to be built, in a plain value or inside it?"""
    return any(isinstance(item, dict) and "_target_" in item for item in _walk(plain))


def _is_function(default: Any) -> bool:
    if not isinstance(default, dict) or "_target_" not in default:
        return False
    return default.get("_partial_") is True or (default.get("_call_") is False and not is_dtype(default))


def _only_members(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, Member) for item in value)


def _walk(plain: Any) -> Iterable[Any]:
    yield plain
    inside = plain.values() if isinstance(plain, dict) else plain if isinstance(plain, list) else ()
    for item in inside:
        yield from _walk(item)
