"""The resolver of a checkout of the user's own: its real parser and ``validate_args``, asked in another process.

So forks and every version are exact (``checkout/``). What the answers mean is read in ``live.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge_args.errors import WrongValue
from bridge_args.findings import Finding
from bridge_args.megatron_lm import checkpoint_args
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.parse import Given
from bridge_args.megatron_lm.programs import HYBRID, MAMBA
from bridge_args.megatron_lm.resolvers import built_in
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs, Resolved
from bridge_args.megatron_lm.run import Run

if TYPE_CHECKING:
    from bridge_args.checkout.ask import Case
    from bridge_args.megatron_lm.resolvers.live import Disagreement

# What a script sets for Megatron-LM, tried where the environment is not known and the checkout misses it.
_USUAL = {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}


def is_checkout(text: str) -> bool:
    """Does the text name a folder, and not a version?"""
    return "/" in text or Path(text).is_dir()


def version_of(checkout: str) -> str:
    """What the checkout's package calls itself, three numbers.

    Raises:
        ValueError: the folder is no checkout.
    """
    info = Path(checkout) / "megatron" / "core" / "package_info.py"
    if not info.is_file():
        raise WrongValue(f"{checkout} is not a Megatron-LM checkout: it has no megatron/core/package_info.py")
    text = info.read_text(encoding="utf-8", errors="replace")
    said = dict(re.findall(r"^(MAJOR|MINOR|PATCH) *= *(\d+)", text, re.MULTILINE))
    return ".".join(said.get(part, "0") for part in ("MAJOR", "MINOR", "PATCH"))


def program_for_hybrid_models(checkout: str, usual: str) -> str:
    """The checkout's program for hybrid models; the usual one of its version where it has none.

    Where pretrain_hybrid.py is there, pretrain_mamba.py only runs it, and has no parser of its own that could be asked.
    """
    return next((name for name in (HYBRID, MAMBA) if Path(checkout, name).is_file()), usual)


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


def resolve(given: Given, run: Run) -> Resolved:
    """What the checkout has in ``args``.

    Raises:
        ValueError: the checkout cannot be asked. What it says of the command line is a finding.
    """
    from bridge_args.checkout import ask
    from bridge_args.megatron_lm.resolvers import live

    said, notes = answer_of(given, run)
    given, args = live.resolve_answer(said, given, run)
    if could := ask.not_isolated():
        message = f"this system isolates less than it could: the checkout's own code might {could}"
        notes.append(Finding("environment", message, "name only checkouts whose code you would run"))
    told = {(finding.kind, finding.arguments) for finding in args.findings}
    notes = [note for note in notes if (note.kind, note.arguments) not in told]
    return Resolved(given, MegatronArgs(args.settings, (*args.findings, *notes), run.world_size))


def answer_of(given: Given, run: Run, *, container: bool = False) -> tuple[dict[str, Any], list[Finding]]:
    """What ``checkout.ask.effective`` answers to a command line, and what had to be assumed for it.

    Args:
        container: the answer also holds Megatron-LM's own configuration container.

    Raises:
        ValueError: the checkout cannot be asked.
    """
    from bridge_args.checkout import ask

    assert run.checkout is not None
    words = tuple(word.text for index, word in enumerate(given.words) if index not in given.open)
    case = ask.Case(words, run.world_size, run.env or {}, saved=_saved(given, run))
    (said,) = ask.effective(run.checkout, [case], run.program, container=container)
    return (said, []) if run.environment_known else _with_the_usual(said, case, run, container)


def _saved(given: Given, run: Run) -> dict[str, dict[str, Any]]:
    """What the checkout finds in the checkpoints of the run; only values that JSON holds, of names it may look for."""
    wanted = checkpoint_args.names()
    return {
        str(given.values[one.named_by]): {
            "args": {name: value for name, value in one.values.items() if name in wanted and _is_plain(value)},
            "checkpoint_version": one.version,
        }
        for one in run.checkpoints
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def _with_the_usual(
    answer: dict[str, Any], case: Case, run: Run, container: bool
) -> tuple[dict[str, Any], list[Finding]]:
    """A variable that is missing where not all are known is a note: ask again with it set."""
    from bridge_args.checkout import ask
    from bridge_args.megatron_lm.resolvers import live

    variable = live.wants_variable(answer)
    if variable not in _USUAL or variable in case.env:
        return answer, []
    assert run.checkout is not None
    usual = _USUAL[variable]
    again_with = case._replace(env={**case.env, variable: usual})
    (again,) = ask.effective(run.checkout, [again_with], run.program, container=container)
    note = Finding("environment", f"Megatron-LM requires {variable}={usual}, which the command line does not show")
    return again, [note]


def compare(
    cases: Sequence[tuple[Given, Run]], answers: Sequence[Mapping[str, Any]]
) -> list[tuple[MegatronArgs, MegatronArgs, tuple[Disagreement, ...]]]:
    """The built-in resolver beside answers of a checkout: both results, and where they differ.

    A command line that only one of them refuses is a disagreement of the argument ``(accepted)``.
    """
    from bridge_args.megatron_lm.resolvers import live

    compared = []
    for (given, run), answer in zip(cases, answers, strict=True):
        ours = built_in.resolve(given, run).args
        asked, theirs = live.resolve_answer(answer, given, run)
        refused = [_refused(given, ours), _refused(asked, theirs)]
        differing = [] if any(refused) else list(live.disagreements(ours, theirs))
        if refused[0] != refused[1]:
            differing.insert(0, live.Disagreement("(accepted)", not refused[0], not refused[1]))
        compared.append((ours, theirs, tuple(differing)))
    return compared


def _refused(given: Given, args: MegatronArgs) -> bool:
    return any(finding.level == "error" for finding in (*given.findings, *args.findings))
