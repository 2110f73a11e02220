"""Properties are tried on the same examples every time, so that a failure is somebody's change and not chance.

``BRIDGE_ARGS_HYPOTHESIS=random`` looks for new ones.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("same", derandomize=True)
settings.register_profile("random", derandomize=False)
settings.load_profile(os.environ.get("BRIDGE_ARGS_HYPOTHESIS", "same"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-cases", action="store_true", help="write the expected files of cases anew")
