"""Pairs of versions: what is known of them is true, and what is not known is said."""

from __future__ import annotations

import json

import pytest

import bridge_args
from bridge_args.bridge import installed
from bridge_args.bridge import schema as schemas
from bridge_args.cli.main import main
from bridge_args.mapping.check import check
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.pairs import pairs
from bridge_args.versions import PAIRS, PROVEN, STATUSES, Pair, Versions, number, status_of

COMMAND = (
    "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 64 --max-position-embeddings 64 "
    "--micro-batch-size 1 --train-iters 10 --lr 1e-3 --eval-interval 10 --mock-data --tokenizer-type NullTokenizer "
    "--vocab-size 100"
).split()


def translated(megatron_lm: str, bridge: str) -> Translation:
    return bridge_args.translate(COMMAND, 1, megatron_lm, bridge)


def said(t: Translation) -> list[str]:
    return [finding.message for finding in t.findings if finding.kind == "unproven-pair"]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.versions.megatron}-{pair.versions.bridge}")
def test_the_table_is_true(pair: Pair) -> None:
    """A pair has data, and where its status says so the check of the rows finds nothing."""
    assert pair.versions.megatron in catalogs.versions() and pair.versions.bridge in schemas.versions()
    assert pair.status in STATUSES and pair.evidence.endswith(".")
    assert pair.status == "unknown" or check(pair.versions) == []


def test_no_pair_stands_twice() -> None:
    assert len({pair.versions for pair in PAIRS}) == len(PAIRS)


def test_the_default_is_the_newest_proven_pair() -> None:
    assert status_of(PROVEN) == "proven"
    assert all(number(pair.versions.bridge) <= number(PROVEN.bridge) for pair in PAIRS if pair.status == "proven")
    assert pairs.chosen_versions(bridge=PROVEN.bridge) == PROVEN


def test_a_proven_pair_says_nothing() -> None:
    assert said(translated(*PROVEN)) == []


def test_an_unproven_pair_says_how_far_it_is_known() -> None:
    (message,) = said(translated("0.16.1", "0.6.2"))
    assert message == "Megatron-LM 0.16.1 to Bridge 0.6.2 is not proven (rows checked)"
    assert status_of(Versions("0.14.0", "0.2.2")) == "unknown"
    (message,) = said(translated("0.14.0", "0.2.2"))
    assert message.startswith("Megatron-LM 0.14.0 to Bridge 0.2.2 is not proven (unknown): ")
    assert "derivations and checks were not read for it" in message
    assert f"{len(catalogs.load('0.14.0').defaults)} defaults were not compared with Bridge's" in message


@pytest.mark.parametrize("command", ["translate", "report"])
def test_it_is_an_error_under_strict(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [command, "--megatron-lm", PROVEN.megatron, "--world-size", "1"]
    other = [*words, "--bridge", "0.4.2"]
    assert main([*other, "--", *COMMAND]) == 0
    assert main([*other, "--strict", "--", *COMMAND]) == 1
    out, err = capsys.readouterr()
    assert "not proven" in out + err
    assert main([*words, "--bridge", PROVEN.bridge, "--strict", "--", *COMMAND]) == 0


def test_an_audit_counts_it(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    script = tmp_path / "train.sh"
    script.write_text(f"torchrun --nproc-per-node 1 pretrain_gpt.py {' '.join(COMMAND)}\n", encoding="utf-8")
    pair = ["--megatron-lm", "0.17.1", "--bridge", "0.3.1"]
    assert main(["audit", str(script), *pair, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["unproven"] == {"0.17.1 to 0.3.1": 1}
    assert main(["audit", str(script), *pair, "--strict"]) == 1


@pytest.mark.parametrize("asked", ["0.6", "0.6.0", "0.6.1"])
def test_the_nearest_bridge_of_a_series_is_said(asked: str) -> None:
    t = translated("0.16.1", asked)
    assert t.versions.bridge == "0.6.2"
    notes = [finding.message for finding in t.findings if finding.kind == "assumed-version"]
    assert notes == [
        f"Bridge 0.6.2 is assumed: {asked} is asked for, and of its series the settings of 0.6.2 are known"
    ]
    assert not [finding for finding in translated("0.16.1", "0.6.2").findings if finding.kind == "assumed-version"]


@pytest.mark.parametrize("asked", ["0.19", "0.19.2", "core_v0.19.0", "v0.19.1", "core_v0.19.0rc3"])
def test_the_nearest_megatron_lm_of_a_series_is_said(asked: str) -> None:
    t = translated(asked, "0.6.2")
    assert t.versions.megatron == "0.19.0"
    notes = [finding.message for finding in t.findings if finding.kind == "assumed-version"]
    said = {"0.19.2": "0.19.2", "v0.19.1": "0.19.1"}.get(asked)
    assert notes == (
        [f"Megatron-LM 0.19.0 is assumed: of the series of {said} its arguments are known"] if said else []
    )
    with pytest.raises(ValueError, match=r"no catalog of Megatron-LM core_v0\.10\.0; there are 0\.11\.0"):
        translated("core_v0.10.0", "0.6.2")


def test_what_is_installed_is_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "version", lambda distribution="megatron_bridge": "0.5.0")
    assert pairs.bridge_version(None) == "0.5.1"
    (note,) = pairs.about_bridge(None, "0.5.1")
    assert "0.5.0 is installed" in note.message
    monkeypatch.setattr(installed, "version", lambda distribution="megatron_bridge": None)
    assert pairs.bridge_version(None) == PROVEN.bridge


def test_the_command_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["versions"]) == 0
    text = capsys.readouterr().out
    assert main(["versions", "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["default"] == {"megatron_lm": PROVEN.megatron, "bridge": PROVEN.bridge}
    for pair, entry in zip(PAIRS, data["pairs"], strict=True):
        assert (entry["megatron_lm"], entry["bridge"], entry["status"]) == (*pair.versions, pair.status)
        assert entry["core"] == schemas.load(pair.versions.bridge).core
        assert pair.evidence in text
        assert (entry["defaults"] == 0) == (pair.status != "unknown")
