"""A piece of a command line that changes as a whole."""

from __future__ import annotations

from bridge_args.records import Record


class Item(Record):
    """A flag with its values, or a word that belongs to none.

    Attributes:
        words: as they are now; none where they are left out.
        was: as the user wrote them; none where they are new.
        at: which of the user's words these were.
        dest: the argument that they are for; empty for a word that belongs to none.
        why: a change needs a reason.
        beside: variables that a new one belongs to.
    """

    words: tuple[str, ...]
    was: tuple[str, ...]
    at: tuple[int, ...]
    dest: str
    why: str = ""
    beside: tuple[str, ...] = ()

    @property
    def is_changed(self) -> bool:
        return self.words != self.was

    def becomes(self, words: tuple[str, ...], why: str) -> Item:
        return self._replace(words=words, why=why)


class Proposal(Record):
    """Another command line.

    Attributes:
        said_otherwise: arguments with other values on purpose, since others say what they said.
    """

    items: tuple[Item, ...]
    said_otherwise: frozenset[str] = frozenset()
