"""One made-up script: is it read as bash reads it, or is it said that it is not?"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import by_bash
import scripts_made_up

from bridge_args.script.bash.started import Started
from bridge_args.script.read import Script, read_script

VARIABLES = {"HOME": "/home/u", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class Comparison:
    """``outcome``: "same", "told", "different", or "slow" when bash took too long to be asked."""

    outcome: str
    script: str
    expected: list[list[str]]
    ours: list[list[str]]
    why: str = ""  # what was told


def judge(folder: Path) -> by_bash.Judge:
    """bash for such scripts; where a function is no longer there, a program of its name is."""
    made = by_bash.Judge(folder)
    for name in scripts_made_up.FUNCTIONS:
        made.stubs.joinpath(name).write_text("#!/bin/sh\n")
        made.stubs.joinpath(name).chmod(0o755)
    return made


def compare(seed: int, judge: by_bash.Judge) -> Comparison:
    return compared(scripts_made_up.script(seed), judge)


def compared(script: str, judge: by_bash.Judge) -> Comparison:
    try:
        expected = without_repetition(judge.passed(script, VARIABLES, timeout=10))
    except subprocess.TimeoutExpired:
        return Comparison("slow", script, [], [])
    read = read_script(script, "train.sh", inherited=VARIABLES)
    ours = without_repetition([words for started in read.commands if (words := started_words(started))])
    for _ in range(3):  # what an earlier script started may have come late; a pipe may have been closed early
        if ours != expected:
            expected = without_repetition(judge.passed(script, VARIABLES, timeout=20))
    at_once = "| {" in script and sorted(ours) == sorted(expected)  # both sides of a pipe
    if ours == expected or at_once:
        return Comparison("same", script, expected, ours)
    why = told(read)
    return Comparison("told" if why else "different", script, expected, ours, why)


def told(read: Script) -> str:
    """What is said about a part that is not read; what bash itself refuses is read, and no excuse."""
    for finding in read.findings:
        refused = finding.message.startswith("bash ")
        if finding.kind == "lost-words" or (finding.kind in ("not-read", "unreadable-source") and not refused):
            return finding.message
    for started in read.commands:
        if not started_words(started):
            continue
        if started.when:
            return f"when {started.when[0]}"
        for finding in started.findings:
            return finding.message
    return ""


def started_words(started: Started) -> list[str]:
    """From torchrun on; variables may be set in front of it."""
    words = [word.text for word in started.words]
    return words[words.index("torchrun") :] if "torchrun" in words else []


def without_repetition(commands: list[list[str]]) -> list[list[str]]:
    """A command that is started again with the same words is one for us."""
    made: list[list[str]] = []
    for command in commands:
        if command not in made:
            made.append(command)
    return made
