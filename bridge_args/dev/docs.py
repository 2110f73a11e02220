"""The generated reference ``mappings/README.md``, and the counts in the top README."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from bridge_args.bridge import schema as schemas
from bridge_args.findings import CHANGES
from bridge_args.mapping import table as tables
from bridge_args.mapping.folder import mappings_folder
from bridge_args.mapping.rows import FATES, Row
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.versions import PROVEN, Versions

_MARKED = re.compile(r"(<!-- fates: generated -->\n).*?(<!-- end of fates -->)", re.DOTALL)


def pages() -> dict[Path, str]:
    """Every generated file and what it should hold."""
    root = mappings_folder().parent
    files = {mappings_folder() / "README.md": reference(PROVEN), tables.INDEX: tables.index_text()}
    readme = root / "README.md"
    if readme.is_file():
        counts = "\n".join(fate_counts(PROVEN)) + "\n"
        files[readme] = _MARKED.sub(lambda m: m.group(1) + counts + m.group(2), readme.read_text(encoding="utf-8"))
    return files


def reference(versions: Versions) -> str:
    """Every argument, its flags, what becomes of it; Markdown."""
    table, catalog = tables.load(versions), catalogs.load(versions.megatron)
    return "\n".join([*_head(versions), *_areas(table, catalog, versions), *_corrections(), *_differences()]) + "\n"


def fate_counts(versions: Versions) -> Iterator[str]:
    """How many arguments have which fate; a Markdown table."""
    table, catalog = tables.load(versions), catalogs.load(versions.megatron)
    counts = collections.Counter(row.fate for row in table.rows.values() if row.argument in catalog.defaults)
    yield "| fate | arguments | what it means |"
    yield "| --- | ---: | --- |"
    for fate, meaning in FATES.items():
        yield f"| `{fate}` | {counts[fate]} | {meaning} |"
    yield f"| all | {sum(counts.values())} | every argument of Megatron-LM {versions.megatron} |"


def _head(versions: Versions) -> Iterator[str]:
    yield "<!-- generated: python -m bridge_args.dev docs -->"
    yield "# What becomes of every argument"
    yield ""
    yield f"Megatron-LM {versions.megatron} to Megatron Bridge {versions.bridge}. The tables in `mappings/` say it;"
    yield "this page is made from them. `*` marks a default that the two sides do not share: Megatron-LM's is written"
    yield "even when nobody gave the flag."
    yield ""
    yield from fate_counts(versions)
    yield ""


def _areas(table: tables.Table, catalog: Catalog, versions: Versions) -> Iterator[str]:
    schema = schemas.load(versions.bridge)
    for area in table.areas.values():
        of_area = (row for row in table.rows.values() if row.area == area.name)
        rows = [row for row in of_area if row.derived or row.argument in catalog.defaults]  # not of another version
        if not rows:
            continue
        yield f"## {area.title}"
        yield ""
        if area.about:
            yield area.about
            yield ""
        yield "| argument | flags | fate | Bridge | note |"
        yield "| --- | --- | --- | --- | --- |"
        for row in rows:
            flags = ", ".join(f"`{flag}`" for flag in catalog.flags_of(row.argument)) or (
                "derived" if row.derived else ""
            )
            yield (
                f"| `{row.argument}` | {flags} | {_fate(row)} | {_target(row, catalog, schema)} "
                f"| {_cell(' '.join(filter(None, (row.reason, row.note))))} |"
            )
        yield ""


def _fate(row: Row) -> str:
    """The fate; of a loss also what it changes."""
    return f"{row.fate}: changes {CHANGES[row.changes]}" if row.fate in ("no_equivalent", "not_yet") else row.fate


def _target(row: Row, catalog: Catalog, schema: schemas.Schema) -> str:
    parts = []
    for path in row.to:
        section = path.partition(".")[0]
        field = next(
            (f for name in schema.sections[section].classes if (f := schema.find(path, {section: name}))), None
        )
        mark = ""
        if field and row.argument in catalog.defaults and not row.conversion and field.enum is None:
            mark = " *" if catalog.defaults[row.argument] != field.default else ""
            if mark:
                mark = f" * ({_cell(str(catalog.defaults[row.argument]))} / {_cell(str(field.default))})"
        parts.append(f"`{path}`{mark}")
    parts += [f"section {name}" for name in row.sections]
    parts += [f"feeds `{name}`" for name in row.feeds]
    return ", ".join(parts) + (f" as {row.conversion}" if row.conversion else "")


def _corrections() -> Iterator[str]:
    """Where the published Megatron-LM guide names a setting that the real Bridge does not have."""
    path = mappings_folder() / "notes" / "guide_corrections.yaml"
    if not path.is_file():
        return
    yield "## Corrections to the published guide"
    yield ""
    yield (
        f"NVIDIA's Megatron-LM to Megatron Bridge guide names settings that Bridge {PROVEN.bridge} does not have, or"
        " that say"
    )
    yield "something else. What is right instead, and why:"
    yield ""
    yield "| flag | the guide | here | reason |"
    yield "| --- | --- | --- | --- |"
    for flag, entry in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        yield f"| `{flag}` | `{entry['guide']}` | {_cell(str(entry['path']))} | {_cell(entry['because'])} |"
    yield ""


def _differences() -> Iterator[str]:
    """Where the two programs cannot be made equal, with the evidence."""
    path = mappings_folder() / "notes" / "differences.yaml"
    if not path.is_file():
        return
    yield "## Where the two cannot be equal"
    yield ""
    yield "| what | evidence | how a user is told |"
    yield "| --- | --- | --- |"
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
        yield f"| {_cell(entry['what'])} | {_cell(entry['evidence'])} | {_cell(entry['told'])} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
