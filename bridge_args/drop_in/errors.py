"""Word of what ended a rank, left in a folder, so that whoever started the ranks can say which failed first, and how.

Every rank writes at most one file into the folder that ``BRIDGE_ARGS_ERRORS`` names; without the variable nothing is
written. torchrun's own report gets the same exception through the file it asks for (``TORCHELASTIC_ERROR_FILE``).
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

FOLDER: Final = "BRIDGE_ARGS_ERRORS"
_LONGEST: Final = 2000  # characters of a message that are shown


class Failure(NamedTuple):
    """What ended a rank.

    Attributes:
        attempt: how often torchrun had restarted the ranks before.
        time: seconds, as ``time.time()`` gives them.
        exception: the name of its class.
        where: ``file:line in function``; ``callers`` are likewise, the nearest first, without those inside PyTorch.
    """

    rank: str
    attempt: int
    time: float
    exception: str
    message: str
    where: str
    callers: tuple[str, ...] = ()


@contextlib.contextmanager
def reported(env: Mapping[str, str]) -> Iterator[None]:
    """Lets every exception through, after leaving word of it where ``env`` says.

    Args:
        env: environment of the process, with ``RANK``, ``BRIDGE_ARGS_ERRORS`` and ``TORCHELASTIC_ERROR_FILE``.
    """
    try:
        yield
    except Exception as problem:
        with contextlib.suppress(OSError):  # a full disk must not hide what happened
            _leave_word(problem, env)
        raise


def failures(folder: str | os.PathLike[str]) -> list[Failure]:
    """What the ranks have left in a folder in their last attempt, the first to fail first."""
    found = []
    for path in Path(folder).glob("rank-*.json"):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            found.append(Failure(**{**values, "callers": tuple(values["callers"])}))
        except (OSError, ValueError, TypeError, KeyError):
            continue  # cut short: the rank was killed while it wrote
    last = max((failure.attempt for failure in found), default=0)
    return sorted((failure for failure in found if failure.attempt == last), key=lambda failure: failure.time)


def told(found: list[Failure]) -> str:
    """One block for people: who failed first, how, where."""
    first, *others = found
    message = first.message if len(first.message) <= _LONGEST else first.message[:_LONGEST] + " ..."
    head = f"rank {first.rank} failed first: {first.exception}" + (f": {message}" if message else "")
    lines = [head, f"  at {first.where}", *(f"  called from {caller}" for caller in first.callers)]
    if others:
        ranks = sorted({other.rank for other in others}, key=lambda rank: (len(rank), rank))
        late = others[-1].time - first.time
        lines.append(f"  then rank{'s' if len(ranks) > 1 else ''} {', '.join(ranks)}, within {late:.1f} s")
    return "\n".join(lines)


def _leave_word(problem: Exception, env: Mapping[str, str]) -> None:
    folder = env.get(FOLDER)
    if folder:
        frames = traceback.extract_tb(problem.__traceback__)
        places = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in reversed(frames)]
        places = [place for place in places if not place.startswith("<frozen")] or places
        failure = Failure(
            rank=env.get("RANK", env.get("SLURM_PROCID", "0")),
            attempt=int(env.get("TORCHELASTIC_RESTART_COUNT", "0")),
            time=time.time(),
            exception=type(problem).__qualname__,
            message=str(problem),
            where=places[0],
            callers=tuple([place for place in places[1:] if "/torch/" not in place][:3]),
        )
        os.makedirs(folder, exist_ok=True)
        Path(folder, f"rank-{failure.rank}.json").write_text(json.dumps(failure._asdict()), encoding="utf-8")
    if env.get("TORCHELASTIC_ERROR_FILE"):
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(problem)
