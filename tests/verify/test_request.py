"""What a user asks of a proof is in the request, whichever command asks, and the folder goes afterwards."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from bridge_args.cli import options as shared
from bridge_args.cli.proving import request_of
from bridge_args.verify import bridges, verify, versions


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (verify.Request, {"checkout": "/lm", "own": True}),
        (versions.Request, {"before": "/lm", "after": "/new", "hand_over_at": 2}),
        (bridges.Request, {}),
    ],
)
def test_what_is_asked_is_in_the_request(kind: Any, more: dict[str, Any], tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    shared.training(parser, "")
    asked = {"steps": 3, "shrink": True, "nproc": 2, "device": "cpu"}
    options = parser.parse_args("--steps 3 --shrink --nproc 2 --device cpu".split())
    with request_of(kind, options, **more) as request:
        assert request._asdict().items() >= {**asked, **more}.items() and request.folder.is_dir()
    assert not request.folder.exists()
    options.workdir = str(tmp_path)
    with request_of(kind, options, **more) as request:
        assert request.folder == tmp_path
    assert tmp_path.is_dir()
