"""Which Megatron-LM version a command line is for, where nobody says it: by hints in a script, or by the flags."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.programs import SINCE
from bridge_args.records import Record
from bridge_args.versions import nearest, number
from bridge_args.wording import listed

# The month in which a series came out, by the dates of its tags ``core_v0.11.0`` and so on: (year, month).
RELEASED: Final = {
    "0.11": (2025, 3),
    "0.12": (2025, 5),
    "0.13": (2025, 7),
    "0.14": (2025, 10),
    "0.15": (2025, 12),
    "0.16": (2026, 2),
    "0.17": (2026, 4),
    "0.18": (2026, 6),
    "0.19": (2026, 8),
}

# A tag, branch or package says a version; a container only when it was built.
_NAMED: Final = (
    r"(?i)core_[vr](0\.\d+(?:\.\d+)?)|megatron[-_]core\s*(?:[=~]=|@|-)\s*v?(0\.\d+(?:\.\d+)?)"
    r"|Megatron-LM(?:\.git)?[ @/:=-]+(?:core_)?[vr]?(0\.\d+(?:\.\d+)?)"
)
_CONTAINER: Final = r"(?i)nvcr\.io[/#+]nvidia[/+](?:pytorch|nemo)[:+](\d\d)\.(\d\d)[\w.-]*"


class Hint(Record):
    """Something in a script that tells of a version: the user's own words, and the line they are on."""

    version: str
    text: str
    line: int
    sure: bool


class Detected(Record):
    """A version with a catalog, and why it was chosen; ``why`` is empty where nothing speaks for or against it."""

    version: str
    why: str


def detect(words: Iterable[str], default: str, text: str = "", name: str = "the script", program: str = "") -> Detected:
    """The version a command line is for.

    A version that the script names counts if it has the flags; then the default, if it has them; then, of the versions
    that have them, the one of the script's container, else the one nearest to the default.

    Args:
        words: the command line after the program's name.
        text: the script around it.
        name: what the script is called.
        program: the name of the program, which not every version has.
    """
    flags = tuple(dict.fromkeys(word.partition("=")[0] for word in words if word.startswith("--")))
    flags = (program, *flags) if program in SINCE else flags
    hints = tuple(hints_in(text))
    for hint in hints:
        if hint.sure and _has(hint.version, _known(flags)):
            return Detected(hint.version, f"{name}:{hint.line} says {hint.text}")
    if _has(default, flags):  # the usual case: one catalog is read
        return Detected(default, _unlike(default, hints, name))
    known = _known(flags)
    if _has(default, known):
        return Detected(default, _unlike(default, hints, name))
    fitting = [version for version in catalogs.versions() if _has(version, known)]
    if not fitting:
        return Detected(default, f"no version has all of the flags; {default} is the default")
    missing = [flag for flag in known if not _has(default, (flag,))]
    reason = f"it has {_listed(missing)}, which {default} does not have"
    for hint in hints:
        if nearest(hint.version, catalogs.versions()) in fitting:
            version = nearest(hint.version, catalogs.versions())
            return Detected(version, f"{reason}, and {name}:{hint.line} says {hint.text}")
    newer = [version for version in fitting if number(version) > number(default)]
    return Detected(newer[0] if newer and newer == fitting else fitting[-1 - len(newer)], reason)


def hints_in(text: str) -> Iterator[Hint]:
    """What a script says of a version, the sure ones first."""
    if "core" not in text and "nvcr" not in text and "egatron" not in text:
        return
    lines = text.splitlines()
    for at, line in enumerate(lines, 1):
        for match in re.finditer(_NAMED, line):
            said = next(group for group in match.groups() if group)
            if ".".join(said.split(".")[:2]) in RELEASED:
                yield Hint(nearest(said, catalogs.versions()), match.group().strip(), at, True)
    for at, line in enumerate(lines, 1):
        for match in re.finditer(_CONTAINER, line):
            built = (2000 + int(match.group(1)), int(match.group(2)))
            series = [series for series, month in RELEASED.items() if month <= built] or list(RELEASED)[:1]
            yield Hint(nearest(series[-1], catalogs.versions()), match.group(), at, False)


def version_with(names: Collection[str]) -> Detected:
    """The version whose arguments are most like these names: those of a namespace that Megatron-LM has saved."""
    given = set(names)

    def strangeness(version: str) -> tuple[int, tuple[int, ...]]:
        return len(given ^ set(catalogs.load(version).defaults)), tuple(-part for part in number(version))

    version = min(catalogs.versions(), key=strangeness)
    known = len(given & set(catalogs.load(version).defaults))
    return Detected(
        version, f"{known} of its {len(catalogs.load(version).defaults)} arguments are among the saved ones"
    )


def _known(flags: Iterable[str]) -> tuple[str, ...]:
    """Those that some version has; a misspelt flag says nothing."""
    return tuple(flag for flag in flags if any(_has(version, (flag,)) for version in catalogs.versions()))


def _has(version: str, flags: Iterable[str]) -> bool:
    by_flag = catalogs.load(version).by_flag
    return all(flag in by_flag or (flag in SINCE and number(version) >= number(SINCE[flag])) for flag in flags)


def _unlike(default: str, hints: Iterable[Hint], name: str) -> str:
    """Why the default is doubtful, if it is."""
    for hint in hints:
        if hint.version != default:
            era = "names a version without these flags" if hint.sure else f"is from the time of {hint.version}"
            return f"it has all of the flags; {hint.text} at {name}:{hint.line} {era}"
    return ""


def _listed(flags: list[str]) -> str:
    shown = flags if len(flags) <= 3 else [*flags[:3], f"{len(flags) - 3} more"]
    return listed(shown)
