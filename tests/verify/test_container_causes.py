"""Two configuration containers are compared: what is the same value, and when a cause is one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from recorded import CONTAINERS, WITH_CONTAINER, containers

import bridge_args
from bridge_args.cli.main import main
from bridge_args.verify import container, container_page
from bridge_args.versions import Versions

WORDS = (
    "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 64 "
    "--position-embedding-type rope --micro-batch-size 1 --train-iters 10 --lr 1e-3 --mock-data "
    "--tokenizer-type NullTokenizer --vocab-size 100 --save-retain-interval 5"
).split()


@pytest.fixture(scope="module")
def t() -> Any:
    return bridge_args.translate(WORDS, world_size=1, megatron_lm="0.19.0", bridge="0.6.2")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param(1, 1.0, True, id="a whole number"),
        pytest.param(1, True, False, id="a number and a switch"),
        pytest.param(None, False, False, id="nothing and off"),
        pytest.param([], None, False, id="no items and nothing"),
        pytest.param([1, [2]], [1, [2]], True, id="lists"),
        pytest.param([1], [1, 2], False, id="a list and its beginning"),
        pytest.param({"$partial": "a.b", "kwargs": {}}, {"$partial": "a.c", "kwargs": {}}, False, id="functions"),
        pytest.param({"$float": "inf"}, {"$float": "inf"}, True, id="infinity"),
    ],
)
def test_the_same_value(one: Any, other: Any, same: bool) -> None:
    assert container.alike(one, other) == same


@pytest.mark.parametrize(
    ("path", "megatron", "beside", "known"),
    [
        pytest.param("tokenizer.pad_vocab_size", True, {"tokenizer.pad_vocab_size": False}, True, id="both values"),
        pytest.param("tokenizer.pad_vocab_size", False, {"tokenizer.pad_vocab_size": True}, False, id="other values"),
        pytest.param("model.seq_length", 64, {"model.seq_length": 32}, True, id="two arguments"),
        pytest.param("model.seq_length", 64, {"model.seq_length": 16}, False, id="not the argument"),
        pytest.param(
            "logger.log_num_zeros_in_grad",
            True,
            {"logger.log_num_zeros_in_grad": False, "optimizer.log_num_zeros_in_grad": True},
            True,
            id="under another name",
        ),
        pytest.param(
            "logger.log_num_zeros_in_grad",
            True,
            {"logger.log_num_zeros_in_grad": False, "optimizer.log_num_zeros_in_grad": False},
            False,
            id="under no name",
        ),
        pytest.param(
            "checkpoint.save_retain_interval", 5, {"checkpoint.save_retain_interval": None}, True, id="a loss is told"
        ),
        pytest.param(
            "checkpoint.verify_integrity", True, {"checkpoint.verify_integrity": False}, False, id="no loss is told"
        ),
        pytest.param("model.hidden_size", 64, {}, False, id="no such setting"),
    ],
)
def test_a_cause_holds_as_far_as_it_says(t: Any, path: str, megatron: Any, beside: dict[str, Any], known: bool) -> None:
    (one,) = container.differences({path: megatron}, beside, t)
    assert (one.path, one.megatron, one.bridge) == (path, megatron, beside.get(path, container.NONE))
    assert (one.cause is not None) == known
    line = f"{path}: Megatron-LM "
    (text,) = container_page.lines(container.Comparison(t.versions, True, 1, (one,)))
    assert text.startswith(line) and (one.cause is None or text.endswith(one.cause.because))


def test_what_only_files_tell_is_not_compared(t: Any) -> None:
    assert not list(container.differences({"model.vocab_size": {"$unresolved": "a file"}}, {}, t))


@pytest.mark.parametrize("cause", container.all_causes(), ids=lambda cause: cause.fields[0])
def test_a_cause_is_told_in_a_sentence_about_fields_that_there_are(cause: container.Cause) -> None:
    assert re.fullmatch(r"[A-Z].+[.]", cause.because)
    assert cause.see
    fields = {path for version in CONTAINERS for row in containers(version).values() for path in row}
    assert set(cause.fields) <= fields
    pairs = [Versions(megatron, f"{series}.0") for series, megatron in WITH_CONTAINER.items()]
    assert any(cause in container.causes(pair).get(cause.fields[0], ()) for pair in pairs)


def test_without_bridge_the_translation_is_compared(t: Any) -> None:
    fields = container.decided_fields(t)
    assert fields["model.num_layers"] == 2
    assert not any(path.endswith("_target_") for path in fields)


def test_only_a_checkout_has_a_container(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "--container", "--megatron-lm", "0.19.0", "--", *WORDS]) == 1
    assert "name one with --megatron-lm CHECKOUT" in capsys.readouterr().err
