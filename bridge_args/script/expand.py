"""A word as it is written -> the words bash makes of it. Facts: bash(1), EXPANSION.

The order is bash's: braces, tilde, parameters with substitutions and arithmetic, splitting, quote removal. File name
patterns stay as they are written: which files there are is not known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from bridge_args.script import pattern
from bridge_args.script.arithmetic import NotANumber, evaluate
from bridge_args.script.state import MAX_WORDS, Hole, LimitReached, State
from bridge_args.script.syntax import (
    Arithmetic,
    Literal,
    Parameter,
    Part,
    Process,
    ShellWord,
    Substitution,
)
from bridge_args.script.traced import Traced, is_hole, joined, plain


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of a word: was it quoted, and is it split at blanks?"""

    text: Traced
    quoted: bool = False
    splits: bool = False


_Items = list[list[Run]]  # between two of them bash begins a new word, as between the elements of "${A[@]}"
_DEFAULT_IFS: Final = " \t\n"
_NAME: Final = re.compile(r"[A-Za-z_]\w*$")


@lru_cache(maxsize=64)
def _words_and_gaps(separators: str) -> re.Pattern[str]:
    """What bash splits a text into: words, and one separator with the blanks around it, or only blanks."""
    blanks = "".join(re.escape(char) for char in separators if char in _DEFAULT_IFS)
    others = "".join(re.escape(char) for char in separators if char not in _DEFAULT_IFS)
    gap = f"[{blanks}]+" if blanks else ""
    if others:
        space = f"[{blanks}]*" if blanks else ""
        gap = f"{space}[{others}]{space}" + (f"|{gap}" if gap else "")
    return re.compile(f"([^{blanks}{others}]+)|({gap})")


class Expander:
    """Expansion in one shell; ``capture`` tells what a command substitution prints."""

    def __init__(self, state: State, capture: Callable[[Substitution], Traced]) -> None:
        self.state = state
        self.capture = capture
        self.unset_is_zero = False  # in a condition

    # What is asked for --------------------------------------------------------------------------------------------

    def words(self, words: Iterable[ShellWord]) -> list[Traced]:
        """As the words of a command, or the elements of an array."""
        made: list[Traced] = []
        for word in words:
            for one in pattern.braces(word):
                items = self._items(self._with_home(one).parts)
                self.state.shared.work(sum(len(run.text) for item in items for run in item), word.at)
                for field in self._split(items):
                    self._note_pattern(field, word)
                    made.append(joined(run.text for run in field))
            if len(made) > MAX_WORDS:
                raise LimitReached(f"more than {MAX_WORDS} words", word.at)
        return made

    def text(self, word: ShellWord) -> Traced:
        """As one text, as in an assignment: nothing is split."""
        items = self._items(self._with_home(word, assigned=True).parts)
        text = joined((joined(run.text for run in item) for item in items), " ")
        self.state.shared.work(len(text), word.at)
        return text

    def pattern(self, word: ShellWord) -> list[tuple[str, bool]]:
        """As a pattern, with "was it quoted?" for each piece."""
        return [(run.text.text, run.quoted) for item in self._items(word.parts) for run in item]

    def number(self, word: ShellWord) -> int:
        """As an arithmetic expression; raises NotANumber."""
        return evaluate(self.text(word).text, self)

    def number_in_condition(self, text: Traced) -> int:
        """The same where a variable nobody sets counts as unset; raises NotANumber."""
        self.unset_is_zero = True
        try:
            return evaluate(self.state.taken_as_unset(text).text, self)
        finally:
            self.unset_is_zero = False

    # Pieces -------------------------------------------------------------------------------------------------------

    def _items(self, parts: Sequence[Part], splits: bool = False) -> _Items:
        """``splits``: literal text is split too, as in ${NAME:-a b}."""
        made: _Items = [[]]
        for part in parts:
            if isinstance(part, Literal):
                made[-1].append(Run(part.text, part.quoted, splits and not part.quoted))
                continue
            items = self._expanded(part)
            if items:
                made[-1] += items[0]
                made += items[1:]
        return made

    def _expanded(self, part: Part) -> _Items:
        match part:
            case Parameter():
                return self._parameter(part)
            case Substitution():
                return self._runs([self.capture(part)], part.quoted)
            case Arithmetic():
                return self._runs([self._arithmetic(part)], part.quoted)
            case Process():
                return self._runs([self.state.shared.hole(Hole("command", part.written, part.at))], True)
        raise AssertionError(part)

    @staticmethod
    def _runs(values: Iterable[Traced], quoted: bool) -> _Items:
        return [[Run(value, quoted, not quoted)] for value in values]

    def _arithmetic(self, part: Arithmetic) -> Traced:
        try:
            return plain(str(self.number(part.expression)), part.at)
        except NotANumber as problem:
            return self._unknown(part.written, part.at, problem.names)

    def _unknown(self, written: str, at: int, names: Sequence[str]) -> Traced:
        return self.state.shared.hole(Hole("expression", written, at, tuple(names)))

    def _with_home(self, word: ShellWord, assigned: bool = False) -> ShellWord:
        """``~/x``; in an assignment also behind a colon."""
        first = word.parts[0] if word.parts else None
        if not isinstance(first, Literal) or first.quoted or "~" not in first.text.text:
            return word
        text = first.text
        begins = re.match(r"~(?=/|:|$)" if assigned else r"~(?=/|$)", text.text)
        if not begins or (len(text) == 1 and len(word.parts) > 1):
            return word
        known = self.state.get("HOME")
        value = known.scalar() if known else None
        home = value if value is not None else self.state.shared.hole(Hole("variable", "~", word.at, ("HOME",), "HOME"))
        rest = (Literal(text[1:]),) if len(text) > 1 else ()
        return ShellWord((Literal(home, True), *rest, *word.parts[1:]), word.at, word.written)

    def split(self, text: Traced, most: int = 0) -> list[Traced]:
        """Text split as ``read`` splits a line; of ``most`` pieces the last one is the whole rest."""
        separators = self._ifs()
        if most == 1:
            blanks = "".join(char for char in separators if char.isspace())
            start = len(text) - len(text.text.lstrip(blanks)) if blanks else 0
            return [text[start : len(text.text.rstrip(blanks)) if blanks else len(text)]]
        pieces = [joined(run.text for run in field) for field in self._split([[Run(text, splits=True)]])]
        if most and len(pieces) > most:
            begin = pieces[most - 1].at[0] if pieces[most - 1] else -1
            index = text.at.index(begin) if begin in text.at else 0
            if text.at.count(begin) != 1:
                index = _nth_start(text.text, separators, most - 1)
            blanks = "".join(char for char in separators if char.isspace())
            return [*pieces[: most - 1], text[index : len(text.text.rstrip(blanks))]]
        return pieces

    # Splitting ----------------------------------------------------------------------------------------------------

    def _ifs(self) -> str:
        variable = self.state.get("IFS")
        value = variable.scalar() if variable else None
        return _DEFAULT_IFS if value is None else value.text

    def _split(self, items: _Items) -> _Items:
        """Words; a word of nothing but an empty expansion is none."""
        separators = self._ifs()
        made: _Items = []
        for item in items:
            current: list[Run] = []
            for run in item:
                if run.splits:
                    current = self._split_run(run.text, separators, current, made)
                elif run.quoted or run.text:
                    current.append(run)
            if current:
                made.append(current)
        return made

    @staticmethod
    def _split_run(text: Traced, separators: str, current: list[Run], made: _Items) -> list[Run]:
        if not separators:
            return [*current, Run(text)] if text else current
        for match in _words_and_gaps(separators).finditer(text.text):
            word, gap = match.groups()
            if word:
                current.append(Run(text[match.start() : match.end()]))
            elif current:
                made.append(current)
                current = []
            elif gap.strip():  # two separators in a row, other than blanks, have an empty word between them
                made.append([Run(Traced(), True)])
        return current

    def _note_pattern(self, field: list[Run], word: ShellWord) -> None:
        if any(not run.quoted and ("*" in run.text.text or "?" in run.text.text) for run in field):
            self.state.shared.patterns.setdefault(joined(run.text for run in field).text, word.at)

    # Parameters ---------------------------------------------------------------------------------------------------

    def _parameter(self, part: Parameter) -> _Items:
        if part.indirect:
            return self._indirect(part)
        values, many = self._values(part)
        if part.length:
            return self._runs([self._length(part, values, many)], part.quoted)
        operator = part.op.lstrip(":")
        if part.op and operator in ("-", "=", "?", "+"):
            return self._default(part, values, many)
        if values is None:
            return self._runs([self._unset(part)], part.quoted)
        if part.op == ":":
            values = self._slice(part, values, many)
        elif part.op:
            values = [self._changed(part, value) for value in values]
        if not many:
            return self._runs(values or [Traced()], part.quoted)
        if part.quoted and "*" in (part.name, part.index):
            return self._runs([joined(values, self._ifs()[:1])], True)
        return self._runs(values, part.quoted)

    def _values(self, part: Parameter) -> tuple[list[Traced] | None, bool]:
        """The values of a parameter, and whether it may have many; None: nobody sets it."""
        state, name, at = self.state, part.name, part.at
        if name in ("@", "*"):
            return (list(state.positional), True) if not part.length else ([plain("x")] * len(state.positional), True)
        if name.isdigit():
            number = int(name)
            if number == 0:
                return [state.name], False
            if number <= len(state.positional):
                return [state.positional[number - 1]], False
            return (None if state.may_have_positional else [Traced()]), False
        if name == "#":
            return [plain(str(len(state.positional)), at)], False
        if name == "?":
            return (None if state.status is None else [plain(str(state.status), at)]), False
        if name in ("$", "!", "-"):
            return None, False
        variable = state.get(name)
        if part.index in ("@", "*"):
            if variable is None:
                state.shared.assumed.setdefault(name, at)
                return [], True
            return variable.elements(), True
        if variable is None:
            if name == "IFS":
                return [plain(_DEFAULT_IFS, at)], False
            return None, False
        if isinstance(part.index, ShellWord):
            return self._element(part, part.index), False
        value = variable.scalar()
        return ([Traced()] if value is None else [value]), False

    def _element(self, part: Parameter, index: ShellWord) -> list[Traced]:
        variable = self.state.get(part.name)
        assert variable
        if variable.value is None:
            return [Traced()]
        if variable.keyed and not isinstance(variable.value, Traced):
            key = self.text(index)
            if not key.known:
                return [self._unknown(part.written, part.at, self.state.shared.names_in(key.text))]
            return [variable.value.get(key.text, Traced())]
        try:
            number = self.number(index)
        except NotANumber as problem:
            return [self._unknown(part.written, part.at, problem.names)]
        if isinstance(variable.value, Traced):
            return [variable.value if number == 0 else Traced()]
        if number < 0:
            last = max((key for key in variable.value if isinstance(key, int)), default=-1)
            number += last + 1
        return [variable.value.get(number, Traced())]

    def _unset(self, part: Parameter) -> Traced:
        """Nobody sets it: it stays as it is written."""
        if not part.op and not part.length and part.index is None:
            return self.state.unset_hole(part.name, part.written, part.at)
        return self._unknown(part.written, part.at, (part.name,))

    def _length(self, part: Parameter, values: list[Traced] | None, many: bool) -> Traced:
        if values is None:
            return self._unset(part)
        if many:
            return plain(str(len(values)), part.at)
        text = values[0] if values else Traced()
        if not text.known:
            return self._unknown(part.written, part.at, self.state.shared.names_in(text.text))
        return plain(str(len(text)), part.at)

    def _default(self, part: Parameter, values: list[Traced] | None, many: bool) -> _Items:
        """``${NAME:-default}``, ``:=``, ``:+``, ``:?``; a variable nobody sets counts as unset, as it says."""
        there = self._is_there(part, values, many)
        operator = part.op[-1]
        argument = part.argument or ShellWord((), part.at)
        if there is None:
            text = joined(values or [])
            return self._runs(
                [self._unknown(part.written, part.at, self.state.shared.names_in(text.text))], part.quoted
            )
        if operator == "+":
            return self._items(argument.parts, splits=not part.quoted) if there else self._runs([Traced()], part.quoted)
        if there and values is None:
            return self._runs([self.state.unset_hole(part.name, f"${{{part.name}}}", part.at)], part.quoted)
        if there or operator == "?":
            if not there:
                said = self.text(argument).text
                hole = self.state.shared.hole(
                    Hole(
                        "variable", f"${{{part.name}}}", part.at, (part.name,), part.name, required=said or "is not set"
                    )
                )
                return self._runs([hole], part.quoted)
            if many and part.quoted and "*" in (part.name, part.index):
                return self._runs([joined(values or [], self._ifs()[:1])], True)
            return self._runs(values or [], part.quoted)
        if operator == "=":
            text = self.text(argument)
            if _NAME.match(part.name):
                self.state.set(part.name, text, part.at)
            return self._runs([text], part.quoted)
        return self._items(argument.parts, splits=not part.quoted)

    def _is_there(self, part: Parameter, values: list[Traced] | None, many: bool) -> bool | None:
        """Is the parameter set, and with a colon not empty? None when that cannot be told."""
        colon = part.op.startswith(":")
        if values is None:
            return self.state.always_set(part.name)
        if many and not values:
            return False
        variable = self.state.get(part.name)
        if not colon:
            return variable is None or variable.value is not None
        text = joined(values, " " if many else "")
        if any(not is_hole(char) for char in text.text):
            return True
        return None if self.state.as_unset(text) else False

    def _slice(self, part: Parameter, values: list[Traced], many: bool) -> list[Traced]:
        assert part.argument
        try:
            start = self.number(part.argument)
            size = None if part.second is None else self.number(part.second)
        except NotANumber as problem:
            return [self._unknown(part.written, part.at, problem.names)]
        if many:
            if part.name in ("@", "*"):
                values = [self.state.name, *values]
            start = max(start + len(values), 0) if start < 0 else start
            return values[start:] if size is None else values[start : start + max(size, 0)]
        text = values[0] if values else Traced()
        if not text.known:
            return [self._unknown(part.written, part.at, self.state.shared.names_in(text.text))]
        start = start + len(text) if start < 0 else start
        if start < 0:
            return [Traced()]
        end = len(text) if size is None else (start + size if size >= 0 else len(text) + size)
        return [text[start : max(end, start)]]

    def _changed(self, part: Parameter, value: Traced) -> Traced:
        """``#``, ``%``, ``/``, ``^`` and their doubles, on one value."""
        names = self.state.shared.names_in(value.text)
        if part.op in ("^", "^^", ",", ",,") and value.known and not (part.argument and part.argument.parts):
            end = len(value) if len(part.op) == 2 else 1
            head = value.text[:end]
            head = "".join(c.upper() if part.op[0] == "^" else c.lower() for c in head)
            return Traced(head + value.text[end:], value.at) if len(head) == len(value.text[:end]) else value
        if part.op[0] in "#%/" and part.argument is not None:
            made = self.pattern(part.argument)
            by = self.text(part.second) if part.second else Traced()
            known = value.known and all(not is_hole(char) for text, _ in made for char in text)
            if known and "&" not in by.text:
                self.state.shared.work(len(value) * sum(len(text) + 1 for text, _ in made), part.at)
                if part.op[0] == "/":
                    result = pattern.replaced(made, by, value, part.op)
                else:
                    result = pattern.without(made, value, part.op)
                if result is not None:
                    return result
            names = (*names, *self.state.shared.names_in("".join(text for text, _ in made)))
        return self._unknown(part.written, part.at, names)

    def _indirect(self, part: Parameter) -> _Items:
        if part.index in ("@", "*"):
            variable = self.state.get(part.name)
            keys = list(variable.value) if variable and isinstance(variable.value, dict) else []
            if variable and isinstance(variable.value, Traced):
                keys = [0]
            return self._runs([plain(str(key), part.at) for key in keys], part.quoted)
        direct = Parameter(part.name, part.written, part.at, True, index=part.index)
        values, _ = self._values(direct)
        name = values[0].text if values else ""
        if part.op == "" and part.argument is None and _NAME.match(name):
            return self._parameter(Parameter(name, f"${{{name}}}", part.at, part.quoted))
        if part.op and _NAME.match(name):
            return self._parameter(
                Parameter(
                    name, part.written, part.at, part.quoted, op=part.op, argument=part.argument, second=part.second
                )
            )
        return self._runs([self._unknown(part.written, part.at, (part.name,))], part.quoted)

    # For arithmetic -----------------------------------------------------------------------------------------------

    def number_of(self, name: str, index: int | None, depth: int) -> int:
        variable = self.state.get(name)
        if variable is None:
            if not self.unset_is_zero or self.state.always_set(name):
                raise NotANumber((name,))
            self.state.shared.assumed.setdefault(name, -1)
            return 0
        if variable.value is None:
            return 0
        if isinstance(variable.value, Traced):
            value = variable.value if not index else Traced()
        else:
            value = variable.value.get(index or 0, Traced())
        if self.unset_is_zero:
            value = self.state.taken_as_unset(value)
        if not value.known:
            raise NotANumber(self.state.shared.names_in(value.text) or (name,))
        return evaluate(value.text, self, depth)

    def names_in(self, text: str) -> tuple[str, ...]:
        return self.state.shared.names_in(text)

    def assign(self, name: str, index: int | None, value: int) -> None:
        text = plain(str(value))
        if index is None:
            self.state.set(name, text, -1)
            return
        before = self.state.get(name)
        old = before.value if before else None
        elements = dict(old) if old is not None and not isinstance(old, Traced) else {}
        self.state.set(name, {**elements, index: text}, -1)


def _nth_start(text: str, separators: str, number: int) -> int:
    """Where the word of that number starts, counting from 0."""
    index = 0
    for _ in range(number + 1):
        while index < len(text) and text[index] in separators:
            index += 1
        start = index
        while index < len(text) and text[index] not in separators:
            index += 1
    return start
