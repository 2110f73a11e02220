"""The rows for one configuration: those written, and those of fields that have the same name in Bridge."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

from bridge_args.findings import Changes
from bridge_args.mapping.folder import mappings_folder
from bridge_args.mapping.rows import Row
from bridge_args.mapping.table import Table, from_files
from bridge_args.source.nemo2 import defaults
from bridge_args.source.nemo2.meaning.state import Meaning
from bridge_args.versions import Versions

AREA: Final = "nemo/nemo2"


@cache
def table_for(bridge: str) -> Table:
    """The rows of ``mappings/nemo/nemo2.yaml`` for a version of Bridge."""
    content = (mappings_folder() / "nemo" / "nemo2.yaml").read_bytes()
    return from_files([(AREA, content)], Versions("", bridge))


def model_rows(m: Meaning, table: Table) -> Iterator[Row]:
    """A row for every field of the model's configuration, the optimizer's and DDP's that has none written."""
    generic = defaults.find("nemo.collections.llm.gpt.model.base.GPTConfig")
    usual = generic.fields if generic else {}
    for name, value in m.values.items():
        section, _, field = name.partition(".")
        path = {"model": name, "optim": f"optimizer.{field}", "ddp": name}.get(section)
        if path is None or name in table.rows:
            continue
        if m.schema.find(path, {"model": m.model_class}) is not None:
            yield Row(name, "to", (path,), see=(f"nemo {defaults.version()}: {m.run.model.name} {field}",), area=AREA)
            continue
        reason = f"Bridge {m.bridge} has no setting for it."
        changes: Changes = "model" if section == "model" else "numbers"
        yield Row(name, "no_equivalent", reason=reason, area=AREA, see=(path,), changes=changes)
        if (
            section == "model"
            and name not in m.stated
            and (field not in usual or usual[field] != value)
            and value is not None
        ):
            m.lost(name, f"{m.run.model.name.rpartition('.')[2]} has it, and {reason}", "model")


def replaced_rows(m: Meaning) -> Iterator[Row]:
    for name, by in m.replaced.items():
        yield Row(name, "not_needed", reason=f"NeMo puts {by} in its place.", area=AREA)
