"""What is known of the pairs of versions, as data and for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bridge_args.bridge import installed
from bridge_args.bridge import schema as schemas
from bridge_args.mapping import table as tables
from bridge_args.mapping.unproven import gap
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.versions import PAIRS, PROVEN, STATUSES


def known() -> dict[str, Any]:
    """What is known of every pair, and for which versions there is data."""
    from bridge_args.megatron_lm.resolvers import built_in  # noqa: F401  (all derivations are registered)

    pairs = []
    for pair in PAIRS:
        counts = gap(pair.versions, tables.load(pair.versions), catalogs.load(pair.versions.megatron))
        pairs.append(
            {
                "megatron_lm": pair.versions.megatron,
                "bridge": pair.versions.bridge,
                "core": schemas.load(pair.versions.bridge).core,
                "status": pair.status,
                "evidence": pair.evidence,
                **counts._asdict(),
            }
        )
    return {
        "default": {"megatron_lm": PROVEN.megatron, "bridge": PROVEN.bridge},
        "installed": {"bridge": installed.version(), "core": installed.version("megatron_core")},
        "pairs": pairs,
        "statuses": STATUSES,
        "megatron_lm": list(catalogs.versions()),
        "bridge": list(schemas.versions()),
    }


def text(found: dict[str, Any]) -> Iterator[str]:
    yield "Megatron-LM      Bridge  Core     status        without a row  not read  evidence"
    for pair in found["pairs"]:
        row, unread = f"{pair['without_row']} of {pair['arguments']}", f"{pair['unread']}"
        yield (
            f"{pair['megatron_lm']:<16} {pair['bridge']:<7} {pair['core']:<8} {pair['status']:<13} "
            f"{row:<14} {unread:<9} {pair['evidence']}"
        )
    yield ""
    yield from (f"{status}: {meaning}" for status, meaning in found["statuses"].items())
    yield f"Every other pair of these is unknown: Megatron-LM {', '.join(found['megatron_lm'])};"
    yield f"Bridge {', '.join(found['bridge'])}."
    there = found["installed"]
    if there["bridge"]:
        yield f"Installed: Bridge {there['bridge']}, Core {there['core'] or 'of an unknown version'}."
    else:
        yield f"Bridge is not installed; {found['default']['bridge']} is meant where none is named."
