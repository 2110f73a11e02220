"""What reading one source may take: one budget of steps and work for all readings of it, and bounds for single things.

Nothing here looks at a clock: the same source always ends at the same place. A unit of work is about a character that
is looked at or copied, a part of a microsecond; what costs more than its characters is charged more.
"""

from __future__ import annotations

from typing import Final

from bridge_args.records import dataclass

MAX_STEPS: Final = 20_000  # simple commands and rounds of loops
MAX_WORK: Final = 10_000_000  # characters looked at and copied: words, patterns, files, arithmetic, what is printed
MAX_VALUE: Final = 100_000  # characters of one value
MAX_WORDS: Final = 10_000  # words of one command, elements of one array
MAX_PROGRAMS: Final = 2_000  # programs that are started
MAX_PATH: Final = 4_096  # characters of a path; no system opens longer ones


class LimitReached(Exception):
    """Reading takes more than its bounds; ``at`` is where it was, -1 for where the budget saw it last."""

    def __init__(self, what: str, at: int) -> None:
        super().__init__(what)
        self.what = what
        self.at = at


@dataclass(slots=True)
class Budget:
    """What has been spent; ``at`` is where reading was last."""

    steps: int = 0
    worked: int = 0
    at: int = -1

    @property
    def spent(self) -> bool:
        return self.steps > MAX_STEPS or self.worked > MAX_WORK

    def step(self, at: int) -> None:
        """A command, or a round of a loop. Raises LimitReached."""
        self.at = at if at >= 0 else self.at
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise LimitReached(f"more than {MAX_STEPS} steps", at)
        self.work(100, at)

    def work(self, size: int, at: int = -1) -> None:
        """So many characters are looked at. Raises LimitReached."""
        self.worked += size
        if self.worked > MAX_WORK:
            raise LimitReached(f"more than {MAX_WORK} characters are looked at", at)

    def value(self, size: int, at: int = -1) -> None:
        """A value of that many characters is to be made. Raises LimitReached."""
        if size > MAX_VALUE:
            raise LimitReached(f"a value of more than {MAX_VALUE} characters", at)
        self.work(size, at)

    def words(self, count: int, at: int = -1) -> None:
        """That many words are to be made. Raises LimitReached."""
        if count > MAX_WORDS:
            raise LimitReached(f"more than {MAX_WORDS} words", at)
        self.work(count, at)
