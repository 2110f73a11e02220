"""What a rehearsal has in place of something, and what that means."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Replacement:
    """Something that a GPU run has and this run does not: what, what stands in, and what follows for the user."""

    what: str
    by: str
    consequence: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.by}" + (f" ({self.consequence})" if self.consequence else "")
