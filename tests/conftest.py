"""Properties are tried on the same examples every time, so that a failure is somebody's change and not chance.

``BRIDGE_ARGS_HYPOTHESIS=random`` looks for new ones.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import settings

from bridge_args.findings import KINDS, Finding

os.environ.setdefault("BRIDGE_ARGS_TRACEBACK", "1")  # a fault of ours in a test is one to look into

settings.register_profile("same", derandomize=True)
settings.register_profile("random", derandomize=False)
settings.load_profile(os.environ.get("BRIDGE_ARGS_HYPOTHESIS", "same"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-cases", action="store_true", help="write the expected files of cases anew")


def _of_a_kind(cls: type[Finding], kind: str, *others: Any, **named: Any) -> Finding:
    assert kind in KINDS, f"{kind} is not in KINDS of bridge_args/findings.py"
    return _made(cls, kind, *others, **named)


# No test makes a finding of a kind that the table does not have; outside of tests nobody pays for looking.
_made = Finding.__new__
setattr(Finding, "__new__", _of_a_kind)  # mypy refuses the assignment
