"""Texts of users as people may see them: no character that a terminal acts on, and none that cannot be seen."""

from __future__ import annotations


def visible(text: str) -> str:
    """Every character that cannot be seen replaced by one that can: line breaks and tabs by spaces, others by ``?``.

    Control characters, and with them the escape sequences of terminals, those that turn the direction of writing,
    halves of surrogate pairs (bytes that are no UTF-8) are such.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char.isspace() else "?" for char in text)


def visible_lines(text: str) -> str:
    """The same for a text of several lines, whose line breaks and tabs stay."""
    if text.isprintable():
        return text
    return "\n".join("\t".join(map(visible, line.split("\t"))) for line in text.split("\n"))
