"""Rules that differ between versions of Megatron-LM; ``against/test_later_rules.py`` asks the checkouts."""

from __future__ import annotations

import pytest
from derive_cases import argv, errors, meaning
from later_rules import ASKED, ENV, OLDER, OLDER_RULES, RULES, Rule

from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.parse import parse

CASES = [
    pytest.param(rule, version, id=f"{name}: {version}")
    for rules, versions in ((RULES, ASKED), (OLDER_RULES, OLDER))
    for name, rule in rules.items()
    for version in versions
    if not any(f.level == "error" for f in parse(argv(rule.words, "--bf16"), catalogs.load(version)).findings)
]


@pytest.mark.parametrize(("rule", "version"), CASES)
def test_refused_by_the_versions_that_have_the_rule(rule: Rule, version: str) -> None:
    found = errors(meaning(rule.words, without="--bf16", env=ENV, version=version))
    if version in rule.refused:
        assert any(rule.says in text for text in found), found
    else:
        assert not found


def test_every_rule_reaches_a_version() -> None:
    assert {id(case.values[0]) for case in CASES} == {id(rule) for rule in (*RULES.values(), *OLDER_RULES.values())}
