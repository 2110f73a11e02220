"""Hydra overrides, as Bridge's ``process_config_with_overrides`` takes them on a command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from bridge_args.emit.layout import INSTANTIATED, Part, escaped, field_of, leaf, mergeable, parts
from bridge_args.findings import Finding
from bridge_args.mapping.translation import Assignment, Translation
from bridge_args.secrets import masked
from bridge_args.values import Referring, referring, to_plain

_BARE: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_KEYWORDS: Final = {"null", "true", "false", "inf", "nan"}
_PATH: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*")
_REMEDY: Final = "use --format run-config or --format recipe, or start with python -m bridge_args.pretrain_gpt"


def to_overrides(t: Translation) -> list[str]:
    """One Hydra override per assignment, for a configuration that otherwise has Bridge's defaults.

    Each is accepted by Hydra's parser and by Bridge's ``parse_hydra_overrides``, which adds no setting that is not
    there yet unless it starts with ``++``. A section that Bridge leaves out becomes one override. A section whose class
    the translation chooses is emptied first: built on the old values, its dtypes would be texts, and ``dataset`` would
    not be built at all. What cannot be said is left out; ``unsayable`` names it.
    """
    return [text for part in parts(t) for text, _ in _overrides(t, part) if text]


def unsayable(t: Translation) -> tuple[Finding, ...]:
    """A finding of kind ``overrides-cannot-say`` for every assignment that ``to_overrides`` leaves out.

    Verify: ``_track_excluded_fields``, ``_apply_overrides`` in ``megatron/bridge/training/utils/omegaconf_utils.py``.
    """
    return tuple(finding for part in parts(t) for _, finding in _overrides(t, part) if finding)


def to_shell(t: Translation) -> str:
    """The overrides for pasting into bash: one word per line, each line but the last continued."""
    return " \\\n".join(shell_word(text, t.referred) for text in to_overrides(t))


def shell_word(text: str, names: Sequence[str] = ()) -> str:
    """One word for bash, which fills in the variables of these names, and nothing else."""
    made = referring(text, names)
    if not isinstance(made, Referring):
        return shlex.quote(text) if text.isprintable() else _with_escapes(text)
    return "".join(_in_double_quotes(made.pieces()))


def _in_double_quotes(pieces: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Text with variables in it; what cannot be seen stands between, in quotes of its own."""
    inside = ""
    for piece, name in pieces:
        if name or piece.isprintable():
            inside += piece if name else re.sub(r'(["$`\\])', r"\\\1", piece)
        else:
            yield f'"{inside}"' if inside else ""
            yield _with_escapes(piece)
            inside = ""
    yield f'"{inside}"' if inside else ""


def _with_escapes(text: str) -> str:
    """A word of bash in which no character stands that a terminal would act on: ``$'\\x1b[0m'``."""
    made = []
    for char in text:
        if char in "\\'":
            made.append("\\" + char)
        elif char.isprintable() or "\udc80" <= char <= "\udcff":
            made.append(f"\\x{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff" else char)
        elif ord(char) < 0x80:
            made.append(_NAMED.get(char) or f"\\{ord(char):03o}")
        else:
            made.append(f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}")
    return f"$'{''.join(made)}'"


_NAMED: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def literal(plain: Any, readings: int = 1) -> str:
    """A plain value in Hydra's grammar.

    Args:
        readings: how often OmegaConf will read the texts in it; see ``layout.escaped``.

    Raises:
        ValueError: for a mapping key that the grammar has no way to write.
    """
    match plain:
        case None:
            return "null"
        case bool():
            return "true" if plain else "false"
        case int():
            return str(int(plain))
        case float():
            return repr(plain)
        case list() | tuple():
            return "[" + ",".join(literal(item, readings) for item in plain) + "]"
        case dict():
            return "{" + ",".join(f"{_key(key)}:{literal(item, readings)}" for key, item in plain.items()) + "}"
    if isinstance(plain, Referring):  # bash fills them in
        text = "".join(piece if name else escaped(piece, readings) for piece, name in plain.pieces())
    else:
        text = escaped(str(plain), readings)
    if _BARE.fullmatch(text) and text.lower() not in _KEYWORDS:
        return text
    # Hydra takes backslashes away only in front of a quote, and at the end.
    inside = re.sub(r'(\\*)("|\Z)', lambda match: match[1] * 2 + ('\\"' if match[2] else ""), text)
    return f'"{inside}"'


def _key(key: Any) -> str:
    text = str(key)
    if not isinstance(key, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", text) or text.lower() in _KEYWORDS:
        raise ValueError(f"Hydra's grammar has no way to write the key {key!r}")
    return text


def _overrides(t: Translation, part: Part) -> Iterator[tuple[str, Finding | None]]:
    """Pairs of an override and None, or of an empty text and the reason why there is none."""
    if part.value is not None:
        yield _one(t, part.name, to_plain(part.value.value), part.value, "")
        return
    if part.opened:
        yield from _opened(t, part)
        return
    anew = part.target is not None
    if part.target is not None:
        yield f"{part.name}=null", None
        yield _one(t, f"++{part.target.path}", part.target.value, part.target, "")
    for assignment in part.settings:
        plain, reason = mergeable(t, part, assignment, anew=anew)
        field = field_of(t, assignment)
        added = anew or field is None or not field.declared or _is_mapping(plain)
        yield _one(t, ("++" if added else "") + assignment.path, plain, assignment, reason, anew)


def _opened(t: Translation, part: Part) -> Iterator[tuple[str, Finding | None]]:
    settings: dict[str, Any] = {"_target_": part.target.value if part.target else part.class_name}
    for assignment in part.settings:
        plain, reason = mergeable(t, part, assignment, anew=True)
        _, finding = _one(t, assignment.path, {leaf(assignment): plain}, assignment, reason)
        if finding is None:
            settings[leaf(assignment)] = plain
        else:
            yield "", finding
    yield f"++{part.name}={literal(settings, INSTANTIATED)}", None


def _one(
    t: Translation, key: str, plain: Any, assignment: Assignment, reason: str, anew: bool = False
) -> tuple[str, Finding | None]:
    if not reason and not _PATH.fullmatch(key.lstrip("+")):
        reason = f"Hydra's grammar has no way to write the key {key!r}"
    if not reason:
        try:
            readings = INSTANTIATED if anew or isinstance(plain, dict) and "_target_" in plain else 1
            return f"{key}={literal(plain, readings)}", None
        except ValueError as error:
            reason = str(error)
    value = masked(str(assignment.value), t.secrets)
    message = f"{assignment.path} = {value} is not among the overrides: {reason}"
    return "", Finding("overrides-cannot-say", message, _REMEDY, assignment.origin.arguments)


def _is_mapping(plain: Any) -> bool:
    return isinstance(plain, dict) and "_target_" not in plain
