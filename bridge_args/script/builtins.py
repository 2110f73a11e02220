"""What bash itself does, what each sets and leaves, as far as it is known; ``utilities.py`` has what prints.

Every function gets the shell, the words of the command with its name, and a position; it returns the exit status, None
when that is not known. Facts: bash(1), SHELL BUILTIN COMMANDS, and the manuals of coreutils.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from bridge_args.script import conditions, utilities
from bridge_args.script import syntax as s
from bridge_args.script.arithmetic import NotANumber, evaluate
from bridge_args.script.state import Hole, Leave, State, Variable
from bridge_args.script.traced import Traced, joined, plain

if TYPE_CHECKING:
    from bridge_args.script.shell import Shell

Builtin = Callable[["Shell", list[Traced], int], "int | None"]

# Programs that are asked something: their exit status is an answer, not a success.
ASKING: Final = frozenset(
    "cmp command curl diff egrep fgrep git grep hash mountpoint nc nvidia-smi pgrep ping python python3 type wget "
    "which".split()
)
_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_ASSIGNED: Final = re.compile(r"([A-Za-z_]\w*)(\+?)=")


# ---------------------------------------------------------------- variables


def declare(shell: Shell, kind: str, words: Sequence[s.ShellWord | s.Assignment]) -> int:
    """``export``, ``declare``, ``local``, ``readonly``; assignments among the words keep their arrays."""
    options = ""
    state = shell.state
    for word in words:
        if isinstance(word, s.Assignment):
            _declared(state, kind, options, word.name)
            shell.assign(word)
            _export(state, kind, options, word.name)
            continue
        for text in shell.expand.words([word]):
            match = _ASSIGNED.match(text.text)
            if text.text[:1] in ("-", "+"):
                options += text.text if text.text[0] == "-" else ""
            elif match:
                _declared(state, kind, options, match.group(1))
                value = text[match.end() :]
                if match.group(2):
                    before = state.get(match.group(1))
                    value = ((before.scalar() if before else None) or Traced()) + value
                state.set(match.group(1), value, word.at)
                _export(state, kind, options, match.group(1))
            elif _NAME.fullmatch(text.text) and "f" not in options and "p" not in options:
                _declared(state, kind, options, text.text, valueless=True)
                _export(state, kind, options, text.text)
    return 0


def _declared(state: State, kind: str, options: str, name: str, valueless: bool = False) -> None:
    local = kind == "local" or (kind in ("declare", "typeset") and state.locals and "g" not in options)
    if local and state.locals:
        state.locals[-1].setdefault(name, state.variables.get(name))
        if valueless:
            state.variables[name] = Variable({} if "a" in options or "A" in options else None, keyed="A" in options)
    before = state.variables.get(name)
    if "A" in options and (before is None or not before.keyed):
        state.variables[name] = Variable({}, keyed=True)
    elif "a" in options and before is None:
        state.variables[name] = Variable({})
    elif "i" in options:
        state.variables[name] = Variable(before.value if before else None, integer=True)


def _export(state: State, kind: str, options: str, name: str) -> None:
    if kind == "export" and "n" in options:
        variable = state.variables.get(name)
        if variable:
            state.variables[name] = Variable(variable.value, False, variable.keyed, variable.integer)
    elif kind == "export" or "x" in options:
        state.export(name)


def _unset(shell: Shell, words: list[Traced], at: int) -> int:
    state = shell.state
    for word in words[1:]:
        text = word.text
        element = re.fullmatch(r"([A-Za-z_]\w*)\[(.+)\]", text)
        if text == "-f" or text == "-v":
            continue
        if element:
            variable = state.get(element.group(1))
            if variable and variable.value is not None and not isinstance(variable.value, Traced):
                key: int | str = element.group(2).strip("\"'")
                if not variable.keyed:
                    try:
                        key = evaluate(str(key), shell.expand)
                    except NotANumber:
                        return 1
                left = {k: v for k, v in variable.value.items() if k != key}
                state.variables[element.group(1)] = Variable(left, variable.exported, variable.keyed)
        else:
            state.variables[text] = Variable(None)
            state.functions.pop(text, None)
    return 0


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
        if "a" in text[1:]:
            shell.state.export_all = text[0] == "-"
        index += 2 if text.endswith("o") else 1  # set -euo pipefail
    return 0


def _give_positional(state: State, words: Sequence[Traced]) -> None:
    state.positional = list(words)
    state.may_have_positional = False


def _shift(shell: Shell, words: list[Traced], at: int) -> int:
    count = int(words[1].text) if len(words) > 1 and words[1].text.isdigit() else 1
    state = shell.state
    if count > len(state.positional):
        return 1
    state.positional = state.positional[count:]
    state.may_have_positional = False
    return 0


def _read(shell: Shell, words: list[Traced], at: int) -> int | None:
    """``read -r A B`` and ``read -a ARRAY``, from known input."""
    names: list[str] = []
    raw = False
    array = ""
    index = 1
    while index < len(words):
        text = words[index].text
        if text.startswith("-") and len(text) > 1:
            raw |= "r" in text
            if text[-1] in "adnNptu" and index + 1 < len(words):
                index += 1
                array = words[index].text if text[-1] == "a" else array
                if text[-1] == "d" and words[index].text not in ("", "\n"):
                    shell.state.shared.say("not-read", f"read -d {words[index].text} is not read", at)
                if text[-1] == "d" and words[index].text == "" and shell.stdin.text is not None:
                    whole = shell.stdin.text
                    shell.stdin.text = Traced()
                    for word in words[index + 1 :]:
                        shell.state.set(word.text, whole[: len(whole.text.rstrip("\n"))], at)
                    return 1
        else:
            names.append(text)
        index += 1
    if shell.stdin.text is None:
        for name in [*names, *([array] if array else [])] or ["REPLY"]:
            shell.state.set(name, shell.state.shared.hole(Hole("command", f"${name}", at, (name,))), at)
        return None
    line = shell.stdin.line()
    value = line if line is not None else Traced()
    ended = not value.text.endswith("\n")
    value = value[: len(value.text.rstrip("\n"))]
    if not raw and "\\" in value.text:
        keep = [i for i, char in enumerate(value.text) if char != "\\" or value.text[i - 1 : i] == "\\"]
        value = Traced("".join(value.text[i] for i in keep), tuple(value.at[i] for i in keep))
    if array:
        shell.state.set(array, dict(enumerate(shell.expand.split(value))), at)
    elif not names:
        shell.state.set("REPLY", value, at)
    else:
        pieces = shell.expand.split(value, len(names))
        for index, name in enumerate(names):
            shell.state.set(name, pieces[index] if index < len(pieces) else Traced(), at)
    return int(line is None or ended)


def _mapfile(shell: Shell, words: list[Traced], at: int) -> int:
    name = words[-1].text if len(words) > 1 and not words[-1].text.startswith("-") else "MAPFILE"
    if any(word.text in ("-d", "-n", "-s", "-O") for word in words):
        shell.state.shared.say("not-read", f"{words[0].text} with {words[1].text} is not read", at)
    if shell.stdin.text is None:
        shell.state.set(name, {0: shell.state.shared.hole(Hole("command", f"${{{name}[@]}}", at, (name,)))}, at)
        return 0
    strip = any(word.text.startswith("-") and "t" in word.text for word in words[1:])
    lines: dict[int | str, Traced] = {}
    while (line := shell.stdin.line()) is not None:
        lines[len(lines)] = line[: len(line.text.rstrip("\n"))] if strip else line
    shell.state.set(name, lines, at)
    return 0


def _let(shell: Shell, words: list[Traced], at: int) -> int | None:
    value = 0
    for word in words[1:]:
        try:
            value = evaluate(word.text, shell.expand)
        except NotANumber:
            return None
    return int(value == 0)


def _getopts(shell: Shell, words: list[Traced], at: int) -> int:
    """Options among the positional parameters, one each time."""
    state = shell.state
    arguments = list(words[3:]) or state.positional
    letters = words[1].text.removeprefix(":") if len(words) > 1 else ""
    index = _optind(state)
    inside = state.option_inside
    name = words[2].text if len(words) > 2 else "OPT"
    if index > len(arguments) or (not inside and (arguments[index - 1].text in ("-", "--"))):
        if index <= len(arguments) and arguments[index - 1].text == "--":
            index += 1
        state.set("OPTIND", plain(str(index)), at)
        state.set(name, plain("?"), at)
        return 1
    word = arguments[index - 1]
    if not inside and not word.text.startswith("-"):
        state.set(name, plain("?"), at)
        return 1
    inside = inside or 1
    letter = word.text[inside]
    state.variables["OPTARG"] = Variable(None)
    where = letters.find(letter)
    if where < 0 or letter == ":":
        state.set(name, plain("?"), at)
        if words[1].text.startswith(":"):
            state.set("OPTARG", plain(letter), at)
    elif letters[where + 1 : where + 2] == ":":
        value = word[inside + 1 :]
        if not value:
            index += 1
            value = arguments[index - 1] if index <= len(arguments) else Traced()
        state.set(name, plain(letter), at)
        state.set("OPTARG", value, at)
        inside = len(word)
    else:
        state.set(name, plain(letter), at)
    inside += 1
    if inside >= len(word):
        index, inside = index + 1, 0
    state.option_inside = inside
    state.set("OPTIND", plain(str(index)), at)
    return 0


def _optind(state: State) -> int:
    variable = state.get("OPTIND")
    value = variable.scalar() if variable else None
    return int(value.text) if value is not None and value.text.isdigit() and int(value.text) > 0 else 1


# ---------------------------------------------------------------- control


def _leave(shell: Shell, words: list[Traced], at: int) -> int:
    what = words[0].text
    value: int | None = shell.state.status if what in ("exit", "return") else 1
    if len(words) > 1:
        value = int(words[1].text) if re.fullmatch(r"-?\d+", words[1].text) else None
    if what == "exit":
        shell.state.shared.exits.append((at, value))
    raise Leave(what, value)


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
    if len(words) > 2:
        state.positional = list(words[2:])
    state.variables["BASH_SOURCE"] = Variable({0: words[1]})
    try:
        return shell.called().program(text)
    except Leave as leave:
        if leave.what != "return":
            raise
        return leave.value
    finally:
        if len(words) > 2:
            state.positional = before[0]
        if before[1] is not None:
            state.variables["BASH_SOURCE"] = before[1]


def _exec(shell: Shell, words: list[Traced], at: int) -> int | None:
    while len(words) > 1 and words[1].text.startswith("-"):
        words = [words[0], *words[3 if words[1].text == "-a" else 2 :]]
    if len(words) < 2:
        return 0
    shell.run(words[1:], (), at)
    raise Leave("exit", 0)


def _command(shell: Shell, words: list[Traced], at: int) -> int | None:
    if len(words) < 2:
        return 0
    if words[1].text in ("-v", "-V"):
        if words[2:] and (words[2].text in _OF_BASH or words[2].text in shell.state.functions):
            shell.write(words[2] + plain("\n"))
            return 0
        shell.write(None)
        return None
    rest = words[2:] if words[1].text == "-p" else words[1:]
    return shell.run(rest, (), at)


def _nothing(shell: Shell, words: list[Traced], at: int) -> int:
    return 0


def _false(shell: Shell, words: list[Traced], at: int) -> int:
    return 1


def _of_process(shell: Shell, words: list[Traced], at: int) -> int:
    """It changes nothing that is read here, but the processes that follow: told among the programs."""
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
    value = conditions.test(rest, shell.state)
    return None if value is None else int(not value)


_NO_EFFECT: Final = ": true alias bind disown enable help history jobs kill shopt sleep times unalias wait".split()
_OF_BASH: Final[dict[str, Builtin]] = {
    **dict.fromkeys(_NO_EFFECT, _nothing),
    **dict.fromkeys(("trap", "ulimit", "umask"), _of_process),
    "false": _false, "hash": _unknown, "type": _unknown, "[": _test, "test": _test,
    "break": _leave, "continue": _leave, "exit": _leave, "return": _leave,
    "builtin": _command, "command": _command, "eval": _eval, "exec": _exec, "source": _source, ".": _source,
    "getopts": _getopts, "let": _let, "mapfile": _mapfile, "read": _read, "readarray": _mapfile, "set": _set,
    "shift": _shift, "unset": _unset,
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
