"""What bash itself does, and small programs that only compute: what each prints and sets, as far as it is known.

Every function gets the shell, the words of the command with its name, and a position; it returns the exit status, None
when that is not known. Facts: bash(1), SHELL BUILTIN COMMANDS, and the manuals of coreutils.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from bridge_args.script import conditions
from bridge_args.script import syntax as s
from bridge_args.script.arithmetic import NotANumber, evaluate
from bridge_args.script.state import MAX_WORDS, Hole, State, Variable
from bridge_args.script.traced import FIRST_HOLE, Traced, is_hole, joined, plain

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
    for index, word in enumerate(words[1:], start=1):
        if word.text in ("--", "-"):
            _give_positional(shell.state, words[index + 1 :])
            return 0
        if word.text in ("-o", "+o"):
            return 0
        if word.text[:1] not in ("-", "+"):
            _give_positional(shell.state, words[index:])
            return 0
        if "a" in word.text[1:]:
            shell.state.export_all = word.text[0] == "-"
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
    text = line if line is not None else Traced()
    ended = not text.text.endswith("\n")
    text = text[: len(text.text.rstrip("\n"))]
    if not raw and "\\" in text.text:
        keep = [i for i, char in enumerate(text.text) if char != "\\" or text.text[i - 1 : i] == "\\"]
        text = Traced("".join(text.text[i] for i in keep), tuple(text.at[i] for i in keep))
    if array:
        shell.state.set(array, dict(enumerate(shell.expand.split(text))), at)
    elif not names:
        shell.state.set("REPLY", text, at)
    else:
        for name, value in zip(names, shell.expand.split(text, len(names)), strict=False):
            shell.state.set(name, value, at)
        for name in names[len(shell.expand.split(text, len(names))) :]:
            shell.state.set(name, Traced(), at)
    return int(line is None or ended)


def _mapfile(shell: Shell, words: list[Traced], at: int) -> int:
    name = words[-1].text if len(words) > 1 and not words[-1].text.startswith("-") else "MAPFILE"
    if any(word.text in ("-d", "-n", "-s", "-O") for word in words):
        shell.state.shared.say("not-read", f"{words[0].text} with {words[1].text} is not read", at)
    if shell.stdin.text is None:
        shell.state.set(name, {0: shell.state.shared.hole(Hole("command", "${%s[@]}" % name, at, (name,)))}, at)
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
    from bridge_args.script.shell import Leave

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
    from bridge_args.script.shell import Leave

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
    from bridge_args.script.shell import Leave

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
        if words[2:] and (words[2].text in BUILTINS_OF_BASH or words[2].text in shell.state.functions):
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


# ---------------------------------------------------------------- printing


def _echo(shell: Shell, words: list[Traced], at: int) -> int:
    rest = words[1:]
    newline, escapes = True, False
    while rest and re.fullmatch(r"-[neE]+", rest[0].text):
        newline &= "n" not in rest[0].text
        escapes = ("e" in rest[0].text) or (escapes and "E" not in rest[0].text)
        rest = rest[1:]
    text = joined(rest, " ")
    if escapes:
        text = _unescaped(text)
    shell.write(text + plain("\n", at) if newline else text)
    return 0


_ESCAPES: Final = {"n": "\n", "t": "\t", "\\": "\\", "a": "\a", "b": "\b", "r": "\r", "e": "\x1b", '"': '"', "v": "\v"}


def _unescaped(text: Traced) -> Traced:
    made: list[Traced] = []
    i = 0
    while i < len(text):
        if text.text[i] == "\\" and text.text[i + 1 : i + 2] in _ESCAPES and i + 1 < len(text):
            made.append(plain(_ESCAPES[text.text[i + 1]], text.at[i]))
            i += 2
        elif match := re.compile(r"\\(?:0([0-7]{1,3})|([0-7]{1,3})|x([0-9a-fA-F]{1,2}))").match(text.text, i):
            octal = match.group(1) or match.group(2)
            made.append(plain(chr(int(octal, 8) if octal else int(match.group(3), 16)), text.at[i]))
            i = match.end()
        else:
            end = text.text.find("\\", i + 1)
            end = len(text) if end < 0 else end
            made.append(text[i:end])
            i = end
    return joined(made)


_FORMAT: Final = re.compile(r"%(?:%|([-0 +#]*)(\d*)((?:\.\d+)?)([sdiuxXofgebc]))")


def _printf(shell: Shell, words: list[Traced], at: int) -> int:
    rest = words[1:]
    name = ""
    if rest and rest[0].text == "-v" and len(rest) > 1:
        name = rest[1].text
        rest = rest[2:]
    if rest and rest[0].text == "--":
        rest = rest[1:]
    text = _formatted(rest[0], rest[1:]) if rest else Traced()
    if name:
        value = shell.state.shared.hole(Hole("command", shell.rendered_all(words), at)) if text is None else text
        shell.state.set(name, value, at)
    else:
        shell.write(text)
    return 0


def _formatted(form: Traced, arguments: list[Traced]) -> Traced | None:
    made = Traced()
    rest = list(arguments)
    rounds = 0
    while True:
        rounds += 1
        used = False
        done = 0
        for match in _FORMAT.finditer(form.text):
            made += _unescaped(form[done : match.start()])
            done = match.end()
            if match.group() == "%%":
                made += plain("%", form.at[match.start()])
                continue
            used = True
            argument = rest.pop(0) if rest else Traced()
            piece = _piece(match, argument)
            if piece is None:
                return None
            made += piece
        if "%" in _FORMAT.sub("", form.text):
            return None
        made += _unescaped(form[done:])
        if not rest or not used or rounds > MAX_WORDS:
            return made


def _piece(match: re.Match[str], argument: Traced) -> Traced | None:
    flags, width, precision, letter = match.groups()
    if letter in ("s", "b", "c"):
        text = _unescaped(argument) if letter == "b" else argument
        if letter == "c":
            return text[:1]
        if precision:
            text = text[: int(precision[1:] or 0)]
        if not width:
            return text
        if not text.known:
            return None
        blanks = plain(" " * max(0, int(width) - len(text)), text.first)
        return text + blanks if "-" in flags else blanks + text
    if letter not in ("d", "i", "u", "x", "X", "o", "f"):
        return None
    try:
        if letter == "f":
            number: float = float(argument.text or "0")
        else:
            number = int(argument.text or "0", 0) if not re.fullmatch(r"0\d+", argument.text) else int(argument.text, 8)
    except ValueError:
        return None
    if int(width or 0) > MAX_WORDS:
        return None
    letter = "d" if letter in ("i", "u") else letter
    return plain(("%" + flags + width + precision + letter) % number, argument.first)


# ---------------------------------------------------------------- files and folders


def _cat(shell: Shell, words: list[Traced], at: int) -> int | None:
    shell.write(_input(shell, [word for word in words[1:] if not _is_option(word)]))
    return 0


def _is_option(word: Traced) -> bool:
    return word.text.startswith("-") and len(word) > 1


def _input(shell: Shell, files: Sequence[Traced]) -> Traced | None:
    """The text of files, or of standard input."""
    if not files or [file.text for file in files] == ["-"]:
        text, shell.stdin.text = shell.stdin.text, Traced() if shell.stdin.text is not None else None
        return text
    made = Traced()
    for file in files:
        text = shell.files.content(file)
        if text is None:
            return None
        made += text
    return made


def _tee(shell: Shell, words: list[Traced], at: int) -> int:
    append = any(word.text in ("-a", "--append") for word in words[1:])
    text = _input(shell, [])
    for word in words[1:]:
        if not _is_option(word):
            shell.files.store(word, text, append)
    shell.write(text)
    return 0


def _cd(shell: Shell, words: list[Traced], at: int) -> int:
    state = shell.state
    rest = [word for word in words[1:] if not (_is_option(word) and word.text in ("-P", "-L", "--"))]
    folder = shell.files.folder(rest[0]) if rest and words[0].text != "popd" else None
    if folder is None:
        state.cwd_is_start = False
    state.cwd = folder
    state.variables["PWD"] = Variable(
        state.shared.hole(Hole("file", "$PWD", at, (), path=str(folder) if folder else ""))
    )
    return 0


def _pwd(shell: Shell, words: list[Traced], at: int) -> int:
    path = str(shell.state.cwd) if shell.state.cwd else ""
    shell.write(shell.state.shared.hole(Hole("file", "$(pwd)", at, path=path)) + plain("\n", at))
    return 0


def _realpath(shell: Shell, words: list[Traced], at: int) -> int:
    rest = [word for word in words[1:] if not _is_option(word)]
    if len(rest) != 1 or not shell.state.as_unset(rest[0]):
        shell.write(None)
        return 0
    found = shell.files.find(rest[0]) or shell.files.folder(rest[0])
    written = f"$({shell.rendered_all(words)})"
    hole = Hole("file", written, at, path=str(found) if found else "")
    shell.write(shell.state.shared.hole(hole) + plain("\n", at))
    return 0


def _dirname(shell: Shell, words: list[Traced], at: int) -> int:
    rest = [word for word in words[1:] if not _is_option(word)]
    if len(rest) != 1:
        shell.write(None)
        return 0
    path = rest[0]
    stripped = path[: len(path.text.rstrip("/"))]
    head, slash, last = stripped.text.rpartition("/")
    if any(map(is_hole, last)):
        hole = shell.state.shared.holes[ord(last[-1]) - FIRST_HOLE] if is_hole(last[-1]) else None
        if hole is None or not hole.path or len(last) > 1:
            shell.write(None)
            return 0
        made = Hole("file", f"$({shell.rendered_all(words)})", at, path=os.path.dirname(hole.path))
        shell.write(shell.state.shared.hole(made) + plain("\n", at))
        return 0
    if not stripped:
        made_text = plain("/" if path else ".", at)
    elif not slash:
        made_text = plain(".", at)
    else:
        made_text = stripped[: len(head.rstrip("/"))] or plain("/", at)
    shell.write(made_text + plain("\n", at))
    return 0


def _basename(shell: Shell, words: list[Traced], at: int) -> int:
    rest = words[1:]
    if not rest or _is_option(rest[0]) or len(rest) > 2:
        shell.write(None)
        return 0
    path = rest[0][: len(rest[0].text.rstrip("/"))]
    name = path[path.text.rfind("/") + 1 :]
    if not name.known or not name:
        shell.write(None if not name.known else plain("/\n", at))
        return 0
    if len(rest) == 2 and name.text.endswith(rest[1].text) and name.text != rest[1].text and rest[1]:
        name = name[: len(name) - len(rest[1])]
    shell.write(name + plain("\n", at))
    return 0


# ---------------------------------------------------------------- numbers and lines


def _seq(shell: Shell, words: list[Traced], at: int) -> int:
    texts = [word.text for word in words[1:]]
    separator = "\n"
    if texts[:1] == ["-s"] and len(texts) > 1:
        separator = texts[1]
        texts = texts[2:]
    if not texts or len(texts) > 3 or not all(re.fullmatch(r"-?\d{1,9}", text) for text in texts):
        shell.write(None)
        return 0
    numbers = [int(text) for text in texts]
    first = numbers[0] if len(numbers) > 1 else 1
    step = numbers[1] if len(numbers) == 3 else 1
    last = numbers[-1]
    if step == 0 or abs(last - first) // abs(step) > MAX_WORDS:
        shell.write(None)
        return 0
    series = range(first, last + (1 if step > 0 else -1), step)
    shell.write(plain(separator.join(map(str, series)) + "\n" if series else "", at))
    return 0


def _expr(shell: Shell, words: list[Traced], at: int) -> int | None:
    text = " ".join(word.text for word in words[1:])
    if not re.fullmatch(r"[-\d+*/%() ]+", text):
        shell.write(None)
        return None
    return _calculated(shell, text, at)


def _bc(shell: Shell, words: list[Traced], at: int) -> int | None:
    text = _input(shell, [])
    if text is None or not re.fullmatch(r"\s*[-\d+*/() ]+\s*", text.text) or "--" in text.text or len(words) > 1:
        shell.write(None)
        return 0
    return _calculated(shell, text.text, at)


def _calculated(shell: Shell, text: str, at: int) -> int | None:
    text = re.sub(r"\b0+(?=\d)", "", text)
    try:
        value = evaluate(text, shell.expand)
    except NotANumber:
        shell.write(None)
        return None
    shell.write(plain(f"{value}\n", at))
    return 0


def _head(shell: Shell, words: list[Traced], at: int) -> int:
    count, files = 10, []
    rest = list(words[1:])
    while rest:
        text = rest.pop(0).text
        match = re.fullmatch(r"-n?(\d+)", text)
        if match:
            count = int(match.group(1))
        elif text == "-n" and rest and rest[0].text.isdigit():
            count = int(rest.pop(0).text)
        elif text.startswith("-"):
            shell.write(None)
            return 0
        else:
            files.append(words[-1])
    text_in = _input(shell, files)
    if text_in is None:
        shell.write(None)
        return 0
    lines = _lines(text_in)
    shell.write(joined(lines[:count] if words[0].text == "head" else lines[max(0, len(lines) - count) :]))
    return 0


def _lines(text: Traced) -> list[Traced]:
    lines = []
    while text:
        end = text.text.find("\n") + 1 or len(text)
        lines.append(text[:end])
        text = text[end:]
    return lines


def _wc(shell: Shell, words: list[Traced], at: int) -> int:
    options = "".join(word.text[1:] for word in words[1:] if _is_option(word))
    files = [word for word in words[1:] if not _is_option(word)]
    text = _input(shell, files)
    if text is None or not text.known or options not in ("l", "w", "c") or files:
        shell.write(None)
        return 0
    counts = {"l": text.text.count("\n"), "w": len(text.text.split()), "c": len(text.text.encode())}
    shell.write(plain(f"{counts[options]}\n", at))
    return 0


def _cut(shell: Shell, words: list[Traced], at: int) -> int:
    delimiter, field = "\t", ""
    rest = [word.text for word in words[1:]]
    while rest:
        word = rest.pop(0)
        if word[:2] in ("-d", "-f"):
            value = word[2:] or (rest.pop(0) if rest else "")
            if word[1] == "d":
                delimiter = value
            else:
                field = value
        else:
            field = ""
            break
    text = _input(shell, []) if field else None
    fields = re.fullmatch(r"(\d+)(-?)(\d*)", field)
    if text is None or fields is None or len(delimiter) != 1 or not text.known:
        shell.write(None)
        return 0
    first = int(fields.group(1))
    last = int(fields.group(3)) if fields.group(3) else (first if not fields.group(2) else None)
    made = []
    for line in _lines(text):
        pieces = line.text.rstrip("\n").split(delimiter)
        kept = pieces if len(pieces) == 1 else pieces[first - 1 : last]
        made.append(plain(delimiter.join(kept) + "\n", line.first))
    shell.write(joined(made))
    return 0


def _tr(shell: Shell, words: list[Traced], at: int) -> int:
    texts = [_unescaped(word).text for word in words[1:]]
    text = _input(shell, [])
    named = {"[:upper:]": "A-Z", "[:lower:]": "a-z", "[:space:]": " \t\n\r\v\f"}
    sets = [_set_of(named.get(part, part)) for part in texts if part != "-d"]
    if text is None or not text.known or None in sets:
        shell.write(None)
        return 0
    if texts[:1] == ["-d"] and len(sets) == 1:
        keep = [i for i, char in enumerate(text.text) if char not in (sets[0] or "")]
        shell.write(Traced("".join(text.text[i] for i in keep), tuple(text.at[i] for i in keep)))
    elif len(sets) == 2 and len(texts) == 2 and sets[0] and sets[1]:
        longer = sets[1] + sets[1][-1] * max(0, len(sets[0]) - len(sets[1]))
        table = {ord(a): b for a, b in zip(sets[0], longer, strict=False)}
        shell.write(Traced(text.text.translate(table), text.at))
    else:
        shell.write(None)
    return 0


def _set_of(text: str) -> str | None:
    """The characters of a set as tr writes it; None where it is not read."""
    if text.startswith("-") or "[" in text:
        return None
    made = ""
    for match in re.finditer(r"(.)-(.)|(.)", text, re.DOTALL):
        first, last, one = match.groups()
        made += one if one else "".join(map(chr, range(ord(first), ord(last) + 1)))
    return made


BUILTINS: Final[dict[str, Builtin]] = {
    ":": _nothing, "true": _nothing, "false": _false, "alias": _nothing, "bind": _nothing, "disown": _nothing,
    "enable": _nothing, "hash": _unknown, "help": _nothing, "history": _nothing, "jobs": _nothing, "kill": _nothing,
    "popd": _cd, "pushd": _cd, "shopt": _nothing, "sleep": _nothing, "times": _nothing, "trap": _nothing,
    "type": _unknown, "ulimit": _nothing, "umask": _nothing, "unalias": _nothing, "wait": _nothing,
    "[": _test, "test": _test,
    "break": _leave, "continue": _leave, "exit": _leave, "return": _leave,
    "builtin": _command, "command": _command, "eval": _eval, "exec": _exec, "source": _source, ".": _source,
    "getopts": _getopts, "let": _let, "mapfile": _mapfile, "read": _read, "readarray": _mapfile, "set": _set,
    "shift": _shift, "unset": _unset,
    "cd": _cd, "pwd": _pwd, "echo": _echo, "printf": _printf,
    "basename": _basename, "bc": _bc, "cat": _cat, "cut": _cut, "dirname": _dirname, "expr": _expr, "head": _head,
    "readlink": _realpath, "realpath": _realpath, "seq": _seq, "tail": _head, "tee": _tee, "tr": _tr, "wc": _wc,
}  # fmt: skip
_PROGRAMS: Final = frozenset("basename bc cat cut dirname expr head readlink realpath seq tail tee tr wc".split())
BUILTINS_OF_BASH: Final = frozenset(BUILTINS) - _PROGRAMS
