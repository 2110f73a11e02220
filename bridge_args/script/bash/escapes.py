"""Backslash escapes: in ``$'...'``, and as ``echo -e`` and ``printf`` read them. Facts: bash(1), QUOTING, echo, printf.

They make bytes. Bytes that are no UTF-8 cannot stand in a command line that is kept as text: they are not read.
"""

from __future__ import annotations

import re
from typing import Final

from bridge_args.records import dataclass
from bridge_args.script.bash.traced import Traced, is_hole, joined, plain

_LETTERS: Final = {
    "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\",
}  # fmt: skip
_UNICODE: Final = r"u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})"


@dataclass(frozen=True, slots=True)
class Escapes:
    """Which escapes there are: ``code`` has groups for octal, hexadecimal and two for Unicode."""

    code: re.Pattern[str]
    letters: str
    control: bool = False  # \\cx
    ends: bool = False  # \\c ends all output


QUOTED: Final = Escapes(
    re.compile(rf"\\(?:([0-7]{{1,3}})|x([0-9a-fA-F]{{1,2}})|{_UNICODE})"), "abeEfnrtv\\'\"?", control=True
)
ECHO: Final = Escapes(re.compile(rf"\\(?:0([0-7]{{0,3}})|x([0-9a-fA-F]{{1,2}})|{_UNICODE})"), "abeEfnrtv\\", ends=True)
FORMAT: Final = Escapes(re.compile(rf"\\(?:([0-7]{{1,3}})|x([0-9a-fA-F]{{1,2}})|{_UNICODE})"), "abeEfnrtv\\'\"?")
ARGUMENT: Final = Escapes(  # of %b
    re.compile(rf"\\(?:0?([0-7]{{1,3}})|x([0-9a-fA-F]{{1,2}})|{_UNICODE})"), "abeEfnrtv\\'\"?", ends=True
)


class Ended(Exception):
    """``\\c``: nothing is printed after ``text``."""

    def __init__(self, text: Traced) -> None:
        super().__init__()
        self.text = text


def read(text: Traced, known: Escapes) -> Traced | None:
    """The text with its escapes replaced; None where they make bytes that are no text.

    Raises:
        Ended: at ``\\c``, where that ends the output.
    """
    if "\\" not in text.text:
        return text
    made: list[Traced] = []
    raw, raw_at = bytearray(), -1  # bytes that stand side by side may be one character

    def flushed() -> bool:
        try:
            made.append(plain(raw.decode(), raw_at))
        except UnicodeDecodeError:
            return False
        raw.clear()
        return True

    i = 0
    while i < len(text):
        match = known.code.match(text.text, i)
        if match and _byte(match) is not None:
            raw_at = raw_at if raw else text.at[i]
            raw.append(_byte(match) or 0)
            i = match.end()
            continue
        if raw and not flushed():
            return None
        if match:
            code = int(match.group(3) or match.group(4), 16)
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                return None
            made.append(plain(chr(code), text.at[i]))
            i = match.end()
            continue
        piece, i = _other(text, i, known, made)
        made.append(piece)
    if raw and not flushed():
        return None
    result = joined(made)
    return None if sum(map(is_hole, result.text)) > sum(map(is_hole, text.text)) else result


def _byte(match: re.Match[str]) -> int | None:
    octal, hexadecimal, *_ = match.groups()
    if octal is not None:
        return int(octal or "0", 8) & 0xFF
    return None if hexadecimal is None else int(hexadecimal, 16)


def _other(text: Traced, i: int, known: Escapes, made: list[Traced]) -> tuple[Traced, int]:
    """A letter behind a backslash, or text up to the next backslash; and where it ends."""
    letter = text.text[i + 1 : i + 2]
    if text.text[i] == "\\" and letter:
        if letter == "c" and known.ends:
            raise Ended(joined(made))
        if letter == "c" and known.control and i + 2 < len(text):
            control = text.text[i + 2]
            end = i + (4 if text.text[i + 2 : i + 4] == "\\\\" else 3)
            return plain("\x7f" if control == "?" else chr(ord(control.upper()) & 0x1F), text.at[i]), end
        if letter in known.letters:
            return plain(_LETTERS.get(letter, letter), text.at[i]), i + 2
        return text[i : i + 2], i + 2
    end = text.text.find("\\", i + 1)
    end = len(text) if end < 0 else end
    return text[i:end], end
