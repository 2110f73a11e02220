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

    Its row says so, or a builder that reads it: then it is the first setting of its name that the builder may decide,
    or the one setting that there is for a builder.

    Raises:
        KeyError: there is no row for the argument.
    """
    row = tables.load(Versions(PROVEN.megatron, bridge)).rows[argument]
    if row.to:
        return row.to
    schema = schemas.load(bridge)
    writes = [(*WRITES[section].always, *WRITES[section].if_there) for section in row.sections]
    named = [path for paths in writes for path in paths if path.endswith(f".{argument}")]
    alone = [path for paths in writes if len(paths) == 1 for path in paths]
    return tuple(path for path in (*named, *alone) if schema.find(path))[:1]
