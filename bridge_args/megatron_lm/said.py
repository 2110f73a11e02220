"""Words that give an argument a value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bridge_args.megatron_lm.catalog import Argument, Catalog


def words_for(name: str, value: Any, catalog: Catalog) -> Iterator[list[str]]:
    """Each way to say it on a command line; none where no flag can.

    Args:
        name: of the argument.
        value: as the parser has it; enum members by name.
    """
    for argument in catalog.arguments:
        if argument.dest == name and (words := _by(argument, value)) is not None:
            yield words


def _by(argument: Argument, value: Any) -> list[str] | None:
    flag = argument.flags[0]
    if isinstance(value, bool):
        if argument.action == "BooleanOptionalAction":
            return [next(flag for flag in argument.flags if flag.startswith("--no-") is not value)]
        return [flag] if argument.action == f"store_{str(value).lower()}" else None
    if argument.action == "store_const":
        return [flag] if value == argument.const else None
    if argument.action != "store" or value is None:
        return None
    if isinstance(value, (list, tuple)):
        return [flag, *map(str, value)] if argument.nargs not in (None, "?") else [flag, str(list(value))]
    return [flag, str(value)]
