"""A word as it is written -> the words bash makes of it. Facts: bash(1), EXPANSION.

The order is bash's: braces, tilde, parameters with substitutions and arithmetic, splitting, quote removal. File name
patterns stay as they are written: which files there are is not known.
"""

from __future__ import annotations

import contextlib
import re
import typing
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Final

from bridge_args.records import dataclass, replace
from bridge_args.script.bash import pattern
from bridge_args.script.bash.arithmetic import NotANumber, Wrong, WrongIndex, evaluate, whole
from bridge_args.script.bash.budget import MAX_WORDS, LimitReached
from bridge_args.script.bash.started import rendered
from bridge_args.script.bash.state import Failure, Hole, Leave, Refused, State, in_letters
from bridge_args.script.bash.syntax import (
    Arithmetic,
    Bytes,
    Literal,
    Parameter,
    Part,
    Process,
    ShellWord,
    Substitution,
)
from bridge_args.script.bash.syntax_walk import assigned_in_arithmetic
from bridge_args.script.bash.traced import Traced, is_hole, joined, plain


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of a word: was it quoted, and is it split at blanks?"""

    text: Traced
    quoted: bool = False
    splits: bool = False


_Home = typing.Literal["word", "assigned", "plain"]  # where in a word ~ is looked for
_Items = list[list[Run]]  # between two of them bash begins a new word, as between the elements of "${A[@]}"
_DEFAULT_IFS: Final = " \t\n"
_NAME: Final = re.compile(r"(?a)[A-Za-z_]\w*$")
_REFERS: Final = re.compile(r"(?a)[A-Za-z_]\w*(\[.*\])?|[0-9]+|[@*#?$!-]", re.DOTALL)
_GLOB: Final = re.compile(r"[*?]|\[.*\]", re.DOTALL)
_AS_THEY_ARE: Final = frozenset(("", *"-=?+", ":-", ":=", ":?", ":+"))  # operators that change no element
_HOME: Final = re.compile(r"~[^/:]*")
_LOOKS_ASSIGNED: Final = re.compile(r"(?a)[A-Za-z_]\w*(?:\[[^]]*\])?\+?=")


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
        self._at = -1  # where the expression is that is calculated
        self._written: str | None = None  # the same as it stands in the script, where that is known
        self.of_program = False  # is it a redirection of a program, which the process of that program expands?
        self.declaring = False  # is it a value that stands among the words of `declare` and its kind?
        self._in_argument = False  # is it what stands behind the operator in ${NAME-...}?
        self._joining = False  # is what is expanded one text, as in an assignment?

    # What is asked for --------------------------------------------------------------------------------------------

    def words(self, words: Iterable[ShellWord], elements: bool = False) -> list[Traced]:
        """As the words of a command, or the elements of an array."""
        made: list[Traced] = []
        budget = self.state.shared.budget
        for word in words:
            several = pattern.braces(word, budget)
            for one in several:
                self._mixed(one)
                self._has_a_dollar(one)
                self._beside_uncertain(one)
                items = self._items(self._with_home(one, "plain" if elements or one is not word else "word").parts)
                for field in () if self._is_none(one, items) else self._split(items):
                    self._note_pattern(field, word)
                    made.append(self._word(field))
                    if len(made) > MAX_WORDS:
                        raise LimitReached(f"more than {MAX_WORDS} words", word.at)
        budget.work(8 * len(made))
        return made

    def _word(self, field: list[Run]) -> Traced:
        text = joined(run.text for run in field)
        vanishes = (
            not text.known
            and all(run.text.vanishes for run in field if run.quoted and run.text)
            and not self.state.as_unset(text)
        )
        if vanishes:
            return replace(text, vanishes=True)
        splits = any(not run.quoted and not run.text.known and self.state.prints(run.text) for run in field)
        return replace(text, splits=True) if splits else text

    def _uncertain(self, values: Iterable[Traced]) -> str:
        """What of some words may be none or several, as one text; empty when it is certain how many they are."""
        return "".join(value.text for value in values if value.vanishes or value.splits)

    def _is_none(self, word: ShellWord, items: _Items) -> bool:
        """``"$@$A"`` with nothing in either is no word, as ``"$@"`` is none; ``"$A"`` is an empty one."""
        if any(run.text for item in items for run in item):
            return False
        several = [part for part in word.parts if isinstance(part, Parameter) and "@" in (part.name, part.index)]
        if len(word.parts) < 2 or not several or any(self._expanded(part) for part in several):
            return False
        written = word.written
        in_one_pair = written[:1] == written[-1:] == '"' and not re.search("[\"']", written[1:-1])
        parameters = [part for part in word.parts if isinstance(part, Parameter)]
        if in_one_pair and not any("*" in (part.name, part.index) for part in parameters):
            return True
        if any(getattr(part, "quoted", False) for part in word.parts if part not in several):
            self.state.shared.say("not-read", f"whether {written} is a word here, or none, is not read", word.at)
        return False

    def _beside_uncertain(self, word: ShellWord) -> None:
        """What stands beside ``$@`` is put to its first and last word: which they are must be certain."""
        for part in word.parts if len(word.parts) > 1 else ():
            if isinstance(part, Parameter) and "@" in (part.name, part.index) and not part.length:
                variable = self.state.get(part.name) if part.name != "@" else None
                if self._uncertain(
                    variable.elements() if variable else self.state.positional if part.name == "@" else ()
                ):
                    message = f"what {word.written} is depends on words that may be none or several"
                    self.state.shared.say("not-read", message, part.at)

    def _has_a_dollar(self, word: ShellWord) -> None:
        """bash does not split ``$A$`` and ``$A$=``, whatever is in it."""
        may_split = False
        for part in word.parts:
            if not isinstance(part, Literal):
                may_split |= not part.quoted
            elif may_split and not part.quoted and "$" in part.text.text:
                self.state.shared.say("not-read", f"{word.written} with a $ that names nothing is not read", word.at)

    def _mixed(self, word: ShellWord) -> None:
        """In one pair of quotes with $@ what is cut out of $* is several words too; quotes are not kept apart here."""
        quoted = [part for part in word.parts if isinstance(part, Parameter) and part.quoted]
        if len(quoted) < 2 or not any("@" in (part.name, part.index) for part in quoted):
            return
        for part in quoted:
            if "*" in (part.name, part.index) and (part.indirect or part.op not in _AS_THEY_ARE):
                self.state.shared.say("not-read", f"{part.written} in a word with $@ is not read", part.at)

    def text(self, word: ShellWord, assigned: bool = False, home: bool = True) -> Traced:
        """As one text, as in an assignment: nothing is split. ``home``: is ``~`` looked for?"""
        self.state.shared.budget.work(40)
        word = self._with_home(word, "assigned" if assigned else "plain") if home else word
        self._mixed(word)
        return joined((joined(run.text for run in item) for item in self._one_text(word)), " ")

    def pattern(self, word: ShellWord) -> list[tuple[str, bool]]:
        """As a pattern, with "was it quoted?" for each piece."""
        made: list[tuple[str, bool]] = []
        for index, item in enumerate(self._one_text(self._with_home(word, "plain"))):
            made += [(" ", True)] if index else []
            made += [(run.text.text, run.quoted) for run in item]
        return made

    def _one_text(self, word: ShellWord) -> _Items:
        before, self._joining = self._joining, True
        left, self.state.left_joining = self.state.left_joining, True
        try:
            made = self._items(word.parts)
            left = False
            return made
        except Leave:
            left = True
            raise
        finally:
            self._joining, self.state.left_joining = before, left

    def number(self, word: ShellWord) -> int:
        """As an arithmetic expression; raises NotANumber."""
        text = self.text(word)
        before, self._written = self._written, word.written
        try:
            return self.calculated(text, word.at)
        finally:
            self._written = before

    def calculated(self, text: Traced, at: int) -> int:
        """The value of an expression; what has none that reading tells is said. Raises NotANumber."""
        self._at = at
        try:
            return evaluate(text.text, self)
        except Refused as refused:
            if "errexit" in self.state.options:
                message = f"bash {self._ends()}: {refused.name} is readonly, and `set -e` is on"
                self.state.shared.say("not-read", message, at)
                raise Leave("exit", 1) from refused
            raise Wrong(f"{refused.name} is readonly") from refused
        except NotANumber as problem:
            if not problem.names and not isinstance(problem, Wrong) and text.known:
                message = f"{text.text[:60].strip()} is not read: no arithmetic that is understood"
                self.state.shared.say("not-read", message, at)
            certain = isinstance(problem, Wrong) and not problem.names
            for name in () if certain else assigned_in_arithmetic(text.text):
                self.state.set(name, self._unknown(f"${name}", at, (name,)), at)
            raise

    def number_in_condition(self, text: Traced, at: int = -1) -> int:
        """The same where a variable nobody sets counts as unset; raises NotANumber."""
        self.unset_is_zero = True
        try:
            return self.calculated(self.state.taken_as_unset(text), at)
        finally:
            self.unset_is_zero = False

    def mistake(self, what: str, at: int, everything: bool = False, status: int | None = 1) -> Leave:
        """bash complains and drops the rest of the line; a text behind it that was read already is not run either.

        ``everything``: the rest of a sourced file or of the text of ``eval`` too.
        """
        does = "does not start this program" if self.of_program else "stops here and drops the rest of the line"
        self.state.shared.say("not-read", f"bash {does}: {what}", at)
        return Leave("all" if everything else "line", status)

    def _ends(self) -> str:
        return "does not start this program" if self.of_program else "ends the script here"

    def great_mistake(self, what: str, at: int) -> Leave:
        """The same with everything; a failure before it stays the status, but in the text of $(...) and `bash -c`."""
        before = self.state.status
        return self.mistake(what, at, everything=True, status=1 if before == 0 or self.state.of_text else before)

    def wrong_index(self, written: str, wrong: Wrong, at: int) -> Leave:
        return self.mistake(f"{written[:60]}: {wrong}", at, everything=True)

    # Pieces -------------------------------------------------------------------------------------------------------

    def _items(self, parts: Sequence[Part], splits: bool = False) -> _Items:
        """``splits``: literal text is split too, as in ${NAME:-a b}."""
        made: _Items = [[]]
        budget = self.state.shared.budget
        for part in parts:
            if isinstance(part, Literal):
                budget.work(len(part.text) + 1)
                made[-1].append(Run(part.text, part.quoted, splits and not part.quoted))
                continue
            items = self._expanded(part)
            budget.work(20 + sum(4 + len(run.text) for item in items for run in item), part.at)
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
                before = self.state.status
                self.capture(Substitution(part.body, part.written, part.at))  # it may start something
                self.state.status = before
                return self._runs([self.state.shared.hole(Hole("command", part.written, part.at))], True)
            case Bytes():
                return self._runs([self.state.shared.hole(Hole("command", part.written, part.at))], True)
        raise AssertionError(part)

    @staticmethod
    def _runs(values: Iterable[Traced], quoted: bool) -> _Items:
        return [[Run(value, quoted, not quoted)] for value in values]

    def _arithmetic(self, part: Arithmetic) -> Traced:
        try:
            return plain(str(self.number(part.expression)), part.at)
        except Wrong as wrong:
            everything = isinstance(wrong, WrongIndex)
            raise self.mistake(f"{part.written[:60]}: {wrong}", part.at, everything) from wrong
        except NotANumber as problem:
            return self._unknown(part.written, part.at, problem.names)

    def _unknown(self, written: str, at: int, names: Sequence[str]) -> Traced:
        return self.state.shared.hole(Hole("expression", written, at, tuple(names)))

    def _with_home(self, word: ShellWord, kind: _Home) -> ShellWord:
        """``~`` at the beginning, in an assignment behind ``:``, in a word that looks like one also behind ``=``."""
        if not any(isinstance(part, Literal) and not part.quoted and "~" in part.text.text for part in word.parts):
            return word
        first = word.parts[0]
        equals = -1
        if kind == "word" and isinstance(first, Literal) and not first.quoted:
            match = _LOOKS_ASSIGNED.match(first.text.text)
            equals = match.end() if match else -1
        assigned = kind == "assigned" or equals > 0
        parts: list[Part] = []
        for index, part in enumerate(word.parts):
            if not isinstance(part, Literal) or part.quoted:
                parts.append(part)
                continue
            text, done = part.text, 0
            for match in _HOME.finditer(text.text):
                start, end = match.span()
                begins = index == 0 and start in (0, equals) or (assigned and text.text[start - 1 : start] == ":")
                ends = index + 1 == len(word.parts) if end == len(text) else text.text[end] == "/" or assigned
                if begins and not ends and text.text[end : end + 1] == ":":
                    self.state.shared.say("not-read", f"{word.written}: what bash makes of it is not read", word.at)
                value = self._home(match.group(), text.at[start]) if begins and ends else None
                if value is not None:
                    parts += [Literal(text[done:start]), Literal(value, True)]
                    done = end
            parts.append(Literal(text[done:]))
        kept = tuple(part for part in parts if not isinstance(part, Literal) or part.quoted or part.text)
        return ShellWord(kept, word.at, word.written)

    def _home(self, written: str, at: int) -> Traced | None:
        """What ``~``, ``~+`` and ``~-`` stand for; None for what stays as it is."""
        name = {"~": "HOME", "~+": "PWD", "~-": "OLDPWD"}.get(written)
        if name is None:
            message = (
                f"{written} is kept as it is written: bash puts the folder of that user in its place, if there is one"
            )
            self.state.shared.say("not-read", message, at, "write the folder out")
            return None
        known = self.state.get(name)
        value = known.scalar() if known else None
        return value if value is not None else self.state.unset_hole(name, f"${name}", at)

    # Splitting ----------------------------------------------------------------------------------------------------

    def separators(self) -> str:
        """``$IFS``"""
        variable = self.state.get("IFS")
        value = variable.scalar() if variable else None
        return _DEFAULT_IFS if value is None else value.text

    def _split(self, items: _Items) -> _Items:
        """Words; a word of nothing but an empty expansion is none."""
        separators = self.separators()
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
        for option in ("nullglob", "failglob"):
            if option in self.state.options and any(_GLOB.search(run.text.text) for run in field if not run.quoted):
                message = (
                    f"{word.written} is kept as it is written: with `shopt -s {option}` it is no word, or a mistake"
                )
                self.state.shared.say("not-read", f"{message}, where no file fits", word.at, "put it in quotes")
        if any(not run.quoted and ("*" in run.text.text or "?" in run.text.text) for run in field):
            self.state.shared.patterns.setdefault(joined(run.text for run in field).text, word.at)

    # Parameters ---------------------------------------------------------------------------------------------------

    def _parameter(self, part: Parameter) -> _Items:
        if part.indirect:
            return self._indirect(part)
        values, many = self._values(part)
        if part.length:
            if values is not None and not values and (part.index is None or self._is_unset(part)):
                self._must_be_set(part)
            return self._runs([self._length(part, values, many)], part.quoted)
        operator = part.op.lstrip(":")
        if part.op and operator in ("-", "=", "?", "+"):
            return self._default(part, values, many)
        if values is None:
            return self._runs([self._unset(part)], part.quoted)
        if not values and not many:
            self._must_be_set(part)
        if part.op == ":":
            values = self._slice(part, values, many)
        elif part.op:
            values = [self._changed(part, value) for value in values]
        if not many:
            return self._runs(values or [Traced()], part.quoted)
        return self._many(part, values)

    def _many(self, part: Parameter, values: list[Traced]) -> _Items:
        changed = part.indirect or part.op not in _AS_THEY_ARE
        if self._joining and len(values) > 1 and self.separators()[:1] != " " and changed:
            self._joined_oddly(part)
        if (
            changed
            and len(values) > 1
            and self.separators() == ""
            and not ("@" in (part.name, part.index) and part.quoted)
        ):
            self._joined_oddly(part)
        if self._joining and self.separators() == "" and len(values) > 1 and not part.quoted:
            self._joined_with_blanks(part)
        if self.state.left_joining and "*" in (part.name, part.index) and not part.quoted and not self._joining:
            self._joined_by_mistake(part, values)
        if "*" in (part.name, part.index) and (part.quoted or self._joining):
            return self._runs([joined(values, self.separators()[:1])], part.quoted)
        separator = self.separators()[:1]
        if values and separator.strip(_DEFAULT_IFS) and not part.quoted and not self._joining:
            return self._runs([joined(values, separator)], False)  # so that empty elements stay, but at the end
        return self._runs(values, part.quoted)

    def _joined_oddly(self, part: Parameter) -> None:
        """Changed elements: what bash puts between them depends on where they stand, and on quotes."""
        message = f"{part.written}, while IFS does not begin with a blank, is not read"
        self.state.shared.say("not-read", message, part.at)

    def _joined_with_blanks(self, part: Parameter) -> None:
        """``$*`` with an empty IFS has blanks in a declaration and in ``${A+$*}``, and none in an assignment."""
        if "*" in (part.name, part.index) and (self.declaring or self._in_argument):
            self.state.shared.say("not-read", f"{part.written} here, while IFS is empty, is not read", part.at)

    def _joined_by_mistake(self, part: Parameter, values: list[Traced]) -> None:
        """Behind a mistake inside what is one text, bash 5.2 goes on joining."""
        if len(values) > 1 and not self.separators()[:1].isspace():
            message = f"{part.written} behind a line that bash did not finish is not read"
            self.state.shared.say("not-read", message, part.at)

    def _is_unset(self, part: Parameter) -> bool:
        variable = self.state.get(part.name)
        return variable is not None and variable.value is None

    def _must_be_set(self, part: Parameter) -> None:
        if "nounset" in self.state.options:
            message = f"bash {self._ends()}: {part.name} has no value, and `set -u` wants one"
            self.state.shared.say("not-read", message, part.at)
            raise Leave("exit", 1)

    def _values(self, part: Parameter) -> tuple[list[Traced] | None, bool]:
        """The values of a parameter, and whether it may have many; None: nobody sets it, []: it is unset."""
        state, name, at = self.state, part.name, part.at
        if name in ("@", "*"):
            return list(state.positional), True
        number = whole(name)
        if number is not None:
            if number == 0:
                return [state.name], False
            if number <= len(state.positional):
                moved = state.positional[: number - (number == len(state.positional))]
                if uncertain := self._uncertain(moved):
                    return [self._unknown(part.written, at, state.shared.names_in(uncertain))], False
                return [state.positional[number - 1]], False
            return (None if state.may_have_positional else []), False
        if name == "#":
            if uncertain := self._uncertain(state.positional):
                return [self._unknown(part.written, at, state.shared.names_in(uncertain))], False
            return [plain(str(len(state.positional)), at)], False
        if name == "?":
            known = state.status == 0 or not isinstance(state.status, Failure | None)
            return ([plain(str(state.status), at)] if known else None), False
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
            if name == "OPTIND":
                return [plain("1", at)], False
            if isinstance(part.index, ShellWord) and not part.length:
                with contextlib.suppress(NotANumber):  # what has no elements is asked for one all the same
                    self._index(part, part.index)
            return None, False
        if isinstance(part.index, ShellWord):
            return self._element(part, part.index), False
        value = variable.scalar()
        return ([] if value is None else [value]), False

    def _element(self, part: Parameter, index: ShellWord) -> list[Traced]:
        variable = self.state.get(part.name)
        assert variable
        if variable.keyed and not isinstance(variable.value, Traced):
            key = self.text(index)
            if not key.known:
                return [self._unknown(part.written, part.at, self.state.shared.names_in(key.text))]
            if not key.text:
                return self._no_element(part)
            value = (variable.value or {}).get(key.text)
            return [] if value is None else [value]
        try:
            number = self._index(part, index)
        except NotANumber as problem:
            return [self._unknown(part.written, part.at, problem.names)]
        self.state.shared.budget.work(variable.size() // 4, part.at)
        elements = variable.numbered()
        if number < 0:
            several = isinstance(variable.value, dict)
            number += max((key for key in elements if isinstance(key, int)), default=-1) + 1 if several else 0
            if number < 0:
                return self._no_element(part)
        if len(elements) > 1 and (uncertain := self._uncertain(elements.values())):
            return [self._unknown(part.written, part.at, self.state.shared.names_in(uncertain))]
        value = elements.get(number)
        return [] if value is None else [value]

    def _index(self, part: Parameter, index: ShellWord) -> int:
        try:
            return self.number(index)
        except Wrong as wrong:
            raise self.wrong_index(part.written, wrong, part.at) from wrong

    def _no_element(self, part: Parameter) -> list[Traced]:
        """No array has an element there: bash complains and takes it as unset; with `set -e` the script ends."""
        if "errexit" in self.state.options:
            if not self.state.forked:
                message = f"bash {self._ends()}: {part.written} names no element, and `set -e` is on"
                self.state.shared.say("not-read", message, part.at)
            raise Leave("exit", 1)
        if part.length or part.op in ("=", ":="):
            raise self.mistake(f"{part.written} names no element", part.at)
        return []

    def _unset(self, part: Parameter) -> Traced:
        """Nobody sets it: it stays as it is written."""
        self._wanted(part.name, part.at)
        if not part.op and not part.length and part.index is None:
            return self.state.unset_hole(part.name, part.written, part.at)
        return self._unknown(part.written, part.at, (part.name,))

    def _wanted(self, name: str, at: int) -> None:
        if "nounset" in self.state.options and not self.state.always_set(name):
            self.state.shared.required.setdefault(name, (at, "`set -u` wants a value"))

    def _length(self, part: Parameter, values: list[Traced] | None, many: bool) -> Traced:
        if values is None:
            return self._unset(part)
        if many:
            if uncertain := self._uncertain(values):
                return self._unknown(part.written, part.at, self.state.shared.names_in(uncertain))
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
            if not there:
                return [] if "@" in (part.name, part.index) else self._runs([Traced()], part.quoted)
            return self._argument(part, argument)
        if there and values is None:
            return self._runs([self.state.unset_hole(part.name, f"${{{part.name}}}", part.at)], part.quoted)
        if there:
            return self._many(part, values or []) if many else self._runs(values or [], part.quoted)
        if operator == "?":
            return self._runs([self._missing(part, values, self.text(argument).text)], part.quoted)
        if operator == "=":
            return self._runs([self._assigned(part, argument)], part.quoted)
        return self._argument(part, argument)

    def _argument(self, part: Parameter, argument: ShellWord) -> _Items:
        if not part.quoted:
            argument = self._with_home(argument, "plain")
        before, self._in_argument = self._in_argument, True
        try:
            items = self._items(argument.parts, splits=not part.quoted)
        finally:
            self._in_argument = before
        if part.quoted:  # one word at least
            items[0].insert(0, Run(Traced(), True))
        return items

    def _missing(self, part: Parameter, values: list[Traced] | None, said: str) -> Traced:
        """``${NAME:?said}`` of a variable without a value."""
        if values is None:
            required = said or "is not set"
            self.state.shared.required.setdefault(part.name, (part.at, required))
            written = f"${{{part.name}}}"
            return self.state.shared.hole(
                Hole("variable", written, part.at, (part.name,), part.name, required=required)
            )
        message = f"bash {self._ends()}: {part.name} has no value: {said or 'it must be given'}"
        self.state.shared.say("not-read", message, part.at)
        raise Leave("exit", 1)

    def _assigned(self, part: Parameter, argument: ShellWord) -> Traced:
        """``${NAME:=argument}``"""
        text = self.text(argument)
        if not _NAME.match(part.name) or part.index in ("@", "*"):
            return self._unknown(part.written, part.at, ())
        try:
            if isinstance(part.index, ShellWord):
                return self._unknown(part.written, part.at, ())
            self.state.set(part.name, text, part.at)
        except Refused as refused:
            raise self.mistake(f"{refused.name} is readonly", part.at) from refused
        variable = self.state.get(part.name)
        return (variable.scalar() if variable else None) or text

    def _is_there(self, part: Parameter, values: list[Traced] | None, many: bool) -> bool | None:
        """Is the parameter set, and with a colon not empty? None when that cannot be told."""
        colon = part.op.startswith(":")
        if values is None:
            return self.state.always_set(part.name)
        if not values:
            return False
        if not colon:
            return None if all(value.vanishes for value in values) else True
        text = joined(values, " " if many else "")
        if any(not is_hole(char) for char in text.text):
            return True
        return None if self.state.as_unset(text) else False

    def _slice(self, part: Parameter, values: list[Traced], many: bool) -> list[Traced]:
        assert part.argument
        if not values and not many:
            return [Traced()]
        try:
            start = self.number(part.argument)
            if many:
                return self._slice_of_many(part, values, start)
            assert values
            text = values[0]
            if not text.known:
                return [self._unknown(part.written, part.at, self.state.shared.names_in(text.text))]
            start = start + len(text) if start < 0 else start
            if start < 0 or start > len(text):
                return [Traced()]
            size = len(text) - start if part.second is None else self.number(part.second)
        except Wrong as wrong:
            raise self.mistake(f"{part.written[:60]}: {wrong}", part.at) from wrong
        except NotANumber as problem:
            return [self._unknown(part.written, part.at, problem.names)]
        end = start + size if size >= 0 else len(text) + size
        if end < start:
            raise self.mistake(f"{part.written}: the length is less than 0", part.at)
        return [text[start:end]]

    def _slice_of_many(self, part: Parameter, values: list[Traced], start: int) -> list[Traced]:
        """Positional parameters begin with ``$0``; of an array the first number is an index. Raises NotANumber."""
        variable, from_end = self.state.get(part.name), start < 0
        if part.name in ("@", "*"):
            numbered = dict(enumerate([self.state.name, *values]))
            start = start + len(numbered) if start < 0 else start
        elif variable is not None and variable.keyed:
            return [self._unknown(part.written, part.at, ())]
        else:
            elements = variable.numbered() if variable else {}
            numbered = {key: value for key, value in elements.items() if isinstance(key, int)}
            start = start + max(numbered, default=-1) + 1 if start < 0 else start
        self.state.shared.budget.work(len(numbered), part.at)
        if start < 0:
            return []
        size = None if part.second is None else self.number(part.second)
        if size is not None and size < 0:
            raise self.mistake(f"{part.written}: the length is less than 0", part.at)
        found = [value for key, value in numbered.items() if key >= start]
        moving = [value for key, value in numbered.items() if key < start] if found and not from_end else []
        moving += found if from_end else found[:size] if size is not None and size < len(found) else []
        if uncertain := self._uncertain(moving):
            return [self._unknown(part.written, part.at, self.state.shared.names_in(uncertain))]
        return found if size is None else found[:size]

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
            extended = "extglob" in self.state.options
            if known and "&" not in by.text:
                self.state.shared.budget.work((len(value) + 1) * sum(len(text) + 1 for text, _ in made), part.at)
                if part.op[0] == "/":
                    result = pattern.replaced(made, by, value, part.op, extended)
                else:
                    result = pattern.without(made, value, part.op, extended)
                if result is not None:
                    return result
            names = (*names, *self.state.shared.names_in("".join(text for text, _ in made)))
        if part.op == "@" and value.known and part.argument is not None:
            result = _transformed(value, part.argument.literal or "")
            if result is not None:
                return result
        return self._unknown(part.written, part.at, names)

    def _indirect(self, part: Parameter) -> _Items:
        if part.index in ("@", "*"):
            variable = self.state.get(part.name)
            self.state.shared.budget.work(variable.size() if variable else 0, part.at)
            keys = list(variable.value) if variable and isinstance(variable.value, dict) else []
            if variable and (uncertain := self._uncertain(variable.elements())):
                return self._runs([self._unknown(part.written, part.at, self.state.shared.names_in(uncertain))], True)
            if variable and isinstance(variable.value, Traced):
                keys = [0]
            return self._many(part, [plain(str(key), part.at) for key in keys])
        direct = Parameter(part.name, part.written, part.at, True, index=part.index)
        if part.op == "@" and not (part.argument and part.argument.parts):  # ${!prefix@}: all names that begin so
            return self._runs([self._unknown(part.written, part.at, ())], part.quoted)
        variable = self.state.variables.get(part.name)
        if variable is not None and variable.reference and part.index is None:
            return self._runs([plain(self.state.target(part.name), part.at)], part.quoted)
        values, _ = self._values(direct)
        if values == [] and not part.op and not (variable and isinstance(variable.value, dict)):
            raise self.mistake(f"{part.written}: {part.name} is unset, and so the name of nothing", part.at)
        name = values[0].text if values else ""
        if values and values[0].known and not _REFERS.fullmatch(name):
            raise self.mistake(f"{part.written}: {name[:60]} cannot be the name of a variable", part.at)
        named = _NAME.match(name) or (name.isascii() and name.isdigit()) or name in ("#", "?")
        if part.op == "" and part.argument is None and named:
            return self._parameter(Parameter(name, f"${{{name}}}", part.at, part.quoted))
        if part.op and named:
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
            self._wanted(name, self._at)
            if not self.unset_is_zero or self.state.always_set(name):
                if depth > 1 or name not in (self._written or name):
                    message = f"{name}, which stands in a value that is calculated, is not set by the script"
                    self.state.shared.say("not-read", message, self._at, f"give it with --set {name}=VALUE")
                raise NotANumber((name,))
            self.state.shared.assumed.setdefault(name, -1)
            return 0
        if variable.keyed:
            raise NotANumber()
        if variable.value is None and "nounset" in self.state.options:
            self.state.shared.say(
                "not-read", f"{name} has no value, which `set -u` wants: bash ends the script", self._at
            )
            raise Leave("exit", 1)
        self.state.shared.budget.work(variable.size() // 4)
        elements = variable.numbered()
        if index is not None and index < 0:
            several = isinstance(variable.value, dict)
            index += max((key for key in elements if isinstance(key, int)), default=-1) + 1 if several else 0
            if index < 0 and "errexit" in self.state.options:
                if not self.state.forked:
                    message = f"bash {self._ends()}: {name} has no such element, and `set -e` is on"
                    self.state.shared.say("not-read", message, self._at)
                raise Leave("exit", 1)
        if len(elements) > 1 and (uncertain := self._uncertain(elements.values())):
            raise NotANumber(self.state.shared.names_in(uncertain))
        value = elements.get(index or 0, Traced())
        if self.unset_is_zero:
            value = self.state.taken_as_unset(value)
        if not value.known:
            raise NotANumber(self.state.shared.names_in(value.text) or (name,))
        return evaluate(value.text, self, depth)

    def names_in(self, text: str) -> tuple[str, ...]:
        return self.state.shared.names_in(text)

    def doubt(self, text: str) -> None:
        written = rendered(Traced(text, (-1,) * len(text)), self.state.shared)
        message = f"whether {written[:60]} is an expression depends on what is not known"
        self.state.shared.say("not-read", message, self._at)

    def assign(self, name: str, index: int | None, value: int) -> None:
        text = plain(str(value))
        if index is None:
            self.state.set(name, text, -1)
            return
        before = self.state.get(name)
        if before is not None and before.keyed:
            raise NotANumber()
        self.state.set(name, {**(before.numbered() if before else {}), index: text}, -1)

    def charge(self, size: int) -> None:
        self.state.shared.budget.work(size)


def _transformed(value: Traced, letter: str) -> Traced | None:
    """``${NAME@letter}``; None for what is not read."""
    if letter in ("U", "L"):
        return in_letters(value, letter.lower())
    if letter == "u":
        return in_letters(value[:1], "u") + value[1:]
    if letter == "Q" and value.text.isprintable():
        quote = plain("'", value.first)
        pieces: list[Traced] = [quote]
        for index, char in enumerate(value.text):
            pieces.append(plain("'\\''", value.at[index]) if char == "'" else value[index : index + 1])
        return joined([*pieces, quote])
    return None
