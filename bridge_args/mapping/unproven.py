"""What a user is told of a pair of versions that is not proven: how much of it nobody has compared."""

from __future__ import annotations

from bridge_args.findings import Finding
from bridge_args.mapping.check import without_row
from bridge_args.mapping.table import Table
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.derive.registry import REGISTERED, unread
from bridge_args.records import Record
from bridge_args.versions import Versions, status_of
from bridge_args.wording import listed


class Gap(Record):
    """What is not known of a pair.

    Attributes:
        without_row: arguments of this Megatron-LM that no table has.
        arguments: all that it has.
        unread: derivations and checks that nobody has compared with this Megatron-LM.
        steps: all there are.
        defaults: arguments whose default nobody has compared with that of this Bridge.
    """

    without_row: int
    arguments: int
    unread: int
    steps: int
    defaults: int


def gap(versions: Versions, table: Table, catalog: Catalog) -> Gap:
    """The counts for a pair."""
    names = {argument.dest for argument in catalog.arguments}
    missing = {argument.dest for argument in without_row(table, catalog)}
    compared = len(names) if status_of(versions) != "unknown" else 0
    return Gap(len(missing), len(names), len(unread(versions.megatron)), len(REGISTERED), len(names) - compared)


def finding(versions: Versions, table: Table, catalog: Catalog, is_derived: bool) -> Finding:
    """What is said of a translation for such a pair.

    Args:
        is_derived: its values were computed here, and not by a checkout or by the run that has saved them.
    """
    found, parts = gap(versions, table, catalog), []
    if found.without_row:
        parts.append(f"{found.without_row} of its {found.arguments} arguments have no row")
    if found.unread and is_derived:
        parts.append(f"{found.unread} of {found.steps} derivations and checks were not read for it")
    if found.defaults:
        parts.append(f"{found.defaults} defaults were not compared with Bridge's")
    why = f": {listed(parts)}" if parts else ""
    return Finding(
        "unproven-pair",
        f"Megatron-LM {versions.megatron} to Bridge {versions.bridge} is not proven ({status_of(versions)}){why}",
        "`bridge-args versions` lists what is; `bridge-args verify` compares your run with Megatron-LM's",
    )
