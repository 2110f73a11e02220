"""Values that the arguments of a Megatron-LM version may have, to try the tables and the builders with.

Every choice, one value of each type, the default; and what Megatron-LM makes of them in a few runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final

from bridge_args.megatron_lm.catalog import Argument, Catalog
from bridge_args.megatron_lm.converters import converts, words_of
from bridge_args.megatron_lm.derive.registry import Derivation
from bridge_args.megatron_lm.parse import parse
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs, plan_of, resolve
from bridge_args.megatron_lm.run import Run
from bridge_args.records import Record
from bridge_args.values import to_plain
from bridge_args.versions import Versions

TEXT: Final = "text"  # what is tried where an argument takes any text

_SMALL: Final = (
    "--num-layers 8 --hidden-size 64 --num-attention-heads 8 --seq-length 128 --max-position-embeddings 128"
    " --micro-batch-size 1 --global-batch-size 16 --train-iters 10 --lr 1e-3 --eval-interval 10 --save-interval 5"
    " --tokenizer-type NullTokenizer --vocab-size 100"
)
# Runs in which derived values are others, and in which Megatron-LM lets pass what it refuses in the first.
_RUNS: Final = (
    ("pretrain_gpt.py", _SMALL),
    ("pretrain_gpt.py", f"{_SMALL} --bf16 --use-distributed-optimizer --use-precision-aware-optimizer"),
    (
        "pretrain_gpt.py",
        f"{_SMALL} --bf16 --num-experts 8 --disable-bias-linear --multi-latent-attention"
        " --position-embedding-type rope",
    ),
    ("pretrain_gpt.py", f"{_SMALL.replace('--train-iters 10', '--train-samples 160')} --fp16 --fp8-format hybrid"),
    (
        "pretrain_mamba.py",
        f"{_SMALL} --bf16 --hybrid-override-pattern M*M-M*M-"
        " --spec megatron.core.models.mamba.mamba_layer_specs mamba_stack_spec",
    ),
)
_RANKS: Final = 8
_ENVIRONMENT: Final = {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}
_WORDS: Final = {
    "int": ("2",),
    "float": ("0.5",),
    "bool": ("1",),
    "moe_freq_type": ("2", "[0]+[1]*7"),
    "no_rope_freq_type": ("2", "[0]+[1]*7"),
    "la_freq_type": ("2", "[0]+[1]*7"),
    "tuple_type": ("4,0",),
}


class Probed(Record):
    """A run that values are tried in: its program, its words and its effective arguments."""

    program: str
    words: tuple[str, ...]
    args: MegatronArgs


@lru_cache(maxsize=None)
def runs(catalog: Catalog) -> tuple[Probed, ...]:
    """The runs, by the arguments of a version; words that it does not have are left out."""
    made = []
    for program, text in _RUNS:
        words = tuple(_known(text.split(), catalog))
        made.append(Probed(program, words, _effective(words, program, catalog)))
    return tuple(made)


@lru_cache(maxsize=None)
def values(name: str, catalog: Catalog) -> tuple[Any, ...]:
    """What an argument or a derived value may be when its row is read."""
    derived = name in _derived(catalog)
    found = [run.args[name] for run in runs(catalog) if name in run.args] if derived else []
    for argument in catalog.arguments:
        if argument.dest == name and converts(argument):
            for words in _words(argument):
                parsed = parse(words, catalog).values
                found += _in_a_run(name, words, catalog) if derived else [parsed[name]] if name in parsed else []
    if not derived and name in catalog.defaults:
        found.append(default_of(name, catalog))
    return tuple({repr(to_plain(value)): value for value in found}.values())


def is_free(name: str, catalog: Catalog) -> bool:
    """Does the argument take any text, so that its words are a matter of who reads it?"""
    arguments = [argument for argument in catalog.arguments if argument.dest == name]
    return any(one.type in (None, "str") and one.action == "store" and not words_of(one) for one in arguments)


def default_of(name: str, catalog: Catalog) -> Any:
    """What an argument is that nobody gives."""
    default = catalog.defaults[name]
    return catalog.program_defaults.get(name) if default is None else default


@lru_cache(maxsize=None)
def _derived(catalog: Catalog) -> frozenset[str]:
    return frozenset(step.name for step in plan_of(catalog) if isinstance(step, Derivation))


def _in_a_run(name: str, words: tuple[str, ...], catalog: Catalog) -> Iterator[Any]:
    """What Megatron-LM makes of a value in the first run in which it does not refuse it."""
    for run in runs(catalog):
        args = _effective((*run.words, *words), run.program, catalog)
        if not any(finding.level == "error" for finding in args.findings):
            yield args[name]
            return


def _effective(words: tuple[str, ...], program: str, catalog: Catalog) -> MegatronArgs:
    given = parse(words, catalog)
    run = Run(Versions(catalog.version, "0"), catalog, _RANKS, _ENVIRONMENT, program=program)
    return resolve(given, run).args


def _words(argument: Argument) -> Iterator[tuple[str, ...]]:
    """Every way to write the argument that leads to another value."""
    if argument.action != "store":
        flags = argument.flags if argument.action == "BooleanOptionalAction" else argument.flags[:1]
        yield from ((flag,) for flag in flags)
        return
    offered = [str(word) for word in words_of(argument) or _WORDS.get(argument.type or "", (TEXT,))]
    count = argument.nargs if isinstance(argument.nargs, int) else 1
    yield from ((argument.flags[0], *[word] * count) for word in offered)
    if argument.nargs in ("+", "*"):
        yield (argument.flags[0], offered[0], offered[0])


def _known(words: Iterable[str], catalog: Catalog) -> Iterator[str]:
    known = False
    for word in words:
        known = word in catalog.by_flag if word.startswith("--") else known
        if known:
            yield word
