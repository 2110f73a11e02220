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
from bridge_args.emit.run_config import to_run_config
from bridge_args.mapping.translation import Assignment, Translation
from bridge_args.values import to_plain

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
    lines = [*_head(t), ""]
    origins = {assignment.path: _origin(t, assignment) for assignment in t.assignments}
    if full:
        lines += _full(t, origins)
    else:
        found = parts(t)
        for part in found:
            lines += _part(t, part, origins)
        if not found:
            lines.append("{}")
    return "\n".join(lines) + "\n"


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
    return _text(escaped(str(value), readings))


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
    ranks = "1 GPU" if t.world_size == 1 else f"{t.world_size} GPUs"
    first = (
        f"# For Megatron Bridge {t.versions.bridge}, from a Megatron-LM {t.versions.megatron} command line, {ranks}:"
    )
    command = on_one_line(" ".join([t.program, *map(shlex.quote, t.words)]), 100_000)
    wrapped = textwrap.wrap(command, 110, break_long_words=False, break_on_hyphens=False)
    return [first, *(f"#     {line}" for line in wrapped)]


def _part(t: Translation, part: Part, origins: dict[str, str]) -> Iterator[str]:
    if part.value is not None:
        yield from _entry("", part.name, to_plain(part.value.value), origins[part.value.path])
        return
    # A class is named where Bridge has nothing yet. Elsewhere Bridge would build it from the values of the old object.
    settled = f"  # {part.class_name}; merging does not change the class" if part.target and not part.opened else ""
    nothing = "" if part.opened or part.settings else " {}"
    yield f"{_key(part.name)}:{nothing}{settled}"
    if part.opened:
        comment = origins[part.target.path] if part.target else "Bridge has none of this until it is asked for"
        yield from _entry("  ", "_target_", part.class_name, comment)
    for assignment in part.settings:
        plain, obstacle = mergeable(t, part, assignment, anew=part.opened)
        if obstacle or plain == "???":
            yield f"  # {obstacle or MISSING}:"
        readings = INSTANTIATED if part.opened else 1
        yield from _entry("  ", leaf(assignment), plain, origins[assignment.path], readings)


def _full(t: Translation, origins: dict[str, str]) -> Iterator[str]:
    for name, section in to_run_config(t).items():
        if not isinstance(section, dict):
            comment = "" if name == "_target_" else origins.get(name, "Bridge's default")
            yield from _entry("", name, section, comment, INSTANTIATED)
            continue
        yield f"{_key(name)}:" if section else f"{_key(name)}: {{}}"
        for key, value in section.items():
            comment = origins.get(f"{name}.{key}", "" if key == "_target_" else origins.get(name, "Bridge's default"))
            yield from _entry("  ", key, value, comment, INSTANTIATED)


def _entry(indent: str, key: str, plain: Any, comment: str, readings: int = 1) -> Iterator[str]:
    end = f"  # {comment}" if comment else ""
    if isinstance(plain, dict) and "_target_" in plain:
        readings = INSTANTIATED
    on_a_line = flow(plain, readings)
    if not isinstance(plain, dict) or not plain or len(on_a_line) <= _WIDTH:
        yield f"{indent}{_key(key)}: {on_a_line}{end}"
        return
    yield f"{indent}{_key(key)}:{end}"
    for inner, value in plain.items():
        yield from _entry(indent + "  ", inner, value, "", readings)


def _origin(t: Translation, assignment: Assignment) -> str:
    text = origin_of(t, assignment)
    field = field_of(t, assignment)
    if assignment.origin.kind == "default" and field is not None and not field.required:
        bridge = "decides by what is installed" if field.environment else f"has {flow(field.default)}"
        text += f", Bridge {bridge}"
    return on_one_line(text)
