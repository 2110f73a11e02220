"""Everything known about one argument, as a page of text."""

from __future__ import annotations

from collections.abc import Iterator

from bridge_args.bridge import schema as schemas
from bridge_args.mapping import table as tables
from bridge_args.mapping.rows import FATES, Row
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.versions import Versions


def explain(name: str, versions: Versions) -> str | None:
    """Flags, type, defaults on both sides, versions, fate, path and reason of an argument.

    Args:
        name: ``moe_router_topk``, ``moe-router-topk`` or ``--moe-router-topk``.

    Returns:
        The page, or None when no known Megatron-LM version has the argument.
    """
    catalog = catalogs.load(versions.megatron)
    dest = dest_of(name, catalog)
    if dest is None:
        return None
    return "".join(f"{line}\n" for line in _page(dest, catalog, versions))


def dest_of(name: str, catalog: Catalog) -> str | None:
    """The argument meant by a flag or a name; None when no version has it."""
    flag = "--" + name.lstrip("-").replace("_", "-")
    for candidate in (catalog, *(catalogs.load(version) for version in reversed(catalogs.versions()))):
        for spelling in (flag, name if name.startswith("--") else f"--{name}"):
            if spelling in candidate.by_flag:
                return candidate.by_flag[spelling].dest
        if name in candidate.defaults:
            return name
    return None


def _page(dest: str, catalog: Catalog, versions: Versions) -> Iterator[str]:
    arguments = [argument for argument in catalog.arguments if argument.dest == dest]
    having = [version for version in catalogs.versions() if dest in catalogs.load(version).defaults]
    row = tables.load(versions).rows.get(dest)
    yield dest
    for argument in arguments:
        kind = argument.type or {"store_true": "switch on", "store_false": "switch off"}.get(argument.action, "text")
        count = f", {argument.nargs} values" if argument.nargs not in (None, 0) else ""
        choices = f", one of {', '.join(map(str, argument.choices))}" if argument.choices else ""
        yield f"  {', '.join(argument.flags)}: {kind}{count}{choices}"
    if arguments:
        yield f"  Megatron-LM {catalog.version} default: {arguments[0].default}"
        if arguments[0].field:
            yield f"  generated from {arguments[0].field}"
    yield f"  in Megatron-LM {', '.join(having)}"
    if row is None:
        yield f"  no row for Megatron-LM {versions.megatron} and Bridge {versions.bridge}"
    else:
        yield from _fate(row, versions)


def _fate(row: Row, versions: Versions) -> Iterator[str]:
    schema = schemas.load(versions.bridge)
    yield f"  fate: {row.fate} ({FATES[row.fate]}), {row.place}"
    for path in row.to:
        classes = schema.sections[path.partition(".")[0]].classes
        found = next((f for name in classes if (f := schema.find(path, {path.partition(".")[0]: name}))), None)
        if found:
            what = "required" if found.required else f"default {found.default}"
            yield f"  -> {path} ({found.type}; {what})" + (f" as {row.conversion}" if row.conversion else "")
    for section in row.sections:
        yield f"  -> decided together with others by {section} (bridge_args/mapping/sections)"
    for target in row.feeds:
        yield f"  -> used up in {target}"
    for text in (row.reason, row.note):
        if text:
            yield f"  {text}"
    for see in row.see:
        yield f"  see {see}"
