"""Laws of the parser, on made-up command lines; argparse is the judge."""

from __future__ import annotations

import argparse
import sys
from functools import lru_cache

import pytest
from argparse_judge import judged, parser_of
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.catalog import Argument
from bridge_args.megatron_lm.converters import converter_of, words_of
from bridge_args.megatron_lm.parse import Given, parse
from bridge_args.script.command import read_command, world_size_of

MEGATRON = catalogs.load("0.16.1")
FLAGS = sorted(MEGATRON.by_flag)
SPECIAL = [flag for flag in FLAGS if MEGATRON.by_flag[flag].type not in (None, "int", "float", "str")]
SPECIAL += [flag for flag in FLAGS if MEGATRON.by_flag[flag].nargs is not None]
JUDGED = pytest.mark.skipif(sys.version_info >= (3, 12), reason="the judge is argparse of Python 3.10 and 3.11")

flags = st.one_of(st.sampled_from(FLAGS), st.sampled_from(SPECIAL))
numbers = st.one_of(
    st.integers(-10, 10**6).map(str),
    st.floats(allow_nan=True).map(str),
    st.sampled_from(
        ["-1", "-.5", "-1.", "-1e-5", "1_0", " 3 ", "+4", "0x10", "-1\n", "-٣", "1.0", "١٢", "1,2", "(1,2)"]
    ),
)
# Short, and no "**": the judge evaluates what it is given.
patterns = st.text("[[]](),+*0123", max_size=11).filter(lambda text: "**" not in text)
near_flags = st.builds(
    lambda flag, cut, dashes: dashes + flag[2:][: len(flag) - 2 - cut],
    st.sampled_from(FLAGS),
    st.integers(0, 2),
    st.sampled_from(["--", "-", "—", ""]),
)
odd = st.sampled_from(["", "-", "--", "---", "-h", "--help", "-hq", "--x y", "-x y", "true", "=", "--=", "-=1", "full"])
words = st.one_of(flags, flags, numbers, patterns, near_flags, odd, st.text(max_size=8))
attached = st.builds(
    "{}={}".format, st.one_of(flags, near_flags), st.one_of(numbers, patterns, odd, st.text(max_size=8))
)


def _listed(argument: Argument) -> list[str]:
    return [str(word) for word in words_of(argument) or ()]


@st.composite
def typed_well(draw: st.DrawFn) -> list[str]:
    """A flag with values of its kind, as a user would write them."""
    flag = draw(flags)
    argument = MEGATRON.by_flag[flag]
    if argument.action != "store":
        return [flag]
    count = (
        argument.nargs if isinstance(argument.nargs, int) else 1 if argument.nargs is None else draw(st.integers(0, 3))
    )
    listed = _listed(argument)
    if listed:
        value: st.SearchStrategy[str] = st.sampled_from(listed)
    elif argument.type == "int":
        value = st.integers(-5, 4096).map(str)
    elif argument.type == "float":
        value = st.floats(0, 1).map(str)
    else:
        value = st.sampled_from(["1", "2,1", "[1]*3", "a", "/data/x", "-7"])
    values = [draw(value) for _ in range(count)]
    if count == 1 and draw(st.booleans()):
        return [f"{flag}={values[0]}"]
    return [flag, *values]


def _flat(pieces: list[list[str]]) -> list[str]:
    return [word for piece in pieces for word in piece]


valid = st.lists(typed_well(), max_size=12).map(_flat)
nearly_valid = st.lists(st.one_of(typed_well(), typed_well(), words.map(lambda word: [word])), max_size=10).map(_flat)
garbage = st.lists(st.one_of(words, attached), max_size=8)


@lru_cache(maxsize=None)
def judge() -> argparse.ArgumentParser:
    return parser_of(MEGATRON)


def read(argv: list[str]) -> Given:
    return parse(argv, MEGATRON, versions_with=lambda flag: {})


@JUDGED
@settings(max_examples=300, deadline=None)
@given(st.one_of(valid, nearly_valid, garbage))
def test_accepts_and_means_what_argparse_does(argv: list[str]) -> None:
    expected = judged(judge(), argv)
    if expected is not None and any(
        value == [] and MEGATRON.by_flag[MEGATRON.flags_of(dest)[0]].nargs is None for dest, value in expected.items()
    ):
        expected = None  # "--flag=--": the documented difference
    result = read(argv)
    assert bool(result.findings) == (expected is None)
    if expected is not None:
        assert repr(result.values) == repr(expected)


@JUDGED
@settings(max_examples=300, deadline=None)
@given(patterns)
def test_patterns_mean_what_python_says(text: str) -> None:
    expected = judged(judge(), [f"--moe-layer-freq={text}"])
    result = read([f"--moe-layer-freq={text}"])
    assert (None if result.findings else repr(result.values)) == (None if expected is None else repr(expected))


@settings(max_examples=200, deadline=None)
@given(garbage)
def test_every_finding_marks_words_of_the_user(argv: list[str]) -> None:
    result = read(argv)
    assert result.typed.keys() == result.values.keys()
    for finding in result.findings:
        assert finding.level == "error"
        assert finding.message
        assert finding.excerpt is not None
        assert 0 <= finding.excerpt.start <= finding.excerpt.end <= len(finding.excerpt.text)


@settings(max_examples=200, deadline=None)
@given(valid)
def test_the_last_occurrences_alone_say_the_same(argv: list[str]) -> None:
    result = read(argv)
    if result.findings:
        return
    again: list[str] = []
    for typed in sorted(result.typed.values(), key=lambda typed: typed.index):
        again += [argv[index] for index in range(typed.index, typed.last + 1)]
    assert repr(sorted(read(again).values.items())) == repr(sorted(result.values.items()))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SPECIAL), st.text(max_size=12))
def test_a_converter_returns_or_raises_value_error(flag: str, text: str) -> None:
    try:
        converter_of(MEGATRON.by_flag[flag])(text)
    except ValueError:
        pass


LAUNCHERS = [
    "torchrun --nproc-per-node 8 --nnodes 2 pretrain_gpt.py",
    "A=1 srun -N2 -n 16 python -u pretrain_gpt.py",
    "nsys profile -o out --trace cuda,nvtx torchrun --nproc_per_node=8 --nnodes=2 /opt/megatron/pretrain_gpt.py",
    "python -m torch.distributed.launch --nproc_per_node 16 pretrain_gpt.py",
]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(LAUNCHERS), garbage)
def test_a_launcher_leaves_the_arguments_as_they_are(launcher: str, argv: list[str]) -> None:
    command = read_command([*launcher.split(), *argv])
    assert [word.text for word in command.argv] == argv
    assert command.program is not None
    assert command.program.endswith("pretrain_gpt.py")
    assert world_size_of(command) == 16
    assert not command.findings


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(words, st.sampled_from(" ".join(LAUNCHERS).split() + ["env", "bash", "-c", "uv", "mpirun"]))))
def test_any_words_can_be_taken_apart(argv: list[str]) -> None:
    command = read_command(argv)
    tail = [word.text for word in command.argv]
    assert "bash" in argv or tail == argv[len(argv) - len(tail) :]
    size = world_size_of(command)
    assert size is None or size > 0
