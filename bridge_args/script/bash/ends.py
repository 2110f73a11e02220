"""Where a script ends, and the conditions it ends behind (``guards.py``)."""

from __future__ import annotations

from bridge_args.records import dataclass


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition as the user wrote it, and how it came out: ``holds``, ``does not hold``, ``is 0|1``."""

    written: str
    came_out: str
    calls: int  # how many functions are being called where it stands


@dataclass(frozen=True, slots=True)
class End:
    """An ``exit`` that is reached, and what it depends on."""

    at: int
    because: str = ""
    words: bool = False
    names: tuple[str, ...] = ()

    @property
    def remedy(self) -> str:
        given = " ".join(f"--set {name}=VALUE" for name in self.names)
        if self.words:
            return "give the script its arguments after its name" + (f", and {given}" if given else "")
        return f"give it with {given}" if given else ""
