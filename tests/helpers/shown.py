"""What pages for people show: blocks of commands, files and output, and the notes to the test beside them.

A note is an HTML comment, which readers do not see. It belongs to the next block, or, where ``PAGE`` names it, to the
rest of the page:

    <!-- files: train.sh=examples/01_one_command/train.sh -->     these lie in the folder the commands run in
    <!-- …: --num-layers 2 -->                                    what the word … stands for in commands
    <!-- needs: checkout, 8 GPUs -->                              else the command is only checked
    <!-- exit: 1 -->                                              the exit status of the block's last command
    <!-- output -->                                               the block is what the commands before it print
    <!-- kind: bad-value -->                                      the finding that the block's command leads to

A block with a title is a file of that name: ``` ```yaml title="rows.yaml" ```.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

PAGE = ("files", "…")
NOTES = (*PAGE, "needs", "exit", "output", "kind")

_FENCE = re.compile(r"^( *)(`{3,})(\w*)(?: +title=\"([^\"]+)\")? *$")
_NOTE = re.compile(r"^<!-- ([a-z]+|…)(?:: (.*?))? -->$", re.DOTALL)
_INCLUDED = re.compile(r"^ *--8<-- \"([^\"]+)\"$")


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        line: where its first line stands in the page, counted from 1.
        text: with what it includes from other files.
        notes: of this block, and those of the page that hold here.
    """

    line: int
    language: str
    title: str
    text: str
    notes: Mapping[str, str]


def blocks(page: Path, root: Path) -> Iterator[Block]:
    """The blocks of a page, in order; files are included from ``root``."""
    lines = page.read_text(encoding="utf-8").splitlines()
    of_page: dict[str, str] = {}
    notes: dict[str, str] = {}
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        if line.startswith("<!-- "):
            end = next(index for index in range(at, len(lines)) if lines[index].rstrip().endswith("-->"))
            note = _NOTE.match(" ".join(text.strip() for text in lines[at : end + 1]))
            if note and note.group(1) in NOTES:
                (of_page if note.group(1) in PAGE else notes)[note.group(1)] = note.group(2) or ""
            at = end + 1
            continue
        fence = _FENCE.match(lines[at])
        if fence:
            indent, ticks, language, title = fence.groups()
            end = next(index for index in range(at + 1, len(lines)) if lines[index].strip() == ticks)
            inside = [text.removeprefix(indent) for text in lines[at + 1 : end]]
            yield Block(at + 2, language, title or "", "".join(_with_files(inside, root)), {**of_page, **notes})
            notes = {}
            at = end
        elif line:
            assert not notes, f"{page.name}:{at + 1}: a note stands right before its block"
        at += 1
    assert not notes, f"{page.name}: a note has no block"


def _with_files(lines: list[str], root: Path) -> Iterator[str]:
    for line in lines:
        included = _INCLUDED.match(line)
        yield (root / included.group(1)).read_text(encoding="utf-8") if included else f"{line}\n"


def commands(text: str) -> Iterator[tuple[int, str]]:
    """The commands of a block of shell, each with the number of its first line, counted from 0."""
    first, parts = 0, []
    for index, line in enumerate(text.splitlines()):
        if not parts:
            first = index
        parts.append(line)
        if not line.endswith("\\"):
            command = "\n".join(parts)
            parts = []
            if command.strip() and not command.lstrip().startswith("#"):
                yield first, command


def is_shown_by(output: str, shown: str) -> bool:
    """Is the output what the page shows? A line of ``…`` stands for any lines, ``…`` within a line for any text."""
    pattern = ""
    for line in shown.splitlines():
        if line.strip().lstrip("# ") == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += "[^\n]*".join(map(re.escape, line.rstrip().split("…"))) + r"\n"
    real = "".join(f"{line.rstrip()}\n" for line in output.splitlines())
    return re.fullmatch(pattern, real) is not None
