"""Settings by the argument that they come from: another name in another Bridge is a matter of the rows."""

from __future__ import annotations

from functools import lru_cache

from bridge_args.bridge import schema as schemas
from bridge_args.mapping import table as tables
from bridge_args.mapping.rows import Row
from bridge_args.mapping.sections.registry import WRITES
from bridge_args.versions import PAIRS, Versions, usual_for


@lru_cache(maxsize=None)
def settings_of(argument: str, bridge: str) -> tuple[str, ...]:
    """What an argument is called in a version of Bridge; empty where it has no setting there.

    Its row says so, or a builder that reads it: then it is the first setting of its name that the builder may decide,
    or the one setting that there is for a builder. The rows of the usual Megatron-LM are asked first; an argument that
    it lacks, or reads no more, has its setting in those of another version.

    Raises:
        KeyError: there is no row for the argument.
    """
    others = (pair.versions for pair in PAIRS if pair.versions.bridge == bridge)
    is_known = False
    for versions in (Versions(usual_for(bridge), bridge), *others):
        row = tables.load(versions).rows.get(argument)
        if row is not None:
            is_known = True
            if found := _settings(row, argument, bridge):
                return found
    if not is_known:
        raise KeyError(argument)
    return ()


def _settings(row: Row, argument: str, bridge: str) -> tuple[str, ...]:
    if row.to:
        return row.to
    schema = schemas.load(bridge)
    writes = [(*WRITES[section].always, *WRITES[section].if_there) for section in row.sections]
    named = [path for paths in writes for path in paths if path.endswith(f".{argument}")]
    alone = [path for paths in writes if len(paths) == 1 for path in paths]
    return tuple(path for path in (*named, *alone) if schema.find(path))[:1]
