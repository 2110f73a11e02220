"""What a script consists of, as bash's grammar has it. ``grammar.py`` makes these, ``shell.py`` reads them."""

from __future__ import annotations

from typing import TypeAlias

from bridge_args.records import dataclass, field
from bridge_args.script.bash.traced import Traced

# ---------------------------------------------------------------- inside a word


@dataclass(frozen=True, slots=True)
class Literal:
    text: Traced
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """``$NAME``, ``${NAME[index]op argument}``; ``index`` is "@" or "*" for all elements."""

    name: str
    written: str
    at: int
    quoted: bool = False
    length: bool = False
    indirect: bool = False
    index: str | ShellWord | None = None
    op: str = ""
    argument: ShellWord | None = None
    second: ShellWord | None = None


@dataclass(frozen=True, slots=True)
class Substitution:
    """``$(commands)`` or the same in backquotes."""

    body: Sequence
    written: str
    at: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """``$((expression))``"""

    expression: ShellWord
    written: str
    at: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Process:
    """``<(commands)``: a file name only bash can make."""

    body: Sequence
    written: str
    at: int
    quoted: bool = True


@dataclass(frozen=True, slots=True)
class Bytes:
    """``$'\\377'``: bytes that are no text."""

    written: str
    at: int
    quoted: bool = True


Part: TypeAlias = "Literal | Parameter | Substitution | Arithmetic | Process | Bytes"


@dataclass(frozen=True, slots=True)
class ShellWord:
    """A word as it is written, before bash makes none, one or many of it.

    Attributes:
        start: which character of the text it begins with; -1 where it was not read from one.
    """

    parts: tuple[Part, ...]
    at: int
    written: str = ""
    start: int = -1

    @property
    def literal(self) -> str | None:
        """The text, if there is nothing to expand and nothing quoted."""
        if all(isinstance(part, Literal) and not part.quoted for part in self.parts):
            return "".join(part.text.text for part in self.parts if isinstance(part, Literal))
        return None


# ---------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True)
class Item:
    """``word``, ``[key]=word`` or ``[key]+=word``"""

    word: ShellWord
    key: ShellWord | None = None
    append: bool = False


@dataclass(frozen=True, slots=True)
class Array:
    """``(a b [key]=c)``"""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Assignment:
    name: str
    value: ShellWord | Array
    at: int
    append: bool = False
    index: ShellWord | None = None


@dataclass(slots=True)
class Redirect:
    """``2>file``; of a here-document ``body`` is the text (filled in when its lines are reached)."""

    op: str
    target: ShellWord
    fd: str = ""
    body: ShellWord | None = None
    attached: bool = False  # no blank before the target


@dataclass(frozen=True, slots=True)
class Simple:
    """``NAME=value program word ... > file``; after ``export`` and its kind assignments stand among the words."""

    assignments: tuple[Assignment, ...]
    words: tuple[ShellWord | Assignment, ...]
    redirects: tuple[Redirect, ...]
    at: int
    comment_at: int = -1  # a comment right behind a continuation ended the command here


@dataclass(frozen=True, slots=True)
class Pipeline:
    commands: tuple[Command, ...]
    negated: bool = False
    written: str = ""


@dataclass(frozen=True, slots=True)
class AndOr:
    """``first && second || third``: operators and what follows them."""

    first: Pipeline
    rest: tuple[tuple[str, Pipeline], ...] = ()
    background: bool = False


@dataclass(frozen=True, slots=True)
class Sequence:
    items: tuple[AndOr, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A whole text, as bash reads it: each line with all that belongs to it is read, then run."""

    lines: tuple[Sequence, ...] = ()


@dataclass(frozen=True, slots=True)
class Compound:
    """What all structures share."""

    at: int
    written: str = field(default="", kw_only=True)
    redirects: tuple[Redirect, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True, slots=True)
class If(Compound):
    branches: tuple[tuple[Sequence, Sequence, str], ...]  # condition, body, the condition as written
    otherwise: Sequence


@dataclass(frozen=True, slots=True)
class Case(Compound):
    subject: ShellWord
    branches: tuple[tuple[tuple[ShellWord, ...], Sequence, str], ...]  # patterns, body, terminator


@dataclass(frozen=True, slots=True)
class For(Compound):
    name: str
    words: tuple[ShellWord, ...] | None  # None: "$@"
    body: Sequence


@dataclass(frozen=True, slots=True)
class ForArithmetic(Compound):
    clauses: tuple[ShellWord, ShellWord, ShellWord]
    body: Sequence


@dataclass(frozen=True, slots=True)
class While(Compound):
    condition: Sequence
    body: Sequence
    until: bool


@dataclass(frozen=True, slots=True)
class Group(Compound):
    body: Sequence


@dataclass(frozen=True, slots=True)
class Subshell(Compound):
    body: Sequence


@dataclass(frozen=True, slots=True)
class Function(Compound):
    name: str
    body: Command
    source: Traced = field(default_factory=Traced, kw_only=True)  # all of it


@dataclass(frozen=True, slots=True)
class ArithmeticCommand(Compound):
    """``((expression))``"""

    expression: ShellWord


@dataclass(frozen=True, slots=True)
class Condition(Compound):
    """``[[ expression ]]``: nested tuples of operators and words.

    ("and", a, b), ("or", a, b), ("not", a), ("test", word), ("unary", op, word), ("binary", op, word, word).
    """

    expression: tuple[object, ...]


Command: TypeAlias = (
    "Simple | If | Case | For | ForArithmetic | While | Group | Subshell | Function | ArithmeticCommand | Condition"
)
