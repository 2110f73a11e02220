"""What bash itself does, what each sets and leaves, as far as it is known; ``utilities.py`` has what prints.

Every function gets the shell, the words of the command with its name, and a position; it returns the exit status, None
when that is not known. Facts: bash(1), SHELL BUILTIN COMMANDS, and the manuals of coreutils.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from bridge_args.records import dataclass, replace
from bridge_args.script.bash import conditions, guards, pattern, reading, utilities
from bridge_args.script.bash import syntax as s
from bridge_args.script.bash.arithmetic import NotANumber, Wrong, WrongIndex, whole
from bridge_args.script.bash.grammar import DECLARING
from bridge_args.script.bash.names import is_name
from bridge_args.script.bash.state import Leave, Refused, State, Variable
from bridge_args.script.bash.traced import Traced, joined, plain

if TYPE_CHECKING:
    from bridge_args.script.bash.shell import Shell

Builtin = Callable[["Shell", list[Traced], int], "int | None"]

# Programs that are asked something: their exit status is an answer, not a success.
ASKING: Final = frozenset(
    "cmp command curl diff egrep fgrep git grep hash mountpoint nc nvidia-smi pgrep ping python python3 type wget "
    "which".split()
)
_NAME: Final = re.compile(r"(?a)[A-Za-z_]\w*")
_ASSIGNED: Final = re.compile(r"(?a)([A-Za-z_]\w*)(\+?)=")


# ---------------------------------------------------------------- variables


@dataclass(frozen=True, slots=True)
class Declared:
    """An assignment among the words of ``export`` and its kind, once its value is known."""

    name: str
    value: Traced | Mapping[int | str, Traced]
    assignment: s.Assignment


def declared_words(shell: Shell, words: Sequence[s.ShellWord | s.Assignment]) -> list[Traced | Declared]:
    """The words of ``export``, ``declare``, ``local``, ``readonly``: all are expanded before any is set."""
    made: list[Traced | Declared] = []
    for word in words:
        if isinstance(word, s.ShellWord):
            made += shell.expand.words([word])
        elif isinstance(word.value, s.Array):
            options = "".join(one.text for one in made[1:] if isinstance(one, Traced) and one.text[:1] == "-")
            before = shell.state.get(word.name)
            if "A" in options and not (before and before.keyed):
                before = Variable({}, keyed=True)
            if "i" in options:
                before = replace(before or Variable({}), integer=True)
            elements = shell.assigner.array(word, before)
            if before.readonly if before else False:  # the elements were calculated, and may have set something
                raise shell.expand.mistake(f"{word.name} is readonly", word.at)
            made.append(Declared(word.name, elements, word))
        else:
            several = pattern.braces(word.value, shell.state.shared.budget)
            if several == [word.value]:
                shell.expand.declaring = True
                try:
                    made.append(Declared(word.name, shell.expand.text(word.value, assigned=True), word))
                finally:
                    shell.expand.declaring = False
                continue
            begin = s.Literal(plain(f"{word.name}{'+' if word.append else ''}=", word.at))
            made += shell.expand.words([s.ShellWord((begin, *one.parts), word.at) for one in several], elements=True)
    return made


def declare(shell: Shell, words: Sequence[Traced | Declared], at: int) -> int | None:
    """``export``, ``declare``, ``local``, ``readonly``, ``typeset``."""
    assert isinstance(words[0], Traced)
    kind, options, plus = words[0].text, "", ""
    names: list[Declared | Traced] = []
    for word in words[1:]:
        if isinstance(word, Traced) and word.text[:1] in ("-", "+") and len(word) > 1 and not names:
            options += word.text[1:] if word.text[0] == "-" else ""
            plus += word.text[1:] if word.text[0] == "+" else ""
        else:
            names.append(word)
    state = shell.state
    if kind == "local" and not state.locals:
        if any(isinstance(word, Declared) and not isinstance(word.value, Traced) for word in words):
            state.shared.say("not-read", "an array in `local` outside a function is not read", at)
        return 1
    if "f" in options or "F" in options:
        return _functions(shell, kind, options, [name for name in names if isinstance(name, Traced)])
    known = "aAgilnrtux-p" + ("cI" if kind != "export" else "")
    unread = [letter for letter in options if letter not in known] + [
        w.text for w in names if isinstance(w, Traced) and w.text == "-"
    ]
    if unread:
        state.shared.say("not-read", f"{kind} -{unread[0].lstrip('-')} is not read", at)
        return 2
    if "p" in options or not names:
        shell.write(None)
        return 0
    status = 0
    for name in names:
        try:
            status |= _declare_one(shell, kind, (options, plus), name, at)
        except Refused as refused:
            state.shared.say("not-read", f"bash does not set {refused.name} here: it is readonly", at)
            if kind in ("export", "readonly") and "errexit" in state.options:
                raise Leave("exit", 1) from refused  # even in a condition
            status = 1
    return status


def _functions(shell: Shell, kind: str, options: str, names: Sequence[Traced]) -> int | None:
    """``export -f NAME``, ``declare -f NAME``."""
    state = shell.state
    for name in names:
        function = state.functions.get(name.text)
        if function is None:
            return 1
        if kind == "export":
            state.functions_out = (
                state.functions_out | {name.text} if "n" not in options else state.functions_out - {name.text}
            )
        elif kind != "readonly":
            shell.write(function.source + plain("\n") if "F" not in options else name + plain("\n"))
        else:
            state.shared.say("not-read", f"readonly -f {name.text} is not read", name.first)
    if not names:
        shell.write(None)
    return 0


def _declare_one(shell: Shell, kind: str, letters: tuple[str, str], word: Declared | Traced, at: int) -> int:
    """The status: bash may refuse one, and goes on with the next."""
    state, options = shell.state, letters[0]
    value: Traced | Mapping[int | str, Traced] | None = None
    append, index = False, None
    if isinstance(word, Declared):
        name, value, append, index = word.name, word.value, word.assignment.append, word.assignment.index
    else:
        match = _ASSIGNED.match(word.text)
        name = match.group(1) if match else word.text
        if match:
            value, append = word[match.end() :], bool(match.group(2))
        if not _NAME.fullmatch(name):
            state.shared.say("not-read", f"{kind} {shell.rendered(word)[:60]} is not read", at)
            return 1
        if isinstance(value, Traced) and value.text[:1] == "(" and ("a" in options or "A" in options):
            state.shared.say("not-read", f"{kind} {shell.rendered(word)[:60]} is not read", at)
    before = state.variables.get(name)
    if before is not None and isinstance(before.value, dict) and ("a" if before.keyed else "A") in options:
        state.shared.say("not-read", f"bash does not make another kind of array of {name}, which is one", at)
        return 1
    if "n" in options and isinstance(value, Traced) and value.known and not re.match(r"[A-Za-z_]", value.text):
        state.shared.say("not-read", f"bash does not make {name} refer to {value.text[:60]}, which is no name", at)
        return 1
    if "n" in options and isinstance(value, Traced) and value.text == name and not state.locals:
        state.shared.say("not-read", f"bash does not make {name} refer to itself", at)
        return 1
    _attributes(state, kind, letters, name, value is None)
    variable = state.variables.get(name)
    if value is not None and variable is not None and variable.reference and "n" in options:
        state.variables[name] = replace(variable, value=value)
    elif value is not None and index is not None:
        assert isinstance(word, Declared)
        shell.assigner.assign(word.assignment)
    elif isinstance(value, Traced):
        shell.assigner.give(name, value, append, at)
    elif value is not None:
        state.set(name, value, at)
    variable = state.variables.get(name)
    if kind == "export" and "n" in options or "x" in letters[1]:
        state.variables[name] = replace(variable or Variable(None), exported=False)
        state.exported.discard(name)
    elif kind == "export" or "x" in options:
        state.export(name)
    if kind == "readonly" or "r" in options:
        state.variables[name] = replace(state.variables.get(name) or Variable(None), readonly=True)
    return 0


def _attributes(state: State, kind: str, letters: tuple[str, str], name: str, valueless: bool) -> None:
    """What the options make of a variable, before it gets its value."""
    options, plus = letters
    before = state.variables.get(name)
    inside = bool(state.locals) and (kind == "local" or (kind in ("declare", "typeset") and "g" not in options))
    hides = inside and name not in state.locals[-1] and any(name in scope for scope in state.locals)
    if before is not None and before.readonly and (inside or not valueless) and not hides:
        raise Refused(name)
    if "g" in options and state.locals:
        for scope in state.locals:
            if name in scope:
                state.shared.say("not-read", f"{kind} -g {name}, where {name} is local, is not read", -1)
    if inside and name not in state.locals[-1]:
        state.locals[-1][name] = before
        before = Variable(None, before.exported if before else name in state.exported)
        state.variables[name] = before
    made = before or Variable(None)
    if "n" in options:
        made = replace(made, reference=True)
    elif made.reference and kind != "local":
        made_for = state.target(name)
        return _attributes(state, kind, letters, made_for, valueless) if made_for != name else None
    if "A" in options and not made.keyed:
        made = replace(made, value={}, keyed=True)
    elif "a" in options and not isinstance(made.value, dict):
        made = replace(made, value=made.numbered())
    if "i" in options or "i" in plus:
        made = replace(made, integer="i" in options)
    if "n" in plus:
        made = replace(made, reference=False)
    changed = [letter for letter in options if letter in "ulc"]
    if changed or any(letter in plus for letter in "ulc"):
        made = replace(made, letters=changed[-1] if changed else "")
    if before is None and made == Variable(None):
        return  # what the environment holds stays
    state.variables[name] = made


def _unset(shell: Shell, words: list[Traced], at: int) -> int:
    state = shell.state
    options = "".join(word.text[1:] for word in words[1:] if word.text.startswith("-"))
    status = 0
    for word in words[1:]:
        text = word.text
        element = re.fullmatch(r"(?a)([A-Za-z_]\w*)\[(.+)\]", text)
        if text.startswith("-"):
            continue
        if element:
            status |= _unset_element(shell, element.group(1), element.group(2), at)
            continue
        name = text if "n" in options or not is_name(text) else state.target(text)
        variable = state.variables.get(name)
        if variable is not None and variable.readonly:
            state.shared.say("not-read", f"bash does not unset {name}: it is readonly", at)
            status = 1
        elif "f" in options or (variable is None and text in state.functions and "v" not in options):
            state.functions.pop(text, None)
            state.shared.functions.discard(text)
        elif variable is not None and variable.value is None and text in state.functions and "v" not in options:
            state.functions.pop(text, None)
        else:
            _unset_variable(state, name)
    return status


def _unset_variable(state: State, name: str) -> None:
    """A local variable of a function further out shows what it hid."""
    for scope in reversed(state.locals[:-1]):
        if name in scope and name not in state.locals[-1]:
            hidden = scope.pop(name)
            if hidden is None:
                state.variables.pop(name, None)
            else:
                state.variables[name] = hidden
            return
    state.exported.discard(name)
    state.variables[name] = Variable(None)
    if name == "OPTIND":
        state.option_inside = 0


def _unset_element(shell: Shell, name: str, index: str, at: int) -> int:
    state = shell.state
    name = state.target(name)
    variable = state.get(name)
    if variable is None or variable.value is None:
        return 0
    if variable.readonly:
        state.shared.say("not-read", f"bash does not unset {name}[{index}]: it is readonly", at)
        return 1
    elements = variable.numbered()
    key: int | str = index.strip("\"'")
    if index in ("@", "*") and not variable.keyed:
        elements = {}
    elif not variable.keyed:
        try:
            key = shell.expand.calculated(plain(str(key), at), at)
        except NotANumber:
            state.shared.say("not-read", f"unset {name}[{index}] is not read", at)
            return 1
        if key < 0:
            key += max((k for k in elements if isinstance(k, int)), default=-1) + 1
        if key < 0 or (key != 0 and isinstance(variable.value, Traced)):
            return 1
    state.shared.budget.work(len(elements), at)
    left = {k: v for k, v in elements.items() if k != key}
    state.variables[name] = replace(variable, value=left)
    return 0


# Long names of the letters of ``set``; those that change nothing that is read here are empty.
_LETTERS: Final = {
    "a": "allexport", "b": "", "e": "errexit", "f": "noglob", "h": "", "k": "keyword", "m": "", "n": "noexec",
    "p": "privileged", "r": "restricted", "t": "onecmd", "u": "nounset", "v": "", "x": "", "B": "braceexpand",
    "C": "noclobber", "E": "errtrace", "H": "", "P": "", "T": "functrace",
}  # fmt: skip
_OPTIONS_READ: Final = frozenset(("allexport", "errexit", "noglob", "nounset", "errtrace", "functrace", "pipefail", ""))
_HARMLESS: Final = frozenset(
    "notify hashall monitor verbose xtrace histexpand physical history emacs vi ignoreeof interactive-comments nolog "
    "braceexpand".split()
)


def _option(shell: Shell, name: str, on: bool, at: int) -> None:
    """``set -o NAME`` or ``+o``."""
    state = shell.state
    if name == "braceexpand" and not on or (on and name not in _OPTIONS_READ and name not in _HARMLESS):
        state.shared.say("not-read", f"set {'-' if on else '+'}o {name} is not read", at)
    state.options = state.options | {name} if on else state.options - {name}
    state.export_all = "allexport" in state.options


def _set(shell: Shell, words: list[Traced], at: int) -> int:
    index = 1
    while index < len(words):
        text = words[index].text
        if text in ("--", "-"):
            _give_positional(shell.state, words[index + 1 :])
            return 0
        if text[:1] not in ("-", "+"):
            _give_positional(shell.state, words[index:])
            return 0
        on = text[0] == "-"
        for letter in text[1:]:
            if letter == "o":
                index += 1
                if index < len(words):
                    _option(shell, words[index].text, on, at)
                else:
                    shell.write(None)
            else:
                _option(shell, _LETTERS.get(letter, letter), on, at)
        index += 1
    if len(words) == 1:
        shell.write(None)
    return 0


def _give_positional(state: State, words: Sequence[Traced]) -> None:
    state.positional = list(words)
    state.positional_given += 1
    state.may_have_positional = False


def _shift(shell: Shell, words: list[Traced], at: int) -> int | None:
    state = shell.state
    if len(words) > 2 and _signed(words[1].text) is not None:
        raise shell.expand.great_mistake("shift takes one number", at)
    text = words[1].text if len(words) > 1 else "1"
    count = whole(text.removeprefix("+"))
    if count is None:
        if not (len(words) > 1 and words[1].known):
            state.shared.say("not-read", f"shift {shell.rendered_all(words[1:])} is not read", at)
        return 1
    if count > len(state.positional):
        return 1
    uncertain = "".join(word.text for word in state.positional[:count] if word.vanishes)
    if uncertain and state.positional[count:]:
        names = ", ".join(state.shared.names_in(uncertain))
        message = f"what {shell.rendered_all(words)} leaves is not known without {names}, which may be no word at all"
        state.shared.say("not-read", message, at, "give it with --set NAME=VALUE, or put it in quotes")
    state.positional = state.positional[count:]
    state.may_have_positional = False
    return None if uncertain else 0


def _let(shell: Shell, words: list[Traced], at: int) -> int | None:
    value = 0
    for word in words[1:]:
        try:
            value = shell.expand.calculated(word, at)
        except WrongIndex as wrong:
            raise shell.expand.wrong_index(word.text, wrong, at) from wrong
        except Wrong as wrong:
            shell.state.shared.say("not-read", f"bash does not do {word.text[:60]}: {wrong}", at)
            return 1
        except NotANumber:
            return None
    return int(value == 0)


# ---------------------------------------------------------------- control


def _signed(text: str) -> int | None:
    """A whole number; None for any other text."""
    number = whole(text[text[:1] in ("-", "+") :])
    return -number if number is not None and text[0] == "-" else number


def _leave(shell: Shell, words: list[Traced], at: int) -> int | None:
    what, state = words[0].text, shell.state
    if len(words) > 2 and _signed(words[1].text) is not None and (state.loops or what in ("exit", "return")):
        raise shell.expand.great_mistake(f"{what} takes one number", at)
    if what == "return" and not state.returns:
        return 2  # bash complains, and goes on
    if what in ("break", "continue"):
        if not state.loops:
            return 0
        count = whole(words[1].text) if len(words) > 1 else 1
        if count is None:
            count = 1
            state.shared.say("not-read", f"{shell.rendered_all(words)} is not read", at)
        raise Leave("break" if count == 0 else what, max(1, min(count, state.loops)))
    value: int | None = state.status
    if len(words) > 1:
        text = words[1].text
        given = _signed(text)
        value = (2 if words[1].known else None) if given is None else given & 0xFF
    if what == "exit":
        if not state.forked:
            state.shared.exits.append(guards.end(state, at))
    raise Leave(what, value)


def _trap(shell: Shell, words: list[Traced], at: int) -> int:
    """``trap 'commands' EXIT``: what is run when the shell ends or a command fails is read there."""
    state = shell.state
    rest = words[1:]
    if rest and rest[0].text == "--":
        rest = rest[1:]
    if not rest or rest[0].text in ("-p", "-l", "-P"):
        shell.write(None)
        return 0
    body: Traced | None = rest[0] if len(rest) > 1 else None
    names = rest[1:] if len(rest) > 1 else rest
    for word in names:
        name = {"0": "EXIT"}.get(word.text, word.text.upper().removeprefix("SIG"))
        if body is None or body.text == "-":
            state.traps.pop(name, None)
            continue
        state.traps[name] = body
        if name in ("DEBUG", "RETURN") and body:
            state.shared.say("not-read", f"what `trap` has for {name} is not read", at)
    shell.record(words, state, at)
    return 0


def _eval(shell: Shell, words: list[Traced], at: int) -> int | None:
    return shell.called().program(joined(words[1:], " "))


def _source(shell: Shell, words: list[Traced], at: int) -> int | None:
    if len(words) < 2:
        return 1
    text = shell.files.content(words[1])
    state = shell.state
    if text is None:
        name = shell.rendered(words[1])
        message = f"{name} is not read: it is not beside the script"
        state.shared.say("not-read", message, at, "what it sets can be given with --set NAME=VALUE")
        return None if shell.asked else 0
    before = (state.positional, state.variables.get("BASH_SOURCE"))
    given = state.positional_given
    if len(words) > 2:
        if state.positional and all(word.vanishes for word in words[2:]):
            message = f"the words of {shell.rendered_all(words)} are those of the script when they are empty"
            state.shared.say("not-read", message, at, "put them in quotes")
        state.positional = list(words[2:])
    state.variables["BASH_SOURCE"] = Variable({0: words[1]})
    state.returns += 1
    try:
        return shell.called().program(text)
    except Leave as leave:
        if leave.what != "return":
            raise
        return leave.value
    finally:
        state.returns -= 1
        if len(words) > 2 and (state.positional_given == given or state.locals):
            state.positional = before[0]
        if before[1] is not None:
            state.variables["BASH_SOURCE"] = before[1]


def _exec(shell: Shell, words: list[Traced], at: int) -> int | None:
    while len(words) > 1 and words[1].text.startswith("-"):
        words = [words[0], *words[3 if words[1].text == "-a" else 2 :]]
    if len(words) < 2:
        return 0
    rest = words[1:]
    program = plain("exec", at)  # what has the name of a builtin is a program of that name here
    if rest[0].text in _OF_BASH and rest[0].text not in ("echo", "printf", "true", "false", "test", "[", "pwd", "kill"):
        shell.record([program, *rest], shell.state, at)
    else:
        shell.run(rest, (), at, functions=False)
    shell.state.traps.pop("EXIT", None)
    raise Leave("exit", 0)


def _command(shell: Shell, words: list[Traced], at: int) -> int | None:
    if len(words) < 2:
        return 0
    if words[1].text in ("-v", "-V"):
        if words[2:] and (words[2].text in _OF_BASH or words[2].text in shell.state.functions):
            shell.write(words[2] + plain("\n") if words[1].text == "-v" else None)
            return 0
        shell.write(None)
        return None
    rest = words[2:] if words[1].text in ("-p", "--") else words[1:]
    if words[0].text == "builtin" and rest and rest[0].text not in _OF_BASH and rest[0].text not in DECLARING:
        return 1
    return shell.run(rest, (), at, functions=False)


_SHOPT_READ: Final = frozenset("extglob lastpipe inherit_errexit nullglob failglob".split())
_SHOPT_MATTERS: Final = frozenset(
    "compat31 compat32 compat40 compat41 compat42 compat43 compat44 execfail expand_aliases localvar_inherit "
    "localvar_unset nocasematch xpg_echo assoc_expand_once array_expand_once".split()
)


def _shopt(shell: Shell, words: list[Traced], at: int) -> int | None:
    state = shell.state
    options = "".join(word.text[1:] for word in words[1:] if word.text.startswith("-"))
    names = [word for word in words[1:] if not word.text.startswith("-")]
    if "s" not in options and "u" not in options:
        shell.write(None)
        return None
    for word in names:
        name, on = word.text, "s" in options
        if "o" in options:
            _option(shell, name, on, at)
            continue
        matters = not word.known or (on and name in _SHOPT_MATTERS) or (not on and name in ("patsub_replacement",))
        if matters:
            state.shared.say("not-read", f"shopt {shell.rendered_all(words[1:])} is not read", at)
        state.options = state.options | {name} if on else state.options - {name}
    return 0


def _nothing(shell: Shell, words: list[Traced], at: int) -> int:
    return 0


def _false(shell: Shell, words: list[Traced], at: int) -> int:
    return 1


def _of_process(shell: Shell, words: list[Traced], at: int) -> int:
    """It changes nothing that is read here, but the processes that follow: told among the programs."""
    if len(words) < 2 or words[-1].text.startswith("-"):
        shell.write(None)
    shell.record(words, shell.state, at)
    return 0


def _unknown(shell: Shell, words: list[Traced], at: int) -> None:
    shell.write(None)


def _test(shell: Shell, words: list[Traced], at: int) -> int | None:
    rest = words[1:]
    if words[0].text == "[":
        if not rest or rest[-1].text != "]":
            return 2
        rest = rest[:-1]
    for word in rest:
        if word.vanishes:
            shell.state.taken_as_unset(word)
    rest = [word for word in rest if not word.vanishes]  # ``[ -n $A ]`` holds where A is empty
    try:
        value = conditions.test(rest, shell.state)
    except conditions.NotATest:
        return 2
    return None if value is None else int(not value)


def _printing(shell: Shell, words: list[Traced], at: int) -> int:
    shell.write(None)
    return 0


def _of_jobs(shell: Shell, words: list[Traced], at: int) -> int | None:
    return None if shell.asked or len(words) > 1 and words[1].text == "-0" else 0


def _alias(shell: Shell, words: list[Traced], at: int) -> int:
    """Without ``shopt -s expand_aliases``, which is told, a script's aliases have no effect."""
    if len(words) < 2:
        shell.write(None)
    return 0


def _enable(shell: Shell, words: list[Traced], at: int) -> int:
    if len(words) > 1:
        shell.state.shared.say("not-read", f"{shell.rendered_all(words)} is not read", at)
    return _printing(shell, words, at)


_NO_EFFECT: Final = ": true disown unalias sleep".split()
_OF_BASH: Final[dict[str, Builtin]] = {
    **dict.fromkeys(_NO_EFFECT, _nothing),
    **dict.fromkeys(("ulimit", "umask"), _of_process),
    **dict.fromkeys(("bind", "help", "history", "jobs", "times"), _printing),
    **dict.fromkeys(("kill", "wait"), _of_jobs),
    "alias": _alias, "enable": _enable, "trap": _trap, "shopt": _shopt,
    "false": _false, "hash": _unknown, "type": _unknown, "[": _test, "test": _test,
    "break": _leave, "continue": _leave, "exit": _leave, "return": _leave,
    "builtin": _command, "command": _command, "eval": _eval, "exec": _exec, "source": _source, ".": _source,
    "getopts": reading.getopts, "let": _let, "mapfile": reading.mapfile, "read": reading.read,
    "readarray": reading.mapfile, "set": _set, "shift": _shift, "unset": _unset,
    "cd": utilities.cd, "popd": utilities.cd, "pushd": utilities.cd, "pwd": utilities.pwd, "echo": utilities.echo,
    "printf": utilities.printf,
}  # fmt: skip
_PROGRAMS: Final[dict[str, Builtin]] = {
    "basename": utilities.basename, "bc": utilities.bc, "cat": utilities.cat, "cut": utilities.cut,
    "dirname": utilities.dirname, "expr": utilities.expr, "head": utilities.head, "readlink": utilities.realpath,
    "realpath": utilities.realpath, "seq": utilities.seq, "tail": utilities.head, "tee": utilities.tee,
    "tr": utilities.tr, "wc": utilities.wc,
}  # fmt: skip
BUILTINS: Final[dict[str, Builtin]] = {**_OF_BASH, **_PROGRAMS}


def is_of_bash(name: str) -> bool:
    """Is it a command of bash itself, not a program?"""
    return name in _OF_BASH or name in DECLARING
