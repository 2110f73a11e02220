"""What a run is not started with: arguments the user gave that Bridge cannot follow, unless ``--accept`` names them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from bridge_args.errors import WrongValue
from bridge_args.findings import Finding
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm.catalog import Catalog


def refused(translation: Translation, accepted: Collection[str] = ()) -> tuple[Finding, ...]:
    """The losses that change the numbers and concern an argument the user gave and has not accepted.

    A loss that comes of a default or of another argument stays a warning: the user never asked for it. So does one
    that changes speed or memory, or logs and files.

    Args:
        accepted: arguments by a flag (``--moe-router-fusion``) or by name (``moe_router_fusion``).

    Raises:
        WrongValue: a name in ``accepted`` that is no argument of this Megatron-LM.
    """
    names = {_argument(name, translation.catalog) for name in accepted}
    return tuple(
        finding
        for finding in translation.number_losses
        if finding.kind != "needs-drop-in"  # what is started here does it
        and any(_is_given(translation, name) for name in finding.arguments)
        and not names & set(finding.arguments)
    )


def refusal(findings: Sequence[Finding]) -> str:
    """What to tell the user of ``refused`` findings."""
    names = dict.fromkeys(name for finding in findings for name in finding.arguments)
    accept = " ".join(f"--accept {name}" for name in names)
    what = "argument has" if len(names) == 1 else "arguments have"
    lines = [f"not started: {len(names)} {what} no equivalent, so the run would differ"]
    lines += [
        f"  {finding.place}: {finding.message}" if finding.place else f"  {finding.message}" for finding in findings
    ]
    lines.append(f"leave {'it' if len(names) == 1 else 'them'} out, or start without: {accept}")
    return "\n".join(lines)


def _is_given(translation: Translation, argument: str) -> bool:
    outcome = translation.outcomes.get(argument)
    return outcome is not None and outcome.given


def _argument(name: str, catalog: Catalog) -> str:
    """The argument meant by a flag or a name."""
    for flag in (name, "--" + name.lstrip("-").replace("_", "-")):
        if flag in catalog.by_flag:
            return catalog.by_flag[flag].dest
    if name in catalog.defaults:
        return name
    near = difflib.get_close_matches(name.lstrip("-").replace("-", "_"), catalog.defaults, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise WrongValue(f"--accept {name}: Megatron-LM {catalog.version} has no such argument{hint}")
