"""What real bash passes to programs: an empty folder, and stubs in place of everything that would start something."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

RECORDING = ("torchrun", "python", "python3", "deepspeed")
# What stands in front is skipped: the first word behind it that is a shell, a script or a program below is started.
STARTING = ("srun", "mpirun", "nsys", "numactl", "nohup", "singularity", "docker", "sbatch")
HARMLESS = ("basename", "bash", "cat", "cut", "dirname", "env", "expr", "head", "seq", "sh", "tail", "tee", "tr", "wc")

_RECORD = """#!/bin/sh
printf '%s\\0' "$(($# + {count}))" "${{0##*/}}" {variables} "$@" >> {record}
"""
_START = """#!{bash}
words=("$@")
for ((i = 0; i < $#; i++)); do
    case ${{words[i]}} in
        --export=*)
            IFS=, read -ra pairs <<< "${{words[i]#--export=}}"
            for pair in "${{pairs[@]}}"; do case $pair in *=*) export "$pair" ;; esac; done ;;
        -e) [ "${{0##*/}}" = docker ] && export "${{words[i + 1]}}" ;;
        --wrap=*) exec {bash} -c "${{words[i]#--wrap=}}" ;;
        bash|sh) exec {bash} "${{words[@]:i + 1}}" ;;
        *.sh) exec {bash} "${{words[@]:i}}" ;;
        torchrun|python|python3|deepspeed|env|srun|docker|singularity) exec "${{words[@]:i}}" ;;
    esac
done
[ "${{0##*/}}" = sbatch ] && exec {bash}
"""

available = shutil.which("bash") is not None


class Judge:
    """Asks bash about one script after the other; the stubs are made once.

    Args:
        variables: recorded too, as ``NAME=value`` in front of the words; ``NAME`` alone where it is not exported.
    """

    def __init__(self, folder: Path, variables: Sequence[str] = ()) -> None:
        self.folder = folder
        self.stubs, self.record = folder / "stubs", folder / "record"
        self.stubs.mkdir()
        bash = shutil.which("bash")
        assert bash
        self.bash = bash
        for name in (*RECORDING, *STARTING):
            text = _RECORD if name in RECORDING else _START
            said = " ".join(f'"{one}${{{one}+=}}${{{one}-}}"' for one in variables)
            made = text.format(bash=bash, record=self.record, count=len(variables), variables=said)
            (self.stubs / name).write_text(made)
            (self.stubs / name).chmod(0o755)
        for name in HARMLESS:
            found = shutil.which(name)
            if found:
                (self.stubs / name).symlink_to(found)

    def passed(
        self,
        script: str,
        variables: Mapping[str, str] | None = None,
        positional: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
        timeout: float = 20,
    ) -> list[list[str]]:
        """Program and words of every recording stub that the script starts, in order."""
        work = self.folder / "work"
        if work.exists():
            shutil.rmtree(work)
        work.mkdir()
        self.record.unlink(missing_ok=True)
        for name, text in {"train.sh": script, **(files or {})}.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(text, newline="")
            (work / name).chmod(0o755)
        environment = {"PATH": str(self.stubs), **(variables or {})}
        started = subprocess.Popen(
            [self.bash, "train.sh", *positional], cwd=work, env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            started.wait(timeout)
        except subprocess.TimeoutExpired:  # and what it has started, which would go on recording
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()
            raise
        fields = os.fsdecode(self.record.read_bytes()).split("\0")[:-1] if self.record.exists() else []
        commands = []
        while fields:
            count = int(fields[0])
            commands.append(fields[1 : count + 2])
            fields = fields[count + 2 :]
        return commands


def passed(
    script: str,
    folder: Path,
    variables: Mapping[str, str] | None = None,
    positional: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
) -> list[list[str]]:
    """The same for one script; ``folder`` is left as the script leaves it."""
    return Judge(folder).passed(script, variables, positional, files)
