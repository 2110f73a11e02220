"""Results as SARIF 2.1.0, which hosts of code show on the lines of a pull request.

Verify: https://docs.oasis-open.org/sarif/sarif/v2.1.0/, sections 3.14 (run), 3.27 (result) and 3.30 (region).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

from bridge_args.records import Record

_LEVELS: Final = ("error", "warning", "note")


class Result(Record):
    """What is said of one line.

    Attributes:
        rule: what kind of thing it is.
        level: how bad.
        text: for people.
        file: as it is called from where the command runs; empty where there is none.
        line: counted from 1; None: of the file as a whole.
    """

    rule: str
    level: Literal["error", "warning", "note"]
    text: str
    file: str
    line: int | None = None


def log(results: Iterable[Result]) -> dict[str, Any]:
    """A log of one run, as plain data."""
    found = list(results)
    rules = sorted({one.rule for one in found})
    tool = {"name": "bridge-args", "rules": [{"id": rule} for rule in rules]}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": tool}, "results": [_result(one, rules) for one in found]}],
    }


def _result(one: Result, rules: list[str]) -> dict[str, Any]:
    assert one.level in _LEVELS
    made: dict[str, Any] = {
        "ruleId": one.rule,
        "ruleIndex": rules.index(one.rule),
        "level": one.level,
        "message": {"text": one.text},
    }
    if one.file:
        place: dict[str, Any] = {"artifactLocation": {"uri": one.file.replace("\\", "/")}}
        if one.line is not None:
            place["region"] = {"startLine": one.line}
        made["locations"] = [{"physicalLocation": place}]
    return made
