"""Many sources at once: every one is examined in a worker process, and told in the order of the paths.

Workers get one source after the other; one that crashes or takes too long is ended, its source is told, and a fresh one
takes its place. What comes back is plain data, the same on every run.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import IO, Any, Final

from bridge_args import children
from bridge_args.audit.examine import Entry
from bridge_args.audit.sources import sources_in
from bridge_args.audit.summary import summary
from bridge_args.audit.workers import Worker
from bridge_args.files import remember
from bridge_args.steps import Asked

FORMAT: Final = 1  # of the JSON; raised when the meaning of a key changes or one goes away
TIMEOUT: Final = 60.0  # seconds for one source


def silent(done: int, total: int) -> None:
    """Tells nobody how far it is."""


def audit(
    paths: Iterable[str],
    asked: Asked,
    *,
    jobs: int | None = None,
    timeout: float = TIMEOUT,
    told: Callable[[int, int], None] = silent,
) -> dict[str, Any]:
    """Translates every source under the paths.

    Args:
        paths: files are taken as they are, folders are searched (``sources_in``).
        jobs: worker processes; None for one a core.
        timeout: seconds for one source.
        told: called with the number of sources done and of all, after each; from several threads, one at a time.

    Returns:
        ``{"format", "summary", "commands"}``; see ``summary`` and ``examine``. A file that holds several commands has
        an entry for each.

    Raises:
        OSError: a path does not exist.
    """
    paths = list(paths)
    # What an audited file names is read only where it may be looked at: below the folder, or beside the file.
    within = [path if os.path.isdir(path) else os.path.dirname(path) or "." for path in paths]
    asked = asked._replace(within=tuple(map(os.path.abspath, within)))
    sources = list(dict.fromkeys(source for path in paths for source in sources_in(path)))
    for source in sources:
        remember(source)
    jobs = max(1, min(jobs or os.cpu_count() or 1, len(sources)))
    workers = [Worker(asked) for _ in range(jobs)]
    idle: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)
    done, lock = 0, threading.Lock()

    def one(source: str) -> list[Entry]:
        nonlocal done
        worker = idle.get()
        try:
            return worker.ask(source, timeout)
        finally:
            idle.put(worker)
            with lock:
                done += 1
                told(done, len(sources))

    pool = ThreadPoolExecutor(jobs)
    with children.ended_by_signals():
        try:
            entries = [entry for answers in pool.map(one, sources) for entry in answers]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in workers:
                worker.end()
    return {"format": FORMAT, "summary": summary(entries), "commands": entries}


class Bar:
    """A line on a terminal that says how far it is: ``[#####-----] 12/24``."""

    def __init__(self, stream: IO[str], width: int = 40) -> None:
        self.stream = stream
        self.width = width
        self.shown = -1

    def __call__(self, done: int, total: int) -> None:
        filled = self.width * done // total
        if filled != self.shown or done == total:
            self.shown = filled
            end = "\r\033[K" if done == total else ""
            self.stream.write(f"\r[{'#' * filled}{'-' * (self.width - filled)}] {done}/{total}{end}")
            self.stream.flush()
