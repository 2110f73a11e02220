"""What reading a script does not tell, where a command is to be started: filled in, or asked for.

In the words of a ``replaced.Start`` a character of its own stands for every such thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bridge_args.launch.entrypoint import NotStarted
from bridge_args.script.bash.state import Hole
from bridge_args.script.slurm import OF_A_TASK


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with values in place of the characters that stand for them."""
    return text if text.isascii() else "".join(values.get(char, char) for char in text)


def met_in(texts: Iterable[str], holes: Mapping[str, Hole]) -> dict[str, Hole]:
    """Those of the holes that stand in the texts."""
    there = set().union(*texts)
    return {char: hole for char, hole in holes.items() if char in there}


def as_written(text: str, holes: Mapping[str, Hole]) -> str:
    """The text for people, as bash writes it."""
    return filled(text, {char: hole.first_written or hole.written for char, hole in holes.items()})


def not_known(holes: Iterable[Hole]) -> NotStarted:
    """What to tell the user of holes that nobody has filled."""
    lines = ["this is not known, and is needed to start the command:"]
    names: list[str] = []
    of_tasks = False
    for hole in holes:
        name = f"${hole.names[0]} = " if hole.first_written and hole.names else ""
        lines.append(f"  {name}{hole.first_written or hole.written}")
        of_tasks |= bool(OF_A_TASK.intersection(hole.names))
        names += [name for name in hole.names if name not in names and name not in OF_A_TASK]
    given = " ".join(f"--set {name}=VALUE" for name in names if not name.isdigit())
    if any(name.isdigit() for name in names):
        lines.append("give the arguments of the script after its name")
    if given:
        lines.append(f"give it with {given}")
    elif not names and not of_tasks:
        lines.append("put it into a variable of the script, and give that with --set NAME=VALUE")
    if of_tasks:
        lines.append("every task has its own: let a shell of the task read it, as in srun bash -c '… $SLURM_PROCID …'")
    return NotStarted("\n".join(lines))
