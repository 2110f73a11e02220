"""What assignments set: ``NAME=value``, ``NAME+=value``, ``NAME[index]=value`` and ``NAME=(...)``.

Facts: bash(1), PARAMETERS and Arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bridge_args.script.bash import pattern
from bridge_args.script.bash import syntax as s
from bridge_args.script.bash.arithmetic import NotANumber, Wrong
from bridge_args.script.bash.expand import Expander
from bridge_args.script.bash.started import rendered
from bridge_args.script.bash.state import DECIDE, Hole, Leave, Refused, State, Variable
from bridge_args.script.bash.traced import Traced, is_hole, plain


class Assigner:
    """Sets variables of one shell."""

    def __init__(self, state: State, expand: Expander) -> None:
        self.state = state
        self.expand = expand

    def assign(
        self, assignment: s.Assignment, exported: bool | None = None, kept: dict[str, Variable | None] | None = None
    ) -> None:
        """``kept``: it is for one command, which has nothing of the variable but this text, no attributes and no list;
        what it is outside is put there, once the value is known, which may change it.
        """
        name, at = assignment.name, assignment.at
        before = self.state.get(name)
        if isinstance(assignment.value, s.Array):
            if assignment.index is not None:
                raise self.expand.mistake(f"{name}[...] cannot be a list", at)
            if before is not None and before.readonly:  # then bash does not look at the elements
                raise Refused(name)
            elements = self.array(assignment, before)
            if kept is not None:
                kept.setdefault(name, self.state.variables.get(name))
            self.state.set(name, elements, at, exported=exported)
            return
        value = self.expand.text(assignment.value, assigned=True)
        if kept is not None:
            kept.setdefault(name, self.state.variables.get(name))
            before = self.state.get(name)
        self.state.shared.origins[name] = assignment.value.written
        if before is None and not value.known:
            value = self._without_itself(name, value, at)
        if assignment.index is not None:
            if before and before.integer:
                value = self._number(value, assignment.value.written, at)
            self._element(assignment, value, before)
            return
        if kept is not None and not assignment.append and before and not before.readonly and not before.reference:
            self.state.variables.pop(name)
        self.give(name, value, assignment.append, at, exported)

    def give(self, name: str, value: Traced, append: bool, at: int, exported: bool | None = None) -> None:
        """``NAME=value`` or ``NAME+=value``."""
        before = self.state.get(name)
        if before is not None and before.integer:
            value = self._number(value, rendered(value, self.state.shared), at)
        if append:
            value = self._appended(name, before, value, at)
        if before is not None and isinstance(before.value, dict):
            self._say_uncertain(f"{name}[0]", before.value, at)
        self.state.set(name, value, at, exported=exported)

    def _say_uncertain(self, written: str, elements: Mapping[int | str, Traced], at: int) -> None:
        """An element is set where one of the others may be none or several."""
        if any(element.vanishes or element.splits for element in elements.values()):
            message = f"which element {written} is depends on what is not known"
            self.state.shared.say("not-read", message, at, DECIDE)

    def _number(self, value: Traced, written: str, at: int) -> Traced:
        """The value of a variable that holds whole numbers (``declare -i``)."""
        try:
            return plain(str(self.expand.calculated(value, at)), value.first)
        except Wrong as wrong:
            raise self.expand.great_mistake(f"{value.text[:60]}: {wrong}", at) from wrong
        except NotANumber:
            return self.state.shared.hole(Hole("expression", written, at))

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
        return self._sum(before, before.scalar() or Traced(), value)

    def _sum(self, variable: Variable | None, old: Traced, value: Traced) -> Traced:
        """``+=``: a number is added, a text put behind."""
        if variable is None or not variable.integer:
            return old + value
        if not old.known or not value.known:
            if old.known:
                self._number(old, old.text, value.first)  # what it holds may be no number, whatever is added
            return self.state.shared.hole(
                Hole(
                    "expression",
                    f"{rendered(old, self.state.shared)} + {rendered(value, self.state.shared)}",
                    value.first,
                )
            )
        written = f"{rendered(old, self.state.shared)}+{rendered(value, self.state.shared)}"
        return self._number(old + plain("+") + value, written, value.first)

    def array(self, assignment: s.Assignment, before: Variable | None) -> Mapping[int | str, Traced]:
        """The elements of ``NAME=(...)``; what is expanded may change the variable itself, so that comes first."""
        assert isinstance(assignment.value, s.Array)
        keyed = before is not None and before.keyed
        if keyed and any(item.key is None for item in assignment.value.items):
            message = f"{assignment.name}=(...) without [key]= is not read: bash takes the words for keys and values"
            self.state.shared.say("not-read", message, assignment.at)
        try:
            values_of = [
                self.expand.words([item.word], elements=True)
                if item.key is None
                else [self.expand.text(item.word, assigned=not keyed, home=not keyed)]
                for item in assignment.value.items
            ]
        except Leave:
            if keyed and assignment.append:
                self._say_partly_set(assignment)
            raise
        for item in assignment.value.items if keyed else ():
            if _is_split(item.word):
                message = f"{item.word.written} is not read here: in a list with keys bash splits it"
                self.state.shared.say("not-read", message, assignment.at)
        made: dict[int | str, Traced] = {}
        if assignment.append and before is not None:
            made = (self.state.get(assignment.name) or before).numbered()
        now = self.state.get(assignment.name)
        try:
            self._fill(made, assignment, values_of, before)
        except Leave:  # element by element, if it can be done at all
            self._say_partly_set(assignment)
            raise
        if self.state.get(assignment.name) is not now:
            message = f"{assignment.name}=(...), which changes {assignment.name} itself, is not read"
            self.state.shared.say("not-read", message, assignment.at)
        return made

    def _fill(
        self,
        made: dict[int | str, Traced],
        assignment: s.Assignment,
        values_of: Sequence[Sequence[Traced]],
        before: Variable | None,
    ) -> None:
        """Puts the elements of ``NAME=(...)`` into ``made``; ``values_of``: for each of them what it holds."""
        assert isinstance(assignment.value, s.Array)
        keyed, integer = before is not None and before.keyed, before is not None and before.integer
        budget = self.state.shared.budget
        following = _behind(made)
        for item, values in zip(assignment.value.items, values_of, strict=True):
            if item.key is None:
                for value in values:
                    made[following] = self._number(value, value.text, assignment.at) if integer else value
                    following += 1
                continue
            if not keyed and pattern.braces(item.word, budget) != [item.word]:
                message = f"[{item.key.written}]={item.word.written} is not read: bash takes braces in it for words"
                self.state.shared.say("not-read", message, assignment.at)
            key: int | str
            if keyed:
                key = self.expand.text(item.key).text
            else:
                try:
                    key = self.expand.number(item.key)
                except Wrong as wrong:
                    raise self.expand.wrong_index(f"[{item.key.written}]", wrong, assignment.at) from wrong
                except NotANumber:
                    message = f"the index {item.key.written} is not known"
                    self.state.shared.say("not-read", message, assignment.at, DECIDE)
                    continue
                key += _behind(made) if key < 0 else 0
            if key == "" or (isinstance(key, int) and key < 0):  # bash leaves this element out, and goes on
                message = f"bash leaves out [{item.key.written}]={item.word.written}: there is no such element"
                self.state.shared.say("not-read", message, assignment.at)
                continue
            following = key + 1 if isinstance(key, int) else following
            value = self._number(values[0], item.word.written, assignment.at) if integer else values[0]
            made[key] = self._sum(before, made.get(key, Traced()), value) if item.append else value

    def _say_partly_set(self, assignment: s.Assignment) -> None:
        message = f"what is set of {assignment.name}=(...) before bash stops there is not read"
        self.state.shared.say("not-read", message, assignment.at)

    def _key(self, assignment: s.Assignment, index: s.ShellWord) -> str:
        key = self.expand.text(index)
        if not key.text:
            raise self.not_set(f"{assignment.name} has no empty key", assignment.at)
        if not key.known:
            message = f"which element {assignment.name}[{index.written}] is depends on what is not known"
            self.state.shared.say("not-read", message, assignment.at, DECIDE)
        return key.text

    def _element(self, assignment: s.Assignment, value: Traced, before: Variable | None) -> None:
        """``NAME[index]=value``; without an index, element 0 of what is an array already."""
        keyed = before is not None and before.keyed
        index: int | str = "0" if keyed else 0
        if assignment.index is not None:
            if keyed:
                index = self._key(assignment, assignment.index)
            else:
                try:
                    index = self.expand.number(assignment.index)
                except Wrong as wrong:
                    raise self.expand.wrong_index(f"[{assignment.index.written}]", wrong, assignment.at) from wrong
                except NotANumber:
                    written = assignment.index.written
                    self.state.shared.say("not-read", f"the index {written} is not known", assignment.at, DECIDE)
                    return
        now = self.state.get(assignment.name)
        elements = now.numbered() if now else {}
        if isinstance(index, int) and index < 0:
            index += _behind(elements)
            if index < 0:
                raise self.not_set(f"{assignment.name} has no such element", assignment.at)
        self._say_uncertain(f"{assignment.name}[{index}]", elements, assignment.at)
        if assignment.append:
            value = self._sum(before, elements.get(index, Traced()), value)
        self.state.set(assignment.name, {**elements, index: value}, assignment.at)

    def not_set(self, what: str, at: int) -> Leave:
        """A variable cannot be set: the rest of the line is dropped, with `set -e` the script ends, even in a test."""
        leave = self.expand.mistake(what, at)
        return Leave("exit", 1) if "errexit" in self.state.options else leave


def _is_split(word: s.ShellWord) -> bool:
    """Does ``"$@"`` or an array stand in quotes beside what is not in quotes?"""
    expanded = [part for part in word.parts if not isinstance(part, s.Literal)]
    several = [part for part in expanded if isinstance(part, s.Parameter) and "@" in (part.name, part.index)]
    return any(part.quoted for part in several) and not all(part.quoted for part in expanded)


def _behind(elements: Mapping[int | str, Traced]) -> int:
    """The index behind the last one of an array."""
    return max((key for key in elements if isinstance(key, int)), default=-1) + 1
