"""What changes between two versions: the parsers of both are the judges of flags, and the resolver of rules."""

from __future__ import annotations

import itertools
from typing import Final

import pytest
from argparse_judge import judged, parser_of
from changed_rules import EXAMPLES, Example
from small import SMALL

import bridge_args
from bridge_args.emit.releases import of_run
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm import unknown
from bridge_args.megatron_lm.catalog import Argument
from bridge_args.megatron_lm.changed_rules import RULES
from bridge_args.megatron_lm.parse import PRESENT
from bridge_args.megatron_lm.releases import Between, between
from bridge_args.megatron_lm.retired_flags import INSTEAD
from bridge_args.versions import number

STEPS: Final = tuple(itertools.pairwise(catalogs.versions()))
ALL_PAIRS: Final = tuple(itertools.combinations(catalogs.versions(), 2))


def of(step: tuple[str, str]) -> Between:
    return between(*map(catalogs.load, step))


def words_for(flag: str, argument: Argument) -> list[str]:
    """The flag with values that its parser takes."""
    if argument.action not in ("store", "append"):
        return [flag]
    values = argument.choices or argument.members or (("1",) if argument.type in ("int", "float") else ("text",))
    count = argument.nargs if isinstance(argument.nargs, int) else 1
    return [flag, *[str(values[0])] * count]


@pytest.mark.parametrize("step", STEPS, ids="-".join)
def test_the_newer_parser_refuses_what_is_gone_and_takes_what_is_to_be_written(step: tuple[str, str]) -> None:
    before, after = map(catalogs.load, step)
    old, new = parser_of(before), parser_of(after)
    for gone in of(step).gone:
        words = words_for(gone.flag, before.by_flag[gone.flag])
        there = judged(old, words)
        assert there is not None and judged(new, words) is None, gone.flag
        assert gone.instead, f"{gone.flag}: what is to be written instead? megatron_lm/retired_flags.py"
        if gone.renamed and gone.flag.startswith("--no-") == gone.renamed.startswith("--no-"):
            here = judged(new, [gone.renamed, *words[1:]])
            assert here is not None, f"{gone.flag} is not {gone.renamed}"
            assert list(here.values()) == list(there.values()), gone.renamed
        elif gone.instead.startswith("write --") and "," not in gone.instead:
            assert judged(new, gone.instead.split()[1:]) is not None, gone.instead


@pytest.mark.parametrize("pair", ALL_PAIRS, ids="-".join)
def test_flags_that_are_named_exist(pair: tuple[str, str]) -> None:
    """What is to be written is there in every later version that lacks the flag, and so is another way to write one."""
    found, after = of(pair), catalogs.load(pair[1])
    for one in found.gone:
        assert all(word.rstrip(",:") in after.by_flag for word in one.instead.split() if word.startswith("--")), one
    assert all({new, old} <= after.by_flag.keys() for new, old in found.spelled.items())


def test_no_flag_that_is_still_known_is_called_gone() -> None:
    newest = catalogs.load(catalogs.versions()[-1]).by_flag
    assert INSTEAD.keys().isdisjoint(newest)
    assert all(unknown.is_known(flag) for flag in INSTEAD)


@pytest.mark.parametrize("step", STEPS, ids="-".join)
def test_the_parsers_have_these_defaults(step: tuple[str, str]) -> None:
    before, after = map(catalogs.load, step)
    found = of(step)
    assert len({one.argument for one in found.defaults}) == len(found.defaults)
    for one in found.defaults:
        assert one.before != one.after == after.defaults[one.argument]
        assert one.before in (before.defaults.get(one.argument), before.by_flag.get(one.flags[0], one) and one.before)
    same = after.defaults.keys() & before.defaults.keys() - {one.argument for one in found.defaults}
    for name in same:
        assert (
            before.defaults[name] == after.defaults[name]
            or not (before.defaults[name] or after.defaults[name])
            or ("none" in (before.defaults[name], after.defaults[name]))
        ), name


@pytest.mark.parametrize("step", STEPS, ids="-".join)
def test_the_parsers_take_these_values(step: tuple[str, str]) -> None:
    """A value that both take is no difference; one that only one of them takes is told."""
    before, after = map(catalogs.load, step)
    old, new = parser_of(before), parser_of(after)
    told = {flag for one in of(step).taken for flag in one.flags}
    for flag, argument in before.by_flag.items():
        other = after.by_flag.get(flag)
        if other is None or argument.requires not in (None, *PRESENT) or other.requires not in (None, *PRESENT):
            continue
        for value in {*map(str, argument.choices or ()), *map(str, other.choices or ())} - {"None"}:
            if argument.nargs == other.nargs and not isinstance(argument.nargs, int):
                takes = [judged(parser, [flag, value]) is not None for parser in (old, new)]
                assert takes[0] == takes[1] or flag in told, f"{flag} {value}"


def test_added_are_the_flags_that_only_the_newer_version_has() -> None:
    for step in STEPS:
        before, after = map(catalogs.load, step)
        found = of(step)
        renamed = {one.renamed for one in found.gone}
        new = after.by_flag.keys() - before.by_flag.keys()
        assert {*found.added, *found.spelled, *(renamed & new)} == new
        assert set(found.added).isdisjoint(found.spelled)


def translated(example: Example, words: str, version: str) -> Translation:
    return bridge_args.translate(example.argv(SMALL, words), 1, version, "0.6.2")


def around(since: str) -> tuple[str, str]:
    """The last version before the rule, and the first that has it."""
    first = next(version for version in catalogs.versions() if number(version) >= number(since))
    return catalogs.versions()[catalogs.versions().index(first) - 1], first


def test_every_rule_has_an_example() -> None:
    assert [example.says for example in EXAMPLES] == [rule.says for rule in RULES]


@pytest.mark.parametrize("at", range(len(RULES)), ids=lambda at: f"{RULES[at].since}-{RULES[at].values[0]}")
def test_a_rule_changes_what_the_same_words_mean(at: int) -> None:
    rule, example = RULES[at], EXAMPLES[at]
    before, after = (translated(example, example.words, version) for version in around(rule.since))
    assert not [error for t in (before, after) for error in t.errors if error.kind != "bridge-rejects"]
    assert all(flag in before.catalog.by_flag or flag in after.catalog.by_flag for flag in rule.flags)
    changed = {value.argument for value in of_run(before, after).values if value.rule == rule}
    assert changed, "the same values in both versions"
    without = of_run(*(translated(example, example.without, version) for version in around(rule.since)))
    assert not changed & {value.argument for value in without.values}, "it changes without these words too"


def test_a_newer_name_on_an_older_version() -> None:
    t = bridge_args.translate([*SMALL, "--optimizer", "muon", "--muon-nesterov"], 1, "0.17.1", "0.6.2")
    (error,) = t.errors
    assert error.remedy.startswith("write --muon-use-nesterov; ")


def test_only_what_the_run_reads_is_told() -> None:
    """--moe-deepep-num-sms has another default since 0.19, which a model without experts does not read."""

    def changed(*words: str) -> set[str]:
        t = [bridge_args.translate([*SMALL, *words], 1, version, "0.6.2") for version in ("0.18.2", "0.19.0")]
        return {value.argument for value in of_run(*t).values}

    assert "moe_deepep_num_sms" not in changed()
    flex = (
        "--num-experts 4 --moe-token-dispatcher-type flex --moe-router-dtype fp32 --moe-flex-dispatcher-backend deepep"
    )
    assert "moe_deepep_num_sms" in changed(*flex.split())


def test_a_refusal_of_both_versions_is_none_of_the_change() -> None:
    words = [*SMALL, "--optimizer", "nothing", "--num-layer", "3", "--use-legacy-models", "--ckpt-format", "torch"]
    found = of_run(*(bridge_args.translate(words, 1, version, "0.6.2") for version in ("0.16.1", "0.19.0")))
    assert [finding.message for finding in found.refused] == [
        "--use-legacy-models is not an argument of Megatron-LM 0.19.0"
    ]
    assert found.accepted == ()
