"""A launch script as data: which programs it would start, with which words. Nothing is executed.

bash's grammar (``grammar.py``) is read with bash's own rules (``expand.py``, ``conditions.py``, ``builtins.py``) on the
values that are known; what is not known stays a hole with a name (``state.Hole``). A condition that cannot be told is
read both ways, one reading after the other. Reading has bounds (``state.MAX_STEPS`` and its neighbours), no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bridge_args.findings import Finding
from bridge_args.script import builtins, conditions, grammar, nested, slurm, syntax_walk
from bridge_args.script import syntax as s
from bridge_args.script.arithmetic import NotANumber
from bridge_args.script.expand import Expander
from bridge_args.script.files import Files
from bridge_args.script.started import Started, commands, rendered, why_few
from bridge_args.script.state import (
    MAX_WORK,
    Choice,
    Found,
    Hole,
    Leave,
    LimitReached,
    Shared,
    Sources,
    State,
    Variable,
)
from bridge_args.script.traced import Traced, is_hole, joined, plain

MAX_READINGS: Final = 32  # ways through the unknown conditions of a script
MAX_CALLS: Final = 40  # functions, sourced files and inner shells inside each other


@dataclass(frozen=True, slots=True)
class Script:
    """What a script says.

    Attributes:
        commands: every program it starts, in order.
        findings: what could not be read.
        slurm: variables that Slurm sets because of ``#SBATCH`` lines.
        reasons: why there may be fewer commands than one would think: where the script ends, what lies elsewhere.
    """

    commands: tuple[Started, ...]
    findings: tuple[Finding, ...] = ()
    slurm: Mapping[str, str] | None = None
    reasons: tuple[str, ...] = ()


def read_script(
    text: str,
    source: str,
    variables: Mapping[str, str] | None = None,
    positional: Sequence[str] = (),
    folder: Path | None = None,
    inherited: Mapping[str, str] | None = None,
) -> Script:
    """Reads a launch script.

    Args:
        text: the script.
        source: its name, for places and ``$0``.
        variables: values for what the script uses and does not know.
        positional: ``$1``, ``$2``, ...
        folder: where it lies; files beside it may be read, never written.
        inherited: the environment it is started in, where that is known; what it sets itself counts more.
    """
    text = text.replace("\r\n", "\n")
    readings: list[Shared] = []
    choices: dict[Choice, int] = {}
    steps = size = 0
    findings: list[Finding] = []
    sources = Sources()
    while True:
        shared = Shared(sources, dict(variables or {}), source, folder, choices=dict(choices), steps=steps, worked=size)
        _read_once(shared, text, source, positional, inherited or {})
        readings.append(shared)
        steps, size = shared.steps, shared.worked
        following = _next_choices(shared)
        if following is None:
            break
        choices = following
        if len(readings) >= MAX_READINGS or size > MAX_WORK:
            at = next(iter(shared.ways))[0]
            shared.say("not-read", f"conditions leave more than {MAX_READINGS} ways through the script", at, _DECIDE)
            break
    for shared in readings:
        findings += [finding for finding in shared.findings if finding not in findings]
    reasons = dict.fromkeys(reason for shared in readings for reason in why_few(shared))
    return Script(tuple(commands(readings)), tuple(findings), slurm.variables(text), tuple(reasons))


_DECIDE: Final = "give the variables that decide them with --set NAME=VALUE"


def _read_once(shared: Shared, text: str, source: str, positional: Sequence[str], inherited: Mapping[str, str]) -> None:
    """One reading of the whole script, with ``shared.choices`` for unknown conditions."""
    traced = shared.sources.add(text, source)
    given = {name: Variable(plain(value), exported=True) for name, value in shared.given.items()}
    set_by_slurm = slurm.variables(text)
    shared.slurm = set_by_slurm is not None
    outside = {**(set_by_slurm or {}), **inherited}
    state = State(
        shared,
        variables={**{name: Variable(plain(value), exported=True) for name, value in outside.items()}, **given},
        positional=[plain(word) for word in positional],
        name=plain(source),
        cwd=shared.folder,
        may_have_positional=not positional,
    )
    state.variables["BASH_SOURCE"] = Variable({0: plain(source)})
    try:
        Shell(state).program(traced)
    except Leave:
        pass
    except LimitReached as limit:
        shared.say("not-read", f"reading stops here: {limit.what}", limit.at, "put the command line after -- instead")
    except RecursionError:
        shared.say("not-read", "reading stops: structures are nested too deep", traced.first)


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


class Input:
    """Standard input: text that is read line by line, or None when it is not known."""

    def __init__(self, text: Traced | None) -> None:
        self.text = text

    def line(self) -> Traced | None:
        assert self.text is not None
        if not self.text:
            return None
        end = self.text.text.find("\n") + 1 or len(self.text)
        line, self.text = self.text[:end], self.text[end:]
        return line


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
        self.comment_at = -1
        self.about = ""
        self.asked = False  # is what follows the condition of a structure?

    def inner(self, state: State, output: list[Traced | None] | None, stdin: Input | None = None) -> Shell:
        shell = Shell(state, output, stdin or self.stdin, self.prefix, self.depth)
        shell.asked = self.asked
        return shell

    # Text ---------------------------------------------------------------------------------------------------------

    def program(self, text: Traced) -> int | None:
        """All commands of a text, in this shell."""
        body, problem = grammar.read(text)
        reading = self.state.shared.reading
        reading.append(text.text)
        try:
            status = self.sequence(body)
        finally:
            reading.pop()
        if problem:
            place = problem.at
            self.state.shared.say("unreadable-source", f"{problem.what} is not read", place, _PASTE)
        return status

    def called(self) -> Shell:
        if self.depth >= MAX_CALLS:
            raise LimitReached(f"more than {MAX_CALLS} calls inside each other", -1)
        return Shell(self.state, self.output, self.stdin, self.prefix, self.depth + 1)

    def write(self, text: Traced | None) -> None:
        if self.output is not None:
            self.output.append(text)

    def capture(self, part: s.Substitution) -> Traced:
        """What a command substitution prints, without the newlines at its end."""
        output: list[Traced | None] = []
        state = self.state.subshell()
        shell = self.inner(state, output)
        only = part.body.items[0].first.commands if len(part.body.items) == 1 else ()
        if len(only) == 1 and isinstance(only[0], s.Simple) and not only[0].words and len(only[0].redirects) == 1:
            shell.write(self.files.content(self.expand.text(only[0].redirects[0].target)))  # $(<file)
        else:
            try:
                state.status = shell.sequence(part.body)
            except Leave as leave:
                state.status = leave.value
        self.state.status = state.status
        known = [text for text in output if text is not None]
        if len(known) < len(output):
            return self.state.shared.hole(Hole("command", part.written, part.at))
        text = joined(known)
        self.state.shared.charge(len(text), part.at)
        text = text[: len(text.text.rstrip("\n"))]
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
            try:
                shell.and_or(replace(item, background=False))
            except Leave:
                pass
            return 0
        status = self.pipeline(item.first)
        for op, pipeline in item.rest:
            if status is None:
                at = _place(pipeline)
                status = self.choose(at, self.about, ("holds", "does not hold"))
            if (status == 0) == (op == "&&"):
                status = self.pipeline(pipeline)
            self.state.status = status
        return status

    def choose(self, at: int, about: str, ways: tuple[str, ...]) -> int:
        return self.state.choose(at, about, ways)

    def pipeline(self, pipeline: s.Pipeline) -> int | None:
        if len(pipeline.commands) == 1:
            status = self.command(pipeline.commands[0])
        else:
            status = self._piped(pipeline.commands)
        self.state.status = status
        if pipeline.negated:
            return None if status is None else int(status == 0)
        return status

    def _piped(self, commands: Sequence[s.Command]) -> int | None:
        stdin = self.stdin
        status: int | None = 0
        for index, command in enumerate(commands):
            last = index == len(commands) - 1
            output: list[Traced | None] | None = self.output if last else []
            shell = self.inner(self.state.subshell(), output, stdin)
            try:
                status = shell.command(command)
            except Leave as leave:
                status = leave.value
            self.about = shell.about
            if not last:
                assert output is not None
                known = [text for text in output if text is not None]
                stdin = Input(joined(known) if len(known) == len(output) else None)
        return status

    # Commands -----------------------------------------------------------------------------------------------------

    def command(self, command: s.Command) -> int | None:
        if isinstance(command, s.Simple):
            return self._simple(command)
        with self.redirected(command.redirects):
            return self._structure(command)

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
                try:
                    return shell.sequence(command.body)
                except Leave as leave:
                    return leave.value if leave.what == "exit" else 0
            case s.Function():
                self.state.functions[command.name] = command.body
                return 0
            case s.ArithmeticCommand():
                self.about = command.written
                try:
                    return int(self.expand.number_in_condition(self.expand.text(command.expression)) == 0)
                except NotANumber:
                    return None
            case s.Condition():
                self.about = self._shown(command.written)
                return _status(conditions.extended(command.expression, self.expand))
        raise AssertionError(command)

    def _shown(self, written: str) -> str:
        return " ".join(written.split())

    def condition(self, body: s.Sequence) -> int | None:
        before, self.asked = self.asked, True
        try:
            return self.sequence(body)
        finally:
            self.asked = before

    def _if(self, command: s.If) -> int | None:
        for condition, body, written in command.branches:
            self.about = written
            status = self.condition(condition)
            if status is None:
                status = self.choose(_place(condition), self.about, ("holds", "does not hold"))
            if status == 0:
                return self.sequence(body)
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
                "is " + " or ".join(word.written for word in command.branches[way][0])
                if way < len(command.branches)
                else "is something else"
                for way in ways
            )
            chosen = ways[self.choose(command.at, f"case {command.subject.written}", names)]
        status: int | None = 0
        while chosen < len(command.branches):
            _, body, terminator = command.branches[chosen]
            status = self.sequence(body)
            if terminator == ";;":
                break
            chosen += 1
            while terminator == ";;&" and chosen < len(command.branches):
                if any(self._fits(subject, self.expand.pattern(w)) for w in command.branches[chosen][0]):
                    break
                chosen += 1
        return status

    def _fits(self, subject: Traced, made: list[tuple[str, bool]]) -> bool | None:
        if made == [("*", False)]:
            return True
        return conditions.texts("==", subject, made, self.state)

    def _rounds(self, at: int) -> Iterator[None]:
        """Rounds of a loop, each one step; a round that changes nothing would go on for ever."""
        while True:
            before = (dict(self.state.variables), list(self.state.positional), self.stdin.text)
            self.state.shared.step(at)
            yield
            if before == (self.state.variables, self.state.positional, self.stdin.text):
                raise Leave("exit", 0)

    def _loop_body(self, body: s.Sequence) -> bool:
        """One round; False when the loop is left."""
        try:
            self.state.status = self.sequence(body)
        except Leave as leave:
            if leave.what not in ("break", "continue"):
                raise
            if leave.value and leave.value > 1:
                raise Leave(leave.what, leave.value - 1) from leave
            return leave.what == "continue"
        return True

    def _for(self, command: s.For) -> int | None:
        if command.words is None:
            words = list(self.state.positional)
        else:
            words = self.expand.words(command.words)
        self.state.status = 0
        for word in words:
            self.state.shared.step(command.at)
            self.state.set(command.name, word, command.at)
            if not self._loop_body(command.body):
                break
        return self.state.status

    def _for_arithmetic(self, command: s.ForArithmetic) -> int | None:
        first, condition, following = command.clauses
        self.state.status = 0
        try:
            self.expand.number(first)
            for _ in self._rounds(command.at):
                if condition.parts and self.expand.number(condition) == 0:
                    break
                if not self._loop_body(command.body):
                    break
                self.expand.number(following)
        except NotANumber as problem:
            self._unknown_rounds(command, problem.names)
        return self.state.status

    def _unknown_rounds(self, command: s.ForArithmetic, names: tuple[str, ...]) -> None:
        """How often the loop goes round is not known: its programs are read once, what it sets is unknown."""
        without = f" without {', '.join(names)}" if names else ""
        self.state.shared.say("not-read", f"the loop's rounds are not known{without}", command.at, _DECIDE)
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
            self.about = command.written.split("\n")[0]
            status = self.condition(command.condition)
            unknown = status is None
            if status is None:
                status = self.choose(command.at, self.about, ("ends at once", "goes one round")) ^ 1 ^ command.until
            if (status == 0) == command.until:
                break
            if not self._loop_body(command.body):
                break
            result = self.state.status
            if unknown:
                self._forget(syntax_walk.assigned(command.body), command.at)
                break
        return result

    # Simple commands ----------------------------------------------------------------------------------------------

    def _simple(self, command: s.Simple) -> int | None:
        self.state.shared.step(command.at)
        if not command.words:
            self.state.status = 0
            for assignment in command.assignments:
                self.assign(assignment)
            with self.redirected(command.redirects):
                return self.state.status
        first = command.words[0]
        if isinstance(first, s.ShellWord) and first.literal in grammar.DECLARING:
            return builtins.declare(self, first.literal or "", command.words[1:])
        words = self.expand.words([word for word in command.words if isinstance(word, s.ShellWord)])
        self._placeholder(command)
        with self.redirected(command.redirects):
            status = self.run(words, command.assignments, command.at)
        self.comment_at = command.comment_at
        return status

    def run(self, words: list[Traced], assignments: Sequence[s.Assignment], at: int) -> int | None:
        """A command, once its words are known."""
        if not words:
            for assignment in assignments:
                self.assign(assignment)
            return self.state.status
        name = words[0].text
        known = self.state.functions.get(name)
        builtin = builtins.BUILTINS.get(name)
        if known is None and builtin is None:
            return self._external(words, assignments, at)
        before = dict(self.state.variables)
        for assignment in assignments:
            self.assign(assignment, exported=True)
        try:
            if known is not None:
                return self.call(known, words)
            assert builtin
            self.about = self.rendered_all(words)
            return builtin(self, words, at)
        finally:
            for assignment in assignments:
                if assignment.name in before:
                    self.state.variables[assignment.name] = before[assignment.name]
                else:
                    self.state.variables.pop(assignment.name, None)

    def call(self, body: s.Command, words: list[Traced]) -> int | None:
        """A function."""
        state = self.state
        before = (state.positional, state.may_have_positional)
        state.positional, state.may_have_positional = list(words[1:]), False
        state.locals.append({})
        try:
            return self.called().command(body)
        except Leave as leave:
            if leave.what != "return":
                raise
            return leave.value
        finally:
            state.positional, state.may_have_positional = before
            for name, variable in state.locals.pop().items():
                if variable is None:
                    state.variables.pop(name, None)
                else:
                    state.variables[name] = variable

    def _external(self, words: list[Traced], assignments: Sequence[s.Assignment], at: int) -> int | None:
        name = words[0].text
        if name.startswith("-") or name in ("\\",):
            self._lost(words[0], at)
        prefix: list[Traced] = []
        state = self.state
        if assignments:
            state = self.state.subshell()
            shell = self.inner(state, self.output)
            for assignment in assignments:
                shell.assign(assignment, exported=True)
                if isinstance(assignment.value, s.ShellWord):
                    value = state.variables[assignment.name].scalar() or Traced()
                    prefix.append(plain(f"{assignment.name}=", assignment.at) + value)
        self.write(None)
        self.about = self.rendered_all(words)
        if nested.run(self, state, [*prefix, *words], at):
            return 0
        self.record([*prefix, *words], state, at)
        return None if self.asked or name.rsplit("/", 1)[-1] in builtins.ASKING else 0

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
        met = {choice: shared.choices[choice] for choice in shared.ways}
        in_container = not self.prefix and nested.is_in_container(words)
        folder = Traced() if in_container else state.folder
        shared.found.append(Found((*self.prefix, *words), state.exports(), at, met, folder, state.sbatch))

    # Assignments --------------------------------------------------------------------------------------------------

    def assign(self, assignment: s.Assignment, exported: bool | None = None) -> None:
        name, at = assignment.name, assignment.at
        before = self.state.get(name)
        if isinstance(assignment.value, s.Array):
            self.state.set(name, self._array(assignment, before), at, exported=exported)
            return
        value = self.expand.text(assignment.value)
        if before is None and not value.known:
            value = self._without_itself(name, value, at)
        if before and before.integer:
            try:
                value = plain(str(self.expand.number(assignment.value)), value.first)
            except NotANumber:
                value = self.state.shared.hole(Hole("expression", assignment.value.written, at))
        old = before.value if before else None
        if assignment.index is not None or (old is not None and not isinstance(old, Traced)):
            self._element(assignment, value, before)
            return
        if assignment.append:
            value = self._appended(name, before, value, at)
        self.state.set(name, value, at, exported=exported)

    def _without_itself(self, name: str, value: Traced, at: int) -> Traced:
        """``ARGS="$ARGS --more"`` where nobody sets ARGS before: the list starts empty, as with ``+=``."""
        for index, char in enumerate(value.text):
            if is_hole(char) and self.state.shared.holes_in(char)[0].variable == name:
                around = value.text[index - 1 : index] if index else value.text[index + 1 : index + 2]
                if around.isspace() and not self.state.always_set(name):
                    self.state.shared.assumed.setdefault(name, at)
                    return value[:index] + value[index + 1 :]
        return value

    def _appended(self, name: str, before: Variable | None, value: Traced, at: int) -> Traced:
        if before is None:
            # What the environment holds comes first; a variable nobody sets is taken as empty, and named.
            self.state.shared.assumed.setdefault(name, at)
            return value
        old = before.scalar() or Traced()
        if before.integer and old.known and value.known:
            return plain(str(int(old.text or "0") + int(value.text or "0")), value.first)
        return old + value

    def _array(self, assignment: s.Assignment, before: Variable | None) -> Mapping[int | str, Traced]:
        assert isinstance(assignment.value, s.Array)
        made: dict[int | str, Traced] = {}
        keyed = before is not None and before.keyed
        if assignment.append and before is not None and before.value is not None:
            made = {0: before.value} if isinstance(before.value, Traced) else dict(before.value)
        following = max((key for key in made if isinstance(key, int)), default=-1) + 1
        for key, word in assignment.value.items:
            if key is None:
                for value in self.expand.words([word]):
                    made[following] = value
                    following += 1
            elif keyed:
                made[self.expand.text(key).text] = self.expand.text(word)
            else:
                try:
                    following = self.expand.number(key)
                except NotANumber:
                    self.state.shared.say("not-read", f"the index {key.written} is not known", assignment.at, _DECIDE)
                    continue
                made[following] = self.expand.text(word)
                following += 1
        return made

    def _element(self, assignment: s.Assignment, value: Traced, before: Variable | None) -> None:
        """``NAME[index]=value``; without an index, element 0 of what is an array already."""
        keyed = before is not None and before.keyed
        old = before.value if before else None
        elements: dict[int | str, Traced] = {}
        if isinstance(old, Traced):
            elements = {0: old}
        elif old is not None:
            elements = dict(old)
        index: int | str = "0" if keyed else 0
        if assignment.index is not None:
            if keyed:
                index = self.expand.text(assignment.index).text
            else:
                try:
                    index = self.expand.number(assignment.index)
                except NotANumber:
                    written = assignment.index.written
                    self.state.shared.say("not-read", f"the index {written} is not known", assignment.at, _DECIDE)
                    return
        if isinstance(index, int) and index < 0:
            index += max((key for key in elements if isinstance(key, int)), default=-1) + 1
        if assignment.append:
            value = elements.get(index, Traced()) + value
        self.state.set(assignment.name, {**elements, index: value}, assignment.at)

    # Redirections -------------------------------------------------------------------------------------------------

    @contextmanager
    def redirected(self, redirects: Sequence[s.Redirect]) -> Iterator[None]:
        """Input and output as the redirections say; files are only remembered, never written."""
        if not redirects:
            yield
            return
        before = (self.stdin, self.output)
        targets: list[tuple[Traced, bool]] = []
        for redirect in redirects:
            self._redirect(redirect, targets)
        output = self.output
        try:
            yield
        finally:
            self.stdin, self.output = before
            for target, append in targets:
                assert output is not None
                known = [text for text in output if text is not None]
                self.files.store(target, joined(known) if len(known) == len(output) else None, append)

    def _redirect(self, redirect: s.Redirect, targets: list[tuple[Traced, bool]]) -> None:
        op, fd = redirect.op, redirect.fd
        if op in ("<<", "<<-") and fd in ("", "0"):
            self.stdin = Input(self.expand.text(redirect.body) if redirect.body else Traced())
            return
        target = self.expand.text(redirect.target)
        if op == "<<<" and fd in ("", "0"):
            self.stdin = Input(target + plain("\n", target.first))
        elif op == "<" and fd in ("", "0"):
            self.stdin = Input(self.files.content(target))
        elif op in (">", ">>", ">|", "&>", "&>>") and fd in ("", "1"):
            if target.text == "/dev/stdout":
                return
            self.output = []
            if not target.text.startswith("/dev/"):
                targets.append((target, op.endswith(">>")))
            else:
                targets.clear()
        elif op == ">&" and fd in ("", "1") and target.text != "1":
            self.output = []  # to standard error, or closed

    # Text for people ----------------------------------------------------------------------------------------------

    def rendered(self, text: Traced) -> str:
        return rendered(text, self.state.shared)

    def rendered_all(self, words: Sequence[Traced]) -> str:
        return " ".join(self.rendered(word) for word in words)


_PASTE: Final = "put the command line after -- instead"


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
