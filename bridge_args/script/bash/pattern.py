"""bash's patterns and braces. Facts: bash(1), Pattern Matching and Brace Expansion."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from bridge_args.records import replace
from bridge_args.script.bash.budget import MAX_VALUE, MAX_WORDS, Budget, LimitReached
from bridge_args.script.bash.inside_words import MAX_DEPTH
from bridge_args.script.bash.syntax import Bytes, Literal, Parameter, Part, ShellWord
from bridge_args.script.bash.traced import Traced, joined, plain

_CLASSES: Final = {
    "alnum": "a-zA-Z0-9", "alpha": "a-zA-Z", "blank": r" \t", "digit": "0-9", "lower": "a-z",
    "space": r"\s", "upper": "A-Z", "xdigit": "0-9A-Fa-f", "punct": r"!-/:-@\[-`{-~",
}  # fmt: skip
_CLASS: Final = re.compile(r"\[:(\w+):\]")
_ALIKE: Final = frozenset(("digit", "xdigit", "space"))  # the same characters in every language
_MAX_WORK: Final = 2_000_000  # characters of a text times pieces of a pattern
_MAX_OPEN: Final = 10  # brackets that are looked for in vain
_RANGE: Final = re.compile(r"(?a)(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?$")
_LETTERS: Final = re.compile(r"([A-Za-z])\.\.([A-Za-z])(?:\.\.(-?\d+))?$")


_EXTENDED: Final = re.compile(r"[?*+@!]\(")
_STAR: Final = None
_Pieces = list["re.Pattern[str] | None"]  # one character each, or any number of any


def is_extended(pattern: list[tuple[str, bool]]) -> bool:
    """Is there a ``@(a|b)`` or one of its relatives in it, which ``shopt -s extglob`` allows?"""
    chars = "".join("x" if quoted and char in "?*+@!(" else char for text, quoted in pattern for char in text)
    return _EXTENDED.search(chars) is not None


def depends_on_language(pattern: str, text: str) -> bool:
    """Has the pattern a class (``[[:alpha:]]``) that has other characters of the text from language to language?"""
    names = set(_CLASS.findall(pattern))
    return not names <= _CLASSES.keys() or (not text.isascii() and not names <= _ALIKE)


def _pieces(pattern: list[tuple[str, bool]], extended: bool = False) -> _Pieces | None:
    """A pattern (text with "was it quoted?"); None for one that is not read, as extended ones are not."""
    if extended and is_extended(pattern):
        return None
    chars = [(char, quoted) for text, quoted in pattern for char in text]
    last_closing = max((index for index, one in enumerate(chars) if one == ("]", False)), default=-1)
    made: _Pieces = []
    i = left_open = 0
    while i < len(chars):
        char, quoted = chars[i]
        i += 1
        if not quoted and char == "*":
            if not made or made[-1] is not _STAR:
                made.append(_STAR)
            continue
        source = re.escape(char)
        if not quoted and char == "?":
            source = "."
        elif not quoted and char == "\\" and i < len(chars):
            source = re.escape(chars[i][0])
            i += 1
        elif not quoted and char == "\\":
            return None  # nothing behind it: what that fits depends on where it is used
        elif not quoted and char == "[":
            end = _bracket_end(chars, i) if i <= last_closing else -1
            left_open += end < 0
            if left_open > _MAX_OPEN and i <= last_closing:
                return None
            if end >= 0:
                source = _bracket("".join(c if not q else "\\" + c for c, q in chars[i:end]))
                i = end + 1
        try:
            made.append(_one_of(source))
        except re.error:
            return None
    return made


@lru_cache(maxsize=1024)
def _one_of(source: str) -> re.Pattern[str]:
    return re.compile(source, re.DOTALL)


def _ends(pieces: _Pieces, text: str) -> list[int] | None:
    """Lengths of the beginnings of a text that the pattern fits, in order; None when that takes too long."""
    if len(text) * len(pieces) > _MAX_WORK:
        return None
    last = len(pieces)
    states = _free(pieces, {0})
    found = [0] if last in states else []
    for index, char in enumerate(text):
        following = set()
        for state in states:
            if state == last:
                continue
            piece = pieces[state]
            if piece is None:
                following.add(state)
            elif piece.match(char):
                following.add(state + 1)
        states = _free(pieces, following)
        if not states:
            break
        if last in states:
            found.append(index + 1)
    return found


def _free(pieces: _Pieces, states: set[int]) -> set[int]:
    """Stars may stand for nothing."""
    return states | {state + 1 for state in states if state < len(pieces) and pieces[state] is None}


def _bracket_end(chars: list[tuple[str, bool]], start: int) -> int:
    i = start
    if i < len(chars) and chars[i][0] in "!^":
        i += 1
    if i < len(chars) and chars[i][0] == "]":
        i += 1
    while i < len(chars):
        if chars[i][0] == "[" and i + 1 < len(chars) and chars[i + 1][0] == ":":
            last = min(len(chars) - 1, i + 12)  # no name is longer
            close = next((k for k in range(i + 2, last) if chars[k][0] == ":" and chars[k + 1][0] == "]"), -1)
            if close > 0:
                i = close + 2
                continue
        if chars[i] == ("]", False):
            return i
        i += 1
    return -1


def _bracket(inside: str) -> str:
    negated = inside[:1] in ("!", "^")
    inside = inside[negated:]
    named = re.sub(r"\[:(\w+):\]", lambda m: f"\0{m.group(1)}\0", inside)
    safe = re.sub(r"[\[\]^&~|]", lambda m: "\\" + m.group(), named)
    safe = safe.replace("\\\\", "\\") if "\\\\" in safe else safe
    safe = re.sub(r"\0(\w+)\0", lambda m: _CLASSES.get(m.group(1), ""), safe)
    return f"[{'^' if negated else ''}{safe}]"


def _read(pattern: list[tuple[str, bool]], text: str, extended: bool) -> _Pieces | None:
    """A pattern for that text; None where it cannot be told what fits."""
    if depends_on_language("".join(piece for piece, quoted in pattern if not quoted), text):
        return None
    return _pieces(pattern, extended)


def matches(pattern: list[tuple[str, bool]], text: str, extended: bool = False) -> bool | None:
    """Does the pattern fit the whole text? None when that cannot be told."""
    pieces = _read(pattern, text, extended)
    ends = None if pieces is None else _ends(pieces, text)
    return None if ends is None else bool(ends) and ends[-1] == len(text)


def without(pattern: list[tuple[str, bool]], text: Traced, op: str, extended: bool = False) -> Traced | None:
    """``${NAME#pattern}`` and its relatives ``##``, ``%``, ``%%``."""
    pieces = _read(pattern, text.text, extended)
    if pieces is None:
        return None
    if op[0] == "#":
        ends = _ends(pieces, text.text)
        if ends is None:
            return None
        return text[ends[0 if len(op) == 1 else -1] :] if ends else text
    ends = _ends(pieces[::-1], text.text[::-1])
    if ends is None:
        return None
    return text[: len(text) - ends[0 if len(op) == 1 else -1]] if ends else text


def replaced(
    pattern: list[tuple[str, bool]], by: Traced, text: Traced, op: str, extended: bool = False
) -> Traced | None:
    """``${NAME/pattern/by}``: ``//`` all of them, ``/#`` at the beginning, ``/%`` at the end."""
    pieces = _read(pattern, text.text, extended)
    if pieces is None:
        return None
    if not pieces:
        return {"/#": by + text, "/%": text + by}.get(op, text)
    if op == "/%":
        ends = _ends(pieces[::-1], text.text[::-1])
        if ends is None:
            return None
        return text[: len(text) - ends[-1]] + by if ends else text
    if not text:
        return by if _ends(pieces, "") else text
    stars = sum(piece is _STAR for piece in pieces)
    if stars and len(text) ** 2 * len(pieces) > _MAX_WORK:
        return None
    made: list[Traced] = []
    at = size = 0
    while at < len(text):
        found = _ends(pieces, text.text[at:] if stars else text.text[at : at + len(pieces)])
        if found is None:
            return None
        if found and found[-1] > 0:
            made.append(by)
            size += len(by)
            if size > MAX_VALUE:
                return None
            at += found[-1]
            if op != "//":
                break
        elif op == "/#":
            break
        else:
            made.append(text[at : at + 1])
            at += 1
    return joined([*made, text[at:]])


# ---------------------------------------------------------------- braces


def braces(word: ShellWord, budget: Budget) -> list[ShellWord]:
    """``a{b,c}`` and ``{1..4}``: one word or several."""
    if not any(isinstance(part, Literal) and not part.quoted and "{" in part.text.text for part in word.parts):
        return [word]
    budget.work(sum(len(part.text) if isinstance(part, Literal) else 1 for part in word.parts), word.at)
    atoms: list[Traced | Part] = []
    for part in word.parts:
        if isinstance(part, Literal) and not part.quoted:
            atoms += [part.text[i : i + 1] for i in range(len(part.text))]
        else:
            atoms.append(part)
    words = _Braces(budget, word.at).expanded(atoms)
    return [word] if len(words) == 1 and words[0] == atoms else [_word(made, word) for made in words]


_Atoms = list["Traced | Part"]


class _Braces:
    """The braces of one word."""

    def __init__(self, budget: Budget, at: int) -> None:
        self.budget = budget
        self.at = at

    def expanded(self, atoms: _Atoms, depth: int = 0) -> list[_Atoms]:
        """The words that the braces make, from left to right; those inside each other first."""
        if depth > MAX_DEPTH:
            raise LimitReached(f"braces nested more than {MAX_DEPTH} deep", self.at)
        made: list[_Atoms] = [[]]
        index = 0
        self.budget.work(len(atoms), self.at)
        ends = _closing(atoms)
        while True:
            start = next((at for at in range(index, len(atoms)) if at in ends and not _is_empty(atoms, at, index)), -1)
            start, end = (start, ends[start]) if start >= 0 else (len(atoms), len(atoms))
            before = atoms[index:start]
            choices = self.choices(atoms[start + 1 : end], depth) if end < len(atoms) else [[]]
            if choices is None:
                choices = [atoms[start : end + 1]]
            if len(made) * len(choices) > MAX_WORDS:
                raise LimitReached(f"more than {MAX_WORDS} words from braces", self.at)
            so_far = sum(map(len, made)) + len(before) * len(made)
            self.budget.work(so_far * len(choices) + sum(map(len, choices)) * len(made) + 1, self.at)
            made = [[*one, *before, *choice] for one in made for choice in choices]
            if end >= len(atoms):
                return made
            index = end + 1

    def choices(self, inside: _Atoms, depth: int) -> list[_Atoms] | None:
        """What stands in braces, one by one; None when the braces are only text."""
        if not any(_char(inside, index) == "," for index in range(len(inside))):
            series = _series(inside, self.at) if len(inside) < 100 else None
            return None if series is None else [[text] for text in series]
        parts: list[_Atoms] = [[]]
        level = 0
        for index, atom in enumerate(inside):
            char = _char(inside, index)
            if char == "," and level == 0:
                parts.append([])
                continue
            level += {"{": 1, "}": -(level > 0)}.get(char, 0)
            parts[-1].append(atom)
        return [made for part in parts for made in self.expanded(part, depth + 1)]


def _is_empty(atoms: _Atoms, at: int, first: int) -> bool:
    """``{}`` at the beginning is a word."""
    return at == first and _char(atoms, at + 1) == "}"


def _closing(atoms: _Atoms) -> dict[int, int]:
    """Where the braces close that stand for something.

    A ``}`` closes braces that hold, in themselves, a comma or a ``..``. For those that hold none it is text, and they
    may close further behind; for braces around them it closes them all the same.
    """
    ends: dict[int, int] = {}
    # For each level of braces: the opening ones that wait there, without and with something to choose from.
    waiting: list[tuple[list[int], list[int]]] = [([], [])]
    for index in range(len(atoms)):
        char = _char(atoms, index)
        without, with_some = waiting[-1]
        if char == "{":
            waiting.append(([index], []))
        elif char == "," or (char == _char(atoms, index + 1) == "." and _char(atoms, index + 2) != "}"):
            with_some += without
            without.clear()
        elif char == "}":
            ends.update(dict.fromkeys(with_some, index))
            with_some.clear()
            if len(waiting) > 1:
                waiting.pop()
                outer = waiting[-1]
                longer, shorter = sorted((outer[0], without), key=len, reverse=True)
                longer.extend(shorter)
                waiting[-1] = (longer, outer[1])
    return ends


def _char(atoms: _Atoms, index: int) -> str:
    """The character there, if it is one that is not quoted."""
    atom = atoms[index] if index < len(atoms) else None
    return atom.text if isinstance(atom, Traced) else ""


def _series(atoms: _Atoms, at: int) -> list[Traced] | None:
    text = "".join(atom.text for atom in atoms if isinstance(atom, Traced))
    if len(text) != len(atoms) or not text:
        return None
    place = atoms[0].first if isinstance(atoms[0], Traced) else at
    match = _RANGE.match(text) if len(text) < 100 else None
    if match:
        first, last, step = int(match[1]), int(match[2]), abs(int(match[3] or 1)) or 1
        if abs(last - first) // step > MAX_WORDS:
            raise LimitReached(f"more than {MAX_WORDS} words from braces", at)
        padded = any(re.match(r"-?0\d", match[i]) for i in (1, 2))
        width = max(len(match[1]), len(match[2])) if padded else 0
        numbers = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
        return [plain(f"{number:0{width}d}", place) for number in numbers]
    match = _LETTERS.match(text)
    if match:
        first, last, step = ord(match[1]), ord(match[2]), abs(int(match[3] or 1)) or 1
        numbers = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
        return [plain(chr(number), place) for number in numbers]
    return None


def _word(atoms: _Atoms, word: ShellWord) -> ShellWord:
    """Braces come before variables: of ``$DATA{1,2}`` bash makes ``$DATA1`` and ``$DATA2``."""
    parts: list[Part] = []
    for atom in atoms:
        last = parts[-1] if parts else None
        if isinstance(last, Literal) and not last.quoted and last.text.text.endswith("$"):
            parts[-1:] = [part for part in (Literal(last.text[:-1]), *_behind_dollar(atom, last.text.at[-1])) if part]
        elif not isinstance(atom, Traced):
            parts.append(atom)
        elif (
            isinstance(last, Parameter)
            and not last.quoted
            and _UNBRACED.match(last.written)
            and _IN_NAME.match(atom.text)
        ):
            parts[-1] = replace(last, name=last.name + atom.text, written=last.written + atom.text)
        elif isinstance(last, Literal) and not last.quoted:
            parts[-1] = Literal(last.text + atom)
        else:
            parts.append(Literal(atom))
    return ShellWord(tuple(parts), word.at, word.written)


def _behind_dollar(atom: Traced | Part, at: int) -> list[Part]:
    """What becomes of a ``$`` that braces have put in front of something."""
    if isinstance(atom, Traced):
        if _NAME_START.match(atom.text) or atom.text in "0123456789@*#?$!-":
            return [Parameter(atom.text, f"${atom.text}", at, index=atom.text if atom.text in "@*" else None)]
        return [Bytes("$" + atom.text, at) if atom.text in "{(" else Literal(plain("$", at) + atom)]
    if isinstance(atom, Literal) or getattr(atom, "quoted", False):
        return [Literal(plain("$", at), True), atom]
    return [Parameter("$", "$$", at), Literal(plain(atom.written[1:], at))]


_UNBRACED: Final = re.compile(r"(?a)\$[A-Za-z_]\w*$")
_IN_NAME: Final = re.compile(r"[A-Za-z0-9_]")
_NAME_START: Final = re.compile(r"[A-Za-z_]")
