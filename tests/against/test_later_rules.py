"""Megatron-LM itself refuses what ``helpers/later_rules.py`` says that its version refuses, and accepts the rest.

``MEGATRON_LM_CHECKOUT`` names the checkout.
"""

from __future__ import annotations

import os

import pytest
from derive_cases import argv
from later_rules import ASKED, ENV, OLDER, OLDER_RULES, RULES

from bridge_args.checkout import ask
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.parse import parse
from bridge_args.pairs.pairs import megatron_version

CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")
pytestmark = pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout")


def test_the_versions_that_have_a_rule_refuse() -> None:
    version = megatron_version(CHECKOUT)
    if version not in (*ASKED, *OLDER):
        pytest.skip(f"nothing is said of Megatron-LM {version}")
    rules = OLDER_RULES if version in OLDER else RULES
    catalog = catalogs.load(version)
    words = {name: argv(f"--mock-data {rule.words}", "--bf16") for name, rule in rules.items()}
    known = [name for name in words if not any(f.level == "error" for f in parse(words[name], catalog).findings)]
    answers = ask.effective(CHECKOUT, [ask.Case(tuple(words[name]), 8, ENV) for name in known])
    wrong = {
        name: answer.get("error", {}).get("message", "accepted")
        for name, answer in zip(known, answers, strict=True)
        if ("error" in answer) != (version in rules[name].refused and version not in rules[name].built)
    }
    assert len(known) > len(rules) / 4
    assert wrong == {}
