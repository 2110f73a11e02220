"""bash's words: quotes and expansions, text -> ``syntax.ShellWord``. Facts: bash(1), QUOTING and EXPANSION."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from bridge_args.script.bash import escapes
from bridge_args.script.bash import syntax as s
from bridge_args.script.bash.budget import Budget
from bridge_args.script.bash.names import NAME
from bridge_args.script.bash.traced import Traced

if TYPE_CHECKING:
    from bridge_args.script.bash.grammar import Parser

MAX_DEPTH: Final = 60
MAX_EXPRESSION: Final = 5_000  # characters of one arithmetic expression or index
META: Final = frozenset(" \t\n|&;()<>")
_PLAIN: Final = re.compile(r"[^ \t\n|&;()<>\\'\"$`]+")
_NOT_SPECIAL: Final = re.compile(r"[^\"\\$`]+")  # in double quotes
_OPERATORS: Final = re.compile(r":[-=?+]|##|%%|//|/#|/%|\^\^|,,|[-=?+#%/^,@:]")
_CLOSED_QUOTES: Final = re.compile(r"\\.|\"(?:\\.|[^\"\\])*\"|'[^']*'", re.DOTALL)
_CASE: Final = re.compile(r"\bcase\s")
_OPEN_QUOTE: Final = re.compile(r"[\"']")


class SyntaxProblem(Exception):
    """The text is no bash, or a construct that is not read: ``what`` in words, ``at`` as a position of ``Traced``."""

    def __init__(self, what: str, at: int) -> None:
        super().__init__(what)
        self.what = what
        self.at = at


@lru_cache(maxsize=16)
def _pairs(text: str, brackets: str) -> dict[int, int]:
    """Where each bracket that opens is closed: the first place behind it with as many of the one as of the other."""
    pairs: dict[int, int] = {}
    opened: list[int] = []
    for match in re.finditer(f"[{re.escape(brackets)}]", text):
        if match.group() == brackets[0]:
            opened.append(match.start())
        elif opened:
            pairs[opened.pop()] = match.start()
    return pairs


class Words:
    """A position in the text, and the words that start there."""

    def __init__(self, source: Traced, budget: Budget, depth: int = 0, start: int = 0) -> None:
        self.source = source
        self.budget = budget
        self.text = source.text
        self.i = start
        self.depth = depth
        if depth > MAX_DEPTH:
            raise self.problem(f"a construct nested more than {MAX_DEPTH} deep")

    # The position -------------------------------------------------------------------------------------------------

    @property
    def end(self) -> bool:
        return self.i >= len(self.text)

    def char(self, ahead: int = 0) -> str:
        index = self.i + ahead
        return self.text[index] if index < len(self.text) else ""

    def starts(self, text: str) -> bool:
        return self.text.startswith(text, self.i)

    def place(self, index: int | None = None) -> int:
        index = self.i if index is None else index
        if index < len(self.source.at):
            return self.source.at[index]
        return self.source.at[-1] if self.source.at else -1

    def problem(self, what: str, index: int | None = None) -> SyntaxProblem:
        return SyntaxProblem(what, self.place(index))

    # Words --------------------------------------------------------------------------------------------------------

    def word(self, ends: Callable[[str], bool] | None = None) -> s.ShellWord:
        """One word; it ends before an unquoted character that ``ends``, by default one of bash's metacharacters."""
        start = self.i
        self.budget.work(10)
        parts: list[s.Part] = []
        stop = ends or META.__contains__
        while not self.end:
            char = self.char()
            if ends is None and char in "<>" and self.char(1) == "(":
                parts.append(self._process())
                continue
            if stop(char):
                if ends is None and char == "(" and parts and self.text[self.i - 1] in "@?*+!":
                    raise self.problem("an extended pattern")
                break
            self._piece(parts, stop, metacharacters=ends is None)
        return s.ShellWord(tuple(parts), self.place(start), self.text[start : self.i], start)

    def _piece(self, parts: list[s.Part], stop: Callable[[str], bool], metacharacters: bool = False) -> None:
        char = self.char()
        if char == "\\":
            if self.char(1) == "\n":
                self.i += 2
                return
            parts.append(s.Literal(self.source[self.i + 1 : self.i + 2] or self.source[self.i : self.i + 1], True))
            self.i += 2
        elif char == "'":
            end = self.text.find("'", self.i + 1)
            if end < 0:
                raise self.problem("a quote that is not closed")
            parts.append(s.Literal(self.source[self.i + 1 : end], True))
            self.i = end + 1
        elif char == '"':
            self._double_quoted(parts)
        elif char == "$" and self.char(1) == "'":
            self._ansi_quoted(parts)
        elif char == "$" and self.char(1) == '"':
            self.i += 1
            self._double_quoted(parts)
        elif char in "$`":
            self._expansion(parts, quoted=False)
        else:
            match = _PLAIN.match(self.text, self.i)
            last = match.end() if match else self.i + 1
            cut = last if metacharacters else next((k for k in range(self.i + 1, last) if stop(self.text[k])), last)
            parts.append(s.Literal(self.source[self.i : cut]))
            self.i = cut

    def _double_quoted(self, parts: list[s.Part]) -> None:
        start = self.i
        self.i += 1
        before = len(parts)
        self._quoted_text(parts, '"', start)
        self.i += 1
        if len(parts) == before:
            parts.append(s.Literal(Traced(), True))

    def _quoted_text(self, parts: list[s.Part], closer: str, start: int, escapes: str = '"\\$`') -> None:
        """Text as between double quotes, up to ``closer`` or, if that is empty, the end."""
        begin = self.i
        while True:
            match = _NOT_SPECIAL.match(self.text, self.i)
            self.i = match.end() if match else self.i
            if self.end:
                break
            char = self.char()
            if char == "\\" and self.char(1) in (*escapes, "\n"):
                self._keep(parts, begin)
                if self.char(1) != "\n":
                    parts.append(s.Literal(self.source[self.i + 1 : self.i + 2], True))
                self.i += 2
                begin = self.i
            elif char and char == closer:
                self._keep(parts, begin)
                return
            elif char in "$`":
                self._keep(parts, begin)
                self._expansion(parts, quoted=True)
                begin = self.i
            else:
                self.i += 1
        if closer:
            raise self.problem("a quote that is not closed", start)
        self._keep(parts, begin)

    def _keep(self, parts: list[s.Part], begin: int) -> None:
        if begin < self.i:
            parts.append(s.Literal(self.source[begin : self.i], True))

    def _ansi_quoted(self, parts: list[s.Part]) -> None:
        start = self.i
        self.i += 2
        begin = self.i
        while self.char() != "'":
            if self.end:
                raise self.problem("a quote that is not closed", start)
            self.i += 2 if self.char() == "\\" else 1
        inside = self.source[begin : self.i]
        self.i += 1
        text = escapes.read(inside, escapes.QUOTED)
        if text is None:
            parts.append(s.Bytes(self.text[start : self.i], self.place(start)))
        else:
            parts.append(s.Literal(text[: text.text.index("\0")] if "\0" in text.text else text, True))

    def text_word(self, heredoc: bool = False) -> s.ShellWord:
        """All of the text as between double quotes: a here-document, or an arithmetic expression."""
        parts: list[s.Part] = []
        self._quoted_text(parts, "", 0, "\\$`" if heredoc else '"\\$`')
        return s.ShellWord(tuple(parts), self.place(0), self.text)

    # Expansions ---------------------------------------------------------------------------------------------------

    def _expansion(self, parts: list[s.Part], quoted: bool) -> None:
        start = self.i
        at = self.place()
        self.budget.work(30, at)
        if self.char() == "`":
            parts.append(self._backquoted(quoted))
        elif self.starts("$((") and (end := self._arithmetic_end()) >= 0:
            expression = Words(self.source[start + 3 : end], self.budget, self.depth + 1).text_word()
            self.i = end + 2
            parts.append(s.Arithmetic(expression, self.text[start : self.i], at, quoted))
        elif self.starts("$["):
            end = self.text.find("]", start)
            if end < 0:
                raise self.problem("`$[` without its closing bracket")
            expression = Words(self.source[start + 2 : end], self.budget, self.depth + 1).text_word()
            self.i = end + 1
            parts.append(s.Arithmetic(expression, self.text[start : self.i], at, quoted))
        elif self.starts("$("):
            inner = self.parser(self.source, self.depth + 1, start + 2)
            body = inner.sequence(lambda: inner.char() == ")")
            if inner.end:
                raise self.problem("`$(` without its closing parenthesis", start)
            self.i = inner.i + 1
            if self.text.startswith("$((", start) and _CASE.search(self.text, start, self.i):
                raise self.problem("`$((` with `case` in it, which is no arithmetic: a blank between the two", start)
            parts.append(s.Substitution(body, self.text[start : self.i], at, quoted))
        elif self.starts("${"):
            parts.append(self._braced(quoted))
        else:
            match = NAME.match(self.text, start + 1)
            if match:
                self.i = match.end()
                parts.append(s.Parameter(match.group(), self.text[start : self.i], at, quoted))
            elif self.char(1) and self.char(1) in "@*#?$!-0123456789":
                self.i += 2
                parts.append(self._special(self.text[start + 1], self.text[start : self.i], at, quoted))
            else:
                self.i += 1
                parts.append(s.Literal(self.source[start : self.i], quoted))

    @staticmethod
    def _special(name: str, written: str, at: int, quoted: bool) -> s.Parameter:
        return s.Parameter(name, written, at, quoted, index=name if name in "@*" else None)

    def _arithmetic_end(self) -> int:
        """Where the ``))`` of a ``$((`` stands; -1 when it is a command substitution that begins with a subshell."""
        end = _pairs(self.text, "()").get(self.i + 2, -1)
        if not 0 <= end <= self.i + MAX_EXPRESSION:
            return -1
        if not self.text.startswith("))", end):
            return -1
        if open_quote := _OPEN_QUOTE.search(_CLOSED_QUOTES.sub("", self.text[self.i + 3 : end])):
            raise self.problem(f"{open_quote.group()} that is not closed")
        return end

    def _backquoted(self, quoted: bool) -> s.Substitution:
        start = self.i
        at = self.place()
        kept: list[int] = []
        self.i += 1
        while self.char() != "`":
            if self.end:
                raise self.problem("a backquote that is not closed", start)
            if self.char() == "\\" and self.char(1) in (*"\\`$", *('"' if quoted else "")):
                self.i += 1
            kept.append(self.i)
            self.i += 1
        self.i += 1
        inside = Traced("".join(self.text[i] for i in kept), tuple(self.source.at[i] for i in kept))
        inner = self.parser(inside, self.depth + 1)
        body = inner.sequence(lambda: False)
        return s.Substitution(body, self.text[start : self.i], at, quoted)

    def _process(self) -> s.Process:
        start = self.i
        inner = self.parser(self.source, self.depth + 1, start + 2)
        body = inner.sequence(lambda: inner.char() == ")")
        if inner.end:
            raise self.problem("`<(` without its closing parenthesis", start)
        self.i = inner.i + 1
        return s.Process(body, self.text[start : self.i], self.place(start))

    def _braced(self, quoted: bool) -> s.Parameter:
        start = self.i
        at = self.place()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.problem(f"a construct nested more than {MAX_DEPTH} deep")
        self.i += 2
        length = self.char() == "#" and self.char(1) not in ("}", "")
        indirect = self.char() == "!" and self.char(1) not in ("}", "")
        if length or indirect:
            self.i += 1
        name = self._parameter_name(start)
        index: str | s.ShellWord | None = name if name in ("@", "*") else None
        if self.char() == "[":
            index = self._subscript()
        match = _OPERATORS.match(self.text, self.i)
        op, argument, second = "", None, None
        if match and self.char() != "}":
            op = match.group()
            self.i = match.end()
            literal = quoted and op.lstrip(":") in "-=?+"
            if op[0] == "/":
                argument = self._inside(quoted, literal, "/}")
                if self.char() == "/":
                    self.i += 1
                    second = self._inside(quoted, literal, "}")
            elif op == ":":
                argument = self._inside(quoted, literal, ":}")
                if self.char() == ":":
                    self.i += 1
                    second = self._inside(quoted, literal, "}")
            else:
                argument = self._inside(quoted, literal, "}")
        if self.char() != "}":
            raise self.problem("`${` without its closing brace" if self.end else "an expansion with `${`", start)
        self.i += 1
        self.depth -= 1
        return s.Parameter(
            name, self.text[start : self.i], at, quoted, length, indirect, index, op, argument, second
        )  # fmt: skip

    def _parameter_name(self, start: int) -> str:
        match = NAME.match(self.text, self.i) or re.compile(r"[0-9]+|[@*#?$!-]").match(self.text, self.i)
        if not match:
            raise self.problem("an expansion with `${`", start)
        self.i = match.end()
        return match.group()

    def _subscript(self) -> str | s.ShellWord:
        end = self._subscript_end()
        if end < 0:
            raise self.problem("`[` without its closing bracket")
        inside = self.source[self.i + 1 : end]
        self.i = end + 1
        if inside.text in ("@", "*"):
            return inside.text
        return Words(inside, self.budget, self.depth + 1).word(lambda char: False)

    def _subscript_end(self) -> int:
        """Where the bracket is closed that opens here; -1 when it is not, or far away."""
        end = _pairs(self.text, "[]").get(self.i, -1)
        return end if end <= self.i + MAX_EXPRESSION else -1

    def _inside(self, quoted: bool, literal: bool, closers: str) -> s.ShellWord:
        """The argument of an operator in ``${...}``; ``literal``: as between double quotes, as the whole is."""
        start = self.i
        parts: list[s.Part] = []
        while not self.end and self.char() not in closers:
            char = self.char()
            if literal and char == '"':
                self._double_quoted(parts)
            elif literal and char not in "$`\\":
                parts.append(s.Literal(self.source[self.i : self.i + 1], True))
                self.i += 1
            elif literal and char == "\\" and self.char(1) not in (*'"\\$`}', "\n"):
                parts.append(s.Literal(self.source[self.i : self.i + 1], True))
                self.i += 1
            elif char in "$`":
                self._expansion(parts, quoted and literal)  # quotes around ${...} are not around a pattern in it
            else:
                self._piece(parts, closers.__contains__)
        return s.ShellWord(tuple(parts), self.place(start), self.text[start : self.i])

    def parser(self, source: Traced, depth: int, start: int = 0) -> Parser:
        """For the commands inside a substitution."""
        from bridge_args.script.bash.grammar import Parser

        made = Parser(source, self.budget, depth, start)
        made.substituted = True
        return made
