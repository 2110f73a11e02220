"""Every script under a folder, moved to another version of Megatron-LM."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal

from bridge_args.emit.sarif import Result
from bridge_args.errors import UserError
from bridge_args.modernize import move, page
from bridge_args.modernize.items import Item
from bridge_args.modernize.move import Moved
from bridge_args.records import Record
from bridge_args.source.source import Source, SourceError
from bridge_args.steps import Asked
from bridge_args.wording import counted
from bridge_args.words import Place

Status = Literal["as it was", "moved", "not the same", "refused", "no Megatron-LM command"]
STATUSES: Final[tuple[Status, ...]] = ("as it was", "moved", "not the same", "refused", "no Megatron-LM command")


class One(Record):
    """What becomes of one file.

    Attributes:
        moved: None where there is nothing to move.
        why: of a file that is refused, or holds no command.
    """

    name: str
    status: Status
    moved: Moved | None
    why: str = ""


def each(names: Iterable[str], asked: Asked, after: str, to_hybrid: bool) -> Iterator[One]:
    """What becomes of each file; nothing is written."""
    for name in names:
        try:
            found = move.moved(move.text_of(name), asked, after, to_hybrid)
        except SourceError as problem:
            nothing = problem.commands == 0
            yield One(name, "no Megatron-LM command" if nothing else "refused", None, str(problem))
        except UserError as problem:
            yield One(name, "refused", None, str(problem))
        else:
            status: Status = "moved" if found.changed else "as it was"
            yield One(name, status if found.is_same_run else "not the same", found)


def text(found: Iterable[One]) -> Iterator[str]:
    """A line for each file that is not as it was, with what is said of it, and the sum."""
    seen = Counter[Status]()
    for one in found:
        seen[one.status] += 1
        if one.status in ("as it was", "no Megatron-LM command"):
            continue
        yield f"{one.name}: {one.status}{f': {one.why.splitlines()[0]}' if one.why else ''}"
        for plan in one.moved.plans if one.moved else ():
            yield from (f"  {line}" for line in page.lines(plan))
        for left in one.moved.not_done if one.moved else ():
            yield f"  {page.not_done(left, one.name)}"
    said = ", ".join(f"{seen[status]} {status}" for status in STATUSES if seen[status])
    yield f"{counted(sum(seen.values()), 'file')}: {said or 'none'}"


def as_data(found: Iterable[One]) -> dict[str, Any]:
    files = [
        {"name": one.name, "status": one.status, "why": one.why, **(page.as_data(one.moved) if one.moved else {})}
        for one in found
    ]
    seen = Counter(file["status"] for file in files)
    return {"sources": files, "summary": {status: seen[status] for status in STATUSES}}


def results(found: Iterable[One]) -> Iterator[Result]:
    """One for each change that a line needs, and for what cannot be kept."""
    for one in found:
        if one.status == "refused":
            yield Result("refused", "error", one.why, one.name)
        if one.moved is None:
            continue
        for source, plan in zip(one.moved.sources, one.moved.plans, strict=True):
            for item in plan.changed:
                place = _place(source, item)
                said = f"{page.change(item)} for Megatron-LM {plan.after}: {item.why}"
                yield Result("changes", "warning", said, _file(one, place), place.line if place else None)
            for finding in plan.refused:
                place = finding.place
                said = f"refused by {plan.after}: {finding.message}"
                yield Result("refused", "error", said, _file(one, place), place.line if place else None)
            for told in plan.told:
                yield Result("variables", "warning", f"{told} (Megatron-LM {plan.after})", one.name)
            for left in plan.left:
                said = f"{left.argument} was {left.before!r} and is {left.after!r} with {plan.after}; {left.why}"
                yield Result("not-the-same", "error", said, one.name)


def _file(one: One, place: Place | None) -> str:
    paths = {file.name: str(file.path) for file in one.moved.files if file.path} if one.moved else {}
    return paths.get(place.source, place.source) if place else one.name


def _place(source: Source, item: Item) -> Place | None:
    words = source.command.argv
    if not item.at:
        return words[-1].place if words else None
    return words[item.at[0]].place
