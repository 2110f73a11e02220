"""What is on file of the installed Bridge is what its source says: no setting that some code reads is called unread."""

from __future__ import annotations

import importlib.util

import pytest

from bridge_args.bridge import installed
from bridge_args.bridge import schema as schemas
from bridge_args.bridge import unread as on_file

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron.bridge is absent"),
    pytest.mark.skipif(installed.version() not in schemas.versions(), reason="no schema is of the installed Bridge"),
]


def test_the_source_says_so() -> None:
    from bridge_args.dev import unread

    found = unread.from_installed()
    assert found.version == installed.version()
    assert {cls: frozenset(names) for cls, names in found.classes.items()} == on_file.classes(found.version)
    assert len(found.whole) > 20  # functions that it cannot tell of, which a maintainer looks at
