"""``read``, ``mapfile`` and ``getopts``: words and lines to variables. Facts: bash(1), SHELL BUILTIN COMMANDS.

Every function gets the shell, the words of the command with its name, and a position; it returns the exit status, None
when that is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bridge_args.records import dataclass, replace
from bridge_args.script.bash.arithmetic import whole
from bridge_args.script.bash.budget import MAX_WORDS, Budget, LimitReached
from bridge_args.script.bash.names import is_name
from bridge_args.script.bash.state import Hole, State, Variable
from bridge_args.script.bash.traced import Traced, joined, plain

if TYPE_CHECKING:
    from bridge_args.script.bash.shell import Shell


@dataclass(frozen=True, slots=True)
class _Options:
    """Letters without a value, letters with theirs, and what stands behind the options."""

    switches: str
    values: dict[str, Traced]
    rest: list[Traced]


def _options(words: Sequence[Traced], valued: str) -> _Options:
    switches, values = "", {}
    index = 1
    while index < len(words):
        word = words[index]
        if not word.text.startswith("-") or len(word) < 2:
            break
        index += 1
        if word.text == "--":
            break
        for place in range(1, len(word)):
            letter = word.text[place]
            if letter not in valued:
                switches += letter
                continue
            value = word[place + 1 :]
            if not value and index < len(words):
                value = words[index]
                index += 1
            values[letter] = value
            break
    return _Options(switches, values, list(words[index:]))


# ---------------------------------------------------------------- read


def read(shell: Shell, words: list[Traced], at: int) -> int | None:
    """``read -r A B``, ``read -a ARRAY``, ``read -d :``, ``read -n 3``, from known input."""
    options = _options(words, "adinNptu")
    array = options.values.get("a")
    names = [name.text for name in ([array] if array is not None else options.rest)] or ["REPLY"]
    source = shell.stdin.whole
    fd = options.values.get("u")
    timed = options.values.get("t")
    if source is None or timed is not None or (fd is not None and fd.text != "0"):
        for name in names:
            shell.state.set(name, shell.state.shared.hole(Hole("command", f"${name}", at, (name,))), at)
        return None
    taken = _taken(source, shell.stdin.position, options, shell.state.shared.budget)
    shell.stdin.position = taken.used
    if "N" in options.values:
        _give(shell, names, [taken.text()], at)
    elif array is not None:
        shell.state.set(names[0], dict(enumerate(_all_fields(taken, shell))), at)
    elif not options.rest:
        shell.state.set("REPLY", taken.text(), at)
    else:
        _give(shell, names, _fields(taken, shell, len(names)), at)
    return int(not taken.complete)


def _give(shell: Shell, names: Sequence[str], values: Sequence[Traced], at: int) -> None:
    for index, name in enumerate(names):
        if not is_name(name):
            shell.state.shared.say("not-read", f"read {name} is not read", at)
            continue
        shell.assigner.give(name, values[index] if index < len(values) else Traced(), False, at)


@dataclass(frozen=True, slots=True)
class _Taken:
    """What is read: characters, which of them a backslash protects, and how much of the input that was."""

    chars: list[Traced]
    protected: list[bool]
    used: int
    complete: bool  # did it end before the input?

    def text(self) -> Traced:
        return joined(self.chars)


def _taken(source: Traced, start: int, options: _Options, budget: Budget) -> _Taken:
    raw = "r" in options.switches
    exact = options.values.get("N")
    limit = exact or options.values.get("n")
    most = whole(limit.text) if limit is not None else None
    given = options.values.get("d")
    end = "\n" if given is None else given.text[:1] or "\0"
    chars: list[Traced] = []
    protected: list[bool] = []
    stop = source.text.find(end, start) if exact is None else -1
    size = (stop if stop >= 0 else len(source)) - start
    budget.work(16 * (size if most is None else min(size, most)))
    i = start
    while i < len(source):
        if len(chars) == most:
            return _Taken(chars, protected, i, True)
        char = source.text[i]
        i += 1
        if char == "\\" and not raw:
            if i < len(source) and source.text[i] != "\n":
                chars.append(source[i : i + 1])
                protected.append(True)
            i += 1
            continue
        if char == end and exact is None:
            return _Taken(chars, protected, i, True)
        if char != "\0":
            chars.append(source[i - 1 : i])
            protected.append(False)
    return _Taken(chars, protected, len(source), len(chars) == most)


def _fields(taken: _Taken, shell: Shell, count: int) -> list[Traced]:
    """The words for that many names; the last one is the rest."""
    cursor = _Cursor(taken, shell.expand.separators())
    made: list[Traced] = []
    while len(made) < count - 1 and not cursor.end:
        made.append(cursor.word())
    if not cursor.end:
        made.append(cursor.rest())
    return made


def _all_fields(taken: _Taken, shell: Shell) -> list[Traced]:
    cursor = _Cursor(taken, shell.expand.separators())
    made: list[Traced] = []
    while not cursor.end:
        made.append(cursor.word())
        if len(made) > MAX_WORDS:
            raise LimitReached(f"an array of more than {MAX_WORDS} elements", -1)
    return made


class _Cursor:
    """Goes over a line word by word, as ``read`` does."""

    def __init__(self, taken: _Taken, separators: str) -> None:
        self.taken = taken
        self.separators = separators
        self.i = 0
        self._skip_blanks()

    @property
    def end(self) -> bool:
        return self.i >= len(self.taken.chars)

    def _separates(self, index: int) -> bool:
        chars, protected = self.taken.chars, self.taken.protected
        return index < len(chars) and not protected[index] and chars[index].text in self.separators

    def _is_blank(self, index: int) -> bool:
        return self._separates(index) and self.taken.chars[index].text in " \t\n"

    def _skip_blanks(self) -> None:
        while self._is_blank(self.i):
            self.i += 1

    def word(self) -> Traced:
        start = self.i
        while not self.end and not self._separates(self.i):
            self.i += 1
        made = joined(self.taken.chars[start : self.i])
        if not self.end:
            blank = self._is_blank(self.i)
            self.i += 1
            self._skip_blanks()
            if blank and self._separates(self.i):  # one separator that is no blank, with the blanks around it
                self.i += 1
                self._skip_blanks()
        return made

    def rest(self) -> Traced:
        """All that is left; a separator behind its only word is none of it."""
        start = self.i
        word = self.word()
        if self.end:
            return word
        end = len(self.taken.chars)
        while end > start and (last := self.taken.chars[end - 1].text) in " \t\n" and last in self.separators:
            end -= 1  # here a backslash protects no blank
        return joined(self.taken.chars[start:end])


# ---------------------------------------------------------------- mapfile


def mapfile(shell: Shell, words: list[Traced], at: int) -> int:
    options = _options(words, "dnOsuCc")
    name = options.rest[0].text if options.rest else "MAPFILE"
    numbers = {letter: options.values[letter].text for letter in "nOs" if letter in options.values}
    unread = [letter for letter in "uCc" if letter in options.values]
    unread += [letter for letter, text in numbers.items() if whole(text) is None]
    if unread:
        shell.state.shared.say("not-read", f"{words[0].text} -{unread[0]} is not read", at)
    if not shell.stdin.known or unread:
        lines = shell.state.shared.hole(Hole("command", f"${{{name}[@]}}", at, (name,)))
        shell.state.set(name, {0: replace(lines, splits=True)}, at)
        return 0
    given = options.values.get("d")
    end = "\n" if given is None else given.text[:1] or "\0"
    most, skipped = whole(numbers.get("n", "")) or 0, whole(numbers.get("s", "")) or 0
    before = shell.state.get(name)
    elements = before.numbered() if before is not None and "O" in numbers else {}
    index, taken = whole(numbers.get("O", "")) or 0, 0
    while (not most or taken < most) and (line := shell.stdin.line(end)) is not None:
        if skipped:
            skipped -= 1
            continue
        taken += 1
        elements[index] = line[:-1] if "t" in options.switches and line.text.endswith(end) else line
        index += 1
        if len(elements) > MAX_WORDS:
            raise LimitReached(f"an array of more than {MAX_WORDS} elements", at)
        shell.state.shared.budget.work(8 + len(line), at)
    shell.state.set(name, elements, at)
    return 0


# ---------------------------------------------------------------- getopts


def getopts(shell: Shell, words: list[Traced], at: int) -> int | None:
    """Options among the positional parameters, one each time."""
    state = shell.state
    if len(words) < 3:
        return 2
    letters, name = words[1].text, words[2].text
    silent, letters = letters.startswith(":"), letters.removeprefix(":")
    arguments = list(words[3:]) or state.positional
    if not all(argument.known for argument in arguments):
        _forget(shell, name, at)
        return None
    index = _optind(state)
    if index > len(arguments) or state.option_inside >= len(arguments[index - 1]):
        state.option_inside = 0  # other words than the last time: it begins anew
    if state.option_inside == 0:
        if index > len(arguments):
            return _finished(state, name, len(arguments) + 1, at)
        text = arguments[index - 1].text
        if text == "--":
            return _finished(state, name, index + 1, at)
        if not text.startswith("-") or text == "-":
            return _finished(state, name, index, at)
    word = arguments[index - 1]
    inside = state.option_inside or 1
    letter = word.text[inside]
    inside += 1
    where = letters.find(letter)
    ended = inside >= len(word)
    found: str = letter
    value: Traced | None = None
    if where < 0 or letter == ":":
        found, value = "?", plain(letter, at) if silent else None
    elif letters[where + 1 : where + 2] == ":":
        if inside < len(word):
            value = word[inside:]
        elif index < len(arguments):
            index += 1
            value = arguments[index - 1]
        else:
            found, value = (":" if silent else "?"), plain(letter, at) if silent else None
        ended = True
    state.set("OPTIND", plain(str(index + ended)), at)
    state.option_inside = 0 if ended else inside
    if value is None:
        state.variables["OPTARG"] = replace(state.variables.get("OPTARG") or Variable(None), value=None)
    else:
        state.set("OPTARG", value, at)
    state.set(name, plain(found, at), at)
    return 0


def _forget(shell: Shell, name: str, at: int) -> None:
    """Which options there are is not known."""
    for one in (name, "OPTARG", "OPTIND"):
        shell.state.set(one, shell.state.shared.hole(Hole("command", f"${one}", at, (one,))), at)


def _finished(state: State, name: str, index: int, at: int) -> int:
    state.set("OPTIND", plain(str(index)), at)
    state.variables["OPTARG"] = replace(state.variables.get("OPTARG") or Variable(None), value=None)
    state.set(name, plain("?"), at)
    return 1


def _optind(state: State) -> int:
    variable = state.get("OPTIND")
    value = variable.scalar() if variable else None
    return (whole(value.text) if value is not None else None) or 1
