"""The generated reference ``mappings/README.md``, and parts of the top README and of the pages on versions."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from bridge_args.bridge import schema as schemas
from bridge_args.bridge import series
from bridge_args.emit.releases import markdown
from bridge_args.emit.versions import known
from bridge_args.findings import CHANGES
from bridge_args.mapping import table as tables
from bridge_args.mapping.folder import mappings_folder
from bridge_args.mapping.rows import FATES, Row
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.releases import between
from bridge_args.versions import PROVEN, USUAL, Versions


def pages() -> dict[Path, str]:
    """Every generated file and what it should hold."""
    root = mappings_folder().parent
    files = {mappings_folder() / "README.md": reference(PROVEN)}
    files |= {tables.index_of(versions): tables.index_text(versions) for versions in USUAL}
    parts = {
        root / "README.md": {"fates": fate_counts(PROVEN)},
        root / "docs" / "versions.md": {"pairs": pair_table(), "series": series_table()},
        root / "docs" / "releases.md": {"releases": releases_of_all()},
    }
    for page, tables_of_page in parts.items():
        if page.is_file():
            files[page] = _with_parts(page.read_text(encoding="utf-8"), tables_of_page)
    return files


def _with_parts(page: str, parts: Mapping[str, Iterator[str]]) -> str:
    """The page with these lines between the marks of their names."""
    for name, lines in parts.items():
        before, mark, rest = page.partition(f"<!-- {name}: generated -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->")
        page = "".join((before, mark, *(f"{line}\n" for line in lines), end, after))
    return page


def pair_table() -> Iterator[str]:
    """What is known of which pair of versions; a Markdown table."""
    yield "| Megatron-LM | Bridge | Core | status | arguments without a row | evidence |"
    yield "| --- | --- | --- | --- | ---: | --- |"
    for pair in known()["pairs"]:
        yield (
            f"| {pair['megatron_lm']} | {pair['bridge']} | {pair['core']} | {pair['status']} "
            f"| {pair['without_row']} of {pair['arguments']} | {pair['evidence']} |"
        )


def series_table() -> Iterator[str]:
    """What each series of Bridge needs; a Markdown table."""
    names = tuple(dict.fromkeys(name for one in series.SERIES for name in one.needs if name != "megatron-core"))
    yield f"| Bridge | Core | Python | its wheels ask for | {' | '.join(names)} |"
    yield f"| --- | --- | --- | --- |{' --- |' * len(names)}"
    for one in series.SERIES:
        needs = " | ".join(f"`{one.needs[name]}`" if name in one.needs else "not needed" for name in names)
        oldest, newest = one.pythons
        yield f"| {one.bridge} | {one.core} | {oldest} to {newest} | `{one.published_for}` | {needs} |"


def releases_of_all() -> Iterator[str]:
    """What changes from each Megatron-LM to the next, newest first; Markdown."""
    yield ""
    known = catalogs.versions()
    for before, after in reversed([*zip(known, known[1:], strict=False)]):
        yield from markdown(between(catalogs.load(before), catalogs.load(after)))


def reference(versions: Versions) -> str:
    """Every argument, its flags, what becomes of it; Markdown."""
    table, catalog = tables.load(versions), catalogs.load(versions.megatron)
    return (
        "\n".join(
            [*_head(versions), *_areas(table, catalog, versions), *_same_names(), *_corrections(), *_differences()]
        )
        + "\n"
    )


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


def _same_names() -> Iterator[str]:
    """The arguments of the newest Megatron-LM that need no row, for the newest Bridge."""
    newest = Versions(catalogs.versions()[-1], schemas.versions()[-1])
    table, catalog = tables.load(newest), catalogs.load(newest.megatron)
    area = table.areas["same_name"]
    yield f"## {area.title}"
    yield ""
    yield f"{area.about} Those of Megatron-LM {newest.megatron}, in Bridge {newest.bridge}:"
    yield ""
    yield "| argument | flags | Bridge | row |"
    yield "| --- | --- | --- | --- |"
    for row in table.rows.values():
        if row.area == area.name:
            flags = ", ".join(f"`{flag}`" for flag in catalog.flags_of(row.argument))
            to = ", ".join(f"`{path}`" for path in row.to) or _fate(row)
            yield f"| `{row.argument}` | {flags} | {to} | `{row.place}` |"
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
