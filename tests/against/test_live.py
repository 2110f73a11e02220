"""The live resolver against the built-in one; set MEGATRON_LM_CHECKOUT to a Megatron-LM checkout.

All recorded command lines of its version are asked, where there are any, and those of our examples. The checkout's own
functional tests are translated where it has them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import pytest
from changed_rules import EXAMPLES
from functional import functional_tests
from recorded import command_lines
from small import SMALL

import bridge_args
from bridge_args.checkout import ask
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.changed_rules import RULES
from bridge_args.megatron_lm.parse import parse
from bridge_args.megatron_lm.resolvers import of_checkout
from bridge_args.megatron_lm.run import Run
from bridge_args.pairs.pairs import megatron_version
from bridge_args.source.read import from_file
from bridge_args.versions import Versions

ROOT = Path(__file__).resolve().parents[2]
CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")
pytestmark = pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT is not set")
PROGRAMS = ("pretrain_gpt.py", "pretrain_mamba.py")


class Recorded(NamedTuple):
    name: str
    argv: tuple[str, ...]
    world_size: int
    env: dict[str, str]
    program: str = "pretrain_gpt.py"
    capability: tuple[int, int] = (9, 0)


def recorded() -> Iterator[Recorded]:
    """Every recorded command line, and those with the flags left out that the version lacks."""
    for row in command_lines(megatron_version(CHECKOUT)):
        case, result = row["case"], row["result"]
        major, minor = case.get("device_capability") or (9, 0)
        lines = [case["argv"], *([result["argv_after_dropping"]] if result.get("argv_after_dropping") else [])]
        for argv in lines:
            yield Recorded(row["id"], tuple(argv), case["world_size"], case["env"], case["entry"], (major, minor))


def own_examples() -> Iterator[Recorded]:
    for script in sorted((ROOT / "examples").rglob("*.sh")):
        if "torchrun" not in script.read_text(encoding="utf-8"):
            continue
        source = from_file(str(script))
        t = bridge_args.translate(source.command, env=source.environment)
        yield Recorded(script.name, t.words, t.world_size, {"CUDA_DEVICE_MAX_CONNECTIONS": "1", **t.environment})


@pytest.mark.parametrize("program", PROGRAMS)
def test_both_resolvers_agree(program: str) -> None:
    version = megatron_version(CHECKOUT)
    cases = [case for case in (*recorded(), *own_examples()) if case.program == program]
    if not cases:
        pytest.skip(f"no command line of {program}")
    catalog = catalogs.load(version)
    answers = ask.effective(
        CHECKOUT, [ask.Case(case.argv, case.world_size, case.env, case.capability) for case in cases], program
    )
    compared = of_checkout.compare(
        [
            (
                parse(case.argv, catalog),
                Run(Versions(version, "0.3.1"), catalog, case.world_size, case.env, program=program),
            )
            for case in cases
        ],
        answers,
    )
    differing = {case.name: list(map(str, found[2])) for case, found in zip(cases, compared, strict=True) if found[2]}
    print(f"{program}: {len(cases) - len(differing)} of {len(cases)} agree")
    assert differing == {}


def test_its_catalog_is_ours() -> None:
    version = of_checkout.version_of(CHECKOUT)
    if version not in catalogs.versions():
        pytest.skip(f"there is no catalog of {version}")
    ours, theirs = catalogs.load(version), of_checkout.catalog_of(CHECKOUT, "pretrain_gpt.py")
    here = {flag for flag, argument in ours.by_flag.items() if argument.requires != "nvidia_kitchen"}
    assert set(theirs.by_flag) == here
    for flag in here:
        assert theirs.by_flag[flag].default == ours.by_flag[flag].default or flag == "--inprocess-active-world-size"


def test_words_that_mean_something_else_in_another_version() -> None:
    """The rules of changed_rules.py, of which this version has the old or the new meaning."""
    version = megatron_version(CHECKOUT)
    catalog = catalogs.load(version)
    runs = [
        Run(Versions(version, "0.6.2"), catalog, 1, {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}, program=PROGRAMS[0])
        for _ in EXAMPLES
    ]
    given = [parse(example.argv(SMALL, example.words), catalog) for example in EXAMPLES]
    cases = [ask.Case(tuple(word.text for word in one.words), 1, dict(runs[0].env or {})) for one in given]
    found = of_checkout.compare(list(zip(given, runs, strict=True)), ask.effective(CHECKOUT, cases))
    known, differing = [], {}
    for rule, one, (_, theirs, different) in zip(RULES, given, found, strict=True):
        if not one.findings:
            known += [name for name in rule.values if name in theirs]
            wrong = [str(one) for one in different if one.argument in (*rule.values, "(accepted)")]
            differing |= {rule.says: wrong} if wrong else {}
    print(f"{len(known) - len(differing)} of {len(known)} values agree")
    assert known and differing == {}


def test_its_functional_tests_are_translated() -> None:
    """What the checkout accepts is translated; what it refuses is an error, in its words or ours."""
    tests = list(functional_tests(CHECKOUT))
    if not tests:
        pytest.skip("the checkout has no functional tests")
    cases = [
        ask.Case(tuple(word.text for word in source.command.argv), ranks, source.environment or {})
        for _, source, ranks in tests
    ]
    answers = ask.effective(CHECKOUT, cases)
    wrong: dict[str, list[str]] = {}
    accepted = 0
    for (name, source, ranks), answer in zip(tests, answers, strict=True):
        with patch.object(ask, "effective", lambda *_, answer=answer, **__: [answer]):  # one start for all
            t = bridge_args.translate(
                source.command, world_size=ranks, megatron_lm=CHECKOUT, env=source.environment or {}
            )
        errors = [str(error) for error in t.errors if error.kind != "bridge-rejects"]
        if bool(errors) != ("error" in answer):
            wrong[name] = errors or ["accepted, though the checkout stops"]
        if "error" in answer:
            print(f"refused by the checkout: {name}: {answer['error']['message']}")
        else:
            accepted += 1
            assert bridge_args.to_yaml(t)
            assert bridge_args.to_run_config(t)["model"]
    print(f"{accepted} of {len(tests)} accepted and translated")
    assert wrong == {}
    assert accepted > len(tests) / 2
