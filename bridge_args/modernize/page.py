"""What modernizing a source comes to, as lines for people and as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bridge_args.modernize.edit import NotDone
from bridge_args.modernize.items import Item
from bridge_args.modernize.move import Moved
from bridge_args.modernize.plan import Plan
from bridge_args.wording import counted


def lines(plan: Plan, trained: bool = False) -> Iterator[str]:
    """One for each change, then what is not the same, then what has been shown.

    Args:
        trained: more has been shown, and said elsewhere.
    """
    for item in plan.changed:
        yield f"{change(item)}: {item.why}"
    if plan.to_start:
        yield f"start it with {plan.to_start}: the program is not named here, and could not be changed"
    yield from plan.told
    for finding in plan.refused:
        yield f"still refused by {plan.after}: {finding}"
    for left in plan.left:
        yield f"not the same: {left.argument} was {left.before!r} and is {left.after!r}; {left.why}"
    if plan.is_same_run:
        what = f"of {counted(plan.compared, 'effective value')} all that a run reads are equal"
        more = "" if trained else "; nothing was trained, so nothing more is shown"
        yield f"Megatron-LM {plan.before} to {plan.after}: {what}{more}"


def not_done(one: NotDone, name: str) -> str:
    """What the user has to change, and where."""
    return f"not done at {one.place or name}: {change(one.item)}; these words are made elsewhere"


def change(item: Item) -> str:
    """What is done to the words, in words."""
    old, new = " ".join(item.was), " ".join(item.words)
    if old and new:
        return f"{old} -> {new}"
    return f"leave out {old}" if old else f"add {new}"


def as_data(found: Moved) -> dict[str, Any]:
    """The same for programs; ``files`` have their new text."""
    return {
        "same_run": found.is_same_run,
        "commands": [plan_as_data(plan) for plan in found.plans],
        "not_done": [
            {
                "was": list(one.item.was),
                "is": list(one.item.words),
                "source": one.place.source if one.place else None,
                "line": one.place.line if one.place else None,
            }
            for one in found.not_done
        ],
        "files": [
            {"name": file.name, "changed": file.before != file.after, "text": file.after} for file in found.files
        ],
    }


def plan_as_data(plan: Plan) -> dict[str, Any]:
    return {
        "from": plan.before,
        "to": plan.after,
        "argv": plan.argv,
        "to_start": plan.to_start or None,
        "changes": [
            {"argument": item.dest, "was": list(item.was), "is": list(item.words), "why": item.why}
            for item in plan.changed
        ],
        "not_the_same": [left._asdict() for left in plan.left],
        "told": list(plan.told),
        "refused": [str(finding) for finding in plan.refused],
        "said_otherwise": sorted(plan.said_otherwise),
        "compared": plan.compared,
        "same_run": plan.is_same_run,
    }
