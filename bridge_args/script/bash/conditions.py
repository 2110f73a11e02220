"""``test``, ``[ ]`` and ``[[ ]]``: True, False, or None when it cannot be told (bash(1), CONDITIONAL EXPRESSIONS).

A variable that nobody sets reads as empty here, as bash would read it; that is remembered (``Shared.assumed``).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Final

from bridge_args.script.bash import pattern
from bridge_args.script.bash.arithmetic import NotANumber, Wrong
from bridge_args.script.bash.expand import Expander
from bridge_args.script.bash.state import State
from bridge_args.script.bash.syntax import ShellWord
from bridge_args.script.bash.traced import Traced, is_hole

_NUMBERS: Final[dict[str, Callable[[int, int], bool]]] = {
    "-eq": operator.eq, "-ne": operator.ne, "-lt": operator.lt, "-le": operator.le, "-gt": operator.gt,
    "-ge": operator.ge,
}  # fmt: skip
_TEXTS: Final = ("=", "==", "!=", "<", ">")
_BINARY: Final = frozenset((*_NUMBERS, *_TEXTS, "-nt", "-ot", "-ef"))
_FILES: Final = frozenset("abcdefghkprsuwxGLNOS")
_UNARY: Final = frozenset(f"-{letter}" for letter in (*_FILES, *"noRtvz"))
_DIFFERS_FROM_ITSELF: Final = re.compile(r"[\[\\]")  # as a pattern
_REGEX_SIZE: Final = 300
_REGEX_WORK: Final = 2_000_000


class NotATest(Exception):
    """bash complains about the words of ``test``; its status is 2."""


def negated(value: bool | None) -> bool | None:
    return None if value is None else not value


def test(words: Sequence[Traced], state: State) -> bool | None:
    """The arguments of ``test`` (without ``]``). Raises NotATest."""
    return _Test(words, state).whole()


class _Test:
    def __init__(self, words: Sequence[Traced], state: State) -> None:
        self.words = list(words)
        self.state = state
        self.i = 0

    def whole(self) -> bool | None:
        words, count = self.words, len(self.words)
        if count == 0:
            return False
        if count == 1:
            return self.filled(words[0])
        if count == 2 and words[0].text == "!":
            return negated(self.filled(words[1]))
        if count == 2:
            if words[0].known and words[0].text not in _UNARY:
                raise NotATest
            return self.unary(words[0].text, words[1])
        if count == 3 and words[1].text in _BINARY:
            return self.binary(*words)
        if count == 3 and words[1].text in ("-a", "-o"):
            return _combined(words[1].text, self.filled(words[0]), self.filled(words[2]))
        if count == 3 and words[0].text == "!":
            return negated(test(words[1:], self.state))
        if count == 3 and (words[0].text, words[2].text) == ("(", ")"):
            return self.filled(words[1])
        if count == 3 and words[1].known:
            raise NotATest
        if count == 4 and words[0].text == "!":
            return negated(test(words[1:], self.state))
        try:
            value = self.either()
            if self.i == count:
                return value
        except NotATest:
            pass
        if all(word.known for word in words):
            raise NotATest
        return None

    def either(self) -> bool | None:
        left = self.both()
        while self.take("-o"):
            left = _combined("-o", left, self.both())
        return left

    def both(self) -> bool | None:
        left = self.term()
        while self.take("-a"):
            left = _combined("-a", left, self.term())
        return left

    def term(self) -> bool | None:
        if self.take("!"):
            return negated(self.term())
        if self.take("("):
            value = self.either()
            if not self.take(")"):
                raise NotATest
            return value
        rest = self.words[self.i :]
        if len(rest) >= 3 and rest[1].text in _BINARY:
            self.i += 3
            return self.binary(*rest[:3])
        if len(rest) >= 2 and rest[0].text in _UNARY:
            self.i += 2
            return self.unary(rest[0].text, rest[1])
        if not rest:
            raise NotATest
        self.i += 1
        return self.filled(rest[0])

    def take(self, text: str) -> bool:
        if self.i < len(self.words) and self.words[self.i].text == text:
            self.i += 1
            return True
        return False

    def filled(self, word: Traced) -> bool | None:
        return negated(empty(word, self.state))

    def unary(self, op: str, word: Traced) -> bool | None:
        return unary(op, word, self.state)

    def binary(self, left: Traced, op: Traced, right: Traced) -> bool | None:
        if op.text in _NUMBERS:
            return numbers(op.text, left, right, self.state)
        if op.text not in _TEXTS:
            return None
        return texts(op.text, left, [(right.text, True)], self.state)


def _combined(op: str, left: bool | None, right: bool | None) -> bool | None:
    stop = op == "-o"
    if left is stop or right is stop:
        return stop
    return None if left is None or right is None else not stop


def empty(word: Traced, state: State) -> bool | None:
    if any(not is_hole(char) for char in word.text):
        return False
    left = state.as_unset(word)
    if any(hole.variable for hole in state.shared.holes_in(left.text)):
        return False  # what the system always sets
    return None if left else True


def unary(op: str, word: Traced, state: State) -> bool | None:
    letter = op[1:]
    if letter == "z":
        return empty(word, state)
    if letter == "n":
        return negated(empty(word, state))
    if letter == "v":
        element = re.fullmatch(r"(?a)([A-Za-z_]\w*)\[(.+)\]", word.text)
        if element:
            variable = state.get(element.group(1))
            if variable is None or not element.group(2).isdigit() or variable.keyed:
                return None
            return int(element.group(2)) in variable.numbered()
        variable = state.get(word.text)
        if variable is None:
            return None if not word.known or state.always_set(word.text) else False
        return variable.scalar() is not None
    if letter in _FILES:
        if not state.as_unset(word):
            return False
        if word.text in state.files and letter in "efr":
            return True
        if letter == "s" and (text := state.files.get(word.text)):
            return bool(text)
    return None


def numbers(op: str, left: Traced, right: Traced, state: State, expander: Expander | None = None) -> bool | None:
    values = []
    for word in (left, right):
        word = state.taken_as_unset(word)
        text = word.text.strip()
        if expander:
            try:
                values.append(expander.number_in_condition(word))
            except Wrong:
                return False
            except NotANumber:
                return None
        elif re.fullmatch(r"[-+]?[0-9]+", text):
            if len(text) > 19:
                return False  # too large for bash
            values.append(int(text))
        elif word.known:
            raise NotATest
        else:
            return None
    return _NUMBERS[op](values[0], values[1])


def texts(op: str, left: Traced, right: list[tuple[str, bool]], state: State, extended: bool = False) -> bool | None:
    """``=`` and its kind; ``right`` as a pattern, with "was it quoted?", which ``@(a|b)`` may be when ``extended``."""
    made = Traced("".join(text for text, _ in right), tuple(-1 for text, _ in right for _ in text))
    if left.text == made.text and all(hole.variable for hole in state.shared.holes_in(left.text)) and op in "==!=":
        if all(quoted for _, quoted in right) or (left.known and not _DIFFERS_FROM_ITSELF.search(made.text)):
            return op != "!="
    left = state.taken_as_unset(left)
    right = [(state.taken_as_unset(Traced(text, (-1,) * len(text))).text, quoted) for text, quoted in right]
    if not left.known or any(is_hole(char) for text, _ in right for char in text):
        return None
    if op in ("<", ">"):
        other = "".join(text for text, _ in right)
        return left.text < other if op == "<" else left.text > other
    state.shared.budget.work((len(left) + 1) * sum(len(text) + 1 for text, _ in right))
    fits = pattern.matches(right, left.text, extended)
    return negated(fits) if op == "!=" else fits


def extended(expression: tuple[object, ...], expander: Expander) -> bool | None:
    """What stands in ``[[ ]]`` (``syntax.Condition``)."""
    state = expander.state
    match expression:
        case ("not", tuple() as inner):
            return negated(extended(inner, expander))
        case ("and" | "or" as op, tuple() as first, tuple() as second):
            left = extended(first, expander)
            if left is (op == "or"):
                return left
            return _combined("-o" if op == "or" else "-a", left, extended(second, expander))
        case ("test", ShellWord() as word):
            return negated(empty(expander.text(word), state))
        case ("unary", str() as op, ShellWord() as word):
            return unary(op, expander.text(word), state)
        case ("binary", str() as op, ShellWord() as first, ShellWord() as second):
            left_text = expander.text(first)
            if op in _NUMBERS:
                return numbers(op, left_text, expander.text(second), state, expander)
            if op == "=~":
                return _search(left_text, expander.pattern(second), expander)
            if op in _TEXTS:
                return texts(op, left_text, expander.pattern(second), state, extended=True)
    return None


def _search(left: Traced, right: list[tuple[str, bool]], expander: Expander) -> bool | None:
    """``=~``: a regular expression, where it is one that Python reads alike and quickly."""
    state = expander.state
    left = state.as_unset(left)
    made = "".join(re.escape(text) if quoted else text for text, quoted in right)
    if pattern.depends_on_language(made, left.text):
        return None
    made = re.sub(r"\[:(alpha|digit|alnum|space|upper|lower):\]", lambda m: _POSIX[m.group(1)], made)
    if any(map(is_hole, made)) or not left.known or len(left) > _REGEX_SIZE or len(made) > _REGEX_SIZE:
        return None
    loops = len(re.findall(r"[*+{]", made))  # each may try every length
    ways = len(re.findall(r"[?|]", made))  # each doubles what may be tried
    tried = (len(left) + 1) ** (loops + 1) * 2 ** min(ways, 30)
    if tried > _REGEX_WORK:
        return None
    state.shared.budget.work(min(tried, 1000) + tried // 8)
    if _repeats_what_varies(made) or re.search(r"\\[a-zA-Z]|\(\?|[*+?]\?", made):
        return None
    try:
        match = re.search(made, left.text, re.DOTALL)
    except re.error:
        return None
    groups = [] if match is None else [left[match.start(i) : match.end(i)] for i in range(match.re.groups + 1)]
    state.set("BASH_REMATCH", dict(enumerate(groups)), -1)
    return match is not None


def _repeats_what_varies(expression: str) -> bool:
    """Is there a group that is repeated and can fit in several ways? It may try more than any bound."""
    varies = [False]
    for match in _PIECES.finditer(expression):
        piece = match.group()
        if piece == "(":
            varies.append(False)
        elif piece[0] == ")" and len(varies) > 1:
            inside = varies.pop()
            if inside and len(piece) > 1:
                return True
            varies[-1] |= inside or len(piece) > 1
        elif piece in ("*", "+", "?", "{", "|"):
            varies[-1] = True
    return False


_PIECES: Final = re.compile(r"\\.|\[\^?\]?[^]]*\]|\)[*+?{]?|.", re.DOTALL)
_POSIX: Final = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "space": r"\s", "upper": "A-Z", "lower": "a-z",
}  # fmt: skip
