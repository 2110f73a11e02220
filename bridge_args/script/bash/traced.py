"""Traced: text in which every character knows where the user wrote it.

A value may be built from pieces of several lines and files; what bash splits off it later still has its own place.
A character of ``HOLES`` stands for something that is not known (``state.Hole``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from bridge_args.records import dataclass

# Lone high surrogates: no text file has them.
FIRST_HOLE: Final = 0xD800
LAST_HOLE: Final = 0xDBFF
_HOLE: Final = re.compile("[\ud800-\udbff]")


@dataclass(frozen=True, slots=True)
class Traced:
    """Text, and for each character a position (``state.Sources``); -1 for what no file says.

    ``vanishes``: a word of nothing but variables that nobody sets, without quotes; bash makes no word of it when they
    are empty, and several when they have blanks in them.
    ``splits``: a word with the output of a program in it, without quotes: bash makes as many words of it as it has.
    """

    text: str = ""
    at: tuple[int, ...] = ()
    vanishes: bool = False
    splits: bool = False

    def __add__(self, other: Traced) -> Traced:
        if not other.text:
            return self
        if not self.text:
            return other
        return Traced(self.text + other.text, self.at + other.at)

    def __getitem__(self, part: slice) -> Traced:
        return Traced(self.text[part], self.at[part])

    def __len__(self) -> int:
        return len(self.text)

    @property
    def first(self) -> int:
        """Position of the first character that has one."""
        return next((at for at in self.at if at >= 0), -1)

    @property
    def known(self) -> bool:
        return self.text.isascii() or _HOLE.search(self.text) is None


def plain(text: str, at: int = -1) -> Traced:
    """Text that stands at one place as a whole."""
    return Traced(text, (at,) * len(text))


def joined(parts: Iterable[Traced], separator: str = "") -> Traced:
    text: list[str] = []
    at: list[int] = []
    for index, part in enumerate(parts):
        if index and separator:
            text.append(separator)
            at += (part.first,) * len(separator)
        text.append(part.text)
        at += part.at
    return Traced("".join(text), tuple(at))


def holes_of(text: str) -> list[str]:
    """The characters of a text that stand for something unknown."""
    return [] if text.isascii() else _HOLE.findall(text)


def without_holes(text: str) -> str:
    """Text from outside: what would look like something unknown is replaced, and no NUL is left, as bash does."""
    text = text.replace("\0", "")
    return text if text.isascii() else _HOLE.sub("\ufffd", text)


def is_hole(char: str) -> bool:
    return FIRST_HOLE <= ord(char) <= LAST_HOLE
