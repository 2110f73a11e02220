"""Whatever words come in, nothing raises: a translation comes out, and everything it can be written as.

Two sources of words: arguments of the catalog with values that are near to right, and raw text. The number of examples
is small by default; ``BRIDGE_ARGS_FUZZ=100000`` asks for more.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bridge_args
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.catalog import Argument

EXAMPLES = int(os.environ.get("BRIDGE_ARGS_FUZZ", "150"))
BOUNDED = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES < 1000
)

# A command line that Megatron-LM accepts; what is drawn comes behind it, so that much of it gets far.
BASE = (
    "--num-layers 4 --hidden-size 64 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 32 "
    "--micro-batch-size 1 --train-iters 5 --lr 1e-3 --mock-data --eval-interval 10 "
    "--tokenizer-type NullTokenizer --vocab-size 100"
).split()

RAW = st.one_of(
    st.text(max_size=12),
    st.binary(max_size=8).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.sampled_from(["--", "-", "", "-1", "1e-5", "--=", "---", "--x=", "${A}", "'", "\x00", "nan", "-inf", "[1]*9"]),
)
NUMBERS = st.one_of(st.integers(-3, 300), st.sampled_from([0, 1, 2, 4, 8, 10**12, -(10**30)])).map(str)
FLOATS = st.one_of(st.floats().map(str), st.sampled_from(["0", "1e-5", "0.1", "inf", "nan", "1e400"]))


@lru_cache(maxsize=None)
def arguments() -> tuple[Argument, ...]:
    return catalogs.load("0.16.1").arguments


def value_of(argument: Argument) -> st.SearchStrategy[str]:
    """A value that is right, near to right, or anything."""
    fitting: list[st.SearchStrategy[str]] = [RAW]
    if argument.choices or argument.members:
        fitting = [st.sampled_from([str(choice) for choice in argument.choices or argument.members or ()])] * 5
    elif argument.type == "int":
        fitting = [NUMBERS] * 5
    elif argument.type == "float":
        fitting = [FLOATS, NUMBERS] * 3
    return st.one_of(*fitting, RAW)


@st.composite
def occurrence(draw: st.DrawFn) -> list[str]:
    """One flag with some values behind it."""
    argument = draw(st.sampled_from(arguments()))
    flag = draw(st.sampled_from(argument.flags))
    count = {None: 1, 0: 0, "+": draw(st.integers(1, 3)), "*": draw(st.integers(0, 3)), "?": 1}.get(
        argument.nargs, argument.nargs
    )
    count = 0 if argument.action in ("store_true", "store_false", "BooleanOptionalAction") else count
    values = [draw(value_of(argument)) for _ in range(int(count or 0))]
    if draw(st.integers(0, 19)) == 0:
        values = values[1:] if values else [draw(RAW)]
    if len(values) == 1 and draw(st.integers(0, 9)) == 0:
        return [f"{flag}={values[0]}"]
    return [flag, *values]


GUIDED = st.lists(occurrence(), max_size=8).map(lambda lists: [*BASE, *(word for words in lists for word in words)])


def everything_works(words: list[str], world_size: int) -> None:
    translation = bridge_args.translate(words, world_size=world_size, bridge="0.3.1")
    for finding in translation.findings:
        assert str(finding)
    assert yaml.safe_load(bridge_args.to_yaml(translation)) is not None or not translation.assignments
    bridge_args.to_overrides(translation)
    bridge_args.to_recipe(translation)
    bridge_args.to_argv(translation)
    bridge_args.report(translation, "json")
    plain(bridge_args.to_run_config(translation))


def plain(value: Any) -> None:
    """Only what YAML has words for."""
    if isinstance(value, dict):
        for key, item in value.items():
            assert isinstance(key, str)
            plain(item)
    elif isinstance(value, list):
        for item in value:
            plain(item)
    else:
        assert value is None or isinstance(value, (bool, int, float, str)), repr(value)


@BOUNDED
@given(GUIDED, st.sampled_from([1, 2, 6, 8, 64]))
def test_words_from_the_catalog(words: list[str], world_size: int) -> None:
    everything_works(words, world_size)


@BOUNDED
@given(st.lists(RAW, max_size=10), st.sampled_from([1, 8]))
def test_raw_words(words: list[str], world_size: int) -> None:
    everything_works(words, world_size)


FRONT = st.sampled_from(["torchrun", "pretrain_gpt.py", "srun", "python", "-m", "A=1"])


@BOUNDED
@given(st.lists(st.one_of(RAW, FRONT), max_size=8))
def test_raw_words_in_front(words: list[str]) -> None:
    everything_works([*words, *BASE], 1)
