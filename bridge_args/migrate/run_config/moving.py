"""``moved``: a run config, plain data, for another version of Bridge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from bridge_args.bridge import schema as schemas
from bridge_args.errors import UserError, WrongValue
from bridge_args.findings import Finding
from bridge_args.migrate.run_config import bridge, nemo_tron
from bridge_args.migrate.run_config.allowed import NEMO, Named, is_allowed, named_in
from bridge_args.migrate.run_config.change import Change
from bridge_args.migrate.run_config.state import State
from bridge_args.migrate.run_config.written_by import NEMO_TRON, Writer, written_by
from bridge_args.records import Record
from bridge_args.wording import listed


class Refused(UserError, ValueError):
    """A file that names what no configuration may name; nothing is written.

    Attributes:
        wrong: what it names.
    """

    def __init__(self, wrong: Sequence[Named]) -> None:
        super().__init__("; ".join(dict.fromkeys(map(said, wrong[:_TOLD]))))
        self.wrong = tuple(wrong[:_TOLD])


_TOLD: Final = 5  # of what is refused in one file


class Moved(Record):
    """A run config for another version.

    Attributes:
        config: nested, plain data; ``_target_`` where the file has it.
        writer: who wrote the file.
        bridge: the version that it is for now.
        changes: what became of settings that are not simply where they were.
        stated: settings of the file.
    """

    config: dict[str, Any]
    writer: Writer
    bridge: str
    changes: tuple[Change, ...]
    stated: int

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What a user is told without asking."""
        return (*_about(self.writer), *filter(None, (change.finding for change in self.changes)))

    @property
    def lost(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.fate == "lost")

    @property
    def refused(self) -> tuple[Change, ...]:
        """What stops the migration: nothing takes the place of it, or the model would be another one."""
        return tuple(one for one in self.changes if one.fate == "refused" or one.changes == "model")


def moved(config: Mapping[str, Any], to: str, source: str | None = None, as_documented: bool = False) -> Moved:
    """A run config as another version of Bridge reads it.

    Args:
        config: what a ``run_config.yaml`` holds, plain data; it stays as it is.
        to: a version of Bridge that there is a schema of.
        source: who wrote it, ``nemo.tron`` or such a version; None: what its settings tell.
        as_documented: of a file of nemo.tron, with the defaults of its migration guide, harmful ones too.

    Raises:
        Refused: the file names a class or function that no configuration may name.
        ValueError: it is the file of another program; there is no schema of that version.
    """
    writer = Writer(source) if source else written_by(config)
    new = schemas.load(to)
    if writer.name == NEMO_TRON:
        state = State(config, nemo_tron.is_section)
        _check(config, NEMO, nemo_tron.dropped())
        nemo_tron.to_bridge(state, as_documented)
        old = schemas.load(nemo_tron.BRIDGE)
    else:
        old = schemas.load(writer.name)
        state = State(config, lambda name: name in old.sections or name in new.sections)
        _check(config)
    if old.version != new.version:
        bridge.to_version(state, old, new)
    if old.version != new.version or writer.name == NEMO_TRON:
        bridge.complete(state, new)
    made = state.config()
    _check(made)
    return Moved(made, writer, to, tuple(_with_renames(state)), state.stated)


def _with_renames(state: State) -> Iterable[Change]:
    """What the steps said, and every setting that has another name now."""
    told = {change.new for change in state.changes if change.fate == "changed"}
    yield from state.changes
    for path, old in state.origins.items():
        if old and old != path and path not in told:
            value = state.settings.get(path, state.whole.get(path))
            yield Change("renamed", old, path, value, value, "")


def _check(config: Mapping[str, Any], more: tuple[str, ...] = (), dropped: Iterable[str] = ()) -> None:
    """No class and no function that does not configure a run.

    Args:
        more: packages that the file may name as well.
        dropped: settings that do not come into the result, which may refer to a function of the user's own.
    """
    left_out = set(dropped)
    wrong = [
        named
        for named in named_in(dict(config))
        if not is_allowed(named, more) and not (named.path in left_out and not named.called)
    ]
    if wrong:
        raise Refused(wrong)


def said(named: Named) -> str:
    """Why a file that names this is refused."""
    verb = "calls" if named.called else "names"
    return (
        f"{named.path or 'the file'} {verb} {str(named.target)[:100]!r}, which is no class or function that configures "
        "a run; nothing was written"
    )


def _about(writer: Writer) -> Iterable[Finding]:
    if writer.others:
        message = f"the file could be one of Bridge {listed([*writer.others, writer.name])}; it is taken for the last"
        yield Finding("assumed-version", message, "say which with --from-bridge VERSION")


__all__ = ["Moved", "Refused", "WrongValue", "moved"]
