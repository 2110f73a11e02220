"""What is known while a script is read: variables, functions, files it writes, and what stays unknown."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from bridge_args.findings import Finding
from bridge_args.records import dataclass, field, replace
from bridge_args.script.bash.budget import MAX_WORDS, Budget, LimitReached
from bridge_args.script.bash.ends import End, Guard
from bridge_args.script.bash.hooks import Hooks
from bridge_args.script.bash.inside_words import SyntaxProblem
from bridge_args.script.bash.names import is_name
from bridge_args.script.bash.syntax import Function, Program, ShellWord
from bridge_args.script.bash.traced import FIRST_HOLE, LAST_HOLE, Traced, holes_of, is_hole, plain, without_holes
from bridge_args.words import Place

# What bash or the system sets in every process: never taken as unset.
SYSTEM: Final = frozenset(
    "BASH BASHPID BASH_VERSION EPOCHREALTIME EPOCHSECONDS EUID HOME HOSTNAME HOSTTYPE LINENO LOGNAME MACHTYPE OLDPWD "
    "OSTYPE PATH PPID PWD RANDOM SECONDS SHELL SHLVL SRANDOM UID USER $ !".split()
)


# What is said to do about what depends on unknown variables.
DECIDE: Final = "give the variables that decide them with --set NAME=VALUE"


class Refused(Exception):
    """bash refuses to set the variable ``name``: it is readonly."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Leave(Exception):
    """What is left, and with which status or how many loops.

    ``exit``, ``return``, ``break`` and ``continue``; ``line``: after a mistake bash drops the rest of the line it has
    read, ``all``: and what a sourced file or ``eval`` has behind it too, up to the line of the script; ``never``: an
    endless loop, behind which nothing is reached.
    """

    def __init__(self, what: str, value: int | None = 0) -> None:
        super().__init__(what)
        self.what = what
        self.value = value


class Failure(int):
    """A status other than 0, of which nobody knows which one it is."""


HoleKind = Literal["variable", "command", "expression", "file"]


@dataclass(slots=True)
class Hole:
    """Something a script uses that reading it does not tell.

    Attributes:
        written: how bash writes it: ``$DATA_DIR``, ``$(hostname)``, ``$((NODES * 8))``.
        names: variables that ``--set`` can give to make it known.
        variable: the name, when the script reads a variable it never sets.
        path: the folder it stands for, where that is known on this machine.
        first_written: how it was written before it got the name of a variable.
        required: what the script says when it is not given: ``${NAME:?text}``.
        shell: which shell meets it: 0 for the script, else ``Frame.number``.
    """

    kind: HoleKind
    written: str
    at: int
    names: tuple[str, ...] = ()
    variable: str = ""
    path: str = ""
    required: str = ""
    first_written: str = ""
    shell: int = 0

    @property
    def said(self) -> str:
        """What people are told of: as the script writes it."""
        return f"${self.variable}" if self.variable else self.first_written or self.written


@dataclass(frozen=True, slots=True)
class Variable:
    """A scalar is ``Traced``, an array a mapping from index or key; None is a variable known to be unset."""

    value: Traced | Mapping[int | str, Traced] | None
    exported: bool = False
    keyed: bool = False  # declare -A
    integer: bool = False  # declare -i
    readonly: bool = False
    letters: str = ""  # declare -u, -l, -c: the letter
    reference: bool = False  # declare -n: the value is the name of another variable

    def scalar(self) -> Traced | None:
        """What ``$NAME`` is: of an array, element 0."""
        if self.value is None or isinstance(self.value, Traced):
            return self.value
        return self.value.get("0" if self.keyed else 0)

    def elements(self) -> list[Traced]:
        if self.value is None:
            return []
        if isinstance(self.value, Traced):
            return [self.value]
        return list(self.value.values())

    def size(self) -> int:
        """How many elements there are."""
        return 0 if self.value is None else 1 if isinstance(self.value, Traced) else len(self.value)

    def numbered(self) -> dict[int | str, Traced]:
        """The elements of an array by their indices; a scalar is its element 0."""
        if self.value is None or isinstance(self.value, Traced):
            return {} if self.value is None else {0: self.value}
        return dict(self.value)


class Sources:
    """Which file, line and column a position is: every text read gets a range of its own."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._files: list[tuple[str, list[int]]] = []  # name, positions of line starts
        self._known: dict[tuple[str, str], Traced] = {}
        self._next = 0
        self.files: dict[Path, Traced | None] = {}  # read already; None: no text
        self.programs: dict[Traced, tuple[Program, SyntaxProblem | None]] = {}  # texts and what is in them

    def add(self, text: str, name: str) -> Traced:
        """The text of a file, traced; the same file again has the same positions."""
        text = text.replace("\r\n", "\n")
        if text.endswith("\\"):
            text += "\n"  # bash drops a backslash at the end of a file
        known = self._known.get((name, text))
        if known is not None:
            return known
        clean = without_holes(text)
        start = self._next
        self._starts.append(start)
        lines = [start]
        for line in clean.split("\n"):
            lines.append(lines[-1] + len(line) + 1)
        self._files.append((name, lines))
        self._next += len(clean) + 1
        made = self._known[name, text] = Traced(clean, tuple(range(start, start + len(clean))))
        return made

    def place(self, at: int) -> Place | None:
        if at < 0 or not self._starts:
            return None
        name, lines = self._files[bisect_right(self._starts, at) - 1]
        line = bisect_right(lines, at)
        return Place(name, line, at - lines[line - 1] + 1)


@dataclass(frozen=True, slots=True)
class Spot:
    """A simple command as it is written, and what bash made of each of its words."""

    made: tuple[tuple[ShellWord, tuple[Traced, ...]], ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """An inner shell, seen from the command of the outer one that starts it.

    Attributes:
        number: from 1, in the order in which they are met.
        text: what the inner shell reads.
        kind: is the text a word behind ``-c``, a file, standard input, or words behind ``ssh host``?
        words: of the outer command, with what is assigned in front.
        at: which of them the text is, or the file; of standard input, the shell.
        passed: how many of them stand before the inner shell.
        prefix: what stands before the outer command, of the shells around it.
        spots: where the outer command is written, and the calls it stands in, innermost first.
        exports, folder: as the outer shell has them.
        outer: the shell around the outer command; None for the script.
        own: may it be started several times at once, or where the outer shell's variables and programs are not?
        written: is the text a file that the script itself writes?
    """

    number: int
    text: Traced
    kind: Literal["text", "file", "input", "remote"]
    words: tuple[Traced, ...]
    at: int
    passed: int
    prefix: tuple[Traced, ...]
    spots: tuple[Spot, ...]
    exports: Mapping[str, Traced]
    folder: Traced
    outer: Frame | None
    own: bool
    written: bool


Choice = tuple[int, str]  # where a condition stands, and what it was about when it was met


@dataclass(slots=True)
class Shared:
    """What subshells have in common with the shell that starts them."""

    sources: Sources
    given: Mapping[str, str] = field(default_factory=dict)  # --set
    name: str = ""  # of the script, as it was given
    folder: Path | None = None  # where the script lies; None for text without a file
    holes: list[Hole] = field(default_factory=list)
    findings: dict[Finding, None] = field(default_factory=dict)  # in order, each once
    found: list[Found] = field(default_factory=list)
    assumed: dict[str, int] = field(default_factory=dict)  # variables a condition read as empty, and where
    patterns: dict[str, int] = field(default_factory=dict)  # file name patterns, and where
    choices: dict[Choice, int] = field(default_factory=dict)  # unknown conditions -> which way this reading takes
    ways: dict[Choice, tuple[str, ...]] = field(default_factory=dict)  # the ways there are, in words
    hooks: Hooks = Hooks()
    in_job: bool = False  # whose system sets variables
    budget: Budget = field(default_factory=Budget)  # of the source: all its readings have one
    reading: list[str] = field(default_factory=list)  # texts of the scripts that are being read, outermost first
    exits: list[End] = field(default_factory=list)  # each ``exit`` that is reached
    guards: list[Guard] = field(default_factory=list)  # conditions around what is read now, innermost last
    calls: list[int] = field(default_factory=list)  # where the functions are called that are read now, innermost last
    origins: dict[str, str] = field(default_factory=dict)  # variable -> what was assigned to it last, as it is written
    required: dict[str, tuple[int, str]] = field(default_factory=dict)  # ${NAME:?text} of what nobody sets
    unread: list[tuple[str, int]] = field(default_factory=list)  # scripts started that are not beside this one
    alike: dict[tuple[str, tuple[str, ...], tuple[str, ...]], Choice] = field(default_factory=dict)  # asked before
    functions: set[str] = field(default_factory=set)  # names of all that were defined
    overruled: dict[str, int] = field(default_factory=dict)  # --set names that the script sets itself
    job: tuple[str, ...] = ()  # options of sbatch that count more than the script's
    first_task: bool = False  # the environment is that of a task, and what tasks are told is known
    shells: int = 0  # how many inner shells were met
    shell: int = 0  # the one that is read now
    of_tasks: set[Choice] = field(default_factory=set)  # conditions that every task decides for itself
    hole_written: dict[tuple[int, str, int], int] = field(default_factory=dict)  # in which shell, how, where -> number
    hole_of: dict[tuple[int, str], int] = field(default_factory=dict)  # in which shell, variable -> number

    def hole(self, hole: Hole) -> Traced:
        """Text that stands for something unknown."""
        hole.shell = self.shell
        index = self.hole_of.get((hole.shell, hole.variable)) if hole.variable else None
        if index is None:
            index = self.hole_written.get((hole.shell, hole.written, hole.at))
        if index is None:
            index = len(self.holes)
            if FIRST_HOLE + index > LAST_HOLE:
                raise LimitReached(f"more than {LAST_HOLE - FIRST_HOLE} unknown values", hole.at)
            self.holes.append(hole)
            self.hole_written[hole.shell, hole.written, hole.at] = index
            if hole.variable:
                self.hole_of[hole.shell, hole.variable] = index
        return Traced(chr(FIRST_HOLE + index), (hole.at,))

    def rename(self, hole: Hole, name: str, whole: bool) -> None:
        """An unknown value gets the name of the variable it is given to; ``whole``: it is all of the value."""
        hole.names = (name,)
        if whole:
            index = self.hole_written.pop((hole.shell, hole.written, hole.at))
            hole.first_written, hole.written = hole.written, f"${name}"
            self.hole_written.setdefault((hole.shell, hole.written, hole.at), index)

    def holes_in(self, text: str) -> list[Hole]:
        return [self.holes[ord(char) - FIRST_HOLE] for char in dict.fromkeys(holes_of(text))]

    def names_in(self, text: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for hole in self.holes_in(text) for name in hole.names))

    def say(self, kind: str, message: str, at: int, remedy: str = "") -> None:
        self.findings.setdefault(Finding(kind, message, remedy, place=self.sources.place(at)))


@dataclass(frozen=True, slots=True)
class Found:
    """A program the script starts: its words, what is exported to it, and on which choices it depends.

    Attributes:
        folder: where it is started, as the script says it; empty for where the script itself is started.
        sbatch: options of the job it belongs to, where the script hands a job over to ``sbatch`` itself.
        frame: the inner shell that starts it; None for the script.
        spots: where it is written, and the calls it stands in, innermost first.
    """

    words: tuple[Traced, ...]
    exports: Mapping[str, Traced]
    at: int
    choices: Mapping[Choice, int]
    folder: Traced = Traced()
    sbatch: tuple[str, ...] = ()
    frame: Frame | None = None
    spots: tuple[Spot, ...] = ()


# bash answers these itself, whatever a script sets them to, and sets these in a way of its own.
_OF_BASH: Final = frozenset(
    "BASHPID BASH_ARGV0 BASH_COMMAND BASH_SUBSHELL DIRSTACK EPOCHREALTIME EPOCHSECONDS FUNCNAME GROUPS HISTCMD LINENO "
    "PIPESTATUS RANDOM SECONDS SRANDOM _".split()
)
_ONLY_VALUES: Final = re.compile(
    r"(?:\[|\[\[|\(\(|test )(?!.*(?:\$\(|`| -[a-uw-y] |=~|\+\+|--|[^=!<>]=[^=])).*$", re.DOTALL
)
_WHOLE: Final = re.compile(r"(?a)-?\d+")
_NEVER_SET: Final = frozenset("BASHOPTS BASH_VERSINFO EUID PPID SHELLOPTS UID".split())


@dataclass(slots=True)
class State:
    """One shell: the script, or a subshell of it."""

    shared: Shared
    variables: dict[str, Variable] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    files: dict[str, Traced | None] = field(default_factory=dict)  # written by the script; None: not known what
    positional: list[Traced] = field(default_factory=list)
    name: Traced = field(default_factory=Traced)  # $0
    cwd: Path | None = None  # None: not known here
    cwd_is_start: bool = True
    folder: Traced = field(default_factory=Traced)  # the same as text, empty at the start
    sbatch: tuple[str, ...] = ()  # options of the job this shell is, where the script itself calls sbatch
    status: int | None = 0
    locals: list[dict[str, Variable | None]] = field(default_factory=list)
    positional_given: int = 0  # how often ``set`` gave them
    may_have_positional: bool = False  # could $1 be something that nobody told us?
    exported: set[str] = field(default_factory=set)  # names exported before they had a value
    export_all: bool = False  # set -a
    forked: bool = False  # a subshell of a script, whose end is not the script's
    option_inside: int = 0  # of getopts: the next letter inside a word
    options: frozenset[str] = frozenset()  # of ``set`` and ``shopt``, by their long names
    traps: dict[str, Traced] = field(default_factory=dict)  # of this shell: EXIT, ERR, ...
    loops: int = 0  # how many ``break`` may leave
    returns: int = 0  # functions and sourced files that ``return`` may leave
    functions_out: frozenset[str] = frozenset()  # export -f
    of_text: bool = False  # is what is read the text of $(...) or of `bash -c`?
    left_joining: bool = False  # did a mistake end what was expanded as one text?
    frame: Frame | None = None  # the inner shell this is; None for the script

    def subshell(self) -> State:
        self.shared.budget.work((len(self.variables) + len(self.positional)) // 8)
        return replace(
            self,
            forked=True,
            variables=dict(self.variables),
            functions=dict(self.functions),
            positional=list(self.positional),
            exported=set(self.exported),
            locals=[dict(scope) for scope in self.locals],
            traps={name: body for name, body in self.traps.items() if not body},  # what is ignored stays ignored
        )

    # Variables ----------------------------------------------------------------------------------------------------

    def target(self, name: str) -> str:
        """The variable that is meant: a reference (``declare -n``) stands for another one."""
        for _ in range(10):
            variable = self.variables.get(name)
            if variable is None or not variable.reference or not isinstance(variable.value, Traced):
                return name
            name = variable.value.text
            if "[" in name or not is_name(name):
                raise LimitReached(f"a reference to {name}", variable.value.first)
        raise LimitReached(f"references that go round in a circle ({name})", -1)

    def get(self, name: str) -> Variable | None:
        """A variable; None when neither the script nor ``--set`` says anything about it."""
        variable = self.variables.get(name)
        if variable is not None and variable.reference:
            return self.variables.get(self.target(name))
        return variable

    def set(
        self, name: str, value: Traced | Mapping[int | str, Traced], at: int, *, exported: bool | None = None
    ) -> None:
        """Gives a variable its value.

        Raises:
            Refused: when it is readonly.
        """
        before = self.variables.get(name)
        if before is not None and before.reference:
            if before.value is None:  # its first value says what it refers to
                self.variables[name] = replace(before, value=value)
                return
            name = self.target(name)
            before = self.variables.get(name)
        if (before is not None and before.readonly) or name in _NEVER_SET:
            raise Refused(name)
        if name in _OF_BASH:
            return
        if isinstance(value, Traced):
            value = self._settle(name, value, at)
            if before is not None and before.integer and not _WHOLE.fullmatch(value.text) and value.known:
                self.shared.say("not-read", f"the value of {name}, which holds whole numbers, is not read", at)
            if before is not None and isinstance(before.value, dict):
                value = {**before.value, "0" if before.keyed else 0: value}
        if isinstance(value, Traced):
            self.shared.budget.value(len(value), at)
        else:
            if len(value) > MAX_WORDS:
                raise LimitReached(f"an array of more than {MAX_WORDS} elements", at)
            self.shared.budget.work(4 * len(value), at)
            self.shared.budget.value(sum(map(len, value.values())), at)
            value = _in_order(value)
        keep = (before.exported if before else False) or name in self.exported or self.export_all
        keep = keep if exported is None else exported
        if name == "OPTIND":
            self.option_inside = 0
        if before is None:
            self.variables[name] = Variable(value, keep)
            return
        if before.letters:
            value = self._in_letters(before, value)
        self.variables[name] = replace(before, value=value, exported=keep)

    def _in_letters(
        self, before: Variable, value: Traced | Mapping[int | str, Traced]
    ) -> Traced | Mapping[int | str, Traced]:
        if isinstance(value, Traced):
            return in_letters(value, before.letters)
        old = before.value if isinstance(before.value, dict) else {}
        return {key: one if old.get(key) is one else in_letters(one, before.letters) for key, one in value.items()}

    def _settle(self, name: str, value: Traced, at: int) -> Traced:
        """An unknown value takes the one given by ``--set``; else it can be asked for by this name."""
        given = self.shared.given.get(name)
        if value.known:
            if given is not None and given != value.text:
                self.shared.overruled.setdefault(name, at)
            return value
        if given is not None:
            return plain(given)
        for hole in self.shared.holes_in(value.text):
            if not hole.variable and not hole.names:
                self.shared.rename(hole, name, len(value) == 1)
        return value

    def export(self, name: str) -> None:
        before = self.variables.get(name)
        if before is None:
            self.exported.add(name)
        else:
            self.variables[name] = replace(before, exported=True)

    def exports(self) -> dict[str, Traced]:
        return {
            name: variable.value
            for name, variable in self.variables.items()
            if variable.exported and isinstance(variable.value, Traced)
        }

    def unset_hole(self, name: str, written: str, at: int) -> Traced:
        """``$NAME`` of a variable that the script does not set."""
        if name in _OF_BASH or name in "?$!":  # another value each time
            return self.shared.hole(Hole("command", written, at, (name,) if is_name(name) else ()))
        kind: HoleKind = "variable"
        path = str(self.cwd) if name == "PWD" and self.cwd else ""
        return self.shared.hole(Hole(kind, written, at, (name,), name, path))

    def always_set(self, name: str) -> bool:
        return name in SYSTEM or (self.shared.in_job and self.shared.hooks.is_of_job(name))

    def as_unset(self, text: Traced) -> Traced:
        """The text with variables nobody sets read as empty, as bash would when they are not given."""
        if text.known:
            return text
        return Traced(
            "".join(char for char in text.text if not self._is_unset(char)),
            tuple(at for char, at in zip(text.text, text.at, strict=True) if not self._is_unset(char)),
        )

    def prints(self, text: Traced) -> bool:
        """Is the output of a program in it, of which nobody knows how many words it is?"""
        return any(hole.kind == "command" for hole in self.shared.holes_in(text.text))

    def taken_as_unset(self, text: Traced) -> Traced:
        """The same, remembering which variables were taken so."""
        for hole in self.shared.holes_in(text.text):
            if hole.variable and not self.always_set(hole.variable):
                self.shared.assumed.setdefault(hole.variable, hole.at)
        return self.as_unset(text)

    def _is_unset(self, char: str) -> bool:
        if not is_hole(char):
            return False
        hole = self.shared.holes[ord(char) - FIRST_HOLE]
        return bool(hole.variable) and not self.always_set(hole.variable)

    # Unknown ways -------------------------------------------------------------------------------------------------

    def choose(self, at: int, about: str, ways: tuple[str, ...]) -> int:
        """Which way an unknown condition goes in this reading; the others are read in turn (``shell.read_script``).

        The same question about the same values has the same answer as before.
        """
        shared = self.shared
        choice = (at, about)
        if _ONLY_VALUES.match(about):
            names = re.findall(r"(?a)\$\{?(\w+)", about)
            values = tuple(_identity(self.variables.get(name)) for name in names)
            self.shared.budget.work(sum(map(len, values)), at)
            choice = shared.alike.setdefault((about, values, ways), choice)
        shared.ways.setdefault(choice, ways)
        if self.frame is not None and self.frame.own:
            shared.of_tasks.add(choice)
        return shared.choices.setdefault(choice, 0)


def _identity(variable: Variable | None) -> str:
    """The same text for the same value, and only for it."""
    if variable is None or variable.value is None:
        return ""
    if isinstance(variable.value, Traced):
        return "=" + variable.value.text
    return "(" + "\0".join(f"{key}\0{value.text}" for key, value in variable.value.items())


def _in_order(value: Mapping[int | str, Traced]) -> Mapping[int | str, Traced]:
    """An array by its indices, one with keys as it is."""
    last = -1
    for key in value:
        if not isinstance(key, int):
            return value
        if key < last:
            return dict(sorted(value.items(), key=lambda item: int(item[0])))
        last = key
    return value


def in_letters(value: Traced, letters: str) -> Traced:
    """All in capitals (``u``), none (``l``), or the first one only (``c``)."""
    text = value.text
    made = text.upper() if letters == "u" else text.lower()
    if letters == "c":
        made = text[:1].upper() + text[1:].lower()
    return Traced(made, value.at) if len(made) == len(text) else value
