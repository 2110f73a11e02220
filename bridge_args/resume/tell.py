"""What going on from a checkpoint means, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from bridge_args.resume.compare import Resumption, Row
from bridge_args.resume.rules import Verdict
from bridge_args.secrets import masked_values
from bridge_args.values import finite
from bridge_args.wording import counted

_WIDEST: Final = 24  # characters of a value
_WORDS: Final = {"flag": "the run", "checkpoint": "the checkpoint", "refused": "refused"}


def document(found: Resumption) -> dict[str, Any]:
    """For programs."""
    t = found.translation
    return {
        "schema": 1,
        "checkpoint": {"folder": found.saved.where, "of": found.saved.kind, "iteration": found.saved.iteration},
        "megatron_lm": t.versions.megatron,
        "bridge": t.versions.bridge,
        "refused": [row.name for row in found.refused],
        "settings": [
            {
                "name": row.name,
                "checkpoint": None if row.saved is ... else _plain(row.saved),
                "run": None if row.run is ... else _plain(row.run),
                "megatron_lm": _verdict(row.megatron_lm),
                "bridge": _verdict(row.bridge),
            }
            for row in found.rows
        ],
        "notes": list(found.notes),
    }


def as_json(found: Resumption) -> str:
    said = masked_values(document(found), found.translation.secrets)
    return json.dumps(finite(said), indent=1, allow_nan=False) + "\n"


def as_text(found: Resumption) -> str:
    """A table of what has a rule, a line for the others, and the reasons."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Resumption) -> Iterator[str]:
    t, saved = found.translation, found.saved
    of = "a release" if saved.iteration is None else f"iteration {saved.iteration}"
    yield f"{saved.where}: {saved.kind}, {of}"
    ruled = [row for row in found.rows if _reasons(row)]
    plain = [row for row in found.rows if not _reasons(row)]
    table = [("setting", "checkpoint", "run", f"Megatron-LM {t.versions.megatron}", f"Bridge {t.versions.bridge}")]
    table += [
        (row.name, _shown(row.saved), _shown(row.run), _winner(row.megatron_lm), _winner(row.bridge)) for row in ruled
    ]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    yield ""
    yield from (
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in table
    )
    said: dict[str, list[str]] = {}
    for row in ruled:
        for reason in dict.fromkeys(_told(row)):
            said.setdefault(reason, []).append(row.name)
    if said:
        yield ""
        yield from (f"{', '.join(names)}: {reason}" for reason, names in said.items())
    if plain:
        yield ""
        verb = "counts as it is" if len(plain) == 1 else "count as they are"
        yield f"{counted(len(plain), 'other setting')} of the run {verb}: {', '.join(row.name for row in plain)}"
    yield from found.notes


def _reasons(row: Row) -> list[Verdict]:
    """Verdicts that say more than that the run has its own value."""
    return [one for one in (row.megatron_lm, row.bridge) if one is not None and (one.winner != "flag" or one.why)]


def _told(row: Row) -> Iterator[str]:
    for one in _reasons(row):
        both = row.megatron_lm is not None and row.bridge is not None and row.megatron_lm.why == row.bridge.why
        who = "" if both or row.megatron_lm is None else "Megatron-LM: " if one is row.megatron_lm else "Bridge: "
        text = "; ".join(filter(None, (one.why, one.remedy)))
        if text:
            yield f"{who}{text}"


def _winner(one: Verdict | None) -> str:
    return "" if one is None else _WORDS[one.winner]


def _verdict(one: Verdict | None) -> dict[str, str] | None:
    return None if one is None else one._asdict()


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str, list, dict)) or value is None else str(value)


def _shown(value: Any) -> str:
    text = "" if value is ... else str(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."
