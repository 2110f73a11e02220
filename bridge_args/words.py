"""Word: a piece of a command line that remembers where the user wrote it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bridge_args.records import Record

# What only each task is told: srun(1), OUTPUT ENVIRONMENT VARIABLES, mpirun(1), the process managers of MPI, torchrun.
OF_A_TASK: Final = frozenset(
    (
        "SLURM_PROCID SLURM_LOCALID SLURM_NODEID SLURM_TASK_PID SLURMD_NODENAME OMPI_COMM_WORLD_RANK "
        "OMPI_COMM_WORLD_LOCAL_RANK OMPI_COMM_WORLD_NODE_RANK PMI_RANK PMI_LOCAL_RANK PMIX_RANK MPI_LOCALRANKID "
        "MV2_COMM_WORLD_RANK MV2_COMM_WORLD_LOCAL_RANK PALS_RANKID PALS_LOCAL_RANKID FLUX_TASK_RANK "
        "FLUX_TASK_LOCAL_ID JSM_NAMESPACE_RANK JSM_NAMESPACE_LOCAL_RANK ALPS_APP_PE RANK LOCAL_RANK GROUP_RANK "
        "ROLE_RANK"
    ).split()
)


class Place(Record):
    """Where a word stands in a file the user wrote; lines and columns count from 1."""

    source: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.source}:{self.line}"


class Word(Record):
    """One word of a command line, as the program would receive it.

    Attributes:
        unresolved: names of variables (and substitutions, as written) in ``text`` whose value is not known.
        splits: it is one of these without quotes: a shell makes as many words of it as its value has.
    """

    text: str
    place: Place | None = None
    unresolved: tuple[str, ...] = ()
    splits: bool = False

    def __str__(self) -> str:
        return self.text


def as_words(argv: Iterable[str | Word]) -> tuple[Word, ...]:
    """Plain strings become words without a place.

    Raises:
        TypeError: for anything that is neither ``str`` nor ``Word``; a single string is refused as well,
            because its characters are not words.
    """
    if isinstance(argv, str):
        raise TypeError("argv is a list of words, not one string; split it with shlex.split first")
    words = []
    for item in argv:
        if isinstance(item, Word):
            words.append(item)
        elif isinstance(item, str):
            words.append(Word(item))
        else:
            raise TypeError(f"argv holds words of type str, not {type(item).__name__}: {item!r}")
    return tuple(words)
