"""What ``modernize`` makes of a version's own functional tests: the newer program takes it, and makes the same run.

``MEGATRON_LM_OLD`` names a checkout whose command lines are moved, ``MEGATRON_LM_CHECKOUT`` a newer one. Each is asked
once, with its own parser and ``validate_args``.
"""

from __future__ import annotations

import os
from typing import Any
from unittest.mock import patch

import pytest
from functional import functional_tests

from bridge_args.checkout import ask
from bridge_args.emit.releases import of_run
from bridge_args.errors import UserError
from bridge_args.mapping.translation import Translation
from bridge_args.modernize import move
from bridge_args.modernize.plan import Plan
from bridge_args.pairs.pairs import megatron_version
from bridge_args.source.source import Source
from bridge_args.steps import Asked, translated
from bridge_args.words import as_words

OLD, NEW = os.environ.get("MEGATRON_LM_OLD", ""), os.environ.get("MEGATRON_LM_CHECKOUT", "")
pytestmark = pytest.mark.skipif(not (OLD and NEW), reason="MEGATRON_LM_OLD and MEGATRON_LM_CHECKOUT are not set")


def test_functional_tests_of_the_older_one() -> None:
    moved: list[tuple[str, Source, int, Plan]] = []
    told: dict[str, str] = {}
    for name, source, ranks in functional_tests(OLD):
        asked = Asked(megatron_version(OLD), world_size=ranks, env=source.environment or {})
        try:
            moved.append((name, source, ranks, move.of_source(source, asked, megatron_version(NEW))))
        except UserError as error:
            told[name] = str(error).splitlines()[0]
    old = ask.effective(OLD, [_case(source, ranks, None) for _, source, ranks, _ in moved])
    new = ask.effective(NEW, [_case(source, ranks, plan.argv) for _, source, ranks, plan in moved])
    wrong: dict[str, Any] = {}
    same = 0
    for (name, source, ranks, plan), before, after in zip(moved, old, new, strict=True):
        if "error" in before:
            told[name] = before["error"]["message"]
            continue
        if "error" in after:
            if not plan.refused:
                wrong[name] = after["error"]["message"]
            told[name] = f"{after['error']['message']} ({len(plan.refused)} told)"
            continue
        found = of_run(
            _translation(source, ranks, OLD, before, None), _translation(source, ranks, NEW, after, plan.argv)
        )
        listed = {left.argument for left in plan.left} | plan.said_otherwise
        differing = [(one.argument, one.before, one.after) for one in found.values if one.argument not in listed]
        if differing:
            wrong[name] = differing
        same += plan.is_same_run
    print(f"{len(moved)} moved, {same} the same run; told: {len(told)}")
    for name, why in told.items():
        print(f"  {name}: {why}")
    assert wrong == {}
    assert same > len(moved) / 2


def _case(source: Source, ranks: int, argv: list[str] | None) -> ask.Case:
    words = tuple(word.text for word in source.command.argv) if argv is None else tuple(argv)
    return ask.Case(words, ranks, source.environment or {})


def _translation(
    source: Source, ranks: int, checkout: str, answer: dict[str, Any], argv: list[str] | None
) -> Translation:
    if argv is not None:
        source = source._replace(command=source.command._replace(argv=as_words(argv)))
    asked = Asked(checkout, world_size=ranks, env=source.environment or {})
    with patch.object(ask, "effective", lambda *_, **__: [answer]):
        return translated(source, asked)
