"""to_argv: parsing what is written gives the same values."""

from __future__ import annotations

from typing import Any

import pytest
from by_hand import VERSIONS, translation
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_args.emit.argv import to_argv
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.parse import parse

CATALOG = catalogs.load(VERSIONS.megatron)


def values(words: list[str]) -> dict[str, Any]:
    return parse(words, CATALOG).values


@pytest.mark.parametrize(
    ("words", "written"),
    [
        ("--num-layers 4 --num-layers 8", "--num-layers 8"),
        ("--hidden-size=64 --num-layers 4", "--num-layers 4 --hidden-size 64"),
        ("--lr 0.0001 --lr 1E-5", "--lr 1e-05"),
        ("--no-save-optim --bf16", "--bf16 --no-save-optim"),
        ("--data-path 0.3 a 0.7 b", "--data-path 0.3 a 0.7 b"),
        ("--attention-backend flash", "--attention-backend flash"),
        ("--moe-layer-freq ([0]*1+[1]*2)", "--moe-layer-freq ([0]*1+[1]*2)"),
        ("--norm-epsilon=-1e-5", "--norm-epsilon=-1e-5"),
        ("--seed -1", "--seed=-1"),
        ("--persistent-save-interval 7", "--save-interval 7"),
        ("--no-such-flag 1 --bf16", "--bf16"),
        ("--num-layers two --bf16", "--bf16"),
        ("", ""),
    ],
)
def test_normalised(words: str, written: str) -> None:
    assert " ".join(to_argv(translation(words=words.split()))) == written


NUMBERS = st.integers(-(10**6)).map(str) | st.floats(allow_nan=False).map(repr) | st.sampled_from(["1e-5", "-.5"])
ANY = NUMBERS | st.text(max_size=5) | st.sampled_from(["-", "--", "-x y", "True", "[0,1]", "(1,2)", "flash", "nan"])


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    words: list[str] = []
    for argument in draw(st.lists(st.sampled_from(CATALOG.arguments), max_size=6)):
        flag = draw(st.sampled_from(argument.flags))
        some = ANY | st.sampled_from(argument.choices or argument.members or ("1",)).map(str)
        texts = draw(st.lists(some, max_size=3)) if argument.action == "store" else []
        if len(texts) == 1 and draw(st.booleans()):
            words.append(f"{flag}={texts[0]}")
        else:
            words += [flag, *texts]
    return words


@settings(deadline=None, max_examples=400)
@given(command_lines())
def test_parsing_gives_the_same_values(words: list[str]) -> None:
    written = to_argv(translation(words=words))
    assert repr(sorted(values(written).items())) == repr(sorted(values(words).items()))
    assert to_argv(translation(words=written)) == written


@pytest.mark.parametrize("argument", CATALOG.arguments, ids=lambda argument: argument.flags[0])
def test_every_argument(argument: catalogs.Argument) -> None:
    """Each one by its last spelling comes back under its first."""
    count = argument.nargs if isinstance(argument.nargs, int) else 1
    text = str((argument.choices or argument.members or ("1",))[-1])
    words = [argument.flags[-1], *([text] * count if argument.action == "store" else [])]
    written = to_argv(translation(words=words))
    assert values(written) == values(words)
    if argument.requires is None:
        assert argument.dest in values(words)
        assert written[0] == (argument.flags[-1] if argument.action == "BooleanOptionalAction" else argument.flags[0])


def test_a_first_spelling_for_either_side_of_a_switch() -> None:
    assert to_argv(translation(words=["--rl-partial-rollouts"])) == ["--rl-partial-rollouts"]
    assert to_argv(translation(words=["--no-rl-partial-rollouts"])) == ["--no-rl-partial-rollouts"]
