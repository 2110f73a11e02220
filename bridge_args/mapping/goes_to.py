"""Settings by the argument that they come from: another name in another Bridge is a matter of the rows."""

from __future__ import annotations

from functools import lru_cache

from bridge_args.bridge import schema as schemas
from bridge_args.mapping import table as tables
from bridge_args.mapping.sections.registry import WRITES
from bridge_args.versions import PROVEN, Versions


@lru_cache(maxsize=None)
def settings_of(argument: str, bridge: str) -> tuple[str, ...]:
    """What an argument is called in a version of Bridge; empty where it has no setting there.

    Its row says so, or a builder that reads it: then it is the first setting of its name that the builder may decide.

    Raises:
        KeyError: there is no row for the argument.
    """
    row = tables.load(Versions(PROVEN.megatron, bridge)).rows[argument]
    if row.to:
        return row.to
    schema = schemas.load(bridge)
    writes = [path for section in row.sections for path in (*WRITES[section].always, *WRITES[section].if_there)]
    return tuple(path for path in writes if path.endswith(f".{argument}") and schema.find(path))[:1]
