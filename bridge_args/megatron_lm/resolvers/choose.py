"""Two resolvers behind one function: the built-in one, and a checkout of the user's own that is asked.

Both give ``MegatronArgs``. The first is ``built_in.py``; a checkout runs its real parser and its real ``validate_args``
in a process of its own (``checkout/``), so that forks and every version are exact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge_args.findings import Finding
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.parse import Given
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs, resolve

if TYPE_CHECKING:
    from bridge_args.checkout.ask import Case
    from bridge_args.megatron_lm.resolvers.live import Disagreement

# What a script sets for Megatron-LM, tried where the environment is not known and the checkout misses it.
_USUAL = {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}


def is_checkout(text: str) -> bool:
    """Does the text name a folder, and not a version?"""
    return "/" in text or Path(text).is_dir()


def version_of(checkout: str) -> str:
    """What the checkout's package calls itself: ``0.16.1``.

    Raises:
        ValueError: the folder is no checkout.
    """
    info = Path(checkout) / "megatron" / "core" / "package_info.py"
    if not info.is_file():
        raise ValueError(f"{checkout} is not a Megatron-LM checkout: it has no megatron/core/package_info.py")
    text = info.read_text(encoding="utf-8", errors="replace")
    said = dict(re.findall(r"^(MAJOR|MINOR|PATCH) *= *(\d+)", text, re.MULTILINE))
    return ".".join(said.get(part, "0") for part in ("MAJOR", "MINOR", "PATCH"))


def catalog_of(checkout: str, program: str) -> Catalog:
    """The arguments of the checkout's parser; kept between calls until the checkout changes.

    Raises:
        ValueError: the folder is no checkout, or its program cannot be asked.
    """
    from bridge_args.checkout import ask
    from bridge_args.megatron_lm.resolvers import live

    version = version_of(checkout)
    try:
        return live.catalog_from(ask.catalog_of(checkout, program, ask.cache_folder()), version)
    except (ask.CheckoutError, OSError):
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):  # what was kept is no catalog
        return live.catalog_from(ask.catalog_of(checkout, program), version)


def effective(
    given: Given,
    catalog: Catalog,
    checkout: str | None,
    *,
    world_size: int,
    env: Mapping[str, str] | None,
    whole_env: bool = True,
    program: str = "pretrain_gpt.py",
) -> tuple[Given, MegatronArgs]:
    """What Megatron-LM has in ``args``, from the resolver there is.

    Args:
        checkout: a folder; None for the built-in resolver.
        world_size, env, whole_env, program: as for ``resolve``.

    Raises:
        ValueError: the checkout cannot be asked. What it says of the command line is a finding.
    """
    if checkout is None:
        args = resolve(given, catalog, world_size=world_size, env=env, whole_env=whole_env, program=program)
        return given, args
    from bridge_args.checkout import ask
    from bridge_args.megatron_lm.resolvers import live

    words = tuple(word.text for index, word in enumerate(given.words) if index not in given.open)
    case = ask.Case(words, world_size, env or {})
    (answer,) = ask.effective(checkout, [case], program)
    notes: list[Finding] = []
    if not (whole_env and env is not None):
        answer, notes = _with_the_usual(answer, case, checkout, program)
    given, args = live.resolve_answer(
        answer, given, catalog, world_size=world_size, env=env, whole_env=whole_env, program=program
    )
    if could := ask.not_isolated():
        message = f"this system isolates less than it could: the checkout's own code might {could}"
        notes.append(Finding("environment", message, "name only checkouts whose code you would run"))
    told = {(finding.kind, finding.arguments) for finding in args.findings}
    notes = [note for note in notes if (note.kind, note.arguments) not in told]
    return given, MegatronArgs(args.settings, (*args.findings, *notes), world_size)


def _with_the_usual(
    answer: dict[str, Any], case: Case, checkout: str, program: str
) -> tuple[dict[str, Any], list[Finding]]:
    """A variable that is missing where not all are known is a note: ask again with it set."""
    from bridge_args.checkout import ask
    from bridge_args.megatron_lm.resolvers import live

    variable = live.wants_variable(answer)
    if variable not in _USUAL or variable in case.env:
        return answer, []
    usual = _USUAL[variable]
    (again,) = ask.effective(checkout, [case._replace(env={**case.env, variable: usual})], program)
    note = Finding("environment", f"Megatron-LM wants {variable}={usual}, which the command line does not show")
    return again, [note]


def compare(
    words: Sequence[Given],
    catalog: Catalog,
    answers: Sequence[Mapping[str, Any]],
    *,
    world_sizes: Sequence[int],
    environments: Sequence[Mapping[str, str] | None],
    program: str = "pretrain_gpt.py",
) -> list[tuple[MegatronArgs, MegatronArgs, tuple[Disagreement, ...]]]:
    """The built-in resolver beside answers of a checkout: both results, and where they differ.

    A command line that only one of them refuses is a disagreement of the argument ``(accepted)``.
    """
    from bridge_args.megatron_lm.resolvers import live

    compared = []
    for given, answer, ranks, env in zip(words, answers, world_sizes, environments, strict=True):
        ours = resolve(given, catalog, world_size=ranks, env=env, program=program)
        asked, theirs = live.resolve_answer(answer, given, catalog, world_size=ranks, env=env, program=program)
        refused = [_refused(given, ours), _refused(asked, theirs)]
        differing = [] if any(refused) else list(live.disagreements(ours, theirs))
        if refused[0] != refused[1]:
            differing.insert(0, live.Disagreement("(accepted)", not refused[0], not refused[1]))
        compared.append((ours, theirs, tuple(differing)))
    return compared


def _refused(given: Given, args: MegatronArgs) -> bool:
    return any(finding.level == "error" for finding in (*given.findings, *args.findings))
