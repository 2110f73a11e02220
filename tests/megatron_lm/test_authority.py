"""On what derivations and checks rest: places in Megatron-LM, versions that were read, and what changed since."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from bridge_args.dev import authority
from bridge_args.dev.__main__ import main
from bridge_args.dev.layout import as_text
from bridge_args.dev.new_version import changes, text, work_list
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm import derive
from bridge_args.megatron_lm.derive.registry import REGISTERED, Authority, Check, Step, checks, unread
from bridge_args.megatron_lm.resolvers import of_checkout
from bridge_args.megatron_lm.resolvers.overlay import NOT_ASKED

assert derive.__doc__  # imported for what it registers

CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")
ON_FILE = authority.read_file()
VERSION = of_checkout.version_of(CHECKOUT) if CHECKOUT else "0.16.1"
SEEN = sorted({see for step in REGISTERED if step.holds(VERSION) for see in step.authority.see})


@pytest.mark.parametrize("step", REGISTERED, ids=lambda step: step.place)
def test_every_function_says_where_it_can_be_verified(step: Step) -> None:
    assert step.authority.see and step.authority.read
    assert all(re.fullmatch(r"[\w/]+\.py::\w+(\.\w+)*", see) for see in step.authority.see)
    assert step.function.__doc__ and not re.search(r"\bSee\b", step.function.__doc__)
    assert not step.authority.until or "<" not in step.authority.when, "an end that is known needs no other bound"


@pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout")
@pytest.mark.parametrize("see", SEEN)
def test_what_is_named_is_in_megatron_lm(see: str) -> None:
    assert authority.definition(Path(CHECKOUT), see) is not None


@pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout")
def test_the_file_says_what_was_read() -> None:
    assert main(["authority", CHECKOUT, "--check"]) == 0


@pytest.mark.parametrize("step", REGISTERED, ids=lambda step: step.place)
def test_what_was_read_is_on_file(step: Step) -> None:
    for series in step.authority.read:
        (version,) = [known for known in ON_FILE if known.startswith(f"{series}.")]
        # where a rule has gone, its function may have gone too
        needed = () if step.authority.is_gone(version) else step.authority.see
        assert set(needed) <= set(ON_FILE[version])


def test_the_file_is_laid_out_as_it_is_written() -> None:
    assert as_text({"versions": ON_FILE}) == authority.FILE.read_text(encoding="utf-8")


def test_what_no_checkout_is_asked_is_what_checks_rest_on() -> None:
    assert {see for step in REGISTERED if isinstance(step, Check) for see in step.authority.see} >= NOT_ASKED


def places_of_later_stops(step: Step) -> Iterator[str]:
    """The places that a check's messages name, as far as they are written in its module."""
    tree = ast.parse(dedent(inspect.getsource(step.function)))
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "later":
            said = call.args[3]
            for branch in (said.body, said.orelse) if isinstance(said, ast.IfExp) else (said,):
                if isinstance(branch, ast.Name) and branch.id not in step.function.__globals__:
                    continue
                yield eval(compile(ast.Expression(branch), "place", "eval"), step.function.__globals__)


def test_messages_name_the_places_that_checks_rest_on() -> None:
    found = [(step, place) for step in REGISTERED for place in places_of_later_stops(step)]
    assert len(found) > 30
    for step, place in found:
        see = "megatron/core/" + place.replace(" ", "::")
        assert any(known.startswith(see) for known in step.authority.see), f"{step.place}: {place}"


RULE = Authority(("a.py::f",), ">=0.14, <0.17", "0.18", ("0.15", "0.16"))


@pytest.mark.parametrize(
    ("version", "holds", "before", "gone", "read", "unread"),
    [
        ("0.13.1", False, True, False, False, False),
        ("0.14.0", True, False, False, False, True),
        ("0.15.3", True, False, False, True, False),
        ("0.16", True, False, False, True, False),
        ("0.17.1", False, False, False, False, True),
        ("0.18.2", False, False, True, False, False),
        ("main-2026-08-22", False, False, True, False, False),
    ],
)
def test_gone_is_not_unread(version: str, holds: bool, before: bool, gone: bool, read: bool, unread: bool) -> None:
    assert RULE.holds(version) is holds
    assert RULE.is_before(version) is before
    assert RULE.is_gone(version) is gone
    assert RULE.was_read(version) is read
    assert RULE.is_unread(version) is unread


def test_a_rule_without_a_condition_holds_and_is_unread_where_nobody_looked() -> None:
    rule = Authority(("a.py::f",))
    assert rule.holds("0.11.0") and rule.holds("main-2026-08-22")
    assert not rule.is_unread("0.16.0") and rule.is_unread("0.17.1") and rule.is_unread("main-2026-08-22")
    assert rule.is_unread("1") and not rule.is_gone("1")  # a version of one number is of the series 1.0


def test_unread() -> None:
    names = {version: {step.name for step in unread(version)} for version in catalogs.versions()}
    read = ("0.16.1", "0.17.1", "0.18.2", "0.19.0", "main-2026-08-22")
    assert {version: len(names[version]) for version in read} == dict.fromkeys(read, 0)
    assert {"dispatcher", "heads"} <= names["0.14.0"] & names["0.15.3"]
    assert "mtp_hsm" not in names["0.15.3"]  # it came later
    assert list(unread("0.15.3")) == [step for step in REGISTERED if step.authority.is_unread("0.15.3")]


def test_the_words_of_a_decorator_reach_the_register() -> None:
    def rule(lr: float) -> Any:
        yield from ()

    try:
        checks(">=0.15", see="a.py::f", until="0.20", read=("0.15",))(rule)
        assert REGISTERED[-1].authority == Authority(("a.py::f",), ">=0.15", "0.20", ("0.15",))
        assert REGISTERED[-1].see == ("a.py f",)
    finally:
        REGISTERED.pop()


# Digests ------------------------------------------------------------------------------------------------------------


def digest_of(source: str) -> str:
    return authority.digest(ast.parse(source).body[0])


ONE = "def f(a, b=None):\n    'What it does.'\n    if a > 1:  # why\n        return [b, 'x']\n"


@pytest.mark.parametrize(
    "same",
    [
        "def f(a, b=None):\n    if a > 1:\n        return [b, 'x']\n",
        'def f(\n    a,\n    b = None,\n):\n    """Another."""\n    if (a > 1):\n\n        return [\n b,\n "x",\n]',
    ],
    ids=["without its docstring and comment", "laid out in another way"],
)
def test_what_does_the_same_has_the_same_digest(same: str) -> None:
    assert digest_of(ONE) == digest_of(same)


@pytest.mark.parametrize(
    ("old", "new"),
    [("a > 1", "a > 2"), ("a > 1", "a >= 1"), ("a > 1", "a > True"), ("b=None", "b=0"), ("b=None", "b"), ("'x'", "y")],
)
def test_what_does_another_thing_has_another_digest(old: str, new: str) -> None:
    assert ONE.count(old) == 1
    assert digest_of(ONE) != digest_of(ONE.replace(old, new))


# A checkout ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    core = tmp_path / "megatron" / "core"
    core.mkdir(parents=True)
    (core / "a.py").write_text(
        "try:\n    import x\nexcept ImportError:\n    def late(): return 1\n"
        "class A:\n    if True:\n        def f(self): return 1\n    class B:\n        def g(self): return 2\n"
    )
    (core / "moved.py").write_text("class A:\n    def gone(self): return 3\n")
    (core / "broken.py").write_text("def gone(:\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "there"),
    [("late", True), ("A", True), ("A.f", True), ("A.B.g", True), ("g", False), ("A.gone", False), ("f", False)],
)
def test_definitions(checkout: Path, name: str, there: bool) -> None:
    found = authority.definition(checkout, f"megatron/core/a.py::{name}")
    assert (found is not None and found.name == name.rpartition(".")[2]) is there


def test_a_file_that_is_not_there_or_no_python_defines_nothing(checkout: Path) -> None:
    assert authority.definition(checkout, "megatron/core/none.py::f") is None
    assert authority.definition(checkout, "megatron/core/broken.py::gone") is None


def step_on(*see: str, read: tuple[str, ...] = ("0.16",), until: str = "") -> Step:
    def rule(lr: float) -> Any:
        yield from ()

    return Check(rule, Authority(see, "", until, read))


def test_what_changed_is_told_from_what_is_gone(checkout: Path) -> None:
    same, changed, gone = (f"megatron/core/a.py::{name}" for name in ("late", "A.f", "A.gone"))
    now = authority.digests(checkout, [same, changed, gone])
    assert set(now) == {same, changed}
    on_file = {"0.16.1": {same: now[same], changed: "0" * 16, gone: "1" * 16}}
    steps = [step_on(same, changed), step_on(gone), step_on(gone, read=("0.19",)), step_on(gone, until="0.18")]
    found = {one.see: one for one in authority.compared(checkout, "0.19.0", on_file, steps)}
    assert {see: one.state for see, one in found.items()} == {same: "same", changed: "changed", gone: "gone"}
    assert found[gone].elsewhere == ("megatron/core/moved.py",)
    assert found[gone].steps == (steps[1],)
    assert {one.since for one in found.values()} == {"0.16.1"}


def test_each_function_is_compared_with_the_newest_version_that_was_read_for_it(checkout: Path) -> None:
    see = "megatron/core/a.py::A.f"
    now = authority.digests(checkout, [see])[see]
    on_file = {"0.16.1": {see: "0" * 16}, "0.17.1": {see: now}, "0.19.0": {see: "2" * 16}}
    old, new = step_on(see), step_on(see, read=("0.16", "0.17"))
    found = {one.since: (one.state, one.steps) for one in authority.compared(checkout, "0.18.2", on_file, [old, new])}
    assert found == {"0.16.1": ("changed", (old,)), "0.17.1": ("same", (new,))}


# The work-list ------------------------------------------------------------------------------------------------------


def test_changes_of_arguments() -> None:
    def of(*arguments: dict[str, Any]) -> catalogs.Catalog:
        entries = [{"group": "", **argument} for argument in arguments]
        data = {"version": "9", "ref": "", "commit": "", "program_defaults": {}, "arguments": entries}
        return catalogs.from_data(data)

    before = of({"flags": ["--a"], "dest": "a", "type": "int", "default": 1}, {"flags": ["--b"], "dest": "b"})
    after = of(
        {"flags": ["--a", "--aa"], "dest": "a", "type": "float", "default": 1.5, "choices": [1.5]},
        {"flags": ["--b"], "dest": "b", "group": "another"},
        {"flags": ["--c"], "dest": "c"},
    )
    (change,) = changes(before, after)
    assert change.argument == "a"
    assert change.differs == {
        "flags": (("--a",), ("--a", "--aa")),
        "default": (1, 1.5),
        "type": ("int", "float"),
        "choices": (None, (1.5,)),
    }


@pytest.fixture
def unread_step() -> Iterator[Step]:
    """A function that nobody has compared with any version but 0.16."""
    step = step_on("megatron/training/arguments.py::validate_args")
    REGISTERED.append(step)
    yield step
    REGISTERED.remove(step)


def test_work_list(checkout: Path, unread_step: Step) -> None:
    work = work_list(catalogs.load("0.17.1"), checkout)
    assert (work.version, work.against) == ("0.17.1", "0.16.1")
    removed = {one.argument: one for one in work.removed}
    assert "derive/moe.py expert_overlap" in removed["moe_use_legacy_grouped_gemm"].reads
    assert {one.argument for one in work.added} == {
        name for name in catalogs.load("0.17.1").defaults if name not in catalogs.load("0.16.1").defaults
    }
    assert {one.argument for one in work.added if not one.has_row} <= set(work.without_row)
    changed = {one.argument: one.differs for one in work.changed}
    assert changed["moe_hybridep_num_sms"] == {"default": (16, None)}
    assert {one.state for one in work.compared} == {"gone"}
    told = "\n".join(text(work))
    assert "  --lion-beta1 = 0.95\n" in told
    assert "  --moe-hybridep-num-sms\n    default: 16 -> None\n" in told
    assert "megatron/training/arguments.py::validate_args: gone since 0.16.1\n    derive/" in told
    data = json.loads(json.dumps(work.data()))
    assert data["unread"] == [step.place for step in unread("0.17.1")] == [unread_step.place]
    assert data["untouched"] == []
    assert len(data["authority"]) == len(work.compared)


@pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout")
def test_what_rests_on_unchanged_functions_is_told_apart() -> None:
    """The checkout under another name: nobody has read that version, and nothing in it has changed."""
    read = [step for step in REGISTERED if step.authority.was_read(VERSION) and step.holds(VERSION)]
    on_file = {name: digests for name, digests in ON_FILE.items() if name == VERSION}
    found = list(authority.compared(Path(CHECKOUT), "0.99.0", on_file, read))
    assert len(found) > 70 and {one.state for one in found} == {"same"}


def test_a_version_that_nobody_read_is_not_written(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = authority.FILE.read_bytes()
    assert main(["authority", str(checkout), "--name", "0.99.0"]) == 1
    assert "no function of ours says that 0.99.0 was read" in capsys.readouterr().err
    assert main(["authority", str(checkout)]) == 1
    assert "does not say which version it is" in capsys.readouterr().err
    assert authority.FILE.read_bytes() == before
