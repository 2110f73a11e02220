"""Whole scripts, and all that comes out: tests/cases/<name>/ holds a script and what is expected of it, side by side.

``pytest tests/test_cases.py --update-cases`` writes the expected files anew; the difference is the review.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest

import bridge_args
from bridge_args.mapping.folder import mappings_folder
from bridge_args.source.read import from_path
from bridge_args.steps import Asked, translated

ASKED = Asked(megatron_lm="0.16.1", bridge="0.3.1")  # where a case has no file `versions`
INPUTS = ("command.*", "model_config.yaml")  # a source of any kind
CASES = sorted(path.parent for name in INPUTS for path in (Path(__file__).parent / "cases").glob(f"*/{name}"))


@lru_cache(maxsize=None)
def translation_of(case: Path) -> bridge_args.Translation:
    """Paths in what is said begin at the case, so it stands as the current folder of whoever asks."""
    (source,) = (path for name in INPUTS for path in case.glob(name))
    asked = ASKED
    if (case / "versions").is_file():
        megatron_lm, bridge = (case / "versions").read_text(encoding="utf-8").split()
        asked = Asked(megatron_lm=megatron_lm, bridge=bridge)
    t = translated(from_path(source.name, megatron_lm=asked.megatron_lm), asked)
    # the counts of what nobody has compared change with everything that somebody compares
    return t._replace(findings=tuple(finding for finding in t.findings if finding.kind != "unproven-pair"))


def outputs_of(t: bridge_args.Translation) -> dict[str, str]:
    return {
        "expected.yaml": bridge_args.to_yaml(t),
        "expected.overrides": "".join(f"{word}\n" for word in bridge_args.to_overrides(t)),
        "expected.report": bridge_args.report(t, "text"),
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.chdir(case)
    found = outputs_of(translation_of(case))
    if request.config.getoption("--update-cases"):
        for name, text in found.items():
            (case / name).write_text(text, encoding="utf-8")
    assert found == {name: (case / name).read_text(encoding="utf-8") for name in found}


def touched(case: Path) -> set[str]:
    """Areas with an argument that was typed, and whose value or fate is another for it."""
    t = translation_of(case)
    return {
        outcome.row.area
        for name, outcome in t.outcomes.items()
        if outcome.given and (outcome.fate not in ("to", "section") or t.args[name] != t.catalog.defaults[name])
    }


@pytest.mark.parametrize("area", sorted({path.stem for path in mappings_folder().glob("*.yaml")} - {"same_name"}))
def test_some_case_touches_every_area(area: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for case in CASES:
        monkeypatch.chdir(case)
        if area in touched(case):
            return
    pytest.fail(f"no case types an argument of mappings/{area}.yaml")
