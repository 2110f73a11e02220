"""bash's arithmetic: ``$((NODES * GPUS))``. Facts: bash(1), ARITHMETIC EVALUATION; integers have 64 bits."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Final, Protocol

from bridge_args.script.bash.traced import holes_of, is_hole

_TOKEN: Final = re.compile(
    r"(?a)\s*(?:(\d[\w#@]*)|([A-Za-z_]\w*)"
    r"|(<<=|>>=|\*\*|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|[-+*/%<>=!~&|^?:,()\[\]]))"
)
_NUMBER: Final = re.compile(r"(?a)0[xX][0-9a-fA-F]*|0[0-7]*|[1-9]\d*")
_VARIABLE: Final = re.compile(r"[ \t\n]*[A-Za-z_]")
_LEVELS: Final = (
    ("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", ">", "<=", ">="), ("<<", ">>"),
    ("+", "-"), ("*", "/", "%"),
)  # fmt: skip
_OPERATIONS: Final[dict[str, Callable[[int, int], int]]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "<<": operator.lshift, ">>": operator.rshift,
    "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
    "&": operator.and_, "|": operator.or_, "^": operator.xor,
}  # fmt: skip
_ASSIGNING: Final = ("=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=")
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ@_"
_QUOTES: Final = tuple("\"'\\$`")
_MAX_DEPTH: Final = 40


class NotANumber(Exception):
    """The expression has no value that reading can tell; ``names`` are variables that would."""

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        super().__init__(", ".join(names))
        self.names = names


class Wrong(NotANumber):
    """bash itself refuses the expression; the message says why."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.args = (why,)


class WrongIndex(Wrong):
    """bash refuses what stands in the brackets of an element."""


class Variables(Protocol):
    def number_of(self, name: str, index: int | None, depth: int) -> int:
        """The value of a variable or element; raises NotANumber."""

    def assign(self, name: str, index: int | None, value: int) -> None: ...

    def charge(self, size: int) -> None:
        """So many characters of expressions are looked at; raises LimitReached."""

    def names_in(self, text: str) -> tuple[str, ...]:
        """Variables that would make the unknown parts of a text known."""

    def doubt(self, text: str) -> None:
        """What is partly unknown is no expression, if a number stands there."""


def evaluate(text: str, variables: Variables, depth: int = 0) -> int:
    """The value of an expression; assignments in it are carried out.

    Raises:
        NotANumber: when it has none, or none that is known.
    """
    if depth > _MAX_DEPTH or len(text) > 5000:
        raise NotANumber()
    variables.charge(80 + 6 * len(text))  # references to other variables may double at each step
    if holes_of(text):
        reader = _Reader("".join("1" if is_hole(char) else char for char in text), variables, depth)
        reader.skipping = True
        try:
            reader.whole()
        except Wrong:
            variables.doubt(text)
        except NotANumber:
            pass
        raise NotANumber(variables.names_in(text))
    try:
        return _Reader(text, variables, depth).whole()
    except NotANumber as problem:
        if problem.names:  # whatever they are: is it an expression at all?
            reader = _Reader(text, variables, depth)
            reader.skipping = True
            try:
                reader.whole()
            except Wrong as wrong:  # behind them: what was set before it is not known
                wrong.names = problem.names
                raise
        raise


class _Reader:
    def __init__(self, text: str, variables: Variables, depth: int) -> None:
        self.variables = variables
        self.depth = depth
        self.tokens: list[tuple[str, str]] = []
        self.i = 0
        self.nested = 0
        self.held: tuple[str, int | None] | None = None  # a variable that is read already; its index has effects once
        self.skipping = False  # the side of &&, ||, ?: that is not taken
        text = text.strip()
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if not match:
                self.tokens.append(("bad", text[at:].lstrip()[:1]))
                break
            number, name, op = match.groups()
            if op == "[" and not (self.tokens and self.tokens[-1][0] == "name" and match.start(3) == at):
                self.tokens.append(("bad", op))
                break
            at = match.end()
            if op in ("++", "--") and not self._counts(text, at):
                op, at = op[0], at - 1
            self.tokens.append(("number", number) if number else ("name", name) if name else ("op", op))

    def _counts(self, text: str, at: int) -> bool:
        """Does the ``++`` or ``--`` that ends at ``at`` belong to a variable? If not, it is two signs."""
        kind, before = self.tokens[-1] if self.tokens else ("", "")
        return kind == "name" or before == "]" or _VARIABLE.match(text, at) is not None

    def whole(self) -> int:
        if not self.tokens:
            return 0
        self.look()
        value = self.comma()
        if self.i < len(self.tokens):
            raise self.wrong()
        return value

    def wrong(self) -> NotANumber:
        """What stands here is no arithmetic; an assignment where none may be, and quotes, are not judged."""
        text = self.tokens[self.i][1] if self.i < len(self.tokens) else ""
        return NotANumber() if text in (*_ASSIGNING, *_QUOTES) else Wrong("a syntax error")

    def look(self) -> None:
        """bash reads one token ahead: what can be none is a mistake before the one in front of it has an effect."""
        if self.i < len(self.tokens):
            kind, text = self.tokens[self.i]
            if kind == "number":
                number(text)
            elif kind == "bad":
                raise self.wrong()

    def behind_index(self, start: int) -> int:
        """Where the brackets that open at ``start`` end; ``start`` when they do not, or none open there."""
        depth = 0
        for at in range(start, len(self.tokens)):
            kind, text = self.tokens[at]
            depth += (text == "[") - (text == "]") if kind == "op" else 0
            if depth == 0:
                return at + (at > start)
        return start

    def is_op(self, *ops: str) -> bool:
        return self.i < len(self.tokens) and self.tokens[self.i][0] == "op" and self.tokens[self.i][1] in ops

    def op(self, *ops: str) -> str:
        if not self.is_op(*ops):
            return ""
        self.i += 1
        self.look()
        return self.tokens[self.i - 1][1]

    def comma(self) -> int:
        self.nested += 1
        if self.nested > _MAX_DEPTH:
            raise NotANumber()
        value = self.assignment()
        while self.op(","):
            value = self.assignment()
        self.nested -= 1
        return value

    def assignment(self) -> int:
        start, behind = self.i, self.behind_index(self.i + 1)
        if behind > start + 1 and self.tokens[behind : behind + 1] == [("op", "=")]:  # then its index comes last
            self.i = behind + 1
            self.look()
            value = self.assignment()
            end, self.i = self.i, start
            late = self.target()
            self.i = end
            return self.store(late, value) if late else value
        target = self.target()
        if target:
            op = self.op(*_ASSIGNING)
            if op:
                before = 0 if op == "=" else self.value_of(target)
                value = self.assignment()
                if op != "=":
                    value = 0 if self.skipping else _apply(op[:-1], before, value)
                return self.store(target, value)
        self.held = target
        return self.ternary()

    def target(self) -> tuple[str, int | None] | None:
        if self.i >= len(self.tokens) or self.tokens[self.i][0] != "name":
            return None
        name = self.tokens[self.i][1]
        self.i += 1
        index: int | None = None
        start, self.i = self.i, self.behind_index(self.i)
        self.look()
        if self.i > start:
            self.i = start
            index = self.index()
        elif self.is_op("["):
            raise Wrong("an index without its bracket")
        return name, index

    def index(self) -> int:
        """What stands in brackets, which are left behind."""
        self.i += 1
        if self.is_op("]"):
            raise NotANumber()
        try:
            self.look()
            value = self.comma()
            if not self.is_op("]"):
                raise self.wrong()
        except Wrong as wrong:
            raise WrongIndex(str(wrong)) from wrong
        self.i += 1
        return value

    def value_of(self, target: tuple[str, int | None]) -> int:
        return 0 if self.skipping else self.variables.number_of(*target, self.depth + 1)

    def store(self, target: tuple[str, int | None], value: int) -> int:
        if not self.skipping:
            self.variables.assign(*target, value)
        return value

    def ternary(self) -> int:
        condition = self.level(0)
        if not self.op("?"):
            return condition
        first = self.aside(not condition, self.comma)
        if not self.op(":"):
            raise self.wrong()
        second = self.aside(bool(condition), self.ternary)
        return first if condition else second

    def aside(self, skip: bool, read: Callable[[], int]) -> int:
        """Read something that has no effect when ``skip``."""
        before, self.skipping = self.skipping, self.skipping or skip
        value = read()
        self.skipping = before
        return value

    def level(self, number: int) -> int:
        if number == len(_LEVELS):
            return self.power()
        left = self.level(number + 1)
        while op := self.op(*_LEVELS[number]):
            if op in ("&&", "||"):
                decided = bool(left) == (op == "||")
                right = self.aside(decided, lambda: self.level(number + 1))
                left = int(op == "||") if decided else int(bool(right))
            else:
                right = self.level(number + 1)
                left = 0 if self.skipping else _apply(op, left, right)
        return left

    def power(self) -> int:
        base = self.unary()
        if not self.op("**"):
            return base
        exponent = self.power()
        if self.skipping:
            return 0
        if exponent < 0:
            raise Wrong("the exponent is less than 0")
        return _wrap(pow(base, exponent, 2**64))

    def unary(self) -> int:
        op = "" if self.held else self.op("!", "~", "-", "+", "++", "--")
        if op:
            self.nested += 1
            if self.nested > _MAX_DEPTH:
                raise NotANumber()
            if op in ("++", "--"):
                target = self.target()
                if target is None:
                    value = self.unary()
                else:
                    value = self.store(target, _wrap(self.value_of(target) + (1 if op == "++" else -1)))
            else:
                value = self.unary()
                value = {"!": int(not value), "~": ~value, "-": _wrap(-value), "+": value}[op]
            self.nested -= 1
            return value
        return self.primary()

    def primary(self) -> int:
        if self.held:
            target, self.held = self.held, None
            return self.value_and_count(target)
        if self.op("("):
            value = self.comma()
            if not self.op(")"):
                raise self.wrong()
            return value
        if self.i >= len(self.tokens):
            raise self.wrong()
        kind, text = self.tokens[self.i]
        if kind == "number":
            self.i += 1
            self.look()
            return number(text)
        read = self.target()
        if read is None:
            raise self.wrong()
        return self.value_and_count(read)

    def value_and_count(self, target: tuple[str, int | None]) -> int:
        """``NAME``, ``NAME++`` or ``NAME--``."""
        value = self.value_of(target)
        if self.is_op("++", "--"):
            self.store(target, _wrap(value + (1 if self.is_op("++") else -1)))
            self.i += 1
            self.look()
        return value


def whole(text: str) -> int | None:
    """A number in decimal digits; None for any other text. Nothing is as large as one that is too long for bash."""
    if not (text.isascii() and text.isdigit()):
        return None
    return int(text) if len(text) < 19 else 2**63 - 1


def number(text: str) -> int:
    """A number as bash writes it: 10, 0x1f, 017, 2#101."""
    try:
        if "#" in text:
            base, _, digits = text.partition("#")
            return _wrap(_in_base(int(base), digits))
        if not _NUMBER.fullmatch(text):
            raise Wrong("no number")
        if text[:2].lower() == "0x":
            return _wrap(int(text[2:] or "0", 16))
        return _wrap(int(text, 8 if text.startswith("0") else 10))
    except ValueError as error:
        raise Wrong("no number") from error


def _in_base(base: int, digits: str) -> int:
    """Digits are 0-9, a-z, A-Z, @ and _, in this order; up to base 36 capitals are small letters."""
    value = 0
    if not digits:
        raise Wrong("no digits")
    for digit in digits.lower() if base <= 36 else digits:
        place = _DIGITS.find(digit)
        if not 2 <= base <= 64 or not 0 <= place < base:
            raise Wrong("no digit of this base")
        value = value * base + place
    return value


def _apply(op: str, left: int, right: int) -> int:
    if op in ("/", "%"):
        if right == 0:
            raise Wrong("division by 0")
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        return _wrap(quotient) if op == "/" else left - right * quotient
    if op in ("<<", ">>"):
        right %= 64
    return _wrap(int(_OPERATIONS[op](left, right)))


def _wrap(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63
