"""All our rows for one pair of versions.

The tables are YAML (``grammar.py``). Reading them is most of the start-up time, so ``indexes/`` holds the rows for
the pair that is usual with each Bridge, together with a checksum of the tables they were made from: an index that is
not current is never used. ``python -m bridge_args.dev docs`` renews them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from bridge_args.bridge import schema as schemas
from bridge_args.mapping import same_name
from bridge_args.mapping.folder import mappings_folder
from bridge_args.mapping.rows import Area, OptionalSection, Row, TableError
from bridge_args.mapping.same_name import SameName
from bridge_args.records import Record
from bridge_args.versions import USUAL, Versions, number

INDEXES: Final = Path(__file__).parent / "indexes"


class Table(Record):
    """All rows for one pair of versions, by argument; derived values have rows of their own."""

    rows: dict[str, Row]
    areas: dict[str, Area]
    optional_sections: Mapping[str, OptionalSection] = MappingProxyType({})

    def with_rows(self, more: Iterable[Row]) -> Table:
        """The same table with rows of the user's own, which win over ours."""
        return self._replace(rows={**self.rows, **{row.argument: row for row in more}})


@lru_cache(maxsize=None)
def load(versions: Versions) -> Table:
    """Our own tables, for one pair of versions.

    Raises:
        TableError: when a table does not follow the grammar.
    """
    files = [(path.stem, path.read_bytes()) for path in sorted(mappings_folder().glob("*.yaml"))]
    if versions in USUAL and (file := index_of(versions)).is_file():
        index = json.loads(file.read_bytes())
        if index["checksum"] == _checksum(files):
            return _from_index(index)
    return from_files(files, versions)


def from_files(files: Iterable[tuple[str, bytes]], versions: Versions) -> Table:
    """The tables with these names and contents, for one pair of versions.

    Raises:
        TableError: when a table does not follow the grammar, or two of them have a row for the same argument.
    """
    from bridge_args.mapping.grammar import read

    rows: dict[str, Row] = {}
    areas: dict[str, Area] = {}
    optional: dict[str, OptionalSection] = {}
    same: list[SameName] = []
    for name, content in files:
        said = read(content.decode("utf-8"), name, versions)
        areas[said.area.name] = said.area
        for row in said.rows:
            if row.argument in rows:
                raise TableError(f"{row.place}: {row.argument} already has a row at {rows[row.argument].place}")
            rows[row.argument] = _as_bridge_has_it(row, versions)
        optional.update((section.name, section) for section in said.sections)
        same += said.same
    for row in same_name.rows(same, rows, versions):
        rows[row.argument] = _as_bridge_has_it(row, versions)
    return Table(rows, areas, optional)


def _as_bridge_has_it(row: Row, versions: Versions) -> Row:
    """A row whose settings came with a later version of Bridge is a loss in this one; no condition has to say so."""
    schema = schemas.load(versions.bridge)
    if row.fate != "to" or row.sections or any(schema.class_with(path) is not None for path in row.to):
        return row
    later = [schemas.first_with(path, versions.bridge) for path in row.to]
    if not all(later):
        return row  # no version that we know has it: ``check`` says so
    see = tuple(
        f"{one.class_with(path)} {path.partition('.')[2]}" for one, path in zip(later, row.to, strict=True) if one
    )
    had = max((one.version for one in later if one), key=number)
    reason = f"Bridge {versions.bridge} has no setting for it; Bridge {had} has."
    return row._replace(fate="no_equivalent", to=(), conversion=None, reason=reason, see=see)


def index_of(versions: Versions) -> Path:
    """Where the rows for a pair stand, read already."""
    return INDEXES / f"{versions.bridge}.json"


def index_text(versions: Versions) -> str:
    """What the index for a pair should hold now; one row a line."""
    files = [(path.stem, path.read_bytes()) for path in sorted(mappings_folder().glob("*.yaml"))]
    table = from_files(files, versions)
    parts: dict[str, list[tuple[Any, ...]]] = {
        "rows": list(table.rows.values()),
        "areas": list(table.areas.values()),
        "optional_sections": list(table.optional_sections.values()),
    }
    lines = [f' "checksum": {_checksum(files)}']
    for name, entries in parts.items():
        lines.append(f' "{name}": [\n' + ",\n".join(f"  {json.dumps(entry)}" for entry in entries) + "\n ]")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _from_index(index: dict[str, Any]) -> Table:
    rows = {}
    for entry in index["rows"]:
        rows[entry[0]] = Row._make(tuple(item) if isinstance(item, list) else item for item in entry)
    return Table(
        rows,
        {entry[0]: Area(*entry) for entry in index["areas"]},
        {entry[0]: OptionalSection(*entry) for entry in index["optional_sections"]},
    )


def _checksum(files: Iterable[tuple[str, bytes]]) -> int:
    total = zlib.crc32(repr(Row._fields).encode())
    for name, content in files:
        total = zlib.crc32(content, zlib.crc32(name.encode(), total))
    return total
