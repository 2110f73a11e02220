"""What each series of Bridge needs stands in one table; the schemas and pyproject.toml agree with it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from bridge_args.bridge import installed, series
from bridge_args.bridge import schema as schemas
from bridge_args.bridge.series import SERIES, Series
from bridge_args.dev import environment
from bridge_args.versions import PAIRS, PROVEN, Versions, status_of, usual_for

ROOT = Path(__file__).resolve().parents[2]
each = pytest.mark.parametrize("one", SERIES, ids=lambda one: one.name)


@each
def test_a_schema_was_made_with_the_same_core(one: Series) -> None:
    assert schemas.load(one.bridge).core == one.core


def test_every_pair_has_a_series() -> None:
    assert {pair.versions.bridge for pair in PAIRS} == {one.bridge for one in SERIES}


def test_a_version_belongs_to_a_series() -> None:
    assert series.of("0.6").bridge == series.of("0.6.0").bridge == "0.6.2"
    with pytest.raises(
        ValueError, match=r"no environment is known for Megatron Bridge 0\.9; there are 0\.3\.1, 0\.4\.2"
    ):
        series.of("0.9")


@each
def test_pythons(one: Series) -> None:
    assert one.has_python((3, 11)) and one.has_python((3, 12)) and not one.has_python((3, 13))
    assert one.is_published_for((3, 12))
    assert one.is_published_for((3, 11)) == (one.name == "0.3")


def requirements(texts: list[str]) -> dict[str, str]:
    """Name to what pip may choose from, without markers and comments."""
    found = {}
    for text in texts:
        match = re.match(r"([\w-]+)\s*([^;]*)", text)
        assert match
        found[match[1]] = match[2].strip()
    return found


@each
def test_the_extra_says_the_same(one: Series) -> None:
    tomllib: Any = pytest.importorskip("tomllib")  # Python 3.11
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    wanted = requirements(extras[one.extra])
    assert {name: wanted.get(name) for name in one.needs} == dict(one.needs)
    only_others = {name for other in SERIES for name in other.needs} - set(one.needs)
    assert not only_others & set(wanted)


def test_the_extra_without_a_version_is_the_newest_proven_one() -> None:
    """Of those whose wheels admit the Python, for pip is asked here."""
    tomllib: Any = pytest.importorskip("tomllib")  # Python 3.11
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    found = dict(re.fullmatch(r"bridge_args\[(.*)\]; (.*)", line).groups() for line in extras["bridge"])  # type: ignore[union-attr]
    proven = [one for one in SERIES if status_of(Versions(usual_for(one.bridge), one.bridge)) == "proven"]
    newest = next(one for one in reversed(proven) if one.is_published_for((3, 12)))
    older = next(one for one in reversed(proven) if one.is_published_for((3, 11)))
    assert found == {newest.extra: "python_version >= '3.12'", older.extra: "python_version < '3.12'"}


@each
def test_the_lock_says_the_same(one: Series) -> None:
    """What ``make`` installs: Bridge and Core to the version, and what was laid down by its tag."""
    locked = {
        match[1]: match[2]
        for name in ("bridge", "alone", "platform")
        if (file := ROOT / "requirements" / f"{name}-{one.bridge}.txt").is_file()
        for match in re.finditer(r"^([\w.-]+)==([\w.]+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert (locked["megatron-bridge"], locked["megatron-core"]) == (one.bridge, one.core)
    assert {name: locked.get(name) for name in one.platform} == dict(one.platform)
    assert set(one.needs) <= set(locked)


def test_another_bridge_than_the_installed_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"megatron_bridge": "0.5.0", "megatron_core": "0.16.1"}
    monkeypatch.setattr(installed, "version", lambda distribution="megatron_bridge": there[distribution])
    monkeypatch.setattr(installed, "missing", lambda wanted: None)
    told = installed.refusal("0.3.1")
    assert told is not None and told.startswith("Megatron Bridge 0.5.0 is installed, and the translation is for 0.3.1")
    assert installed.refusal("0.5.1") is None
    assert installed.doubt("0.5.1") == (
        "Megatron Bridge 0.5.0 is installed, and the translation is for 0.5.1; "
        "Megatron Core 0.16.1 is installed, and Bridge 0.5.1 is known with 0.18.2 only"
    )


def test_how_to_install_depends_on_the_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    told = installed.remedy("0.6.2")
    assert "[bridge-0-6]" in told and told.endswith("--no-deps megatron-bridge==0.6.2")
    monkeypatch.setattr(sys, "version_info", (3, 11, 2))
    assert installed.remedy("0.6.2").endswith(
        "--no-deps --ignore-requires-python megatron-core==0.19.2 megatron-bridge==0.6.2"
    )
    assert "ignore" not in installed.remedy("0.3.1")
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    assert installed.remedy("0.6.2") == "this is Python 3.10, and it needs Python 3.11 to 3.12"


@each
def test_make_is_told_what_is_there(one: Series) -> None:
    facts = environment.facts(one.bridge, (3, 11))
    for name in ("bridge", "alone"):
        assert (ROOT / "requirements" / f"{name}-{facts['SERIES']}.txt").is_file()
    assert not facts["TAG"] or (ROOT / facts["TAG"]).is_file()
    assert f"bridge{facts['GROUP']}" == one.extra
    assert all(" " not in value for value in facts.values())  # make takes the words apart


def test_without_a_bridge_it_is_the_newest_proven_one_that_the_python_can_have() -> None:
    assert environment.facts(None, (3, 11)) == environment.facts(PROVEN.bridge, (3, 11))
    assert environment.facts(None, (3, 10)) == environment.facts("0.3.1", (3, 10))
    assert environment.refusal(None, (3, 10)) is None
    assert environment.facts("0.6", (3, 12))["IGNORE"] == ""
    assert environment.facts("0.6", (3, 11))["IGNORE"] == "--ignore-requires-python"


def test_a_python_that_cannot_have_it_is_told() -> None:
    assert environment.refusal("0.6.2", (3, 11)) is None
    assert environment.refusal("0.6.2", (3, 10)) == (
        "Python 3.10 cannot have Megatron Bridge 0.6.2, which needs 3.11 to 3.12; "
        "say another one: make PYTHON=python3.12 …"
    )
    with pytest.raises(ValueError, match="no environment is known for Megatron Bridge 0.9"):
        environment.refusal("0.9", (3, 12))
