"""``python -m bridge_args.dev new-version``: what there is to do for a version of Megatron-LM.

Its arguments against the nearest catalog, which of them the tables have no row for, and which functions that ours rest
on are not what they were when somebody read them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, NamedTuple

from bridge_args.bridge import schema as schemas
from bridge_args.dev import authority
from bridge_args.dev.authority import Compared
from bridge_args.mapping import table as tables
from bridge_args.mapping.check import without_row
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm import releases
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.derive.registry import REGISTERED, Derivation, Step, unread
from bridge_args.versions import Versions, nearest


class Named(NamedTuple):
    """An argument that is there on one side only.

    Attributes:
        reads: our functions that read it.
        settings: of the newest Bridge, those of its name.
    """

    argument: str
    flags: tuple[str, ...]
    default: Any
    has_row: bool
    reads: tuple[str, ...]
    settings: tuple[str, ...] = ()


class Change(NamedTuple):
    """What differs in one argument: ``flags``, ``default``, ... to the old and the new."""

    argument: str
    flags: tuple[str, ...]
    differs: Mapping[str, tuple[Any, Any]]
    reads: tuple[str, ...]


class WorkList(NamedTuple):
    """What there is to do for a version.

    Attributes:
        against: the version of the catalog that it is compared with.
        without_row: every argument of the version that the tables have no row for, added now or earlier.
        compared: the functions of Megatron-LM's that ours rest on.
        unread: our functions that nobody has compared with the version, whether their authority changed or not.
    """

    version: str
    against: str
    added: tuple[Named, ...]
    removed: tuple[Named, ...]
    changed: tuple[Change, ...]
    without_row: tuple[str, ...]
    compared: tuple[Compared, ...]
    unread: tuple[Step, ...]

    @property
    def untouched(self) -> tuple[Step, ...]:
        """The unread functions of ours that rest on nothing that changed."""
        touched = {step for one in self.compared if one.state != "same" for step in one.steps}
        return tuple(step for step in self.unread if step not in touched)

    def data(self) -> dict[str, Any]:
        """The list as JSON has it."""
        return {
            "version": self.version,
            "against": self.against,
            "added": [one._asdict() for one in self.added],
            "removed": [one._asdict() for one in self.removed],
            "changed": [one._asdict() for one in self.changed],
            "without_row": list(self.without_row),
            "authority": [
                {**one._asdict(), "steps": [step.place for step in one.steps]}
                for one in self.compared
                if one.state != "same"
            ],
            "unread": [step.place for step in self.unread],
            "untouched": [step.place for step in self.untouched],
        }


def work_list(catalog: Catalog, checkout: Path) -> WorkList:
    """What there is to do for a checkout.

    Args:
        catalog: what its parser says; ``dev.catalog.from_checkout``.
    """
    version = catalog.version
    against = nearest(version, tuple(known for known in catalogs.versions() if known != version))
    before = catalogs.load(against)
    bridge = schemas.load(schemas.versions()[-1])
    table = tables.load(Versions(version, bridge.version))
    missing = tuple(dict.fromkeys(argument.dest for argument in without_row(table, catalog)))

    def named(there: Catalog, other: Catalog) -> tuple[Named, ...]:
        names = [name for name in there.defaults if name not in other.defaults]
        having = catalog.defaults.keys() - set(missing) | table.rows.keys()
        return tuple(
            Named(n, there.flags_of(n), there.defaults[n], n in having, _readers(n), bridge.called(n)) for n in names
        )

    return WorkList(
        version,
        against,
        named(catalog, before),
        named(before, catalog),
        tuple(changes(before, catalog)),
        missing,
        tuple(authority.compared(checkout, version, authority.read_file())),
        unread(version),
    )


def changes(before: Catalog, after: Catalog) -> Iterator[Change]:
    """The arguments that both have, and that are not the same."""
    for one in releases.differences(before, after):
        yield Change(one.argument, after.flags_of(one.argument), one.differs, _readers(one.argument))


def text(work: WorkList) -> Iterator[str]:
    """The list for people."""
    yield f"Megatron-LM {work.version} against the catalog of {work.against}"
    yield ""
    yield from _added(work.added)
    earlier = len(work.without_row) - sum(not one.has_row for one in work.added)
    yield f"{_count(work.without_row, 'argument')} without a row, {earlier} of them from earlier versions"
    yield ""
    yield from _removed(work.removed)
    yield ""
    yield from _changed(work.changed)
    yield ""
    yield from _compared(work)
    yield ""
    yield _unread(work)


def _added(added: Sequence[Named]) -> Iterator[str]:
    yield f"{_count(added, 'argument')} added, {sum(not one.has_row for one in added)} of them without a row"
    for one in added:
        missing = f"  NO ROW{'; Bridge has ' if one.settings else ''}{', '.join(one.settings)}"
        yield f"  {_flags(one)} = {one.default!r}{'' if one.has_row else missing}"


def _removed(removed: Sequence[Named]) -> Iterator[str]:
    yield f"{_count(removed, 'argument')} removed"
    for one in removed:
        yield f"  {_flags(one)}"
        yield from (f"    read by {place}" for place in one.reads)


def _changed(changed: Sequence[Change]) -> Iterator[str]:
    yield f"{_count(changed, 'argument')} changed"
    for one in changed:
        yield f"  {one.flags[0] if one.flags else one.argument}"
        yield from (f"    {what}: {_shown(old)} -> {_shown(new)}" for what, (old, new) in one.differs.items())
        yield from (f"    read by {place}" for place in one.reads)


def _compared(work: WorkList) -> Iterator[str]:
    seen = {state: {one.see for one in work.compared if one.state == state} for state in ("same", "changed", "gone")}
    sees = {one.see for one in work.compared}
    yield (
        f"{_count(sees, 'function')} of Megatron-LM that unread functions of ours rest on: "
        f"{len(seen['same'])} the same, {len(seen['changed'])} changed, {len(seen['gone'])} gone"
    )
    for one in sorted(work.compared, key=lambda one: one.state != "gone"):
        if one.state != "same":
            others = f"; there is one in {', '.join(one.elsewhere)}" if one.elsewhere else ""
            yield f"  {one.see}: {one.state} since {one.since}{others}"
            yield from (f"    {step.place}{_used(step, work.version)}" for step in one.steps)


def _unread(work: WorkList) -> str:
    derivations = sum(isinstance(step, Derivation) for step in work.unread)
    used = sum(step.holds(work.version) for step in work.unread)
    return (
        f"{derivations} derivations and {len(work.unread) - derivations} checks were not read for {work.version}; "
        f"{used} of them are used for it, {len(work.untouched)} rest on nothing that changed"
    )


def _readers(name: str) -> tuple[str, ...]:
    return tuple(step.place for step in REGISTERED if name in step.reads)


def _flags(one: Named) -> str:
    return ", ".join(one.flags) or one.argument


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) and value else repr(value)


def _used(step: Step, version: str) -> str:
    return "" if step.holds(version) else f" (not used for {version})"


def _count(things: Sized, what: str) -> str:
    return f"{len(things)} {what}" if len(things) == 1 else f"{len(things)} {what}s"
