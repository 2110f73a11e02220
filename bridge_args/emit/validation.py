"""Does Bridge take the configuration? The answer for programs, as ``bridge-args validate --format json`` writes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, Literal

from bridge_args.emit.report_data import finding_data
from bridge_args.findings import Finding
from bridge_args.mapping.translation import Translation

SCHEMA: Final = 1  # of the JSON: validation_schema.json

Status = Literal["ok", "errors", "losses", "not-validated"]


def validation(
    status: Status, t: Translation | None, more: Sequence[Finding] = (), message: str = ""
) -> dict[str, Any]:
    """The answer; ``validation_schema.json`` says what its keys mean.

    Args:
        status: as the schema says.
        t: None where there is none.
        more: what was found beside the translation's own findings.
        message: why Bridge was not asked.
    """
    findings = [*(t.findings if t else ()), *more]
    told = [finding_data(finding, t) for finding in findings]
    return {
        "schema": SCHEMA,
        "status": status,
        "message": message,
        "versions": {"megatron_lm": t.versions.megatron, "bridge": t.versions.bridge} if t else None,
        "program": t.program if t else None,
        "world_size": t.world_size if t else None,
        "errors": [said for said, finding in zip(told, findings, strict=True) if finding.level == "error"],
        "findings": told,
    }


def text_of(answer: dict[str, Any]) -> str:
    """The answer as JSON."""
    return json.dumps(answer, indent=2, ensure_ascii=True, allow_nan=False) + "\n"
