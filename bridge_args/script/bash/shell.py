"""A launch script as data: which programs it would start, with which words. Nothing is executed.

bash's grammar (``grammar.py``) is read with bash's own rules (``expand.py``, ``conditions.py``, ``builtins.py``) on the
values that are known; what is not known stays a hole with a name (``state.Hole``). A condition that cannot be told is
read both ways, one reading after the other. Reading has bounds (``budget.py``), no clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from bridge_args.findings import Finding
from bridge_args.records import dataclass, replace
from bridge_args.script.bash import builtins, conditions, grammar, guards, syntax_walk
from bridge_args.script.bash import syntax as s
from bridge_args.script.bash.arithmetic import NotANumber, Wrong, WrongIndex
from bridge_args.script.bash.assign import Assigner
from bridge_args.script.bash.budget import MAX_PROGRAMS, MAX_WORDS, Budget, LimitReached
from bridge_args.script.bash.expand import Expander
from bridge_args.script.bash.files import Files
from bridge_args.script.bash.hooks import Hooks
from bridge_args.script.bash.inside_words import SyntaxProblem
from bridge_args.script.bash.redirect import Input, NotStarted, perhaps_not_run, printed, redirected
from bridge_args.script.bash.started import Started, commands, ends, rendered, why_few
from bridge_args.script.bash.state import (
    DECIDE,
    Choice,
    Failure,
    Found,
    Hole,
    Leave,
    Refused,
    Shared,
    Sources,
    Spot,
    State,
    Variable,
)
from bridge_args.script.bash.traced import Traced, joined, plain, without_holes

_NO_HOOKS: Final = Hooks()
MAX_READINGS: Final = 32  # ways through the unknown conditions of a script
MAX_CALLS: Final = 40  # functions, sourced files and inner shells inside each other


@dataclass(frozen=True, slots=True)
class Script:
    """What a script says.

    Attributes:
        commands: every program it starts, in order.
        findings: what could not be read.
        job: variables that the job's system sets because of lines of the script; None where it is no job.
        reasons: why there may be fewer commands than one would think: where the script ends, what lies elsewhere.
        ends: conditions that lead to an ``exit``, and what the user can give there.
    """

    commands: tuple[Started, ...]
    findings: tuple[Finding, ...] = ()
    job: Mapping[str, str] | None = None
    reasons: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()


def read(
    text: str,
    source: str,
    variables: Mapping[str, str] | None = None,
    positional: Sequence[str] = (),
    folder: Path | None = None,
    inherited: Mapping[str, str] | None = None,
    job: Sequence[str] = (),
    first_task: bool = False,
    hooks: Hooks = _NO_HOOKS,
) -> Script:
    """Reads a launch script; nothing of it is run.

    Args:
        text: the script.
        source: its name, for places and ``$0``.
        variables: values for what the script uses and does not know.
        positional: ``$1``, ``$2``, ...
        folder: where it lies; files beside it may be read, never written.
        inherited: the environment it is started in, where that is known; what it sets itself counts more.
        job: options of the job that count more than those in the script.
        first_task: what the environment says of a task (``SLURM_PROCID``) is so in the tasks too.
        hooks: what is known beside bash.
    """
    text = text.replace("\r\n", "\n")
    source = without_holes(source)
    given, outside = _clean(variables or {}), _clean(inherited or {})
    positional = [without_holes(word) for word in positional]
    readings: list[Shared] = []
    choices: dict[Choice, int] = {}
    sources, budget = Sources(), Budget()
    while True:
        shared = Shared(sources, given, source, folder, choices=dict(choices), budget=budget, hooks=hooks)
        shared.job, shared.first_task = tuple(map(without_holes, job)), first_task
        _read_once(shared, text, source, positional, outside)
        readings.append(shared)
        following = _next_choices(shared)
        if following is None or budget.spent:
            break
        choices = following
        if len(readings) >= MAX_READINGS:
            at = next(iter(shared.ways))[0]
            shared.say("not-read", f"conditions leave more than {MAX_READINGS} ways through the script", at, DECIDE)
            break
    findings = dict.fromkeys(finding for shared in readings for finding in shared.findings)
    reasons = dict.fromkeys(reason for shared in readings for reason in why_few(shared))
    ended = dict.fromkeys(reason for shared in readings for reason in ends(shared))
    found = tuple(commands(readings))
    of_job = hooks.job_variables(without_holes(text), job)
    return Script(found, tuple(findings), of_job, tuple(reasons), tuple(ended))


def _clean(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: without_holes(value) for name, value in variables.items()}


def _read_once(shared: Shared, text: str, source: str, positional: Sequence[str], inherited: Mapping[str, str]) -> None:
    """One reading of the whole script, with ``shared.choices`` for unknown conditions."""
    traced = shared.sources.add(text, source)
    given = {name: Variable(plain(value), exported=True) for name, value in shared.given.items()}
    if "\0" in text:
        message = "a NUL character: bash leaves it out, and does not run a file that has one in its first line"
        shared.say("lost-words", message, traced.first + min(text.index("\0"), len(traced) - 1), "delete it")
    set_by_job = shared.hooks.job_variables(traced.text, shared.job)
    shared.in_job = set_by_job is not None
    outside = {**(set_by_job or {}), **inherited}
    state = State(
        shared,
        variables={**{name: Variable(plain(value), exported=True) for name, value in outside.items()}, **given},
        positional=[plain(word) for word in positional],
        name=plain(source),
        cwd=shared.folder,
        may_have_positional=not positional,
    )
    state.variables["BASH_SOURCE"] = Variable({0: plain(source)})
    shell = Shell(state)
    try:
        shell.process(lambda: shell.program(traced, whole=True))
    except Leave:
        pass
    except LimitReached as limit:
        at = limit.at if limit.at >= 0 else max(shared.budget.at, traced.first)
        shared.say("not-read", f"reading stops here: {limit.what}", at, _PASTE)
    except RecursionError:
        at = max(shared.budget.at, traced.first)
        shared.say("not-read", "reading stops here: commands are nested too deep", at, _PASTE)


def _next_choices(shared: Shared) -> dict[Choice, int] | None:
    """The next way through the unknown conditions; None when all were read."""
    met = list(shared.ways)
    choices = {choice: shared.choices[choice] for choice in met}
    while met:
        last = met.pop()
        if choices[last] + 1 < len(shared.ways[last]):
            choices[last] += 1
            return {choice: choices[choice] for choice in [*met, last]}
    return None


# ---------------------------------------------------------------- one reading


class Shell:
    """Reads commands in one shell; ``output`` collects what they print where that matters, None what is not known."""

    def __init__(
        self,
        state: State,
        output: list[Traced | None] | None = None,
        stdin: Input | None = None,
        prefix: tuple[Traced, ...] = (),
        depth: int = 0,
    ) -> None:
        self.state = state
        self.output = output
        self.stdin = stdin or Input(None)
        self.prefix = prefix
        self.depth = depth
        self.files = Files(state)
        self.expand = Expander(state, self.capture)
        self.assigner = Assigner(state, self.expand)
        self.comment_at = -1
        self.about = ""
        self.asked = False  # is what follows the condition of a structure?
        self.captured: int | None = 0  # status of the last command substitution
        self.asking = False  # was the last command a program, whose success is assumed?
        self.unchecked = False  # is what follows followed by && or ||, or a condition? `set -e` does not look there
        self.spot = Spot(())
        self.callers: tuple[Spot, ...] = ()

    def inner(self, state: State, output: list[Traced | None] | None, stdin: Input | None = None) -> Shell:
        shell = Shell(state, output, stdin or self.stdin, self.prefix, self.depth)
        shell.asked, shell.unchecked = self.asked, self.unchecked
        shell.spot, shell.callers = self.spot, self.callers
        return shell

    def process(self, body: Callable[[], int | None]) -> int | None:
        """Everything one process does, up to its end, whatever ends it; then what it has in ``trap ... EXIT``."""
        try:
            self.state.status = body()
        except Leave as leave:
            if leave.what == "never":
                raise
            self.state.status = leave.value if leave.what in ("exit", "return", "line", "all") else 0
        trap = self.state.traps.pop("EXIT", None)
        if trap:
            status = self.state.status
            try:
                self.called().program(trap)
            except Leave as leave:
                if leave.what == "exit":
                    return leave.value
            return status
        return self.state.status

    # Text ---------------------------------------------------------------------------------------------------------

    def program(self, text: Traced, whole: bool = False) -> int | None:
        """All commands of a text, in this shell; ``whole``: a script, which goes on in its next line, come what may."""
        body, problem = self._parsed(text)
        reading = self.state.shared.reading
        reading.append(text.text)
        self._list_in_a_substitution(text)
        status: int | None = 0
        try:
            for line in body.lines:
                try:
                    status = self.sequence(line)
                except Leave as leave:
                    if leave.what != "line" and (leave.what != "all" or not whole):
                        raise
                    self.state.status = status = leave.value
                except (NotANumber, Refused):  # nobody on the way knew better
                    self.state.shared.say("not-read", "a part of this line is not read", _place(line))
                    self.state.status = status = None
        finally:
            reading.pop()
        if problem:
            place = problem.at
            self.state.shared.say("unreadable-source", f"{problem.what} is not read", place, _PASTE)
        return status

    def _list_in_a_substitution(self, text: Traced) -> None:
        """bash 5.2 drops a backslash in ``$(NAME=(...))`` and reads what is left, which may be no script at all."""
        for found in _LIST_INSIDE.finditer(text.text):
            message = "a backslash in a list inside $(...) is not read: versions of bash read it differently"
            self.state.shared.say("not-read", message, text.at[found.end() - 1], "use quotes instead")

    def _parsed(self, text: Traced) -> tuple[s.Program, SyntaxProblem | None]:
        shared = self.state.shared
        known = shared.sources.programs.get(text)
        shared.budget.work(len(text) // 8 if known else len(text), text.first)
        if known is None:
            known = shared.sources.programs[text] = grammar.read(text, shared.budget)
        return known

    def called(self) -> Shell:
        if self.depth >= MAX_CALLS:
            raise LimitReached(f"more than {MAX_CALLS} calls inside each other", -1)
        shell = Shell(self.state, self.output, self.stdin, self.prefix, self.depth + 1)
        shell.asked, shell.unchecked = self.asked, self.unchecked
        shell.callers = (self.spot, *self.callers)
        return shell

    def write(self, text: Traced | None) -> None:
        if self.output is not None:
            self.state.shared.budget.work(len(text) if text else 1)
            self.output.append(text)

    def capture(self, part: s.Substitution) -> Traced:
        """What a command substitution prints, without the newlines at its end."""
        output: list[Traced | None] = []
        state = self.state.subshell()
        state.of_text = True
        if "inherit_errexit" not in state.options:
            state.options -= {"errexit"}
        shell = self.inner(state, output)
        only = part.body.items[0].first.commands if len(part.body.items) == 1 else ()
        if len(only) == 1 and isinstance(only[0], s.Simple) and not only[0].words and len(only[0].redirects) == 1:
            content = self.files.content(self.expand.text(only[0].redirects[0].target))  # $(<file)
            shell.write(content)
            state.status = None if content is None else 0
        else:
            state.status = shell.process(lambda: shell.sequence(part.body))
        self.state.status = self.captured = state.status
        known = [text for text in output if text is not None]
        if len(known) < len(output):
            return self.state.shared.hole(Hole("command", part.written, part.at))
        text = joined(known)
        self.state.shared.budget.value(len(text), part.at)
        text = text[: len(text.text.rstrip("\n"))]
        if "\0" in text.text:
            text = joined(text[i : i + 1] for i in range(len(text)) if text.text[i] != "\0")
        if any(hole.kind == "file" for hole in self.state.shared.holes_in(text.text)):
            return self.state.shared.hole(Hole("file", part.written, part.at, path=self.files.known(text)))
        return text

    # Lists --------------------------------------------------------------------------------------------------------

    def sequence(self, body: s.Sequence) -> int | None:
        self.state.status = 0 if not body.items else self.state.status
        for item in body.items:
            self.state.status = self.and_or(item)
        return self.state.status

    def and_or(self, item: s.AndOr) -> int | None:
        if item.background:
            shell = self.inner(self.state.subshell(), self.output)
            shell.state.loops = 0
            try:
                shell.process(lambda: shell.and_or(replace(item, background=False)))
            except Leave:
                pass
            return 0
        status = self._followed(item.first, bool(item.rest))
        decided = item.first
        for index, (op, pipeline) in enumerate(item.rest):
            if status is None:
                at = _place(pipeline)
                status = Failure(self.choose(at, self.about, _HOLDS))
            if (status == 0) == (op == "&&"):
                with guards.behind(self.state, decided.written, _HOLDS[status != 0]):
                    status = self._followed(pipeline, index + 1 < len(item.rest))
                decided = pipeline
            self.state.status = status
        return status

    def _followed(self, pipeline: s.Pipeline, by_another: bool) -> int | None:
        if not by_another:
            return self.pipeline(pipeline)
        with self._unchecked():
            return self.pipeline(pipeline)

    @contextmanager
    def _unchecked(self) -> Iterator[None]:
        before, self.unchecked = self.unchecked, True
        try:
            yield
        finally:
            self.unchecked = before

    def choose(self, at: int, about: str, ways: tuple[str, ...]) -> int:
        return self.state.choose(at, about, ways)

    def pipeline(self, pipeline: s.Pipeline) -> int | None:
        if pipeline.negated:
            if "errexit" in self.state.options:
                with self._unchecked():
                    status = self._commands(pipeline.commands)
            else:  # what is inside may turn `set -e` on, and means it
                status = self._commands(pipeline.commands, checked=False)
            status = None if status is None else int(status == 0)
        else:
            status = self._commands(pipeline.commands)
        self.state.status = status
        return status

    def _commands(self, commands: Sequence[s.Command], checked: bool = True) -> int | None:
        if len(commands) == 1:
            return self.command(commands[0], checked)
        trap = self.state.traps.get("ERR")
        status = self._piped(commands)
        return self._checked(status, _place(commands[-1]), trap) if checked else status

    def _checked(self, status: int | None, at: int, trap: Traced | None) -> int | None:
        """What `set -e` and the ``trap ... ERR`` that was set before do about a command that is known to fail."""
        state = self.state
        if status is None and not self.asking and not self.unchecked:
            if "errexit" in state.options:
                message = "whether this fails is not known; with `set -e`, as here, bash ends the script if it does"
                state.shared.say("not-read", message, at)
            elif trap:
                message = "whether this fails is not known; what `trap` has for ERR is not read here"
                state.shared.say("not-read", message, at)
        if not status or self.unchecked:
            return status
        state.status = status
        if trap:
            with self._unchecked():
                self.called().program(trap)
            state.status = status
        if "errexit" in state.options:
            if not state.forked:  # of a subshell its status is told, where that matters
                state.shared.say("not-read", "bash ends the script here: this fails, and `set -e` is on", at)
            raise Leave("exit", status)
        return status

    def _piped(self, commands: Sequence[s.Command]) -> int | None:
        stdin = self.stdin
        statuses: list[int | None] = []
        for index, command in enumerate(commands):
            last = index == len(commands) - 1
            if last and "lastpipe" in self.state.options:
                statuses.append(self._last(command, stdin))
                break
            output: list[Traced | None] | None = self.output if last else []
            shell = self.inner(self.state.subshell(), output, stdin)
            shell.state.loops = 0
            statuses.append(shell.process(partial(shell.command, command)))
            self.about = shell.about
            if not last:
                assert output is not None
                stdin = Input(printed(output, self.state.shared.budget))
                if output and "pipefail" in self.state.options and not self._may_read(commands[index + 1]):
                    statuses[-1] = None  # it fails if it still prints when the next one has ended
        if "pipefail" in self.state.options:
            failed = [status for status in statuses if status != 0]
            return failed[-1] if failed else 0
        return statuses[-1]

    def _may_read(self, command: s.Command, functions: frozenset[str] = frozenset()) -> bool:
        """Does the command read standard input, as far as its words tell?"""
        self.state.shared.budget.work(len(getattr(command, "written", "")) // 4 + 20)
        for name in dict.fromkeys(syntax_walk.first_words(command)):
            known = self.state.functions.get(name)
            if known is not None and name not in functions:
                if self._may_read(known.body, functions | {name}):
                    return True
            elif known is None and name not in _READING_NOTHING:
                return True
        return False

    def _last(self, command: s.Command, stdin: Input) -> int | None:
        """The last command of a pipeline in this shell itself: `shopt -s lastpipe`."""
        before, self.stdin = self.stdin, stdin
        try:
            return self.command(command)
        finally:
            self.stdin = before

    # Commands -----------------------------------------------------------------------------------------------------

    def command(self, command: s.Command, checked: bool = True) -> int | None:
        """``checked``: does `set -e` look at its status?"""
        trap = self.state.traps.get("ERR")
        if isinstance(command, s.Simple):
            status = self._simple(command)
            return self._checked(status, command.at, trap) if checked else status
        try:
            with redirected(self, command.redirects, isinstance(command, s.Subshell)) as missing:
                if not isinstance(command, s.While):  # whether it goes round is not known either
                    perhaps_not_run(self, missing, "these commands")
                status = self._structure(command)
        except NotStarted:
            return self._checked(1, command.at, trap) if checked else 1
        status = None if missing else status
        checked &= isinstance(command, (s.Subshell, s.ArithmeticCommand, s.Condition))
        return self._checked(status, command.at, trap) if checked else status

    def _structure(self, command: s.Command) -> int | None:
        match command:
            case s.If():
                return self._if(command)
            case s.Case():
                return self._case(command)
            case s.For():
                return self._for(command)
            case s.ForArithmetic():
                return self._for_arithmetic(command)
            case s.While():
                return self._while(command)
            case s.Group():
                return self.sequence(command.body)
            case s.Subshell():
                shell = self.inner(self.state.subshell(), self.output)
                shell.state.loops = 0
                return shell.process(lambda: shell.sequence(command.body))
            case s.Function():
                self.state.functions[command.name] = command
                self.state.shared.functions.add(command.name)
                return 0
            case s.ArithmeticCommand():
                self.about = command.written
                try:
                    text = self.expand.text(command.expression)
                    return int(self.expand.number_in_condition(text, command.at) == 0)
                except WrongIndex as wrong:
                    raise self.expand.wrong_index(command.written, wrong, command.at) from wrong
                except Wrong as wrong:
                    self.state.shared.say("not-read", f"bash does not do {command.written[:60]}: {wrong}", command.at)
                    return 1
                except NotANumber:
                    return None
            case s.Condition():
                self.about = self._shown(command.written)
                return _status(conditions.extended(command.expression, self.expand))
        raise AssertionError(command)

    def _shown(self, written: str) -> str:
        self.state.shared.budget.work(len(written) // 16)
        return " ".join(written.split())

    def condition(self, body: s.Sequence) -> int | None:
        before, self.asked = self.asked, True
        try:
            with self._unchecked():
                return self.sequence(body)
        finally:
            self.asked = before

    def _if(self, command: s.If) -> int | None:
        for condition, body, written in command.branches:
            self.about = written
            status = self.condition(condition)
            if status is None:
                status = self.choose(_place(condition), self.about, _HOLDS)
            if status == 0:
                with guards.behind(self.state, written, _HOLDS[0]):
                    return self.sequence(body)
        with guards.behind(self.state, command.branches[-1][2], _HOLDS[1]):
            return self.sequence(command.otherwise)

    def _case(self, command: s.Case) -> int | None:
        subject = self.expand.text(command.subject)
        possible: list[int] = []
        certain = len(command.branches)
        for index, (patterns, _, _) in enumerate(command.branches):
            fits = [self._fits(subject, self.expand.pattern(word)) for word in patterns]
            if True in fits:
                certain = index
                break
            if None in fits:
                possible.append(index)
        chosen = certain
        if possible:
            ways = [*possible, certain]
            names = tuple(
                _is_one_of(command.branches[way][0]) if way < len(command.branches) else "is something else"
                for way in ways
            )
            chosen = ways[self.choose(command.at, f"case {command.subject.written}", names)]
        status: int | None = 0
        while chosen < len(command.branches):
            patterns, body, terminator = command.branches[chosen]
            with guards.behind(self.state, command.subject.written, _came_out(patterns)):
                status = self.sequence(body)
            if terminator == ";;":
                break
            chosen += 1
            while terminator == ";;&" and chosen < len(command.branches):
                if self._fits_any(command, chosen, subject):
                    break
                chosen += 1
        return status

    def _fits_any(self, command: s.Case, branch: int, subject: Traced) -> bool:
        fits = [self._fits(subject, self.expand.pattern(word)) for word in command.branches[branch][0]]
        if None not in fits or True in fits:
            return True in fits
        written = " or ".join(word.written for word in command.branches[branch][0])
        about = f"case {command.subject.written}, {written}"
        return self.choose(command.branches[branch][0][0].at, about, ("is it", "is not")) == 0

    def _fits(self, subject: Traced, made: list[tuple[str, bool]]) -> bool | None:
        if made == [("*", False)]:
            return True
        return conditions.texts("==", subject, made, self.state, "extglob" in self.state.options)

    def _rounds(self, at: int) -> Iterator[None]:
        """Rounds of a loop, each one step; a round that changes nothing would go on for ever."""
        state = self.state
        while True:
            before = self._everything()
            state.shared.budget.step(at)
            yield
            if before == self._everything():
                raise Leave("never")

    def _everything(self) -> tuple[object, ...]:
        """What a round of a loop may change."""
        state = self.state
        state.shared.budget.work((len(state.variables) + len(state.positional)) // 4)
        return (
            dict(state.variables), list(state.positional), self.stdin.whole, self.stdin.position, state.option_inside,
            dict(state.functions), dict(state.files), state.options, state.status, state.folder, dict(state.traps),
            len(state.shared.ways),
        )  # fmt: skip

    def _loop_body(self, body: s.Sequence) -> bool:
        """One round; False when the loop is left."""
        return self._in_loop(lambda: self.sequence(body)) is not False

    def _in_loop(self, part: Callable[[], int | None]) -> bool | None:
        """A part of a loop: False when the loop is left there, True when its next round begins, None at its end."""
        self.state.loops += 1
        try:
            self.state.status = part()
        except Leave as leave:
            if leave.what not in ("break", "continue"):
                raise
            self.state.status = 0
            if leave.value and leave.value > 1:
                raise Leave(leave.what, leave.value - 1) from leave
            return leave.what == "continue"
        finally:
            self.state.loops -= 1
        return None

    def _for(self, command: s.For) -> int | None:
        if command.words is None:
            words = list(self.state.positional)
        else:
            self.state.loops += 1  # `break` in a substitution ends that
            try:
                words = self.expand.words(command.words)
            finally:
                self.state.loops -= 1
        if not words:
            self.state.status = 0
        self.state.shared.origins[command.name] = command.words[0].written if command.words else "$@"
        for word in words:
            self.state.shared.budget.step(command.at)
            if word.splits and self._adds_up(command.body):
                message = f"the loop's rounds are not known: what {rendered(word, self.state.shared)} is, is not run"
                self.state.shared.say("not-read", message, command.at, DECIDE)
            elif word and not word.known and not self.state.as_unset(word):  # none, if nobody sets it
                names = ", ".join(self.state.shared.names_in(word.text))
                self.state.shared.say(
                    "not-read", f"the loop's rounds are not known without {names}", command.at, DECIDE
                )
            try:
                self.state.set(command.name, word, command.at)
            except Refused as refused:
                self._refused(refused, command.at)
                return 1
            if not self._loop_body(command.body):
                break
        return self.state.status

    @staticmethod
    def _adds_up(body: s.Sequence) -> bool:
        """Is what commands leave behind another thing when they are read several times?"""
        return bool(syntax_walk.assigned(body)) or not {"set", "shift"}.isdisjoint(syntax_walk.first_words(body))

    def _for_arithmetic(self, command: s.ForArithmetic) -> int | None:
        first, condition, following = command.clauses
        result: int | None = 0
        try:
            self.expand.number(first)
            for _ in self._rounds(command.at):
                if condition.parts and self.expand.number(condition) == 0:
                    break
                goes_on = self._loop_body(command.body)
                result = self.state.status
                if not goes_on:
                    break
                self.expand.number(following)
        except Wrong as wrong:
            self.state.shared.say("not-read", f"the loop ends here: {wrong}", command.at)
            return 1
        except NotANumber as problem:
            self._unknown_rounds(command, problem.names)
            result = self.state.status
        return result

    def _refused(self, refused: Refused, at: int) -> None:
        self.state.shared.say("not-read", f"bash does not set {refused.name} here: it is readonly", at)
        if "errexit" in self.state.options:
            raise Leave("exit", 1)  # even in a condition

    def _unknown_rounds(self, command: s.ForArithmetic, names: tuple[str, ...]) -> None:
        """How often the loop goes round is not known: its programs are read once, what it sets is unknown."""
        without = f" without {', '.join(names)}" if names else ""
        self.state.shared.say("not-read", f"the loop's rounds are not known{without}", command.at, DECIDE)
        self.state.shared.budget.work(len(command.written), command.at)
        clauses = " ".join(clause.written for clause in command.clauses)
        assigned = [*syntax_walk.assigned(command.body), *syntax_walk.assigned_in_arithmetic(clauses)]
        self._forget(assigned, command.at)
        self._loop_body(command.body)
        self._forget(assigned, command.at)

    def _forget(self, names: Iterable[str], at: int) -> None:
        for name in names:
            self.state.set(name, self.state.shared.hole(Hole("command", f"${name}", at, (name,))), at)

    def _while(self, command: s.While) -> int | None:
        result: int | None = 0
        for _ in self._rounds(command.at):
            self.about = command.written.partition("\n")[0]
            left = self._in_loop(lambda: self.condition(command.condition))
            if left is False:
                result = self.state.status
                break
            if left:
                continue
            status = self.state.status
            unknown = status is None
            if status is None:
                status = self.choose(command.at, self.about, ("ends at once", "goes one round")) ^ 1 ^ command.until
            if (status == 0) == command.until:
                break
            if not self._loop_body(command.body):
                result = self.state.status
                break
            result = self.state.status
            if unknown:
                self.state.shared.budget.work(len(command.written), command.at)
                self._forget(syntax_walk.assigned(command.body), command.at)
                self._in_loop(lambda: self.condition(command.condition))  # it is asked once more at least
                break
        return result

    # Simple commands ----------------------------------------------------------------------------------------------

    def _simple(self, command: s.Simple) -> int | None:
        self.state.shared.budget.step(command.at)
        self.captured, self.asking = 0, False
        if not command.words:
            with redirected(self, command.redirects) as missing:
                self._assign_all(command.assignments)
            return None if missing else self.captured
        first = command.words[0]
        if isinstance(first, s.ShellWord) and first.literal in grammar.DECLARING:
            words = builtins.declared_words(self, command.words)
        else:
            made = [(word, tuple(self.expand.words([word]))) for word in command.words if isinstance(word, s.ShellWord)]
            words = [one for _, some in made for one in some]
            if len(words) > MAX_WORDS:
                raise LimitReached(f"more than {MAX_WORDS} words", command.at)
            self.spot = Spot(tuple(made))
            self._placeholder(command)
        of_program = bool(command.redirects) and self._is_program(words)
        variables = dict(self.state.variables) if of_program else {}
        try:
            with redirected(self, command.redirects, of_program) as missing:
                if of_program:  # which opens them itself: what they set is lost
                    self.state.variables = variables
                name = words[0].text if words and isinstance(words[0], Traced) else "this command"
                if name not in _READING and (name != "exec" or len(words) > 1):
                    perhaps_not_run(self, missing, name)
                status = self.run(words, command.assignments, command.at)
        except NotStarted:
            self.state.variables = variables
            return 1
        if missing:
            self.asking, status = False, None
        self.comment_at = command.comment_at
        return status

    def _is_program(self, words: Sequence[Traced | builtins.Declared]) -> bool:
        name = next((word.text for word in words if isinstance(word, Traced)), "")
        return bool(name) and name not in self.state.functions and not builtins.is_of_bash(name)

    def _assign_all(self, assignments: Sequence[s.Assignment]) -> None:
        """A command that only sets variables; when one of them cannot be set, bash drops the rest of the line."""
        for assignment in assignments:
            try:
                self.assigner.assign(assignment)
            except Refused as refused:
                raise self.assigner.not_set(f"{refused.name} is readonly", assignment.at) from refused

    def run(
        self,
        words: Sequence[Traced | builtins.Declared],
        assignments: Sequence[s.Assignment],
        at: int,
        functions: bool = True,
    ) -> int | None:
        """A command, once its words are known; ``functions``: may it be one?"""
        texts = [word for word in words if isinstance(word, Traced)]
        if not texts:
            self._assign_all(assignments)
            return self.captured
        name = texts[0].text
        known = self.state.functions.get(name) if functions else None
        builtin = builtins.BUILTINS.get(name)
        declaring = name in grammar.DECLARING
        if known is None and builtin is None and not declaring:
            return self._external(texts, assignments, at)
        with self._prefixed(assignments):
            try:
                if known is not None:
                    return self.call(known, texts)
                self.about = self.rendered_all(texts)
                if declaring:
                    return builtins.declare(self, words, at)
                assert builtin
                return builtin(self, texts, at)
            except Refused as problem:
                self._refused(problem, at)
                return 1

    def call(self, function: s.Function, words: Sequence[Traced]) -> int | None:
        """A function."""
        state = self.state
        before = (state.positional, state.may_have_positional, state.loops)
        given = state.positional_given
        state.positional, state.may_have_positional, state.loops = list(words[1:]), False, 0
        state.locals.append({})
        state.returns += 1
        state.shared.calls.append(words[0].first)
        trap = None if "errtrace" in state.options else state.traps.pop("ERR", None)
        try:
            return self.called().command(function.body)
        except Leave as leave:
            if leave.what != "return":
                raise
            return leave.value
        finally:
            state.positional, state.may_have_positional, state.loops = before
            state.positional_given = given
            state.returns -= 1
            state.shared.calls.pop()
            if trap is not None:
                state.traps["ERR"] = trap
            for name, variable in state.locals.pop().items():
                if variable is None:
                    state.variables.pop(name, None)
                else:
                    state.variables[name] = variable

    def _external(self, words: list[Traced], assignments: Sequence[s.Assignment], at: int) -> int | None:
        name = words[0].text
        if name.startswith("-") or name in ("\\",):
            self._lost(words[0], at)
        self.write(None)
        if name in self.state.shared.functions and not self.prefix:
            message = f"{name} is a function of the script, and not known where it is called"
            self.state.shared.say(
                "not-read", message, at, f"put `export -f {name}` before it, if it is called in a shell"
            )
        with self._prefixed(assignments) as refused:
            state = self.state.subshell() if assignments else self.state
            prefix: list[Traced] = []
            for assignment in assignments:
                variable = state.get(assignment.name)
                if isinstance(assignment.value, s.ShellWord) and assignment.name not in refused and variable:
                    value = variable.scalar() or Traced()
                    prefix.append(plain(f"{assignment.name}=", assignment.at) + value)
        self.about = self.rendered_all(words)
        found, status = self.state.shared.hooks.inside(self, state, [*prefix, *words], at)
        if found:
            self.asking = False
            return status
        self.record([*prefix, *words], state, at)
        self.asking = True
        return None if self.asked or name.rsplit("/", 1)[-1] in builtins.ASKING else 0

    @contextmanager
    def _prefixed(self, assignments: Sequence[s.Assignment]) -> Iterator[list[str]]:
        """Variables that are set for one command only; gives the names of those that bash refuses to set."""
        before: dict[str, Variable | None] = {}
        refused: list[str] = []
        try:
            for assignment in assignments:
                try:
                    known = self.state.get(assignment.name)
                    if known is not None and known.readonly:  # then bash does not look at the value
                        raise Refused(assignment.name)
                    self.assigner.assign(assignment, exported=True, kept=before)
                except Refused as problem:
                    self._refused(problem, assignment.at)
                    refused.append(assignment.name)
            yield refused
        finally:
            for name, variable in before.items():
                if name in refused:
                    continue
                if variable is not None:
                    self.state.variables[name] = variable
                else:
                    self.state.variables.pop(name, None)

    def _placeholder(self, command: s.Simple) -> None:
        """``--image <path to image>`` is two redirections to bash, which stops when there is no such file."""
        ops = {redirect.op for redirect in command.redirects}
        for redirect in command.redirects:
            if redirect.op == "<" and ops & {">", ">>"} and redirect.attached:
                name = redirect.target.written
                if self.files.content(self.expand.text(redirect.target)) is None:
                    message = f"bash reads <{name} as a file for input, and > as one for output; it is no placeholder"
                    self.state.shared.say("lost-words", message, redirect.target.at, "fill the value in, or quote it")

    def _lost(self, word: Traced, at: int) -> None:
        reason = "the line before does not continue here"
        if self.comment_at >= 0:
            place = self.state.shared.sources.place(self.comment_at)
            reason = f"the comment in line {place.line if place else 0} ends the command, whatever follows it"
        message = f"bash takes {self.rendered(word)[:40]} for a command of its own: {reason}"
        self.state.shared.say("lost-words", message, at, "move the comment away, or end the line before with \\")

    def record(self, words: Sequence[Traced], state: State, at: int) -> None:
        shared = self.state.shared
        if len(shared.found) >= MAX_PROGRAMS:
            raise LimitReached(f"more than {MAX_PROGRAMS} programs are started", at)
        shared.budget.work(20 * (len(self.prefix) + len(words) + len(state.variables)), at)
        met = {choice: shared.choices[choice] for choice in shared.ways}
        in_container = not self.prefix and shared.hooks.is_elsewhere(words)
        folder = Traced() if in_container else state.folder
        spots = (self.spot, *self.callers)
        shared.found.append(
            Found((*self.prefix, *words), state.exports(), at, met, folder, state.sbatch, state.frame, spots)
        )

    # Text for people ----------------------------------------------------------------------------------------------

    def rendered(self, text: Traced) -> str:
        return rendered(text, self.state.shared)

    def rendered_all(self, words: Sequence[Traced]) -> str:
        return " ".join(self.rendered(word) for word in words)


_LIST_INSIDE: Final = re.compile(r"\$\([^()]*\w\+?=\([^()\\]*\\(?!\n)")
# What these read from a file that is not known is not known either, and told where it is used.
_READING: Final = frozenset("read mapfile readarray cat cut head sort tail tr wc : true".split())
_READING_NOTHING: Final = frozenset(
    (
        *grammar.DECLARING,
        *"[ break cd continue echo exit false let printf pwd return set shift test trap true unset :".split(),
    )
)
_HOLDS: Final = ("holds", "does not hold")
_PASTE: Final = "put the command line after -- instead"


def _came_out(patterns: Sequence[s.ShellWord]) -> str:
    return "is something else" if [word.written for word in patterns] == ["*"] else _is_one_of(patterns)


def _is_one_of(patterns: Sequence[s.ShellWord]) -> str:
    return "is " + " or ".join(word.written for word in patterns)


def _status(value: bool | None) -> int | None:
    return None if value is None else int(not value)


def _place(node: object) -> int:
    """Where a command stands."""
    match node:
        case s.Sequence():
            return _place(node.items[0]) if node.items else -1
        case s.AndOr():
            return _place(node.first)
        case s.Pipeline():
            return _place(node.commands[0])
    at = getattr(node, "at", -1)
    return int(at)
