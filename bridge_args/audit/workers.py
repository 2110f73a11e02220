"""Processes that examine sources, so that one that crashes or hangs stops nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import threading

from bridge_args import children
from bridge_args.audit.examine import Entry, failed
from bridge_args.steps import Asked

_MODULE = "bridge_args.audit.examine"


class Worker:
    """A process that examines one source after the other; started when first asked, and again after it ended."""

    def __init__(self, asked: Asked) -> None:
        self.asked = json.dumps(asked._asdict() | {"variables": dict(asked.variables)})
        self.process: subprocess.Popen[str] | None = None
        self.late = False

    def ask(self, path: str, timeout: float) -> list[Entry]:
        """The entries of a source; one that says so where the process ended or took too long."""
        process = self._started()
        assert process.stdin and process.stdout
        self.late = False
        timer = threading.Timer(timeout, self._too_late, (process,))
        timer.start()
        try:
            process.stdin.write(json.dumps(path) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = ""
        finally:
            timer.cancel()
        try:
            entries: list[Entry] = json.loads(answer)
            return entries
        except ValueError:  # no answer, or a part of one
            pass
        process.kill()
        code = process.wait()
        self.process = None
        message = (
            f"reading takes more than {timeout:g} seconds" if self.late else f"reading it ended the process ({code})"
        )
        return [failed(path, "errors", "unreadable-source", f"{path}: {message}")]

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    stream.close()

    def _started(self) -> subprocess.Popen[str]:
        if self.process is None:
            self.process = subprocess.Popen(
                children.command(_MODULE, self.asked),
                env=children.environment(os.environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
        return self.process

    def _too_late(self, process: subprocess.Popen[str]) -> None:
        self.late = True
        process.kill()
