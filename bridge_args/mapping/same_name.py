"""Rows that nobody writes: an argument that Megatron-LM makes of a field, and Bridge's setting of that name.

Megatron-LM makes flags of the fields of its own configuration classes, and Bridge's sections are built from these
classes. ``mappings/same_name.yaml`` says which section belongs to which class; the catalog says which field a flag is
made of, the schema whether Bridge has it. A written row always wins. ``check`` tries the values as it does those of
written rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from bridge_args.bridge import schema as schemas
from bridge_args.findings import Changes
from bridge_args.mapping.rows import Row
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.records import Record
from bridge_args.versions import Versions


class SameName(Record):
    """A configuration class of Megatron-LM and the section of Bridge with its fields.

    Attributes:
        class_name: as the catalog's ``field`` names it, ``TransformerConfig``.
        section: Bridge's section.
        see: where the class stands in Megatron-LM.
        changes: what is another in a run on a Bridge without the field, where it is not the numbers.
    """

    class_name: str
    section: str
    see: str
    changes: dict[str, Changes]
    area: str
    line: int


def rows(same: Iterable[SameName], written: Collection[str], versions: Versions) -> Iterator[Row]:
    """A row for every argument without one whose field some Bridge has under that name, this one or a later."""
    classes = {one.class_name: one for one in same}
    if not classes or versions.megatron not in catalogs.versions():
        return
    schema = schemas.load(versions.bridge)
    for argument in catalogs.load(versions.megatron).arguments:
        class_name, _, field = (argument.field or "").partition(".")
        if argument.dest in written or class_name not in classes:
            continue
        one = classes[class_name]
        path = f"{one.section}.{field}"
        if schema.class_with(path) is None and schemas.first_with(path, versions.bridge) is None:
            continue
        yield Row(
            argument.dest, "to", (path,), see=(f"{one.see} {argument.field}",), area=one.area, line=one.line,
            changes=one.changes.get(argument.dest, "numbers"), unread="lost",
        )  # fmt: skip
