"""bash's grammar: text -> ``syntax.Program``. A recursive descent that reads one complete command after the other.

Two sorts of things are read apart from each other, as bash does: words with what is inside them (``Words``), and the
commands and structures made of them (``Parser``). Facts: bash(1), sections SHELL GRAMMAR, QUOTING and EXPANSION.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from bridge_args.script.bash import syntax as s
from bridge_args.script.bash.budget import Budget
from bridge_args.script.bash.inside_words import MAX_DEPTH, META, SyntaxProblem, Words
from bridge_args.script.bash.names import NAME
from bridge_args.script.bash.traced import Traced, joined, plain

DECLARING: Final = frozenset(("export", "declare", "local", "readonly", "typeset"))

_BLANKS: Final = re.compile(r"[ \t]+")
_ASSIGNED: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\[|\+?=)")
_REDIRECT: Final = re.compile(r"(?a)(\d+|\{[A-Za-z_]\w*\})?(<<<|<<-|<<|&>>|&>|<>|<&|>>|>&|>\||>(?!\()|<(?!\())")
_ESCAPED: Final = re.compile(r"\\[^A-Za-z0-9\n]")
_QUOTED: Final = re.compile(r"\"(?:\\.|[^\"\\])*\"|'[^']*'", re.DOTALL)
_FUNCTION: Final = re.compile(r"(?a)([^\s|&;()<>$`'\"\\=#]+)[ \t]*\([ \t]*\)")
_COMPARES: Final = re.compile(r"(==|!=|=~|=|<|>|-(?:eq|ne|lt|le|gt|ge|nt|ot|ef)(?=[ \t\n]))[ \t]*")
_SIGN: Final = re.compile(r"\n|;;&|;;|;&|&&|\|\||\S[\w-]{0,20}")
_RESERVED: Final = re.compile(
    r"(?a)(?:if|then|elif|else|fi|for|while|until|do|done|case|esac|function|select|coproc|time|in|\{|\}|!|\[\[|\]\])(?=[\s;&|()<>]|$)"
)


def read(source: Traced, budget: Budget) -> tuple[s.Program, SyntaxProblem | None]:
    """The commands of a script, and what stopped the reading; bash too runs what stands before a mistake."""
    parser = Parser(source, budget)
    lines: list[s.Sequence] = []
    try:
        while True:
            parser.newlines()
            if parser.end:
                return s.Program(tuple(lines)), None
            lines.append(s.Sequence(tuple(parser.line())))
    except SyntaxProblem as problem:
        return s.Program(tuple(lines)), problem
    except RecursionError:
        return s.Program(tuple(lines)), parser.problem("a construct nested too deep")


class Parser(Words):
    """Commands and structures."""

    def __init__(self, source: Traced, budget: Budget, depth: int = 0, start: int = 0) -> None:
        super().__init__(source, budget, depth, start)
        self.heredocs: list[s.Redirect] = []
        self.comment_at = -1
        self.substituted = False  # is it the text of a $(...)?

    # Between words ------------------------------------------------------------------------------------------------

    def blanks(self) -> None:
        continued = False
        while not self.end:
            if match := _BLANKS.match(self.text, self.i):
                self.i = match.end()
            elif self.starts("\\\n"):
                self.i += 2
                continued = True
            elif self.char() == "#":
                if continued:
                    self.comment_at = self.place()
                end = self.text.find("\n", self.i)
                self.i = len(self.text) if end < 0 else end
            else:
                return

    def newlines(self) -> None:
        while True:
            self.blanks()
            if self.char() != "\n":
                return
            self._newline()

    def _newline(self) -> None:
        self.i += 1
        pending, self.heredocs = self.heredocs, []
        for redirect in pending:
            self._heredoc(redirect)

    def _heredoc(self, redirect: s.Redirect) -> None:
        delimiter = "".join(part.text.text for part in redirect.target.parts if isinstance(part, s.Literal))
        quoted = any(isinstance(part, s.Literal) and part.quoted for part in redirect.target.parts)
        lines: list[Traced] = []
        while not self.end:
            line = self._heredoc_line(joins=not quoted)
            if redirect.op == "<<-":
                line = line[len(line) - len(line.text.lstrip("\t")) :]
            if line.text.rstrip("\n") == delimiter:
                break
            lines.append(line)
        body = joined(lines)
        if quoted:
            redirect.body = s.ShellWord((s.Literal(body, True),), self.place(), body.text)
        else:
            redirect.body = Words(body, self.budget, self.depth + 1).text_word(heredoc=True)

    def _heredoc_line(self, joins: bool) -> Traced:
        """Up to the next newline; one behind a backslash ``joins`` the lines, before the end is looked for."""
        line = Traced()
        while True:
            end = self.text.find("\n", self.i) + 1 or len(self.text)
            piece = self.source[self.i : end]
            self.i = end
            if not piece.text.endswith("\n"):  # the end of the text ends a line too
                piece += plain("\n", piece.first)
            body = piece.text.rstrip("\n")
            if not joins or self.end or (len(body) - len(body.rstrip("\\"))) % 2 == 0:
                return line + piece
            line += piece[: len(body) - 1]

    def reserved(self) -> str:
        match = _RESERVED.match(self.text, self.i)
        return match.group() if match else ""

    def expect(self, word: str, structure: str, start: int) -> None:
        self.newlines()
        if self.reserved() != word:
            raise self.problem(f"`{structure}` without its `{word}`", start)
        self.i += len(word)

    # Lists --------------------------------------------------------------------------------------------------------

    def line(self) -> list[s.AndOr]:
        """Everything up to the next newline: what bash reads before it runs it."""
        items: list[s.AndOr] = []
        while True:
            self.blanks()
            if self.end:
                return items
            if self.char() == "\n":
                self._newline()
                return items
            items.append(self.and_or())
            self._separator()

    def sequence(self, stop: Callable[[], bool]) -> s.Sequence:
        """Commands until ``stop`` says so at the beginning of one, or the text ends."""
        items: list[s.AndOr] = []
        while True:
            self.newlines()
            if self.end or stop():
                return s.Sequence(tuple(items))
            items.append(self.and_or())
            self._separator()

    def _separator(self) -> None:
        """What stands between two commands; one that is not there is a mistake, unless a structure ends."""
        self.blanks()
        if self.starts(";;") or self.starts(";&"):
            return
        if self.char() in (";", "&"):
            self.i += 1
        elif self.char() not in ("\n", ")", ""):
            raise self.problem(f"`{self._here()}` where a command should end")

    def body(self, *stops: str) -> s.Sequence:
        """What stands in a structure: one command at least."""
        return self._something(self.sequence(lambda: self.reserved() in stops))

    def _something(self, body: s.Sequence) -> s.Sequence:
        if not body.items and not self.end:
            raise self._no_command()
        return body

    def _no_command(self) -> SyntaxProblem:
        return self.problem(f"{f'`{here}`' if (here := self._here()) else 'the end'} where a command should be")

    def _here(self) -> str:
        """The word or sign that stands here, for messages."""
        match = _SIGN.match(self.text, self.i)
        return "" if match is None else match.group() if match.group() != "\n" else "the end of the line"

    def and_or(self) -> s.AndOr:
        first = self.pipeline()
        rest = []
        while True:
            self.blanks()
            op = self.text[self.i : self.i + 2]
            if op not in ("&&", "||"):
                break
            self.i += 2
            self.newlines()
            rest.append((op, self.pipeline()))
        background = self.char() == "&" and self.char(1) != "&"
        return s.AndOr(first, tuple(rest), background)

    def pipeline(self) -> s.Pipeline:
        self.blanks()
        start = self.i
        negated = False
        while self._timed() or self.reserved() == "!":
            if self.reserved() == "!":
                negated = not negated
                self.i += 1
            self.blanks()
        alone = self.i > start and self.char() in ("", "\n", ";")  # `!`, `time`: of nothing
        commands: list[s.Command] = [s.Simple((), (), (), self.place()) if alone else self.command()]
        while True:
            self.blanks()
            if self.char() != "|" or self.char(1) == "|":
                return s.Pipeline(tuple(commands), negated, self.text[start : self.i].rstrip())
            self.i += 2 if self.char(1) == "&" else 1
            self.newlines()
            self._timed()
            commands.append(self.command())

    def _timed(self) -> bool:
        """Skips ``time`` and its option."""
        if self.reserved() != "time":
            return False
        self.i += len("time")
        self.blanks()
        if self.starts("-p "):
            self.i += 2
        self.blanks()
        return True

    # Commands -----------------------------------------------------------------------------------------------------

    def command(self) -> s.Command:
        self.budget.work(100, self.place())
        self.blanks()
        word = self.reserved()
        start = self.i
        at = self.place()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.problem(f"a construct nested more than {MAX_DEPTH} deep")
        try:
            if word == "function" or (not word and _FUNCTION.match(self.text, self.i)):
                return self._function(word)
            if word in ("if", "case", "for", "while", "until", "{", "[[") or self.char() == "(":
                made = self._structure(word, start, at)
                return made
            if word in ("select", "coproc"):
                raise self.problem(f"the construct `{word}`")
            if word:
                raise self._no_command()
            return self._simple()
        finally:
            self.depth -= 1

    def _structure(self, word: str, start: int, at: int) -> s.Command:
        reader = {
            "if": self._if, "case": self._case, "for": self._for, "while": self._while, "until": self._while,
            "{": self._group, "[[": self._condition, "": self._parenthesis,
        }[word]  # fmt: skip
        make = reader(start, at)
        written = self.text[start : self.i]
        redirects: list[s.Redirect] = []
        while True:
            self.blanks()
            if not self._redirect(redirects):
                return make(written, tuple(redirects))

    def _if(self, start: int, at: int) -> Callable[[str, tuple[s.Redirect, ...]], s.Command]:
        branches = []
        otherwise = s.Sequence()
        word = "if"
        while word in ("if", "elif"):
            self.i += len(word)
            self.newlines()
            begin = self.i
            condition = self.body("then")
            written = self.text[begin : self.i].strip().rstrip(";").rstrip()
            self.expect("then", "if", start)
            branches.append((condition, self.body("elif", "else", "fi"), written))
            word = self.reserved()
        if word == "else":
            self.i += 4
            otherwise = self.body("fi")
        self.expect("fi", "if", start)
        return lambda written, to: s.If(at, tuple(branches), otherwise, written=written, redirects=to)

    def _case(self, start: int, at: int) -> Callable[[str, tuple[s.Redirect, ...]], s.Command]:
        self.i += 4
        self.blanks()
        subject = self.word()
        if not self._in():
            raise self.problem("`case` without its `in`", start)
        branches = []
        while True:
            self.newlines()
            if self.reserved() == "esac":
                break
            if self.end:
                raise self.problem("`case` without its `esac`", start)
            if self.char() == "(":
                self.i += 1
            self.budget.work(60, self.place())
            patterns = []
            while True:
                self.blanks()
                patterns.append(self.word())
                if not patterns[-1].written:
                    raise self.problem(f"`{self._here()}` where a pattern should be")
                self.blanks()
                if self.char() != "|":
                    break
                self.i += 1
            if self.char() != ")":
                raise self.problem("a pattern of `case` without its `)`")
            self.i += 1
            body = self.sequence(lambda: self.reserved() == "esac" or self.starts(";;") or self.starts(";&"))
            match = re.compile(r";;&|;;|;&").match(self.text, self.i)
            self.i = match.end() if match else self.i
            branches.append((tuple(patterns), body, match.group() if match else ";;"))
        self.expect("esac", "case", start)
        return lambda written, to: s.Case(at, subject, tuple(branches), written=written, redirects=to)

    def _in(self) -> bool:
        self.newlines()
        if re.compile(r"(?a)in(?=[\s;]|$)").match(self.text, self.i):
            self.i += 2
            return True
        return False

    def _for(self, start: int, at: int) -> Callable[[str, tuple[s.Redirect, ...]], s.Command]:
        self.i += 3
        self.blanks()
        if self.starts("(("):
            return self._for_arithmetic(start, at)
        match = NAME.match(self.text, self.i)
        if not match:
            raise self.problem("`for` without a name")
        self.i = match.end()
        words: list[s.ShellWord] | None = None
        if self._in():
            words = []
            self.blanks()
            while self.char() not in (";", "\n", "", "&", "|", ")"):
                before = self.i
                words.append(self.word())
                if self.i == before:
                    raise self.problem(f"`{self.char()}` where a word should be")
                self.blanks()
        body = self._loop_body("for", start)
        found = None if words is None else tuple(words)
        return lambda written, to: s.For(at, match.group(), found, body, written=written, redirects=to)

    def _for_arithmetic(self, start: int, at: int) -> Callable[[str, tuple[s.Redirect, ...]], s.Command]:
        self.i -= 1
        end = self._arithmetic_end()
        if end < 0:
            raise self.problem("`((` without its `))`")
        inside = self.source[self.i + 3 : end]
        self.i = end + 2
        clauses = []
        for text in inside.text.split(";"):
            clauses.append(Words(inside[: len(text)], self.budget, self.depth + 1).text_word())
            inside = inside[len(text) + 1 :]
        if len(clauses) != 3:
            raise self.problem("`for ((` without its three parts", start)
        body = self._loop_body("for", start)
        three = (clauses[0], clauses[1], clauses[2])
        return lambda written, to: s.ForArithmetic(at, three, body, written=written, redirects=to)

    def _loop_body(self, structure: str, start: int) -> s.Sequence:
        self.blanks()
        if self.char() == ";":
            self.i += 1
        self.newlines()
        if self.reserved() == "{":  # an old spelling
            self.i += 1
            body = self.body("}")
            self.expect("}", structure, start)
            return body
        self.expect("do", structure, start)
        body = self.body("done")
        self.expect("done", structure, start)
        return body

    def _while(self, start: int, at: int) -> Callable[[str, tuple[s.Redirect, ...]], s.Command]:
        word = self.reserved()
        self.i += len(word)
        condition = self.body("do")
        self.expect("do", word, start)
        body = self.body("done")
        self.expect("done", word, start)
        return lambda written, to: s.While(at, condition, body, word == "until", written=written, redirects=to)

    def _group(self, start: int, at: int) -> Callable[[str, tuple[s.Redirect, ...]], s.Command]:
        self.i += 1
        body = self.body("}")
        self.expect("}", "{", start)
        return lambda written, to: s.Group(at, body, written=written, redirects=to)

    def _parenthesis(self, start: int, at: int) -> Callable[[str, tuple[s.Redirect, ...]], s.Command]:
        if self.starts("(("):
            self.i -= 1
            end = self._arithmetic_end()
            if end >= 0:
                expression = Words(self.source[self.i + 3 : end], self.budget, self.depth + 1).text_word()
                self.i = end + 2
                return lambda written, to: s.ArithmeticCommand(at, expression, written=written, redirects=to)
            self.i += 1
        self.i += 1
        body = self._something(self.sequence(lambda: self.char() == ")"))
        if self.end:
            raise self.problem("`(` without its closing parenthesis", start)
        self.i += 1
        return lambda written, to: s.Subshell(at, body, written=written, redirects=to)

    def _function(self, word: str) -> s.Command:
        at, start = self.place(), self.i
        if word:
            self.i += len(word)
            self.blanks()
            name = self.word().written
            self.blanks()
            match = re.compile(r"\([ \t]*\)").match(self.text, self.i)
            self.i = match.end() if match else self.i
        else:
            match = _FUNCTION.match(self.text, self.i)
            assert match
            name = match.group(1)
            self.i = match.end()
        self.newlines()
        body = self.command()
        if isinstance(body, (s.Simple, s.Function)):
            raise self.problem(f"the function {name} without `{{`", start)
        return s.Function(at, name, body, source=self.source[start : self.i])

    # [[ ]] --------------------------------------------------------------------------------------------------------

    def _condition(self, start: int, at: int) -> Callable[[str, tuple[s.Redirect, ...]], s.Command]:
        self.i += 2
        expression = self._either()
        self.newlines()
        if not self.starts("]]"):
            raise self.problem("`[[` without its `]]`", start)
        self.i += 2
        return lambda written, to: s.Condition(at, expression, written=written, redirects=to)

    def _either(self) -> tuple[object, ...]:
        left = self._both()
        self.newlines()
        while self.starts("||"):
            self.i += 2
            left = ("or", left, self._both())
            self.newlines()
        return left

    def _both(self) -> tuple[object, ...]:
        left = self._term()
        self.newlines()
        while self.starts("&&"):
            self.i += 2
            left = ("and", left, self._term())
            self.newlines()
        return left

    def _term(self) -> tuple[object, ...]:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.problem(f"a condition nested more than {MAX_DEPTH} deep")
        try:
            return self._one_term()
        finally:
            self.depth -= 1

    def _one_term(self) -> tuple[object, ...]:
        self.newlines()
        if self.reserved() == "!":
            self.i += 1
            return ("not", self._term())
        if self.char() == "(":
            self.i += 1
            inner = self._either()
            self.newlines()
            if self.char() != ")":
                raise self.problem("`(` without its closing parenthesis")
            self.i += 1
            return inner
        first = self.word()
        if not first.written:
            raise self.problem("a condition in `[[ ]]`")
        self.blanks()
        if re.fullmatch(r"-[a-zA-Z]", first.literal or "") and not self.starts("]]"):
            word = self.word()
            if word.written:
                return ("unary", first.literal, word)
        match = re.compile(r"(==|!=|=~|=|<|>|-(?:eq|ne|lt|le|gt|ge|nt|ot|ef)(?=[ \t\n]))[ \t]*").match(
            self.text, self.i
        )
        if not match:
            return ("test", first)
        self.i = match.end()
        op = match.group(1)
        if op == "=~":
            return ("binary", op, first, self._regular_expression())
        return ("binary", op, first, self.word())

    def _regular_expression(self) -> s.ShellWord:
        """Parentheses and bars belong to it; blanks end it."""
        depth = 0

        def ends(char: str) -> bool:
            nonlocal depth
            if char in " \t\n;" and depth == 0:
                return True
            depth += {"(": 1, ")": -1}.get(char, 0)
            return depth < 0

        start = self.i
        parts: list[s.Part] = []
        while not self.end and not ends(self.char()):
            if self.char() in "\\'\"$`":
                self._piece(parts, lambda char: False)
            else:
                parts.append(s.Literal(self.source[self.i : self.i + 1]))
                self.i += 1
        return s.ShellWord(tuple(parts), self.place(start), self.text[start : self.i])

    # Simple commands ----------------------------------------------------------------------------------------------

    def _simple(self) -> s.Simple:
        at = self.place()
        assignments: list[s.Assignment] = []
        words: list[s.ShellWord | s.Assignment] = []
        redirects: list[s.Redirect] = []
        self.comment_at = -1
        while True:
            self.blanks()
            if self._redirect(redirects):
                continue
            char = self.char()
            if char in ("", "\n", ";", "|", "&", ")"):
                break
            first = words[0] if words else None
            declaring = isinstance(first, s.ShellWord) and first.literal in DECLARING
            if not words or declaring:
                assignment = self._assignment()
                if assignment:
                    (words if words else assignments).append(assignment)
                    continue
            if char == "(":
                raise self.problem("`(` where a word should be")
            words.append(self.word())
        if not (assignments or words or redirects):
            raise self._no_command()
        comment_at = self.comment_at if self.char() == "\n" else -1
        return s.Simple(tuple(assignments), tuple(words), tuple(redirects), at, comment_at)

    def _redirect(self, redirects: list[s.Redirect]) -> bool:
        match = _REDIRECT.match(self.text, self.i)
        if not match:
            return False
        start = self.i
        self.i = match.end()
        self.blanks()
        attached = self.i == match.end()
        redirect = s.Redirect(match.group(2), self.word(), match.group(1) or "", attached=attached)
        if not redirect.target.written:
            line = self.text[self.text.rfind("\n", 0, start) + 1 : start + 1]
            placeholder = re.search(r"<[^<>]*>$", line)
            if placeholder:
                raise self.problem(f"the placeholder {placeholder.group()}", start)
            raise self.problem(f"`{redirect.op}` without a file", start)
        if redirect.target.written.isdecimal() and self.char() in ("<", ">"):  # `> 2>&1`: a number of the next one
            raise self.problem(f"`{redirect.op}` without a file", start)
        redirects.append(redirect)
        if redirect.op in ("<<", "<<-"):
            self.heredocs.append(redirect)
        return True

    def _assignment(self) -> s.Assignment | None:
        match = _ASSIGNED.match(self.text, self.i)
        if not match:
            return None
        start = self.i
        at = self.place()
        index: s.ShellWord | None = None
        self.i = match.start(2)
        if match.group(2) == "[":
            if not self._is_index():
                self.i = start
                return None
            found = self._subscript()
            assert isinstance(found, s.ShellWord)
            index = found
        append = self.starts("+=")
        self.i += 2 if append else 1
        if self.char() == "(":
            return s.Assignment(match.group(1), self._array(), at, append, index)
        value = s.ShellWord((), self.place()) if self.end or self.char() in META else self.word()
        return s.Assignment(match.group(1), value, at, append, index)

    def _array(self) -> s.Array:
        start = self.i
        self.i += 1
        items: list[s.Item] = []
        while True:
            self.newlines()
            if self.end:
                raise self.problem("an array without its closing parenthesis", start)
            if self.char() == ")":
                self.i += 1
                if self.substituted and _ESCAPED.search(_QUOTED.sub("", self.text[start : self.i])):
                    raise self.problem("a backslash in an array inside `$(`", start)  # bash 5.2 loses it
                return s.Array(tuple(items))
            if self.char() in "(|&;<>" and not self.starts("<("):
                raise self.problem(f"`{self.char()}` in an array")
            items.append(self._item())

    def _item(self) -> s.Item:
        """One element of an array."""
        if self.char() == "[" and self._is_index():
            found = self._subscript()
            assert isinstance(found, s.ShellWord)
            append = self.starts("+=")
            self.i += 2 if append else 1
            empty = self.end or self.char() in META
            return s.Item(s.ShellWord((), self.place()) if empty else self.word(), found, append)
        return s.Item(self.word())

    def _is_index(self) -> bool:
        """Does the bracket that opens here hold an index that is assigned to, as in ``[1]=`` or ``[1]+=``?"""
        end = self._subscript_end()
        if end < 0 or self.text[self.i + 1 : end] in ("@", "*"):
            return False
        return self.text.startswith(("=", "+="), end + 1)
