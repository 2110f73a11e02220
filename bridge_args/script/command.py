"""Words -> Command: which words start the processes, which is the program, and which are the program's own.

``NAME=value srun ... numactl ... torchrun ... pretrain_gpt.py ...`` is peeled from the left, one program after the
other, each with its own options (``programs.py``).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from bridge_args.findings import Finding, excerpt_of
from bridge_args.records import Record
from bridge_args.script.bash.names import is_name
from bridge_args.script.programs import LAUNCHERS, MODULES, SAME_PROGRAM, SHELLS, WRAPPERS, Program
from bridge_args.words import Place, Word, as_words


class Command(Record):
    """A command line, taken apart.

    Attributes:
        launcher: what starts the processes: ``torchrun``, ``ft_launcher``, ``srun``, ``mpirun``, ``deepspeed``, ...;
            ``python`` for one process; None when the words hold no such program.
        launcher_options: long names with underscores, as torchrun calls them (``nproc_per_node``, ``nnodes``,
            ``node_rank``, ``master_addr``, ...); of srun and mpirun ``nodes``, ``ntasks``, ``ntasks_per_node``. Counts
            and ports that are numbers are ``int``, everything else stays text; a switch is 1.
        environment: variables set for this command, values as written.
        program: path of the script, or name of the module when ``module`` is true.
        argv: the words after the program.
        wrappers: programs in front that only start another one (``nsys``, ``numactl``, ``bash``), outermost first.
        module: was the program named with ``-m``?
        place: where the program is named, where that is in a file.
    """

    launcher: str | None = None
    launcher_options: Mapping[str, str | int] = MappingProxyType({})
    environment: Mapping[str, str] = MappingProxyType({})
    program: str | None = None
    argv: tuple[Word, ...] = ()
    findings: tuple[Finding, ...] = ()
    wrappers: tuple[str, ...] = ()
    module: bool = False
    place: Place | None = None


def read_command(words: Iterable[str | Word]) -> Command:
    """Take a command line apart; words that are only arguments come back as ``argv``, unchanged.

    Raises:
        TypeError: when ``words`` is one string, or holds something other than text.
    """
    words = as_words(words)
    if not words or words[0].text.startswith("-"):
        return Command(argv=words)
    return _Reader(words).read()


def options_of_srun(words: Sequence[Word]) -> tuple[dict[str, tuple[Word, ...]], int]:
    """What stands behind ``srun``: its options, each with the words it is written in, and where its program begins.

    Args:
        words: a command line whose first word is srun.
    """
    reader = _Reader(tuple(words))
    reader.at = 1
    found = reader._options_of(LAUNCHERS["srun"], "srun")
    return {name: tuple(words[option.first : option.last + 1]) for name, option in found.items()}, reader.at


def options_in_front(words: Sequence[Word]) -> dict[str, tuple[int, int]]:
    """Which words the options of the programs in front are: long name -> first and last."""
    reader = _Reader(tuple(words))
    reader.read()
    return {name: (option.first, option.last) for name, option in reader.options.items()}


def world_size_of(command: Command) -> int | None:
    """How many processes the command starts; None when it does not say so in numbers.

    torchrun and its relatives start one process on one node unless told otherwise; ``WORLD_SIZE=8 python ...`` says
    how many there are of its kind.
    """
    options, environment = command.launcher_options, command.environment
    if command.launcher in TORCHRUN_FAMILY:
        # torchrun takes what is not given from PET_NNODES and PET_NPROC_PER_NODE.
        nodes = options.get("nnodes", _number(environment.get("PET_NNODES", "1")))
        return _product(nodes, options.get("nproc_per_node", _number(environment.get("PET_NPROC_PER_NODE", "1"))))
    if command.launcher == "deepspeed":
        return _product(options.get("nnodes", 1), options.get("nproc_per_node"))
    if command.launcher == "accelerate":
        return _product(1, options.get("num_processes"))
    if command.launcher in ("srun", "mpirun"):
        if "ntasks" in options:
            return _product(1, options["ntasks"])
        return _product(options.get("nodes"), options.get("ntasks_per_node"))
    return _product(1, _number(environment.get("WORLD_SIZE", "")))


TORCHRUN_FAMILY: Final = ("torchrun", "torch.distributed.launch", "ft_launcher")
_TASK_LAUNCHERS: Final = ("srun", "mpirun")
_PROCESS_COUNTS: Final = ("nnodes", "nproc_per_node", "num_processes")
_TASK_COUNTS: Final = ("nodes", "ntasks", "ntasks_per_node")
_NUMERIC: Final = frozenset((*_PROCESS_COUNTS, *_TASK_COUNTS, "node_rank", "master_port", "max_restarts"))

# Options that hand a variable over: ``-x NAME=value``.
_HANDED_OVER: Final = {
    "mpirun": ("x",), "docker": ("e", "env"), "nerdctl": ("e", "env"), "podman": ("e", "env"),
    "apptainer": ("env",), "singularity": ("env",), "srun": ("export",),
}  # fmt: skip
_WITH_COMMAS: Final = ("apptainer", "singularity", "srun")

_PYTHON: Final = re.compile(r"^(python|pypy)[\d.]*$")
_ASSIGNMENT: Final = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)=(.*)$", re.DOTALL)
_TRAINING_SCRIPT: Final = re.compile(r"^(pretrain|train|finetune)\w*\.py$")
_MAX_INSIDE: Final = 50
_SHELL_TEXT_FOLLOWS: Final = re.compile(r"^-(?=[a-z]*c)[a-z]+$")


class _Option(Record):
    """One option of a program in front: its value (1 for a switch) and its first and last word."""

    value: str | int
    first: int
    last: int


class _Reader:
    """One walk over the words; ``at`` is the next one."""

    def __init__(self, words: tuple[Word, ...]) -> None:
        self.words = words
        self.at = 0
        self.launcher: str | None = None
        self.options: dict[str, _Option] = {}
        self.environment: dict[str, str] = {}
        self.wrappers: list[str] = []
        self.program: str | None = None
        self.module = False
        self.inside = 0  # how many programs start the next one
        self.findings: list[Finding] = []

    def read(self) -> Command:
        self._outermost()
        if self.program is None and (self.launcher or self.wrappers) and not self.findings:
            name = self.launcher or self.wrappers[-1]
            self._say("unreadable-source", f"{name} is given no program to start", 0, len(self.words) - 1)
        self._report_counts()
        return Command(
            launcher=self.launcher,
            launcher_options={name: option.value for name, option in self.options.items()},
            environment=self.environment,
            program=self.program,
            argv=self.words[self.at :],
            findings=tuple(self.findings),
            wrappers=tuple(self.wrappers),
            module=self.module,
            place=self._place(),
        )

    def _place(self) -> Place | None:
        """Where the program stands, else where the command begins."""
        named = (word for word in reversed(self.words[: self.at]) if self.program and word.text.endswith(self.program))
        return next(named, self.words[0]).place

    # From the left, one program after the other -----------------------------------------------------------------

    def _outermost(self) -> None:
        """The first program, if these words have one; words that are only arguments stay where they are."""
        self._assignments()
        text = self._text()
        if not text or text.startswith("-"):
            return
        if is_program(text) or text.endswith(".py"):
            self._program()
        else:
            self._search()

    def _program(self) -> None:
        """One program and what it starts; ``at`` ends behind the innermost."""
        self._assignments()
        if self.at >= len(self.words):
            return
        self.inside += 1
        if self.inside > _MAX_INSIDE:
            message = f"more than {_MAX_INSIDE} programs start each other"
            self._say("unreadable-source", message, self.at, self.at, "put the command line of the last one here")
            self.at = len(self.words)
            return
        text = self._text()
        name = _name(text)
        self.at += 1
        if _PYTHON.match(name):
            self._python()
        elif name in LAUNCHERS:
            self._launcher(name)
        elif name in WRAPPERS:
            self.wrappers.append(name)
            self._options_of(WRAPPERS[name], name)
            self._program()
        elif name in SHELLS:
            self.wrappers.append(name)
            self._shell()
        elif text.endswith(".sh") or not text.endswith(".py"):  # a script of the user's that starts what follows
            self.program = text
            self.at -= 1
            self._search()
        else:
            self.program = text

    def _search(self) -> None:
        """The first word is no program known here, but a training script may still follow it."""
        first = self.at
        for index in range(first + 1, len(self.words)):
            name = _name(self.words[index].text)
            if not (_PYTHON.match(name) or name in LAUNCHERS or _TRAINING_SCRIPT.match(name)):
                continue
            passed = " ".join(word.text for word in self.words[first:index])
            message = f"{passed} is not a launcher known here and was passed over"
            self._say("launcher", message, first, index - 1, "give the number of processes with --world-size")
            self.at = index
            self.program = None
            self._program()
            return
        if self.program:
            self.at = first + 1

    def _launcher(self, name: str) -> None:
        known = LAUNCHERS[name]
        found = self._options_of(known, name)
        self.launcher = name
        self.options.update(found)
        if self.at >= len(self.words):
            return
        if "module" in found:
            self.program, self.module = self._text(), True
            self.at += 1
        elif known.starts_scripts and "no_python" not in found:
            self.program = self._text()
            self.at += 1
        else:
            self._program()

    def _python(self) -> None:
        """Python's own options stand before the script: ``-u``, ``-W error``, ``-m module``, ``-um module``."""
        self.launcher = self.launcher or "python"
        while self._text().startswith("-") and self._text() != "-":
            text = self._text()
            self.at += 1
            if text == "--check-hash-based-pycs":
                self.at += 1
            valued = re.match(r"^-[a-zA-Z]*?([mcWX])(.*)$", text, re.DOTALL)
            if not valued or text.startswith("--"):
                continue
            letter, value = valued.groups()
            if not value:
                value = self._text()
                self.at = min(self.at + 1, len(self.words))
            if letter == "m":
                self._module(value)
                return
            if letter == "c":
                self.program = "-c"
                return
        if self.at < len(self.words):
            self.program = self._text()
            self.at += 1

    def _module(self, name: str) -> None:
        if name in MODULES:
            self._launcher(MODULES[name])
        elif name:
            self.program, self.module = name, True

    def _shell(self) -> None:
        while self._text()[:1] in ("-", "+"):
            text = self._text()
            self.at += 1
            if _SHELL_TEXT_FOLLOWS.match(text):
                self._shell_text()
                return
            if text in ("-o", "+o", "--rcfile", "--init-file"):
                self.at += 1
        self._program()

    def _shell_text(self) -> None:
        """``bash -c "cd x; torchrun ..."``: of the commands in the text, the last one that starts a script."""
        if self.at >= len(self.words):
            return
        word = self.words[self.at]
        lexer = shlex.shlex(word.text, posix=True, punctuation_chars=";&|")
        lexer.commenters = ""
        lexer.whitespace_split = True
        try:
            pieces = list(lexer)
        except ValueError as error:
            self._say("unreadable-source", f"The text after -c is no command: {error}", self.at, self.at)
            self.at = len(self.words)
            return
        commands: list[list[str]] = [[]]
        for piece in pieces:
            if piece and not piece.strip(";&|"):
                commands.append([])
            else:
                commands[-1].append(piece)
        commands = [command for command in commands if command] or [[]]
        for command in commands:
            if command[:1] == ["export"]:
                self.environment.update(_assigned(command[1:]))
        scripts = [command for command in commands if any(text.endswith(".py") or text == "-m" for text in command)]
        chosen = (scripts or commands)[-1]
        self.words = (*self.words[: self.at], *(Word(text, word.place) for text in chosen))
        self._program()

    # Words ------------------------------------------------------------------------------------------------------

    def _text(self) -> str:
        """The next word; empty behind the last one."""
        return self.words[self.at].text if self.at < len(self.words) else ""

    def _assignments(self) -> None:
        while assigned := _assigned([self._text()]):
            self.environment.update(assigned)
            self.at += 1

    def _options_of(self, known: Program, program: str) -> dict[str, _Option]:
        """Everything between a program's name and what it starts; its options by their long names."""
        found: dict[str, _Option] = {}
        self.at += known.subcommand
        while True:
            text = self._text()
            if program == "env" and _assigned([text]):
                self._assignments()
                continue
            if not text.startswith("-") or text == "-":
                break
            first = self.at
            self.at += 1
            if text == "--":
                break
            name, value = self._option(text, known, program)
            if program == "mpirun" and name in ("mca", "gmca"):
                self.at += 1  # a second value
            if name in _HANDED_OVER.get(program, ()) and isinstance(value, str):
                self.environment.update(_assigned(value.split(",") if program in _WITH_COMMAS else [value]))
                if program != "srun":  # whose option says more: what it keeps of the others
                    continue
            name = known.renamed.get(name, name)
            if isinstance(value, str) and name in _NUMERIC:
                value = _number(value)
            found[name] = _Option(value, first, self.at - 1)
        self.at = min(self.at + known.operands, len(self.words))
        return found

    def _option(self, text: str, known: Program, program: str) -> tuple[str, str | int]:
        """Long name and value of the option ``text``; takes the next word where that is the value."""
        written, equals, value = text.partition("=")
        name = written.lstrip("-").replace("-", "_")
        if written.startswith("--") or program == "mpirun":  # mpirun writes long names with one dash too
            name = known.option(name)
        else:
            letter, attached = name[:1], text[2:]
            if letter in known.short or letter in known.valued or letter in known.switches:
                name = known.short.get(letter, letter)
                if attached and (name in known.valued or attached.isdigit()):  # -N2, -K1
                    return name, attached.removeprefix("=")
        if equals:
            return name, value
        if name in known.valued or (name not in known.switches and self._can_be_value()):
            value = self._text()
            self.at = min(self.at + 1, len(self.words))
            return name, value
        return name, 1

    def _can_be_value(self) -> bool:
        """May the next word be the value of an option not known here?"""
        text = self._text()
        return bool(text) and not text.startswith("-") and not text.endswith(".py") and not is_program(text)

    # What is not known ------------------------------------------------------------------------------------------

    def _report_counts(self) -> None:
        for name in _TASK_COUNTS if self.launcher in _TASK_LAUNCHERS else _PROCESS_COUNTS:
            option = self.options.get(name)
            if option is None or _product(1, option.value) is not None:
                continue
            message = f'{name} "{option.value}" does not say how many processes {self.launcher} starts'
            remedy = "give their number with --world-size"
            unknown = [name for word in self.words[option.first : option.last + 1] for name in word.unresolved]
            if unknown and all(is_name(name) for name in unknown):
                remedy = f"give it with {' '.join(f'--set {name}=NUMBER' for name in unknown)}"
            self._say("launcher", message, option.first, option.last, remedy)

    def _say(self, kind: str, message: str, first: int, last: int, remedy: str = "") -> None:
        self.findings.append(
            Finding(
                kind=kind,
                message=message,
                remedy=remedy,
                place=self.words[first].place,
                excerpt=excerpt_of(self.words, first, last),
            )
        )


def _name(text: str) -> str:
    """A program's name without its folder."""
    name = text.rsplit("/", 1)[-1]
    return SAME_PROGRAM.get(name, name)


def is_program(text: str) -> bool:
    """A launcher, a wrapper, a shell or Python, with or without a folder in front."""
    name = _name(text)
    return name in LAUNCHERS or name in WRAPPERS or name in SHELLS or _PYTHON.match(name) is not None


def _assigned(texts: Iterable[str]) -> Mapping[str, str]:
    matches = map(_ASSIGNMENT.match, texts)
    return {match.group(1): match.group(2) for match in matches if match}


def _number(text: str) -> str | int:
    """A count or a port as a number, where it is one."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def _product(nodes: str | int | None, processes: str | int | None) -> int | None:
    result = 1
    for count in (nodes, processes):
        if isinstance(count, str):  # "2:2" and "2-2" are ranges of one
            low, _, high = count.replace("-", ":").partition(":")
            count = _number(low) if low == high else None
        if not isinstance(count, int) or count <= 0:
            return None
        result *= count
    return result
