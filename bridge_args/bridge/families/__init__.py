"""Families of models for which Bridge has a class of its own, because it does what no setting of the generic one says.

The facts are generated (``python -m bridge_args.dev families``), for the versions that were read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from bridge_args.bridge import schema as schemas
from bridge_args.bridge.schema import Field, Schema, field_of

FOLDER: Final = Path(__file__).parent


@cache
def schema_with(version: str) -> Schema:
    """The schema of a version, in which the model may be of one of these families too.

    Raises:
        ValueError: no schema of that version.
    """
    schema = schemas.load(version)
    found = read(version)
    if not found:
        return schema
    model = schema.sections["model"]
    sections = {**schema.sections, "model": model._replace(classes=(*model.classes, *found))}
    return schema._replace(sections=sections, classes=_Both(schema, found))


def read(version: str) -> Mapping[str, Any]:
    """Class to its generic class and its own fields; empty where the version was not read."""
    file = FOLDER / f"{version}.json"
    if not file.is_file():
        return {}
    classes: dict[str, Any] = json.loads(file.read_bytes())["classes"]
    return classes


class _Both(Mapping[str, dict[str, Field]]):
    def __init__(self, schema: Schema, families: Mapping[str, Any]) -> None:
        self.generic, self.families = schema.classes, families

    def __getitem__(self, name: str) -> dict[str, Field]:
        if name not in self.families:
            return self.generic[name]
        entry = self.families[name]
        own = {field: field_of(field, said) for field, said in entry["fields"].items()}
        return {**self.generic[entry["base"]], **own}

    def __iter__(self) -> Iterator[str]:
        yield from self.generic
        yield from self.families

    def __len__(self) -> int:
        return len(self.generic) + len(self.families)
