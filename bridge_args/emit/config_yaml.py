"""Sparse YAML: one line per setting, with a comment that says where it comes from."""

from __future__ import annotations

import json
import math
import re
import shlex
import textwrap
from collections.abc import Iterator
from typing import Any, Final

from bridge_args.emit.layout import (
    INSTANTIATED,
    MISSING,
    Part,
    escaped,
    field_of,
    leaf,
    mergeable,
    on_one_line,
    origin_of,
    parts,
)
from bridge_args.emit.run_config import plain_settings
from bridge_args.mapping.translation import Assignment, Translation
from bridge_args.records import Record
from bridge_args.secrets import masked
from bridge_args.values import to_plain
from bridge_args.wording import counted

_WIDTH: Final = 100  # characters a mapping may take on one line
_BARE: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_KEYWORDS: Final = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}


def to_yaml(t: Translation, full: bool = False) -> str:
    """The settings as YAML, sections nested, a comment of origin on every line.

    The file is what Bridge merges into a configuration (``process_config_with_overrides`` in
    ``megatron/bridge/training/utils/omegaconf_utils.py``). A setting on which that merging has no effect says so.
    Texts with ``${`` are written so that OmegaConf reads them literally.

    Args:
        full: write every setting, also those that are as Bridge has them; see ``to_run_config``.
    """
    lines = _full_lines(t) if full else yaml_lines(t)
    return "".join(f"{line}\n" for line in lines)


class Line(Record):
    """One line of YAML.

    Attributes:
        comment: what stands behind ``#``; empty for none.
        path: the setting that the line writes, or a part of whose value it is; empty for none.
    """

    text: str
    comment: str = ""
    path: str = ""

    def __str__(self) -> str:
        return f"{self.text}  # {self.comment}" if self.comment else self.text


def yaml_lines(t: Translation) -> Iterator[Line]:
    """The lines of ``to_yaml``, for those who show them beside where they come from."""
    yield from map(Line, [*_head(t), ""])
    origins = _origins(t)
    found = parts(t)
    for part in found:
        yield from _part(t, part, origins)
    if not found:
        yield Line("{}")


def _full_lines(t: Translation) -> Iterator[Line]:
    yield from map(Line, [*_head(t), ""])
    yield from _full(t, _origins(t))


def _origins(t: Translation) -> dict[str, str]:
    return {assignment.path: _origin(t, assignment) for assignment in t.assignments}


def scalar(value: Any, readings: int = 1) -> str:
    """A plain scalar as PyYAML and OmegaConf both read it.

    Args:
        readings: how often OmegaConf will read a text; see ``layout.escaped``.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, int):
        return str(int(value))
    return _text(escaped(value if isinstance(value, str) else str(value), readings))


def _text(text: str) -> str:
    if _BARE.fullmatch(text) and text.lower() not in _KEYWORDS:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else _escape(char) for char in quoted)


def flow(plain: Any, readings: int = 1) -> str:
    """A plain value on one line."""
    if isinstance(plain, dict):
        return "{" + ", ".join(f"{_key(key)}: {flow(item, readings)}" for key, item in plain.items()) + "}"
    if isinstance(plain, (list, tuple)):
        return "[" + ", ".join(flow(item, readings) for item in plain) + "]"
    return scalar(plain, readings)


def _key(key: Any) -> str:
    return _text(key) if isinstance(key, str) else scalar(key)  # OmegaConf looks for ${ in values only


def _float(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    mantissa, e, exponent = repr(value).partition("e")
    if e and "." not in mantissa:
        mantissa += ".0"  # YAML 1.1 reads 1e-05 as text
    return mantissa + e + exponent


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _head(t: Translation) -> list[str]:
    ranks = counted(t.world_size, "GPU")
    first = f"# For Megatron Bridge {t.versions.bridge}, from {t.told_source}, {ranks}"
    if not t.program:
        return [f"{first}."]
    command = on_one_line(masked(" ".join([t.program, *map(shlex.quote, t.words)]), t.secrets), 100_000)
    wrapped = textwrap.wrap(command, 110, break_long_words=False, break_on_hyphens=False)
    return [f"{first}:", *(f"#     {line}" for line in wrapped)]


def _part(t: Translation, part: Part, origins: dict[str, str]) -> Iterator[Line]:
    if part.value is not None:
        path = part.value.path
        yield from _entry("", part.name, to_plain(part.value.value), origins[path], path=path)
        return
    # A class is named where Bridge has nothing yet. Elsewhere Bridge would build it from the values of the old object.
    settled = f"{part.class_name}; merging does not change the class" if part.target and not part.opened else ""
    nothing = "" if part.opened or part.settings else " {}"
    yield Line(f"{_key(part.name)}:{nothing}", settled, part.target.path if part.target and not part.opened else "")
    if part.opened:
        comment = origins[part.target.path] if part.target else "Bridge has none of this until it is asked for"
        yield from _entry("  ", "_target_", part.class_name, comment, path=part.target.path if part.target else "")
    for assignment in part.settings:
        plain, obstacle = mergeable(t, part, assignment, anew=part.opened)
        if obstacle or plain == "???":
            yield Line(f"  # {obstacle or MISSING}:", path=assignment.path)
        readings = INSTANTIATED if part.opened else 1
        yield from _entry("  ", leaf(assignment), plain, origins[assignment.path], readings, assignment.path)


def _full(t: Translation, origins: dict[str, str]) -> Iterator[Line]:
    for name, section in plain_settings(t).items():
        if not isinstance(section, dict):
            comment = "" if name == "_target_" else origins.get(name, "Bridge's default")
            yield from _entry("", name, section, comment, INSTANTIATED)
            continue
        yield Line(f"{_key(name)}:" if section else f"{_key(name)}: {{}}")
        for key, value in section.items():
            comment = origins.get(f"{name}.{key}", "" if key == "_target_" else origins.get(name, "Bridge's default"))
            yield from _entry("  ", key, value, comment, INSTANTIATED)


def _entry(indent: str, key: str, plain: Any, comment: str, readings: int = 1, path: str = "") -> Iterator[Line]:
    if isinstance(plain, dict) and "_target_" in plain:
        readings = INSTANTIATED
    on_a_line = flow(plain, readings)
    if not isinstance(plain, dict) or not plain or len(on_a_line) <= _WIDTH:
        yield Line(f"{indent}{_key(key)}: {on_a_line}", comment, path)
        return
    yield Line(f"{indent}{_key(key)}:", comment, path)
    for inner, value in plain.items():
        yield from _entry(indent + "  ", inner, value, "", readings, path)


def _origin(t: Translation, assignment: Assignment) -> str:
    text = origin_of(t, assignment)
    field = field_of(t, assignment)
    if assignment.origin.kind == "default" and field is not None and not field.required:
        bridge = "decides by what is installed" if field.environment else f"has {flow(field.default)}"
        text += f", Bridge {bridge}"
    return on_one_line(masked(text, t.secrets))
