"""Small command lines for the tests of derived values and checks, and what is said about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.parse import parse
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs, resolve
from bridge_args.megatron_lm.run import Run
from bridge_args.versions import Versions

# What every command line needs; a case adds to it, and may take some of it away.
BASE: Mapping[str, str] = {
    "--num-layers": "8",
    "--hidden-size": "64",
    "--num-attention-heads": "8",
    "--seq-length": "128",
    "--max-position-embeddings": "128",
    "--micro-batch-size": "1",
    "--global-batch-size": "16",
    "--train-iters": "10",
    "--lr": "1e-3",
    "--eval-interval": "10",
    "--tokenizer-type": "NullTokenizer",
    "--vocab-size": "100",
    "--bf16": "",
}
ENV: Mapping[str, str] = {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}


@dataclass(frozen=True)
class Refused:
    """Words that Megatron-LM 0.16.1 stops at; ``says`` is part of what we say, ``without`` the base's flags to drop."""

    words: str
    says: str
    without: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    world_size: int = 8
    program: str = "pretrain_gpt.py"


@dataclass(frozen=True)
class Accepted:
    """Words close to a refused case, with which Megatron-LM 0.16.1 goes on."""

    words: str
    without: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    world_size: int = 8
    program: str = "pretrain_gpt.py"


def argv(words: str = "", without: str = "") -> list[str]:
    """The base's words and some more."""
    left_out = without.split()
    kept = [word for flag, value in BASE.items() if flag not in left_out for word in (flag, value) if word]
    return kept + words.split()


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The usual environment with changes; an empty value takes a variable away."""
    return {name: value for name, value in {**ENV, **changes}.items() if value}


def run_of(
    catalog: Catalog,
    world_size: int = 1,
    env: Mapping[str, str] | None = None,
    whole_env: bool = True,
    program: str = "pretrain_gpt.py",
) -> Run:
    """A run on the version of a catalog."""
    return Run(Versions(catalog.version, "0.3.1"), catalog, world_size, env, whole_env, program)


def meaning(
    words: str | Iterable[str] = "",
    *,
    without: str = "",
    world_size: int = 8,
    env: Mapping[str, str] | None = None,
    whole_env: bool = True,
    program: str = "pretrain_gpt.py",
    version: str = "0.16.1",
) -> MegatronArgs:
    """What Megatron-LM makes of the base's words and some more (of the words alone, where they are a list)."""
    catalog = catalogs.load(version)
    typed = argv(words, without) if isinstance(words, str) else list(words)
    variables = environment({}) if env is None and whole_env else env
    given = parse(typed, catalog)
    assert not given.findings, given.findings
    return resolve(given, run_of(catalog, world_size, variables, whole_env, program)).args


def errors(args: MegatronArgs) -> list[str]:
    """What makes the command line invalid."""
    return [str(finding) for finding in args.findings if finding.level == "error"]


def said(case: Refused | Accepted) -> list[str]:
    """What is found wrong with a case."""
    return errors(
        meaning(
            case.words,
            without=case.without,
            world_size=case.world_size,
            env=environment(case.env),
            program=case.program,
        )
    )


def table(cases: Mapping[str, Any]) -> pytest.MarkDecorator:
    """Each case a test of its own, with its spoken id."""
    return pytest.mark.parametrize("case", [pytest.param(case, id=spoken) for spoken, case in cases.items()])
