"""What differs, as text and as data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bridge_args.diff.compare import Compared, Difference, Side
from bridge_args.diff.groups import TITLES
from bridge_args.emit.config_yaml import flow
from bridge_args.wording import counted


def lines(found: Compared) -> Iterator[str]:
    """A text for people."""
    for letter, name, made_from in zip("AB", found.names, found.made_from, strict=True):
        yield f"{letter}: {name} ({made_from})"
    yield f"In the words of Bridge {found.bridge}, defaults included."
    for group, title in TITLES.items():
        if differing := found.of(group):
            yield ""
            yield f"{title} ({len(differing)}):"
            for one in differing:
                yield from _lines(one)


def summary(found: Compared) -> str:
    """One sentence."""
    unread = len(found.of("nothing"))
    count = len(found.differences) - unread
    more = f"; {unread} more that neither run reads" if unread else ""
    if not count:
        return f"the two runs are the same in all {counted(found.same, 'setting')}{more}"
    numbers = len(found.of("numbers"))
    changing = "none changes" if not numbers else f"{numbers} {'changes' if numbers == 1 else 'change'}"
    return f"{counted(count, 'setting')} {'differs' if count == 1 else 'differ'}, {changing} the numbers{more}"


def to_json(found: Compared) -> str:
    """Everything as data; numbers that JSON does not have are texts."""
    data = {
        "bridge": found.bridge,
        "sides": [
            {"name": name, "made_from": made_from} for name, made_from in zip(found.names, found.made_from, strict=True)
        ],
        "differences": [
            {"path": one.path, "changes": one.group, "sides": [_data(one.left), _data(one.right)]}
            for one in found.differences
        ],
        "same": found.same,
        "numbers_differ": found.numbers_differ,
    }
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def shown(value: Any) -> str:
    """A value on one line; functions, number formats and members of enums by name."""
    match value:
        case {"_target_": str(target), "_call_": False}:
            return target
        case {"_target_": str(target), "_args_": [inner]}:
            return f"{target.rpartition('.')[2]} {inner}"
    return flow(value, readings=0)


def where(side: Side) -> str:
    """``train.sh:4: --num-layers 32``."""
    return f"{side.place}: {side.origin}" if side.place else side.origin


def _lines(one: Difference) -> Iterator[str]:
    texts = [shown(side.value) for side in (one.left, one.right)]
    width = min(max(map(len, texts)), 40)
    yield f"  {one.path}"
    for letter, text, side in zip("AB", texts, (one.left, one.right), strict=True):
        yield f"    {letter}  {text:<{width}}  {where(side)}"


def _data(side: Side) -> dict[str, Any]:
    place = side.place
    return {
        "value": side.value,
        "origin": side.origin,
        "place": {"file": place.source, "line": place.line} if place else None,
    }
