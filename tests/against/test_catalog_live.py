"""Committed catalogs and schemas against the real programs: a checkout (MEGATRON_LM_CHECKOUT), the installed Bridge."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from bridge_args.bridge import schema

ROOT = Path(__file__).resolve().parents[2]
CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT")
HAS_BRIDGE = find_spec("megatron") is not None and find_spec("megatron.bridge") is not None


def dev(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bridge_args.dev", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout")
def test_catalog_is_what_the_checkout_says() -> None:
    done = dev("catalog", "--megatron-lm", str(CHECKOUT), "--check")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout")
def test_there_is_nothing_to_read_anew_in_the_version_that_was_read() -> None:
    done = dev("new-version", str(CHECKOUT), "--format", "json")
    assert done.returncode == 0, done.stderr
    work = json.loads(done.stdout)
    assert (work["version"], work["against"], work["authority"], work["unread"]) == ("0.16.1", "0.15.3", [], [])
    assert "phase_transition_iterations" in [one["argument"] for one in work["added"] if one["has_row"]]
    assert [one["argument"] for one in work["added"] if not one["has_row"]] == []


@pytest.mark.skipif(not HAS_BRIDGE, reason="Bridge is not installed")
def test_schema_is_what_the_installed_bridge_says(tmp_path: Path) -> None:
    version = importlib.metadata.version("megatron-bridge")
    if version not in schema.versions():
        pytest.skip(f"there is no schema of the installed Bridge {version}")
    done = dev("schema", "--check")
    assert done.returncode == 0, done.stdout + done.stderr

    file = schema.FOLDER / f"{version}.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    data["classes"][schema.load(version).sections["rng"].classes[0]]["seed"]["default"] = 4321
    other = tmp_path / "other.json"
    other.write_text(json.dumps(data), encoding="utf-8")
    done = dev("schema", "--check", "-o", str(other))
    assert done.returncode == 1
    assert '+   "seed": {"type": "int", "default": 1234},' in done.stdout


def test_a_folder_that_is_no_checkout_is_one_clear_message(tmp_path: Path) -> None:
    done = dev("catalog", "--megatron-lm", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.strip() == f"{tmp_path} holds no pretrain_gpt.py; name the root of a Megatron-LM checkout"
