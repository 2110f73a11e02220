"""What a loss changes: the numbers, speed or memory, logs and files; only the first stops a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small import SMALL

import bridge_args
from bridge_args.audit.run import audit
from bridge_args.audit.summary import has_problems, text_of
from bridge_args.bridge import schema as schemas
from bridge_args.cli.main import main
from bridge_args.drop_in.accept import refused
from bridge_args.findings import CHANGES
from bridge_args.mapping import grammar, table
from bridge_args.mapping.rows import Row, TableError
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.steps import Asked
from bridge_args.versions import Versions

PAIRS = [
    Versions(megatron, bridge) for megatron in catalogs.versions() for bridge in schemas.versions()
]  # a row may hold for some of them only

MODEL = "--use-legacy-models --ckpt-format torch"
NUMBERS = "--use-cpu-initialization"
SPEED = "--create-all-gather-group"
LOGS = "--one-logger-project mine"


def losses_of(pair: Versions) -> list[Row]:
    return [row for row in table.load(pair).rows.values() if row.fate in ("no_equivalent", "not_yet")]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.megatron} to {pair.bridge}")
def test_a_loss_that_is_said_to_be_harmless_says_where_that_can_be_seen(pair: Versions) -> None:
    assert all(row.see for row in losses_of(pair) if row.changes != "numbers")
    assert {row.changes for row in losses_of(pair)} <= set(CHANGES)


def test_losses_of_all_kinds_are_there() -> None:
    assert {row.changes for row in losses_of(PAIRS[-1])} == set(CHANGES)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("arguments:\n  lr: {feeds: min_lr, changes: speed}\n", "mappings/x.yaml:2: changes is said of"),
        ("arguments:\n  lr: {no_equivalent: No., changes: colours}\n", "changes is one of model, numbers, speed, logs"),
        ("not_needed:\n  - {because: No., arguments: [lr], changes: logs}\n", "mappings/x.yaml:2: changes is said of"),
    ],
)  # fmt: skip
def test_what_the_grammar_refuses(rows: str, said: str) -> None:
    with pytest.raises(TableError, match=said):
        grammar.read(rows, "x", PAIRS[0])


def test_rows_and_groups_may_say_it() -> None:
    text = "arguments:\n  lr: {no_equivalent: No., changes: speed}\n"
    text += "not_yet:\n  - {because: No., arguments: [a, b], changes: logs}\n"
    rows = grammar.read(text, "x", PAIRS[0]).rows
    assert [row.changes for row in rows] == ["speed", "logs", "logs"]


@pytest.mark.parametrize(("words", "changes"), [(NUMBERS, "numbers"), (SPEED, "speed"), (LOGS, "logs")])
def test_one_loss(words: str, changes: str, capsys: pytest.CaptureFixture[str]) -> None:
    stops = changes == "numbers"
    made = bridge_args.translate([*SMALL, *words.split()], world_size=1)
    (finding,) = made.losses
    assert finding.changes == changes and finding.level == "warning"
    assert finding.message.endswith(f"This changes {CHANGES[finding.changes]}.")
    assert bool(made.number_losses) == stops == bool(refused(made))
    command = ["--world-size", "1", "--", *SMALL, *words.split()]
    assert main(["translate", "--strict", *command]) == stops
    assert main(["report", "--strict", *command]) == stops
    assert main(["launch", "--dry-run", *command]) == stops
    capsys.readouterr()
    assert main(["translate", *command]) == 0
    assert f"This changes {CHANGES[finding.changes]}." in capsys.readouterr().err


def test_a_loss_that_changes_the_model_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another model would train without complaint, so no configuration is written for it."""
    words = [*SMALL, *MODEL.split()]
    made = bridge_args.translate(words, world_size=1, megatron_lm="0.16.1")
    (finding,) = made.errors
    assert (finding.kind, finding.changes, finding.arguments) == ("no-equivalent", "model", ("use_legacy_models",))
    for command in ("translate", "launch"):
        out = ["-o", str(tmp_path / "config.yaml")] if command == "translate" else ["--dry-run"]
        assert main([command, *out, "--megatron-lm", "0.16.1", "--", *words]) == 1
        assert f"error: {finding.message}" in capsys.readouterr().err
    assert not (tmp_path / "config.yaml").exists()


def test_a_setting_that_shapes_the_model_is_no_warning_where_bridge_lacks_it() -> None:
    row = table.load(Versions("0.17.1", "0.3.1")).rows["mtp_use_repeated_layer"]
    assert (row.fate, row.changes) == ("no_equivalent", "model")


def test_what_only_the_drop_in_does_is_lost_to_the_configuration(tmp_path: Path) -> None:
    """It changes every gradient, so --strict refuses it; a run that the drop-in starts loses nothing."""
    words = [*SMALL, "--position-embedding-type", "rope", "--mtp-num-layers", "1", "--eod-mask-loss"]
    t = bridge_args.translate(words, world_size=1)
    assert [finding.kind for finding in t.number_losses] == ["needs-drop-in"]
    assert not refused(t)
    assert main(["translate", "--strict", "-o", str(tmp_path / "config.yaml"), "--", *words]) == 1
    assert not (tmp_path / "config.yaml").exists()


def test_reports_say_it_in_every_format() -> None:
    made = bridge_args.translate(
        [*SMALL, *f"{MODEL} {NUMBERS} {SPEED} {LOGS}".split()], world_size=1, megatron_lm="0.16.1"
    )
    findings = json.loads(bridge_args.report(made, "json"))["findings"]
    assert {finding["changes"] for finding in findings if finding["group"] == "decide"} == set(CHANGES)
    assert all(finding["changes"] is None for finding in findings if finding["group"] != "decide")
    for format in ("text", "markdown", "html"):
        said = " ".join(bridge_args.report(made, format).split())  # type: ignore[arg-type]
        assert all(f"This changes {what}." in said for what in CHANGES.values()), format


def test_an_audit_counts_by_it(tmp_path: Path) -> None:
    start = f"torchrun --nproc-per-node 1 pretrain_gpt.py {' '.join(SMALL)}"
    (tmp_path / "a.sh").write_text(f"{start} {SPEED}\n")
    (tmp_path / "b.sh").write_text(f"{start} {SPEED} {LOGS}\n")
    harmless = audit([str(tmp_path)], Asked(), jobs=1)
    assert [entry["status"] for entry in harmless["commands"]] == ["losses", "losses"]
    assert harmless["summary"]["lost_speed"] == {SPEED: 2}
    assert harmless["summary"]["lost_logs"] == {"--one-logger-project": 1}
    assert harmless["summary"]["lost_numbers"] == {}
    assert not has_problems(harmless, strict=True)
    assert f"lost, which changes speed or memory only: {SPEED} (2)" in text_of(harmless)
    (tmp_path / "c.sh").write_text(f"{start} {NUMBERS}\n")
    harmful = audit([str(tmp_path)], Asked(), jobs=1)
    assert harmful["summary"]["lost_numbers"] == {NUMBERS: 1}
    assert has_problems(harmful, strict=True) and not has_problems(harmful, strict=False)
    assert sum(harmful["summary"]["lost"].values()) == 4


@pytest.mark.parametrize(("more", "changes"), [([], "logs"), (["--load", "/old"], "numbers")])
def test_an_old_checkpoint_format_matters_where_one_is_read(more: list[str], changes: str) -> None:
    made = bridge_args.translate([*SMALL, "--ckpt-format", "torch", "--save", "/new", *more], world_size=1)
    (finding,) = made.losses
    assert finding.arguments == ("ckpt_format",) and finding.changes == changes
