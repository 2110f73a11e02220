"""Words -> Given: argparse is the judge of what is accepted; the texts said to the user are pinned here."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time

import pytest
from argparse_judge import judged, parser_of
from recorded import command_lines

from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm import fork_flags
from bridge_args.megatron_lm.catalog import Argument, Catalog
from bridge_args.megatron_lm.parse import parse
from bridge_args.megatron_lm.retired_flags import INSTEAD, RETIRED
from bridge_args.words import Place, Word, as_words

MEGATRON = catalogs.load("0.16.1")

# argparse 3.12 and later treat "--" and negative numbers in other ways; Megatron-LM is measured with 3.10 and 3.11.
JUDGED = pytest.mark.skipif(sys.version_info >= (3, 12), reason="the judge is argparse of Python 3.10 and 3.11")


def values(line: str) -> dict[str, object]:
    given = parse(shlex.split(line), MEGATRON)
    assert not given.findings
    return given.values


def said(line: str, catalog: Catalog = MEGATRON) -> list[str]:
    return [f"{f.message}; {f.remedy}" if f.remedy else f.message for f in parse(shlex.split(line), catalog).findings]


ACCEPTED = {
    "nothing": "",
    "a number": "--num-layers 12",
    "attached with =": "--num-layers=12",
    "attached and empty": "--save=",
    "= inside the value": "--save=a=b",
    "last one wins": "--num-layers 12 --num-layers=24",
    "negative whole number": "--seed -5",
    "negative decimal": "--lr -.5",
    "negative with exponent, attached": "--lr=-1e-5",
    "an exponent": "--lr 1e-5",
    "underscores and blanks in a number": "--num-layers ' 1_000 '",
    "infinity": "--lr inf",
    "a word with a space may start with a dash": "--save '-a b'",
    "a word with a space may start with two": "--save '--some path'",
    "an unknown option with a space is a value": "--save '--path=a b'",
    "a dash alone": "--save -",
    "an empty value": "--save ''",
    "several values": "--data-path 0.3 a 0.7 b",
    "several values, one attached": "--data-path=a",
    "no values where none are needed": "--data-path --bf16",
    "exactly three": "--rampup-batch-size 16 8 1000",
    "switch on": "--bf16",
    "switch that stores false": "--no-bias-gelu-fusion",
    "two spellings": "--no-log-loss-scale-to-tensorboard --disable-bias-linear",
    "on and off": "--rl-skip-bos-token --no-rl-skip-bos-token",
    "bool of text": "--onnx-safe False",
    "bool of nothing": "--onnx-safe ''",
    "enum by name": "--attention-backend flash",
    "enum with a second name": "--exit-signal SIGCLD",
    "graph scopes": "--cuda-graph-scope attn moe_router",
    "graph scope full": "--cuda-graph-scope full",
    "frequency": "--moe-layer-freq 2",
    "frequency as a list": "--moe-layer-freq ([0]*3+[1]*27)",
    "list of all it allows": "--moe-layer-freq [*[0,1],(2)]+[[1,2][0]]*2+[2**3,+1]",
    "not a list": "--moe-layer-freq [3][0]",
    "a tuple after all": "--linear-attention-freq ([1],2)",
    "window": "--window-size (1024,0)",
    "window, bare": "--window-size 1024,0",
    "dest shared by two flags": "--inference-max-requests 8 --inference-max-batch-size 4",
    "-- attached to a list": "--data-path=--",
    "non-ASCII digits": "--num-layers ٣",
}


@JUDGED
@pytest.mark.parametrize("line", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted_as_argparse_does(line: str) -> None:
    expected = judged(parser_of(MEGATRON), shlex.split(line))
    assert expected is not None
    assert repr(values(line)) == repr(expected)


REFUSED = {
    "unknown flag": ("--DDP-impl local", "unknown-argument"),
    "abbreviation": ("--num-attention-head 8", "unknown-argument"),
    "value for a switch": ("--bf16 true", "stray-word"),
    "value attached to a switch": ("--bf16=true", "bad-value"),
    "nothing attached to a switch": ("--bf16=", "bad-value"),
    "stray word": ("train --bf16", "stray-word"),
    "stray empty word": ("--bf16 ''", "stray-word"),
    "stray negative number": ("--bf16 -1", "stray-word"),
    "no value": ("--lr", "missing-value"),
    "no value before a flag": ("--lr --bf16", "missing-value"),
    "no value before --": ("--lr -- 3", "missing-value"),
    "an exponent makes it an option": ("--lr -1e-5", "missing-value"),
    "too few values": ("--rampup-batch-size 16 8", "missing-value"),
    "three values cannot be attached": ("--rampup-batch-size=16 8 1000", "missing-value"),
    "needs at least one": ("--cuda-graph-scope", "missing-value"),
    "too many values": ("--lr 1 2", "stray-word"),
    "not a whole number": ("--hidden-size 512.0", "bad-value"),
    "not a number": ("--lr fast", "bad-value"),
    "not a choice": ("--normalization BatchNorm", "bad-value"),
    "choice among several": ("--moe-router-load-balancing-type aux_loss random", "bad-value"),
    "not a member": ("--attention-backend xformers", "bad-value"),
    "not a scope": ("--cuda-graph-scope attn embedding", "bad-value"),
    "letters in a pattern": ("--moe-layer-freq [1,0,x]", "bad-value"),
    "unbalanced pattern": ("--moe-layer-freq ([1]", "bad-value"),
    "pattern that multiplies lists": ("--moe-layer-freq [1]*[2]", "bad-value"),
    "pattern that calls": ("--moe-layer-freq [1](2)", "bad-value"),
    "pattern out of range": ("--moe-layer-freq [1][2]", "bad-value"),
    "window in brackets": ("--window-size [1,2]", "bad-value"),
    "--": ("--bf16 --", "stray-word"),
    "flags after --": ("-- --bf16", "stray-word"),
    "flag of kitchen": ("--kitchen-recipe-number 1", "unknown-argument"),
    "help": ("--help", "invalid-command-line"),
    "short help with a tail": ("-hx", "invalid-command-line"),
}


@JUDGED
@pytest.mark.parametrize(("line", "kind"), REFUSED.values(), ids=REFUSED)
def test_refused_as_argparse_does(line: str, kind: str) -> None:
    assert judged(parser_of(MEGATRON), shlex.split(line)) is None
    findings = parse(shlex.split(line), MEGATRON).findings
    assert findings[0].kind == kind
    assert all(finding.level == "error" for finding in findings)


def test_double_dash_as_the_value_of_one() -> None:
    # argparse accepts this and stores [] for a whole number; the one place where bridge_args refuses more.
    assert judged(parser_of(MEGATRON), ["--num-layers=--"]) == {"num_layers": []} or sys.version_info >= (3, 12)
    assert said("--num-layers=--") == ['--num-layers expects a whole number, not "--"']


@pytest.mark.parametrize("pattern", ["[0]*99999999999", "[9**9**9**9]", "[0]*1000*1000*1000", "(" * 5000 + "[0]"])
def test_a_pattern_that_would_eat_the_machine(pattern: str) -> None:
    given = parse(["--moe-layer-freq", pattern], MEGATRON)
    assert [finding.kind for finding in given.findings] == ["bad-value"]


def test_a_pattern_with_a_term_for_each_of_many_layers() -> None:
    given = parse(["--moe-layer-freq", "+".join(["[1]"] * 700)], MEGATRON)
    assert given.values == {"moe_layer_freq": [1] * 700}


MESSAGES = {
    "whole number": ("--moe-router-topk 2x", '--moe-router-topk expects a whole number, not "2x"'),
    "number": ("--lr fast", '--lr expects a number, not "fast"'),
    "choice": (
        "--normalization rmsnorm",
        '--normalization expects one of LayerNorm, RMSNorm, not "rmsnorm"; did you mean RMSNorm?',
    ),
    "pattern": (
        "--moe-layer-freq [1,0,x]",
        '--moe-layer-freq expects a whole number or a list such as "([0]*3+[1]*27)", not "[1,0,x]"',
    ),
    "no value": ("--lr --bf16", "--lr expects a value and has none"),
    "two of three": ("--rampup-batch-size 1 2", "--rampup-batch-size expects 3 values and has 2"),
    "negative exponent": (
        "--lr -1e-5",
        "--lr expects a value and has none; "
        "write --lr=-1e-5, because a word that starts with a dash is read as an option",
    ),
    "true": ("--bf16 true", '--bf16 is a switch and does not take "true"; write --bf16 alone'),
    "false": ("--bf16 false", '--bf16 is a switch and does not take "false"; leave --bf16 out to have it off'),
    "=true": ("--bf16=true", "--bf16 is a switch and takes no value; write --bf16 alone"),
    "misspelled": (
        "--moe-router-topkk 2",
        "--moe-router-topkk is not an argument of Megatron-LM 0.16.1; did you mean --moe-router-topk?",
    ),
    "abbreviated": (
        "--num-attention-head 8",
        "--num-attention-head is not an argument of Megatron-LM 0.16.1; did you mean --num-attention-heads?",
    ),
    "underscores": (
        "--num_layers 8",
        "--num_layers is not an argument of Megatron-LM 0.16.1; did you mean --num-layers?",
    ),
    "one dash": ("-num-layers 8", "-num-layers is not an argument of Megatron-LM 0.16.1; did you mean --num-layers?"),
    "typographic dash": (
        "–num-layers 8",
        '"–num-layers" belongs to no argument; write --num-layers: the dash in front is not the one on the keyboard',
    ),
    "of a later version": (
        "--cuda-graph-modules attn",
        "--cuda-graph-modules is not an argument of Megatron-LM 0.16.1; "
        "only Megatron-LM 0.18.2 to main-2026-08-22 has it",
    ),
    "of another framework": (
        "--deepspeed",
        "--deepspeed is not an argument of Megatron-LM 0.16.1; leave it out: Megatron-LM does not use DeepSpeed; "
        "it is a flag of Megatron-DeepSpeed",
    ),
    "of nobody": (
        "--my-own",
        "--my-own is not an argument of Megatron-LM 0.16.1; leave it out; no Megatron-LM version known here has it",
    ),
    "of two forks": (
        "--use-tutel",
        "--use-tutel is not an argument of Megatron-LM 0.16.1; it is a flag of Megatron-DeepSpeed and "
        "Pai-Megatron-Patch; leave it out if you can do without",
    ),
    "of a fork, with another name here": (
        "--rope-theta 1",
        "--rope-theta is not an argument of Megatron-LM 0.16.1; write --rotary-base; it is a flag of MindSpeed",
    ),
    "of old, with a successor": (
        "--activations-checkpoint-method uniform",
        "--activations-checkpoint-method is not an argument of Megatron-LM 0.16.1; write --recompute-method with "
        "--recompute-granularity full; Megatron-LM had it until March 2022",
    ),
    "of old, with nothing lost": (
        "--DDP-impl local",
        "--DDP-impl is not an argument of Megatron-LM 0.16.1; leave it out: 'local' is the only one now; "
        "Megatron-LM had it until September 2023",
    ),
    "of a package": (
        "--kitchen-recipe-number 1",
        "--kitchen-recipe-number is not an argument of Megatron-LM 0.16.1; "
        "Megatron-LM has it only where nvidia-kitchen is installed",
    ),
    "--": ("--bf16 -- a b", "Megatron-LM's parser refuses -- and everything after it; leave the -- out"),
}


@pytest.mark.parametrize(("line", "text"), MESSAGES.values(), ids=MESSAGES)
def test_message(line: str, text: str) -> None:
    assert said(line) == [text]


def test_a_flag_of_earlier_versions() -> None:
    gone = [
        flag
        for argument in catalogs.load("0.15.3").arguments
        for flag in argument.flags
        if flag not in MEGATRON.by_flag and not MEGATRON.flags_of(argument.dest)
    ]
    assert gone
    [text] = said(gone[0])
    instead = re.escape(INSTEAD[gone[0]])
    assert re.match(rf"{gone[0]} is not an argument of Megatron-LM 0.16.1; {instead}; only Megatron-LM 0\.", text)
    assert text.endswith("0.15.3 had it")


def test_a_renamed_flag_names_its_successor() -> None:
    old = Argument(flags=("--layers",), dest="num_layers", type="int")
    given = parse(["--layers", "3"], MEGATRON, versions_with=lambda flag: {"0.11.0": old})
    assert given.findings[0].remedy == "write --num-layers; only Megatron-LM 0.11.0 had it"


def test_other_catalogs_are_not_read_without_need() -> None:
    def asked(flag: str) -> dict[str, Argument]:
        raise AssertionError(flag)

    assert parse(["--num-layers", "x", "--bf16", "y"], MEGATRON, versions_with=asked).findings


def test_all_problems_together_each_under_the_users_words() -> None:
    words = [
        Word(text, Place("train.sh", line))
        for line, row in enumerate(["--moe-router-topk 2x", "--num-layer 12", "--bf16 true", "--lr=fast"], 14)
        for text in row.split()
    ]
    shown = [str(finding) for finding in parse(words, MEGATRON).findings]
    assert shown == [
        'train.sh:14: --moe-router-topk expects a whole number, not "2x"\n'
        "    --moe-router-topk 2x --num-layer 12\n"
        "                      ^^",
        "train.sh:15: --num-layer is not an argument of Megatron-LM 0.16.1; did you mean --num-layers?\n"
        "    --moe-router-topk 2x --num-layer 12 --bf16\n"
        "                         ^^^^^^^^^^^",
        'train.sh:16: --bf16 is a switch and does not take "true"; write --bf16 alone\n'
        "    12 --bf16 true --lr=fast\n"
        "              ^^^^",
        'train.sh:17: --lr expects a number, not "fast"\n    --bf16 true --lr=fast\n                     ^^^^',
    ]


def test_where_an_argument_was_typed() -> None:
    given = parse([Word("--lr=1", Place("a.sh", 1)), Word("--data-path"), Word("a"), Word("b")], MEGATRON)
    assert given.typed["lr"].values == (0,)
    assert given.typed["data_path"].index == 1
    assert given.typed["data_path"].values == (2, 3)
    assert given.place("lr") == Place("a.sh", 1)
    excerpt = given.excerpt("data_path")
    assert excerpt is not None
    assert excerpt.text[excerpt.start : excerpt.end] == "--data-path a b"
    assert given.excerpt("bf16") is None


def _catalog(*arguments: Argument) -> Catalog:
    return Catalog(version="1.0", ref="", commit="", program_defaults={}, arguments=arguments)


# What argparse can do and no catalog of today needs.
RARE = _catalog(
    Argument(("--add",), "add", action="append", type="int", default=[7]),
    Argument(("--maybe",), "maybe", nargs="?", type="int", const=5),
    Argument(("--this",), "this", exclusive=0),
    Argument(("--that",), "that", action="store_true", exclusive=0),
    Argument(("-3",), "three", action="store_true"),
)


@JUDGED
@pytest.mark.parametrize(
    "line",
    ["--maybe", "--maybe 3", "--maybe=3", "--maybe x", "--this a", "--that --this a", "--this a --this b", "-3"]
    + ["--maybe -4", "--maybe -3", "--this -1.5"],
)
def test_rare_actions(line: str) -> None:
    given = parse(line.split(), RARE, versions_with=lambda flag: {})
    expected = judged(parser_of(RARE), line.split())
    assert (None if given.findings else given.values) == expected


def test_append_starts_from_the_default() -> None:
    assert parse("--add 1 --add 2".split(), RARE).values == {"add": [7, 1, 2]}


def test_arguments_that_exclude_each_other() -> None:
    [finding] = parse("--this a --that".split(), RARE).findings
    assert finding.kind == "conflicting-arguments"
    assert finding.arguments == ("this", "that")


def test_one_string_is_not_a_list_of_words() -> None:
    with pytest.raises(TypeError):
        parse("--bf16", MEGATRON)


@JUDGED
def test_recorded_command_lines() -> None:
    """What Megatron-LM itself accepted and refused, and argparse's values for it."""
    parser = parser_of(MEGATRON)
    refused = 0
    for row in command_lines():
        argv = row["case"]["argv"]
        given = parse(argv, MEGATRON)
        result = row["result"]
        stopped = not result["accepted"] and result["error"]["stage"] == "parse"
        assert bool(given.findings) == stopped, row["id"]
        refused += stopped
        if not stopped:
            assert repr(given.values) == repr(judged(parser, argv)), row["id"]
        for flag in result.get("unknown_flags") or []:
            assert any(finding.message.startswith(f"{flag} is not") for finding in given.findings), row["id"]
    assert refused >= 37


@pytest.mark.parametrize("version", catalogs.versions())
def test_every_argument_of_every_version_can_be_typed(version: str) -> None:
    catalog = catalogs.load(version)
    samples = {"int": "1", "float": "1.5", "tuple_type": "1,2", "bool": "1"}
    argv: list[str] = []
    expected = set()
    for argument in catalog.arguments:
        if argument.requires == "nvidia_kitchen" or argument.exclusive is not None:
            continue
        expected.add(argument.dest)
        argv.append(argument.flags[-1])
        if argument.action == "store":
            listed = argument.choices or argument.members
            value = str(listed[0]) if listed else samples.get(argument.type or "", "1")
            argv += [value] * (argument.nargs if isinstance(argument.nargs, int) else 1)
    given = parse(argv, catalog)
    assert not given.findings
    assert set(given.values) == expected


def test_sixty_words_are_read_in_well_under_a_millisecond() -> None:
    words = as_words(
        "--num-layers 32 --hidden-size 4096 --num-attention-heads 32 --seq-length 4096 --lr 1e-4 --min-lr=1e-5 "
        "--bf16 --swiglu --normalization RMSNorm --position-embedding-type rope --attention-backend flash "
        "--max-position-embeddings 4096 --data-path 0.5 a 0.5 b --split 99,1,0 --tokenizer-type NullTokenizer "
        "--vocab-size 32000 --micro-batch-size 1 --global-batch-size 128 --train-iters 1000 --weight-decay 0.1 "
        "--clip-grad 1.0 --tensor-model-parallel-size 8 --sequence-parallel --group-query-attention "
        "--num-query-groups 8 --use-distributed-optimizer --log-interval 1 --disable-bias-linear --seed 42".split()
    )
    parse(words, MEGATRON)
    best = min(_seconds(words) for _ in range(20))
    assert best < 0.001  # about 0.00014 s on a laptop core


def _seconds(words: tuple[Word, ...]) -> float:
    start = time.perf_counter()
    assert not parse(words, MEGATRON).findings
    return time.perf_counter() - start


def test_reading_a_command_line_imports_no_torch() -> None:
    code = (
        "import sys; from bridge_args.megatron_lm import catalog, parse; "
        "parse.parse(['--num-layer', '3'], catalog.load('0.16.1')); print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


OLD_AND_OF_FORKS = {**{flag: instead for flag, (_, instead) in RETIRED.items()}, **fork_flags._INSTEAD}


@pytest.mark.parametrize("flag", OLD_AND_OF_FORKS)
def test_what_is_advised_can_be_written(flag: str) -> None:
    """Old flags and those of forks are in no catalog; every flag that is named instead is in this version's."""
    assert all(flag not in catalogs.load(version).by_flag for version in catalogs.versions())
    named = re.findall(r"(?<!\w)--[\w-]+", OLD_AND_OF_FORKS[flag])
    assert [name for name in named if name not in catalogs.load("0.16.1").by_flag] == []


def test_every_advice_about_a_fork_is_about_a_flag_of_one() -> None:
    assert all(fork_flags.remedy_of(flag) for flag in fork_flags._INSTEAD)
    assert not any(fork_flags.remedy_of(flag) for flag in RETIRED)
