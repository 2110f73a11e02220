"""Two translations -> the settings that differ, each with where it comes from on either side."""

from __future__ import annotations

from typing import Any, Final

from bridge_args.diff.groups import TITLES, Group, group_of, read_by_neither
from bridge_args.emit.effective import as_said, worked_out
from bridge_args.emit.layout import on_one_line, origin_of
from bridge_args.mapping.translation import Assignment, Translation
from bridge_args.records import Record
from bridge_args.secrets import masked
from bridge_args.values import finite
from bridge_args.words import Place

ABSENT_TEXT: Final = "not there"
MACHINE_TEXT: Final = "decided by the machine"
_ABSENT: Final = object()
_SET_ANYWAY: Final = "tokenizer.pad_vocab_size"  # TokenizerConfig.__post_init__: false, whatever was said
_PRECISION: Final = "mixed_precision"
_WRITTEN_BY_IT: Final = ("model", "optimizer", "ddp")  # MixedPrecisionConfig.setup


class Side(Record):
    """A setting in one of the two runs.

    Attributes:
        value: plain data; of what the machine decides, and of what is not there, a text that says so.
        origin: the user's words, or whose default it is.
        place: where these words stand.
    """

    value: Any
    origin: str
    place: Place | None = None


class Difference(Record):
    """A setting that is not the same in both; ``group`` is what it changes."""

    path: str
    group: Group
    left: Side
    right: Side


class Compared(Record):
    """Two runs in the words of one Bridge.

    Attributes:
        names: what each is called.
        made_from: what each was read from.
        same: how many settings are the same.
    """

    names: tuple[str, str]
    made_from: tuple[str, str]
    bridge: str
    differences: tuple[Difference, ...]
    same: int

    def of(self, group: Group) -> tuple[Difference, ...]:
        return tuple(one for one in self.differences if one.group == group)

    @property
    def numbers_differ(self) -> bool:
        return bool(self.of("numbers"))


def compare(left: Translation, right: Translation, names: tuple[str, str] = ("A", "B")) -> Compared:
    """What differs between two runs, both translated for the same Bridge."""
    assert left.schema.version == right.schema.version
    pair = (left, right)
    said = [as_said(t) for t in pair]
    values = _comparable(worked_out(said[0]), worked_out(said[1]), left)
    ranks = [None if any(f.kind == "assumed-world-size" for f in t.findings) else t.world_size for t in pair]
    if None not in ranks:
        for side, number in zip(values, ranks, strict=True):
            side["world_size"] = number
    for side in values:
        side.pop(_SET_ANYWAY, None)
    order = [*values[0], *(path for path in values[1] if path not in values[0])]
    found, same = [], 0
    for path in order:
        sides = [side.get(path, _ABSENT) for side in values]
        if is_same(*sides) or all(path in one and one[path] is None for one in said):  # both follow other settings
            same += 1
            continue
        both = [_side(t, path, value) for t, value in zip(pair, sides, strict=True)]
        bridge = left.schema.version
        group: Group = "nothing" if read_by_neither(path, bridge, values) else group_of(path, bridge)
        found.append(Difference(path, group, both[0], both[1]))
    return Compared(
        names, (left.told_source, right.told_source), left.schema.version, tuple(_in_order(found, left)), same
    )


def is_same(one: Any, other: Any) -> bool:
    """Equal, and of one kind: ``True`` is not 1, and 1 is 1.0, which both programs take for it."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) != isinstance(other, dict):  # a member of an enum, and its number
        one, other = (item["_args_"][0] if isinstance(item, dict) and item.get("_args_") else item
                      for item in (one, other))  # fmt: skip
        return not isinstance(one, (dict, bool)) and bool(one == other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    return bool(one == other) or (one != one and other != other)


def _comparable(one: dict[str, Any], other: dict[str, Any], t: Translation) -> tuple[dict[str, Any], dict[str, Any]]:
    """Where one side says its number formats in ``mixed_precision`` and the other directly, both directly.

    Where both have the section, without what it overwrites in the others.
    """
    has = [f"{_PRECISION}._target_" in side for side in (one, other)]
    if all(has):
        names = {path.partition(".")[2] for path in (*one, *other) if path.startswith(f"{_PRECISION}.")} - {"_target_"}
        over = {f"{section}.{name}" for section in _WRITTEN_BY_IT for name in names}
        one, other = ({path: value for path, value in side.items() if path not in over} for side in (one, other))
    if has[0] == has[1]:
        return one, other
    return _directly(one, t), _directly(other, t)


def _directly(values: dict[str, Any], t: Translation) -> dict[str, Any]:
    made = {path: value for path, value in values.items() if path.partition(".")[0] != _PRECISION}
    for path, value in values.items():
        section, _, name = path.partition(".")
        if section == _PRECISION and name != "_target_":
            made.update({f"{one}.{name}": value for one in _WRITTEN_BY_IT if f"{one}.{name}" in values})
    return made


def _in_order(found: list[Difference], t: Translation) -> list[Difference]:
    sections = list(t.schema.sections)
    groups = list(TITLES)

    def place(one: Difference) -> tuple[int, int]:
        section = one.path.partition(".")[0]
        return groups.index(one.group), sections.index(section) if section in sections else -1

    return sorted(found, key=place)


def _side(t: Translation, path: str, value: Any) -> Side:
    if path == "world_size":
        return Side(value, "the number of GPUs")
    assignment = _assignment(t, path)
    shown = finite(_masked(value, t))
    if assignment is None:
        return _unsaid(t, path, value, shown)
    named = next((name for name in assignment.origin.arguments if (s := t.args.settings.get(name)) and s.typed), None)
    typed = t.args.settings[named].typed if named is not None else None
    place = t.places[typed.index] if typed is not None and typed.index < len(t.places) else None
    origin = origin_of(t, assignment)
    return Side(ABSENT_TEXT if value is _ABSENT else shown, on_one_line(masked(origin, t.secrets)), place)


def _unsaid(t: Translation, path: str, value: Any, shown: Any) -> Side:
    """A setting that the translation does not say: a file may state what is Bridge's default anyway."""
    setting = t.args.settings.get(path) if not t.program else None
    if setting is not None and setting.typed is not None:
        index = setting.typed.index
        return Side(shown, on_one_line(masked(t.words[index], t.secrets)), t.places[index])
    if value is not _ABSENT:
        return Side(shown, "Bridge's default")
    section = path.partition(".")[0]
    if t.schema.find(path, t.classes) is None or (section not in t.classes and not t.schema.sections[section].required):
        return Side(ABSENT_TEXT, "Bridge has none of this until it is asked for")
    return Side(MACHINE_TEXT, "Bridge's default depends on what is installed")


def _assignment(t: Translation, path: str) -> Assignment | None:
    section = path.partition(".")[0]
    of = {one.path: one for one in t.assignments}
    if path in of:
        return of[path]
    name = path.partition(".")[2]
    if section in _WRITTEN_BY_IT and t.schema.find(f"{_PRECISION}.{name}") is not None:
        section = _PRECISION
        return of.get(f"{section}.{name}") or of.get(section)
    return of.get(section)


def _masked(value: Any, t: Translation) -> Any:
    if isinstance(value, str):
        return masked(value, t.secrets)
    if isinstance(value, list):
        return [_masked(item, t) for item in value]
    if isinstance(value, dict):
        return {key: _masked(item, t) for key, item in value.items()}
    return value
