"""What reading a script does not tell, where a command is to be started: filled in, or asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from bridge_args.launch.replaced import NotStarted
from bridge_args.script.state import Hole

_REFERENCE: Final = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with values in place of what bash would replace.

    Args:
        values: for pieces as ``Hole.written`` has them: ``$NAME`` (which is ``${NAME}`` too) and ``$(command)``.
    """
    for written, value in values.items():
        if not written[1:].isidentifier():
            text = text.replace(written, value)
    return _REFERENCE.sub(lambda found: values.get(f"${found.group(1) or found.group(2)}", found.group()), text)


def stands_in(hole: Hole, text: str) -> bool:
    return filled(text, {hole.written: ""}) != text


def not_known(holes: Iterable[Hole]) -> NotStarted:
    """What to tell the user of holes that nobody has filled."""
    lines = ["this is not known, and is needed to start the command:"]
    names: list[str] = []
    for hole in holes:
        name = f"${hole.names[0]} = " if hole.first_written and hole.names else ""
        lines.append(f"  {name}{hole.first_written or hole.written}")
        names += [name for name in hole.names if name not in names]
    given = " ".join(f"--set {name}=VALUE" for name in names if not name.isdigit())
    if any(name.isdigit() for name in names):
        lines.append("give the words for the script behind its name")
    if given:
        lines.append(f"give it with {given}")
    elif not names:
        lines.append("put it into a variable of the script, and give that with --set NAME=VALUE")
    return NotStarted("\n".join(lines))
