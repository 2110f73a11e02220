"""Megatron-LM's own configuration container beside the one that the installed Bridge validates, field by field.

Every recorded command line of the Megatron-LM of this Bridge is compared. Where the two differ, the cause is known
(``mappings/notes/container.yaml``), and no cause is kept that no command line needs. The second half asks a checkout.
"""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
from typing import Any, Final, NamedTuple

import pytest
from recorded import CONTAINERS, WITH_CONTAINER, command_lines, containers

import bridge_args
from bridge_args.bridge import installed
from bridge_args.checkout import ask
from bridge_args.cli.main import main
from bridge_args.pairs.pairs import megatron_version
from bridge_args.verify import container
from bridge_args.versions import Versions

SERIES: Final = (installed.version() or "").rpartition(".")[0]
PAIR: Final = Versions(WITH_CONTAINER[SERIES], f"{installed.version()}") if SERIES in WITH_CONTAINER else None
of_a_pair = pytest.mark.skipif(
    PAIR is None or importlib.util.find_spec("torch") is None, reason="Bridge 0.5 or 0.6 is not installed"
)
RECIPE: Final = "configs: {}\nmatchers: {}\n"


class Found(NamedTuple):
    """Of one command line: how many fields were compared, and which differ; or what stands in the way."""

    compared: int
    differing: list[tuple[str, str, str, int | None]]  # path, the two values, the place of the cause in its file
    problem: str = ""


def in_a_fork(row: dict[str, Any], recipe: str, answers: Any) -> None:
    """Validation prints, and some of it leaves marks in Megatron Core; both end with this process."""
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    try:
        answers.put((row["id"], compare(row, recipe)))
    except Exception as error:  # whatever it is, it is the outcome
        answers.put((row["id"], Found(0, [], f"{type(error).__name__}: {error}")))


def compare(row: dict[str, Any], recipe: str) -> Found:
    assert PAIR is not None
    case = row["case"]
    t = bridge_args.translate(
        [recipe if word.endswith("te_quant.cfg") else word for word in case["argv"]],
        world_size=case["world_size"],
        env=case.get("env") or {},
        program=case["entry"],
        megatron_lm=PAIR.megatron,
        bridge=PAIR.bridge,
    )
    theirs = containers(PAIR.megatron)[row["id"]]
    ours, why = container.bridge_fields(t)
    assert not why
    known = container.all_causes()
    return Found(
        sum(not container.is_unknown(value) for value in theirs.values()),
        [
            (one.path, str(one.megatron), str(one.bridge), known.index(one.cause) if one.cause else None)
            for one in container.differences(theirs, ours, t)
        ],
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    assert PAIR is not None
    recipe = tmp_path_factory.mktemp("recipe") / "te_quant.cfg"  # a file that command lines name
    recipe.write_text(RECIPE)
    rows = [row for row in command_lines(PAIR.megatron) if row["result"]["accepted"]]
    compare(rows[0], str(recipe))  # imports once, here
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    made: dict[str, Found] = {}
    for row in rows:
        process = context.Process(target=in_a_fork, args=(row, str(recipe), answers))
        process.start()
        name, outcome = answers.get(timeout=120)
        process.join()
        made[name] = outcome
    return made


@of_a_pair
def test_every_line_is_compared(found: dict[str, Found]) -> None:
    assert PAIR is not None
    assert {name: one.problem for name, one in found.items() if one.problem} == {}
    assert set(found) == set(containers(PAIR.megatron))
    print(f"{len(found)} command lines, {sum(one.compared for one in found.values())} fields")
    assert all(one.compared > 250 for one in found.values())


@of_a_pair
def test_every_difference_has_a_cause(found: dict[str, Found]) -> None:
    unknown = {
        f"{name} {path}": f"Megatron-LM {megatron}, Bridge {bridge}"
        for name, one in found.items()
        for path, megatron, bridge, cause in one.differing
        if cause is None
    }
    assert unknown == {}


@of_a_pair
def test_every_cause_has_a_difference(found: dict[str, Found]) -> None:
    assert PAIR is not None
    met = {(path, cause) for one in found.values() for path, _, _, cause in one.differing}
    known = container.all_causes()
    kept = {(path, known.index(cause)) for path, causes in container.causes(PAIR).items() for cause in causes}
    assert sorted(kept - met) == []


# ---------------------------------------------------------------- a checkout is asked

CHECKOUT: Final = os.environ.get("MEGATRON_LM_CHECKOUT", "")
SMALL: Final = (
    "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 32 "
    "--micro-batch-size 1 --train-iters 10 --lr 1e-3 --mock-data --tokenizer-type NullTokenizer --vocab-size 100"
).split()
of_a_checkout = pytest.mark.skipif(
    not CHECKOUT or megatron_version(CHECKOUT) < "0.18",
    reason="MEGATRON_LM_CHECKOUT is not set, or has no container",
)


@of_a_checkout
@pytest.mark.parametrize("program", ["pretrain_gpt.py", "pretrain_hybrid.py"])
def test_a_checkout_answers_what_was_recorded(program: str) -> None:
    """Its own code, asked without GPUs and without process groups, makes the recorded containers."""
    version = megatron_version(CHECKOUT)
    recorded = containers(version) if version in CONTAINERS else {}
    rows = [row for row in command_lines(version) if row["id"] in recorded and row["case"]["entry"] == program]
    rows = [row for row in rows if not any(word.endswith("te_quant.cfg") for word in row["case"]["argv"])]
    if not rows:
        pytest.skip(f"no container of {version} was recorded")
    cases = [
        ask.Case(
            tuple(row["case"]["argv"]),
            row["case"]["world_size"],
            row["case"]["env"],
            tuple(row["case"].get("device_capability") or (9, 0)),
        )
        for row in rows
    ]
    wrong = {}
    for row, answer in zip(rows, ask.effective(CHECKOUT, cases, program, container=True), strict=True):
        for path, value in recorded[row["id"]].items():
            if not container.is_unknown(value) and not container.alike(value, answer["container"].get(path)):
                wrong[f"{row['id']} {path}"] = (value, answer["container"].get(path))
    assert wrong == {}


@of_a_checkout
def test_diff_compares_containers(capsys: pytest.CaptureFixture[str]) -> None:
    # Without the Bridge of the pair, what the translation writes is compared.
    bridge = PAIR.bridge if PAIR else "0.6.2"
    words = ["diff", "--container", "--megatron-lm", CHECKOUT, "--bridge", bridge, "--world-size", "2"]
    status = main([*words, "--format", "json", "--", *SMALL, "--log-num-zeros-in-grad"])
    told = json.loads(capsys.readouterr().out)
    unknown = {one["path"]: one for one in told["differing"] if one["cause"] is None}
    assert told["validated"] == (PAIR is not None)
    assert bool(told["why"]) == (PAIR is None)
    assert told["compared"] > (250 if PAIR else 25)
    assert status == (1 if unknown else 0)
    # what the two have under other names, or keep for later
    if PAIR is not None:
        assert "scheduler.lr_decay_steps" in {one["path"] for one in told["differing"]}
    if megatron_version(CHECKOUT) in CONTAINERS:
        assert unknown == {}


@of_a_checkout
def test_diff_names_a_field_that_nobody_knows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bridge = PAIR.bridge if PAIR else "0.6.2"
    both = container.bridge_fields

    def with_one_wrong(t: Any) -> tuple[dict[str, Any], str]:
        fields, why = both(t)
        return {**fields, "train.micro_batch_size": 7}, why

    monkeypatch.setattr(container, "bridge_fields", with_one_wrong)
    words = ["diff", "--container", "--megatron-lm", CHECKOUT, "--bridge", bridge, "--world-size", "2"]
    assert main([*words, "--", *SMALL]) == 1
    out, err = capsys.readouterr()
    assert "train.micro_batch_size: Megatron-LM 1, Bridge 7" in out.splitlines()
    assert "without a known cause" in err
