"""What was recorded of the real Megatron-LM and Megatron Bridge, as the tests read it.

The full recordings, where they lie beside the repository in ``shared``; else what ``tests/recorded/`` holds of them.
"""

from __future__ import annotations

import gzip
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FULL = ROOT / ".." / "shared"
SHIPPED = ROOT / "tests" / "recorded"
GOLDEN = ("examples", "functional", "negative")
RECORDED = ("0.16.1", "0.17.1", "0.18.2", "0.19.0")
# Series of Bridge to the Megatron-LM of the same Megatron Core that has a configuration container of its own.
WITH_CONTAINER = {"0.5": "0.18.2", "0.6": "0.19.0"}
CONTAINERS = tuple(WITH_CONTAINER.values())
TRAINED = ("0.16.1", "0.19.0")  # versions whose trainings are recorded
GUIDE = "004_88a973e1d8ccc33d.txt"


@lru_cache(maxsize=None)
def command_lines(version: str = "0.16.1") -> list[dict[str, Any]]:
    """Command lines that Megatron-LM was asked about, and what it said; nothing of a version without any.

    A row has ``id``, ``file``, ``case`` (argv, entry, env, world_size, ...) and ``result``: accepted or the error, and
    the effective arguments.
    """
    folder = FULL / "golden" / f"mlm-{version}"
    if folder.is_dir():
        return [
            {**json.loads(line), "file": path.name.partition(".")[0]}
            for name in GOLDEN
            for path in (folder / f"{name}.jsonl", folder / f"{name}.jsonl.gz")
            if path.is_file()
            for line in _text(path).splitlines()
        ]
    file = SHIPPED / f"command_lines_{version}.jsonl.gz"
    if not file.is_file():
        return []
    base, *rows = map(json.loads, gzip.decompress(file.read_bytes()).decode().splitlines())
    for row in rows:
        if "args" in row["result"]:
            row["result"]["args"] = {**base, **row["result"]["args"]}
            for name in row["result"].pop("without"):
                del row["result"]["args"][name]
    return rows


@lru_cache(maxsize=None)
def containers(version: str) -> dict[str, dict[str, Any]]:
    """Megatron-LM's own configuration container of each accepted command line: id to ``section.field`` to value."""
    full = FULL / "golden" / f"mlm-{version}" / "container.jsonl.gz"
    if full.is_file():
        rows = map(json.loads, _text(full).splitlines())
        # what has no field is a whole section that this version does not have
        return {row["id"]: {path: value for path, value in row["fields"].items() if "." in path} for row in rows}
    base, *rows = map(json.loads, _text(SHIPPED / f"containers_{version}.jsonl.gz").splitlines())
    return {
        row["id"]: {path: value for path, value in {**base, **row["fields"]}.items() if path not in row["without"]}
        for row in rows
    }


def _text(path: Path) -> str:
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode()


def curves_folder() -> Path:
    """A file for each recorded run, and the folder ``data`` that their command lines name files of."""
    return FULL / "curves" if (FULL / "curves").is_dir() else SHIPPED / "curves"


@lru_cache(maxsize=None)
def curves(version: str) -> dict[str, dict[str, Any]]:
    """Runs of a version of Megatron-LM on a CPU by name: the command line, and every iteration."""
    folder = curves_folder() if version == "0.16.1" else FULL / f"curves-{version}"
    packed = SHIPPED / f"curves_{version}.jsonl.gz"
    if folder.is_dir():
        found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    else:
        found = {row.pop("name"): row for row in map(json.loads, _text(packed).splitlines())}
    return {name: run for name, run in found.items() if run.get("runs_on_cpu")}


def curve(name: str, version: str = "0.16.1") -> dict[str, Any]:
    """One of ``curves``."""
    return curves(version)[name]


def curve_names(version: str = "0.16.1") -> list[str]:
    """Those that could be run on a CPU."""
    return list(curves(version))


@lru_cache(maxsize=None)
def parsers() -> dict[str, dict[str, Any]]:
    """Version of Megatron-LM to what its parser was seen to hold."""
    return _observed("megatron-lm", "parsers", _with_flags)


@lru_cache(maxsize=None)
def configurations() -> dict[str, dict[str, Any]]:
    """Version of Megatron Bridge to what its configuration classes were seen to hold."""
    return _observed("bridge", "configurations", _with_fields)


def _observed(folder: str, name: str, with_facts: Any) -> dict[str, dict[str, Any]]:
    full = sorted((FULL / "catalog" / folder).glob("*.json"))
    if full:
        return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in full}
    held = json.loads(gzip.decompress((SHIPPED / f"{name}.json.gz").read_bytes()))
    return {version: with_facts(observed, held["facts"]) for version, observed in held["versions"].items()}


def _with_flags(observed: dict[str, Any], facts: list[Any]) -> dict[str, Any]:
    return {**observed, "flags": [facts[number] for number in observed["flags"]]}


def _with_fields(observed: dict[str, Any], facts: list[Any]) -> dict[str, Any]:
    classes = {
        name: {**cls, "fields": [facts[number] for number in cls["fields"]]}
        for name, cls in observed["classes"].items()
    }
    return {**observed, "classes": classes}


@lru_cache(maxsize=None)
def guide() -> tuple[tuple[str, str, str], ...]:
    """The flag guide of Megatron Bridge: flag, setting, and the value where it names one."""
    full = FULL / "seeds" / GUIDE
    if full.is_file():
        return tuple(_rows_of_the_guide(full.read_text(encoding="utf-8")))
    rows = [line.split("\t") for line in (SHIPPED / "flag_guide.tsv").read_text(encoding="utf-8").splitlines()]
    return tuple((flag, path, value) for flag, path, value in rows)


def _rows_of_the_guide(text: str) -> Any:
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or not cells[0].startswith("`--"):
            continue
        flag = cells[0].strip("`")
        for name in re.findall(r"`([^`]+)`", cells[1]):
            path, _, value = name.partition("=")
            if flag != "--bf16" or path == "mixed_precision":
                yield flag, path, value
