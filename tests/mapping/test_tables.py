"""Every row of every table is true: one test id per row, named by its file and line."""

from __future__ import annotations

import pytest

from bridge_args.bridge import schema as schemas
from bridge_args.mapping import check, table
from bridge_args.mapping.rows import Row
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.versions import Versions

VERSIONS = Versions("0.16.1", "0.3.1")
TABLE = table.load(VERSIONS)
CATALOG = catalogs.load(VERSIONS.megatron)
SCHEMA = schemas.load(VERSIONS.bridge)


@pytest.mark.parametrize("row", TABLE.rows.values(), ids=lambda row: f"{row.area}.yaml:{row.line} {row.argument}")
def test_row(row: Row) -> None:
    assert list(check.check_row(row, TABLE, CATALOG, SCHEMA)) == []


@pytest.mark.parametrize("argument", CATALOG.arguments, ids=lambda argument: argument.dest)
def test_every_argument_has_a_row(argument: catalogs.Argument) -> None:
    if argument.requires == "nvidia_kitchen":
        assert argument.dest not in TABLE.rows  # a plain Megatron-LM does not have it
    else:
        assert argument.dest in TABLE.rows


def test_builders_read_exactly_what_rows_hand_them() -> None:
    assert list(check.check_builders(TABLE)) == []


def test_no_path_is_written_twice() -> None:
    assert list(check.check_paths(TABLE)) == []


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
