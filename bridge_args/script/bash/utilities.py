"""Small programs that only compute, and what of bash prints or looks at files: what they write, as far as it is known.

Every function gets the shell, the words of the command with its name, and a position; it returns the exit status, None
when that is not known. Facts: the manuals of coreutils, and bash(1) for echo, printf, cd and pwd.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from bridge_args.script.bash import escapes
from bridge_args.script.bash.arithmetic import NotANumber, evaluate, whole
from bridge_args.script.bash.budget import MAX_VALUE, MAX_WORDS, Budget
from bridge_args.script.bash.names import is_name
from bridge_args.script.bash.state import Hole, Variable
from bridge_args.script.bash.traced import FIRST_HOLE, Traced, is_hole, joined, plain

if TYPE_CHECKING:
    from bridge_args.script.bash.shell import Shell


# ---------------------------------------------------------------- printing


def echo(shell: Shell, words: list[Traced], at: int) -> int:
    rest = words[1:]
    newline, unescape = True, False
    while rest and re.fullmatch(r"-[neE]+", rest[0].text):
        newline &= "n" not in rest[0].text
        for letter in rest[0].text[1:]:
            unescape = letter == "e" if letter != "n" else unescape
        rest = rest[1:]
    text: Traced | None = joined(rest, " ")
    assert text is not None
    if unescape:
        try:
            text = escapes.read(text, escapes.ECHO)
        except escapes.Ended as ended:
            text, newline = ended.text, False
    shell.write(None if text is None else text + plain("\n", at) if newline else text)
    return 0


_FORMAT: Final = re.compile(r"%(?:%|([-0 +#]{0,9})([0-9]{0,9})((?:\.[0-9]{0,9})?)([sdiuxXofeEgGbc]))")


def printf(shell: Shell, words: list[Traced], at: int) -> int | None:
    rest = words[1:]
    name = ""
    if rest and rest[0].text == "-v" and len(rest) > 1:
        name = rest[1].text
        rest = rest[2:]
    if rest and rest[0].text == "--":
        rest = rest[1:]
    if not rest:
        return 2
    printed = _Printed(shell.state.shared.budget)
    try:
        printed.all(rest[0], rest[1:])
        text: Traced | None = joined(printed.made)
    except escapes.Ended:
        text = joined(printed.made)
    except _NotPrinted:
        text = None
    if not name:
        shell.write(text)
        return printed.status if text is not None else None
    element = re.fullmatch(r"(?a)([A-Za-z_]\w*)\[([0-9]{1,18})\]", name)
    value = shell.state.shared.hole(Hole("command", shell.rendered_all(words), at)) if text is None else text
    before = shell.state.get(element.group(1)) if element else None
    if element and not (before and before.keyed):
        name = element.group(1)
        shell.state.set(name, {**(before.numbered() if before else {}), int(element.group(2)): value}, at)
    elif is_name(name):
        shell.assigner.give(name, value, False, at)
    else:
        shell.state.shared.say("not-read", f"printf -v {name} is not read", at)
    return printed.status


class _NotPrinted(Exception):
    """What is printed is not known."""


class _Printed:
    """What ``printf`` prints, piece by piece."""

    def __init__(self, budget: Budget) -> None:
        self.made: list[Traced] = []
        self.status: int | None = 0
        self.budget = budget

    def all(self, form: Traced, arguments: Sequence[Traced]) -> None:
        """The format, as often as there are arguments for it."""
        if "%" in _FORMAT.sub("", form.text):
            raise _NotPrinted
        rest, rounds = list(reversed(arguments)), 0
        while True:
            rounds += 1
            self.budget.work(len(form) + 1)
            left, done = len(rest), 0
            for match in _FORMAT.finditer(form.text):
                self.literal(form[done : match.start()])
                done = match.end()
                if match.group() == "%%":
                    self.made.append(plain("%", form.at[match.start()]))
                else:
                    self.piece(match, rest.pop() if rest else Traced())
            self.literal(form[done:])
            if not rest or len(rest) == left or rounds > MAX_WORDS:
                return

    def literal(self, text: Traced) -> None:
        made = escapes.read(text, escapes.FORMAT)
        if made is None:
            raise _NotPrinted
        self.made.append(made)

    def piece(self, match: re.Match[str], argument: Traced) -> None:
        flags, width, precision, letter = match.groups()
        self.budget.work(20 + len(argument) + min(int(width or 0) + int(precision[1:] or 0), MAX_WORDS))
        if int(width or 0) > MAX_WORDS or int(precision[1:] or 0) > MAX_WORDS:
            raise _NotPrinted
        if letter not in ("s", "b", "c"):
            self.made.append(self.number(match, argument))
            return
        ended = False
        text: Traced | None = argument
        if letter == "b":
            try:
                text = escapes.read(argument, escapes.ARGUMENT)
            except escapes.Ended as stop:
                text, ended = stop.text, True
        if text is None or ((precision or width or letter == "c") and not text.known):
            raise _NotPrinted
        if (width or precision or letter == "c") and not text.text.isascii():
            raise _NotPrinted  # bash counts bytes
        if letter == "c":
            text = text[:1]
        elif precision:
            text = text[: int(precision[1:] or 0)]
        blanks = plain(" " * max(0, int(width or 0) - len(text)), text.first)
        self.made.append(text + blanks if "-" in flags else blanks + text)
        if ended:
            raise escapes.Ended(text)

    def number(self, match: re.Match[str], argument: Traced) -> Traced:
        flags, width, precision, letter = match.groups()
        if not argument.known:
            if not all(map(is_hole, argument.text)):
                self.status = None  # what stands around it may be part of no number
            raise _NotPrinted
        text = argument.text.lstrip()
        if argument.text and not text:
            self.status = 1
        value: float
        if argument.text[:1] in ("'", '"'):
            value = ord(argument.text[1]) if len(argument) > 1 else 0
        elif letter in "feEgG":
            if len(text) > 60 or not re.fullmatch(r"(?a)[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,2})?", text or "0"):
                raise _NotPrinted
            value = float(text or "0")
        else:
            value = self.whole(text)
        if value < 0 and letter in "uxXo":
            value += 2**64
        letter = "d" if letter in ("i", "u") else letter
        if "#" in flags and letter in "oxX":
            raise _NotPrinted
        return plain(("%" + flags + width + precision + letter) % value, argument.first)

    def whole(self, text: str) -> int:
        """A whole number as bash's printf reads it; what follows its digits is an error, and left out."""
        match = re.match(r"([-+]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)", text)
        self.status = int(bool(text) and (match is None or match.end() < len(text))) or self.status
        if match is None:
            return 0
        sign, digits = match.groups()
        if len(digits) > 30:
            raise _NotPrinted
        value = int(digits, 16 if digits[:2].lower() == "0x" else 8 if digits.startswith("0") else 10)
        if value >= 2**63:
            raise _NotPrinted
        return -value if sign == "-" else value


# ---------------------------------------------------------------- files and folders


def cat(shell: Shell, words: list[Traced], at: int) -> int | None:
    shell.write(_input(shell, [word for word in words[1:] if not _is_option(word)]))
    return 0


def _is_option(word: Traced) -> bool:
    return word.text.startswith("-") and len(word) > 1


def _input(shell: Shell, files: Sequence[Traced]) -> Traced | None:
    """The text of files, or of standard input."""
    if not files or [file.text for file in files] == ["-"]:
        text, shell.stdin.text = shell.stdin.text, Traced() if shell.stdin.text is not None else None
        return text
    made: list[Traced] = []
    for file in files:
        text = shell.files.content(file)
        if text is None:
            return None
        shell.state.shared.budget.work(len(text))
        made.append(text)
    return joined(made)


def tee(shell: Shell, words: list[Traced], at: int) -> int:
    append = any(word.text in ("-a", "--append") for word in words[1:])
    text = _input(shell, [])
    for word in words[1:]:
        if not _is_option(word):
            shell.files.store(word, text, append)
    shell.write(text)
    return 0


def cd(shell: Shell, words: list[Traced], at: int) -> int:
    state = shell.state
    rest = [word for word in words[1:] if not (_is_option(word) and word.text in ("-P", "-L", "--"))]
    folder = shell.files.folder(rest[0]) if rest and words[0].text != "popd" else None
    if folder is None:
        state.cwd_is_start = False
    state.cwd = folder
    state.folder = plain(str(folder)) if folder else _gone_to(rest[0], state.folder) if rest else Traced()
    state.variables["PWD"] = Variable(
        state.shared.hole(Hole("file", "$PWD", at, (), path=str(folder) if folder else ""))
    )
    return 0


def _gone_to(target: Traced, before: Traced) -> Traced:
    """Where ``cd`` ends, in words: a relative path stands behind the folder before."""
    from_start = target.text.startswith(("/", "~")) or not before.text or is_hole(target.text[:1] or " ")
    return target if from_start else before + plain("/", target.first) + target


def pwd(shell: Shell, words: list[Traced], at: int) -> int:
    path = str(shell.state.cwd) if shell.state.cwd else ""
    known = shell.state.get("PWD")  # of the environment the script is started in, until it goes elsewhere
    if known is not None and isinstance(known.value, Traced) and known.value.known:
        shell.write(known.value + plain("\n", at))
        return 0
    shell.write(shell.state.shared.hole(Hole("file", "$(pwd)", at, path=path)) + plain("\n", at))
    return 0


def realpath(shell: Shell, words: list[Traced], at: int) -> int:
    rest = [word for word in words[1:] if not _is_option(word)]
    if len(rest) != 1 or not shell.state.as_unset(rest[0]):
        shell.write(None)
        return 0
    found = shell.files.find(rest[0]) or shell.files.folder(rest[0])
    written = f"$({shell.rendered_all(words)})"
    hole = Hole("file", written, at, path=str(found) if found else "")
    shell.write(shell.state.shared.hole(hole) + plain("\n", at))
    return 0


def dirname(shell: Shell, words: list[Traced], at: int) -> int:
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


def basename(shell: Shell, words: list[Traced], at: int) -> int:
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


def seq(shell: Shell, words: list[Traced], at: int) -> int:
    texts = [word.text for word in words[1:]]
    separator = "\n"
    if texts[:1] == ["-s"] and len(texts) > 1:
        separator = texts[1]
        texts = texts[2:]
    if not texts or len(texts) > 3 or not all(re.fullmatch(r"(?a)-?\d{1,9}", text) for text in texts):
        shell.write(None)
        return 0
    numbers = [int(text) for text in texts]
    shell.state.shared.budget.work(len(separator))
    first = numbers[0] if len(numbers) > 1 else 1
    step = numbers[1] if len(numbers) == 3 else 1
    last = numbers[-1]
    if step == 0 or (abs(last - first) // abs(step) + 1) * (len(separator) + 1) > MAX_VALUE:
        shell.write(None)
        return 0
    series = range(first, last + (1 if step > 0 else -1), step)
    shell.write(plain(separator.join(map(str, series)) + "\n" if series else "", at))
    return 0


def expr(shell: Shell, words: list[Traced], at: int) -> int | None:
    text = " ".join(word.text for word in words[1:])
    if not re.fullmatch(r"[-0-9+*/%() ]+", text):
        shell.write(None)
        return None
    return _calculated(shell, text, at)


def bc(shell: Shell, words: list[Traced], at: int) -> int | None:
    text = _input(shell, [])
    if text is None or not re.fullmatch(r"[-0-9+*/() ]+", text.text.strip()) or "--" in text.text or len(words) > 1:
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


def head(shell: Shell, words: list[Traced], at: int) -> int:
    count, files = 10, []
    rest = list(reversed(words[1:]))
    while rest:
        text = rest.pop().text
        number = whole(re.sub(r"^-n?", "", text)) if text.startswith("-") else None
        following = whole(rest[-1].text) if text == "-n" and rest else None
        if number is not None:
            count = number
        elif following is not None:
            count = following
            rest.pop()
        elif text.startswith("-"):
            shell.write(None)
            return 0
        else:
            files.append(words[-1])
    text_in = _input(shell, files)
    if text_in is None:
        shell.write(None)
        return 0
    shell.state.shared.budget.work(2 * min(count, text_in.text.count("\n")) + len(text_in) // 16)
    if words[0].text == "head":
        shell.write(text_in[: _after(text_in.text, count)])
    else:
        shell.write(text_in[_before_last(text_in.text, count) :])
    return 0


def _after(text: str, count: int) -> int:
    """Where that many lines end."""
    end = 0
    while count > 0 and end < len(text):
        end = text.find("\n", end) + 1 or len(text)
        count -= 1
    return end


def _before_last(text: str, count: int) -> int:
    """Where the last lines begin, that many."""
    start = len(text)
    while count > 0 and start > 0:
        start = text.rfind("\n", 0, start - 1) + 1
        count -= 1
    return start


def _lines(text: Traced, shell: Shell) -> list[Traced]:
    shell.state.shared.budget.work(20 * text.text.count("\n"))
    lines, start = [], 0
    while start < len(text):
        end = text.text.find("\n", start) + 1 or len(text)
        lines.append(text[start:end])
        start = end
    return lines


def wc(shell: Shell, words: list[Traced], at: int) -> int:
    options = "".join(word.text[1:] for word in words[1:] if _is_option(word))
    files = [word for word in words[1:] if not _is_option(word)]
    text = _input(shell, files)
    if text is None or not text.known or options not in ("l", "w", "c") or files:
        shell.write(None)
        return 0
    counts = {"l": text.text.count("\n"), "w": len(text.text.split()), "c": len(text.text.encode())}
    shell.write(plain(f"{counts[options]}\n", at))
    return 0


def cut(shell: Shell, words: list[Traced], at: int) -> int:
    delimiter, field = "\t", ""
    rest = [word.text for word in reversed(words[1:])]
    while rest:
        word = rest.pop()
        if word[:2] in ("-d", "-f"):
            value = word[2:] or (rest.pop() if rest else "")
            if word[1] == "d":
                delimiter = value
            else:
                field = value
        else:
            field = ""
            break
    text = _input(shell, []) if field else None
    fields = re.fullmatch(r"([0-9]{1,9})(-?)([0-9]{0,9})", field)
    if text is None or fields is None or len(delimiter) != 1 or not text.known:
        shell.write(None)
        return 0
    first = int(fields.group(1))
    last = int(fields.group(3)) if fields.group(3) else (first if not fields.group(2) else None)
    made = []
    for line in _lines(text, shell):
        pieces = line.text.rstrip("\n").split(delimiter)
        kept = pieces if len(pieces) == 1 else pieces[first - 1 : last]
        made.append(plain(delimiter.join(kept) + "\n", line.first))
    shell.write(joined(made))
    return 0


def tr(shell: Shell, words: list[Traced], at: int) -> int:
    read = [escapes.read(word, escapes.FORMAT) for word in words[1:]]
    texts = [word.text for word in read if word is not None]
    text = _input(shell, [])
    named = {"[:upper:]": "A-Z", "[:lower:]": "a-z", "[:space:]": " \t\n\r\v\f"}
    sets = [_set_of(named.get(part, part)) for part in texts if part != "-d"]
    if text is None or not text.known or None in sets or None in read:
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
    if text.startswith("-") or "[" in text or not text.isascii():  # tr looks at bytes
        return None
    made = ""
    for match in re.finditer(r"(.)-(.)|(.)", text, re.DOTALL):
        first, last, one = match.groups()
        made += one if one else "".join(map(chr, range(ord(first), ord(last) + 1)))
    return made
