"""What is printed of two compared containers: text, and JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from bridge_args.verify.container import NONE, Comparison, Difference
from bridge_args.wording import counted

SCHEMA: Final = 1  # of the JSON


def lines(found: Comparison) -> Iterator[str]:
    """The fields that differ, one a line: first those without a known cause."""
    yield from found.refused
    for one in sorted(found.differences, key=lambda one: one.cause is not None):
        text = f"{one.path}: Megatron-LM {_shown(one.megatron)}, Bridge {_shown(one.bridge)}"
        yield f"{text}. {one.cause.because}" if one.cause else text


def _shown(value: Any) -> str:
    """Texts in quotes, so that ``"None"`` is not None; no such setting is said in these words."""
    return NONE if value == NONE else json.dumps(value)


def summary(found: Comparison) -> str:
    """One line on how many fields were compared with what, and how many differ."""
    if found.refused:
        return "the command line is refused; nothing was compared"
    if found.validated:
        what = f"compared with the container that Bridge {found.versions.bridge} has validated"
    else:
        what = f"compared with what the translation writes for Bridge {found.versions.bridge}, because {found.why}"
    unknown = len(found.without_cause)
    if not found.differences:
        differ = "all agree"
    elif not unknown:
        differ = f"{len(found.differences)} differ, each with a known cause"
    else:
        differ = f"{len(found.differences)} differ, {unknown} of them without a known cause"
    return f"{counted(found.compared, 'field')} {what}: {differ}"


def json_of(found: Comparison) -> str:
    """The same for programs; ``cause`` is null where none is known."""
    told = {
        "schema": SCHEMA,
        "versions": {"megatron_lm": found.versions.megatron, "bridge": found.versions.bridge},
        "validated": found.validated,
        "why": found.why,
        "refused": list(found.refused),
        "compared": found.compared,
        "differing": [_data(one) for one in found.differences],
    }
    return json.dumps(told, indent=2, allow_nan=False) + "\n"


def _data(one: Difference) -> dict[str, Any]:
    return {
        "path": one.path,
        "megatron_lm": one.megatron,
        "bridge": one.bridge,
        "cause": one.cause.because if one.cause else None,
        "see": list(one.cause.see) if one.cause else [],
    }
