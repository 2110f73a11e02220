"""The recorded command lines that Megatron-LM accepts, translated; by default every few of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

import recorded

import bridge_args
from bridge_args.mapping.translation import Translation

PAIRS: Final = {"0.16.1": "0.3.1", "0.19.0": "0.6.2"}


def lines(version: str) -> list[dict[str, Any]]:
    """Those that are accepted."""
    rows = recorded.command_lines(version)
    return [row for row in rows if row["result"]["accepted"] or row["result"].get("accepted_after_dropping")]


def sample(variable: str, step: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Version and line: all of them where the environment says ``VARIABLE=all``, else every ``step``-th."""
    step = 1 if os.environ.get(variable) == "all" else step
    for version in PAIRS:
        for row in lines(version)[::step]:
            yield version, row


def argv(row: dict[str, Any]) -> list[str]:
    return list(row["result"].get("argv_after_dropping") or row["case"]["argv"])


def translated(version: str, row: dict[str, Any], words: list[str] | None = None) -> Translation:
    return bridge_args.translate(
        argv(row) if words is None else words,
        world_size=row["case"]["world_size"],
        env=row["case"].get("env") or {},
        program=row["case"].get("entry") or "pretrain_gpt.py",
        megatron_lm=version,
        bridge=PAIRS[version],
    )
