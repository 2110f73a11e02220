"""tests/recorded/ holds what tests/recorded/thin.py makes of the full recordings.

Without them it is made of itself: what is thin already stays as it is.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from types import ModuleType

import pytest
import recorded


@pytest.fixture(scope="module")
def thin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("thin", recorded.SHIPPED / "thin.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def unpacked(name: str) -> str:
    return gzip.decompress((recorded.SHIPPED / name).read_bytes()).decode()


@pytest.mark.parametrize(
    ("version", "lines", "accepted"),
    [("0.16.1", 205, 106), ("0.17.1", 83, 83), ("0.18.2", 109, 109), ("0.19.0", 111, 111)],
)
def test_command_lines(thin: ModuleType, version: str, lines: int, accepted: int) -> None:
    rows = recorded.command_lines(version)
    assert thin.command_lines(rows) == unpacked(f"command_lines_{version}.jsonl.gz")
    assert len(rows) == lines
    assert sum("args" in row["result"] for row in rows) == accepted


@pytest.mark.parametrize(("version", "lines"), [("0.18.2", 109), ("0.19.0", 111)])
def test_containers(thin: ModuleType, version: str, lines: int) -> None:
    rows = recorded.containers(version)
    assert thin.containers(rows) == unpacked(f"containers_{version}.jsonl.gz")
    assert set(rows) == {row["id"] for row in recorded.command_lines(version) if row["result"]["accepted"]}
    assert len(rows) == lines


def test_parsers(thin: ModuleType) -> None:
    assert thin.parsers(recorded.parsers()) == unpacked("parsers.json.gz")


def test_configurations(thin: ModuleType) -> None:
    assert thin.configurations(recorded.configurations()) == unpacked("configurations.json.gz")


def test_guide(thin: ModuleType) -> None:
    assert thin.guide(recorded.guide()) == (recorded.SHIPPED / "flag_guide.tsv").read_text(encoding="utf-8")


def test_curves(thin: ModuleType) -> None:
    thinned = {name: thin.curve(recorded.curve(name)) for name in recorded.curve_names()}
    shipped = {path.stem: path.read_text(encoding="utf-8") for path in (recorded.SHIPPED / "curves").glob("*.json")}
    assert {name: text for name, text in thinned.items() if text is not None} == shipped


@pytest.mark.parametrize("version", recorded.TRAINED[1:])
def test_curves_of_later_versions(thin: ModuleType, version: str) -> None:
    assert thin.curves(recorded.curves(version)) == unpacked(f"curves_{version}.jsonl.gz")


def test_the_curves_have_their_data() -> None:
    folders = {recorded.SHIPPED / "curves", recorded.curves_folder()}
    words = {
        word for path in (recorded.SHIPPED / "curves").glob("*.json") for word in json.loads(path.read_text())["argv"]
    }
    named = {word for word in words if word.startswith("corpus_")}
    assert named
    files = [f"{word}.{ending}" for word in named for ending in ("bin", "idx")]
    for name in [*files, *(words & {"blend.txt", "per_split.json"})]:
        assert len({(folder / "data" / name).read_bytes() for folder in folders}) == 1


def test_it_is_small() -> None:
    files = [path for path in recorded.SHIPPED.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 1_000_000
