"""Every row of every table is true: one test id per row, named by its file and line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from small import SMALL

import bridge_args
from bridge_args.bridge import schema as schemas
from bridge_args.mapping import check, table
from bridge_args.mapping.rows import Row
from bridge_args.mapping.sections.registry import WRITES
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.versions import Versions

VERSIONS = Versions("0.16.1", "0.3.1")
TABLE = table.load(VERSIONS)
CATALOG = catalogs.load(VERSIONS.megatron)
SCHEMA = schemas.load(VERSIONS.bridge)


NEWEST = Versions(catalogs.versions()[-1], schemas.versions()[-1])
NEWEST_TABLE = table.load(NEWEST)


def name_of(row: Row) -> str:
    return f"{row.area}.yaml:{row.line} {row.argument}"


@pytest.mark.parametrize("row", TABLE.rows.values(), ids=name_of)
def test_row(row: Row) -> None:
    assert list(check.check_row(row, TABLE, CATALOG, SCHEMA)) == []


@pytest.mark.parametrize("row", NEWEST_TABLE.rows.values(), ids=name_of)
def test_row_for_the_newest_pair(row: Row) -> None:
    newest = catalogs.load(NEWEST.megatron), schemas.load(NEWEST.bridge)
    assert list(check.check_row(row, NEWEST_TABLE, *newest)) == []


def test_a_setting_of_a_later_bridge_needs_no_condition() -> None:
    later = b"title: t\nabout: a\narguments: {moe_latent_size: model.moe_latent_size, lr: optimizer.learning_rate}"
    old, new = (table.from_files([("moe", later)], Versions("0.16.1", bridge)).rows for bridge in ("0.2.2", "0.3.1"))
    row = old["moe_latent_size"]
    assert (row.fate, row.to, row.line) == ("no_equivalent", (), 3)
    assert row.reason == "Bridge 0.2.2 has no setting for it; Bridge 0.3.1 has."
    assert row.see == ("megatron.bridge.models.gpt_provider.GPTModelProvider moe_latent_size",)
    assert new["moe_latent_size"].to == ("model.moe_latent_size",)
    assert list(check.check_row(row, TABLE, CATALOG, schemas.load("0.2.2"))) == []
    # One that no version has is a mistake, and stays one.
    assert "does not have" in next(check.check_row(old["lr"], TABLE, CATALOG, schemas.load("0.2.2")))


def test_a_setting_that_only_a_later_bridge_has_is_lost() -> None:
    words = (*SMALL, "--num-experts", "4", "--moe-latent-size", "8")
    t = bridge_args.translate(words, 1, "0.16.1", "0.2.2")
    (lost,) = (finding for finding in t.losses if "moe_latent_size" in finding.arguments)
    assert lost.message.startswith(
        "--moe-latent-size = 8 is lost: Bridge 0.2.2 has no setting for it; Bridge 0.3.1 has."
    )


@pytest.mark.parametrize("argument", CATALOG.arguments, ids=lambda argument: argument.dest)
def test_every_argument_has_a_row(argument: catalogs.Argument) -> None:
    if argument.requires == "nvidia_kitchen":
        assert argument.dest not in TABLE.rows  # a plain Megatron-LM does not have it
    else:
        assert argument.dest in TABLE.rows


def test_builders_read_exactly_what_rows_hand_them() -> None:
    assert list(check.check_builders(TABLE, CATALOG, SCHEMA)) == []


def test_no_path_is_written_twice() -> None:
    assert list(check.check_paths(TABLE, CATALOG)) == []


@pytest.mark.parametrize("bridge", [version for version in schemas.versions() if version != "0.2.2"])
def test_every_known_bridge_has_what_rows_and_builders_write(bridge: str) -> None:
    assert check.check(Versions("0.16.1", bridge)) == []


def test_builders_write_what_they_say() -> None:
    """Every recorded meaning of a row is reached by settings that the builders have declared."""
    pinned = Path(__file__).with_name("rows.expected").read_text()
    by_row = {path for row in TABLE.rows.values() for path in row.to}
    declared = {path for writes in WRITES.values() for path in (*writes.always, *writes.if_there)}
    written = set(re.findall(r"[ ,:] ?([a-z_]+(?:\.[a-z_0-9]+)?)=", pinned))
    assert {path for path in written if "." in path or path in SCHEMA.sections} - by_row - declared == set()


def test_literals_are_settings() -> None:
    found = {path for _, path in check.literals()}
    assert {"dataset.blend", "checkpoint.save"} <= found and len(found) > 50
    assert list(check.check_literals()) == []


def test_the_checker_sees_what_is_wrong() -> None:
    wrong = Row("moe_router_topk", "to", to=("model.moe_router_top_k",), area="moe", line=41)
    (problem,) = check.check_row(wrong, TABLE, CATALOG, SCHEMA)
    assert problem.startswith(
        "mappings/moe.yaml:41: moe_router_topk goes to model.moe_router_top_k, which Bridge 0.3.1"
    )
    assert "near: moe_router_topk" in problem

    exchanged = Row("decoupled_lr", "to", to=("optimizer.decoupled_min_lr",), area="scheduler", line=7)
    assert "another name" in next(check.check_name(exchanged))

    lost = Row("lr", "no_equivalent", reason="because", area="x", line=1)
    assert len(list(check.check_row(lost, TABLE, CATALOG, SCHEMA))) == 2

    feeding = Row("lr", "feeds", feeds=("kv_channels",), area="x", line=1)
    assert "does not read lr" in next(check.check_row(feeding, TABLE, CATALOG, SCHEMA))


def test_the_reference_lists_the_arguments_of_its_version_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from bridge_args.dev import docs

    newer = Row("mtp_use_repeated_layer", "no_equivalent", reason="Newer.", area="model", line=1)
    monkeypatch.setattr(docs.tables, "load", lambda versions: TABLE.with_rows([newer]))
    text = docs.reference(VERSIONS)
    assert "`mtp_num_layers`" in text and "mtp_use_repeated_layer" not in text
