"""Rows of the tables for run configs: the grammar is that of all our tables, the names are those of the file."""

from __future__ import annotations

from functools import lru_cache

from bridge_args.mapping.folder import mappings_folder
from bridge_args.mapping.grammar import read
from bridge_args.mapping.rows import Row
from bridge_args.versions import Versions


@lru_cache(maxsize=None)
def rows_of(table: str, bridge: str) -> dict[str, Row]:
    """The rows of a table (``nemo/tron``, ``bridge/settings``) that hold for a version of Bridge, by name.

    Raises:
        TableError: when it does not follow the grammar.
    """
    text = (mappings_folder() / f"{table}.yaml").read_text(encoding="utf-8")
    return {row.argument: row for row in read(text, table, Versions("0", bridge)).rows}
