"""Words -> Given: what the user typed, by the rules of the parser in Megatron-LM's ``parse_args``.

That parser is Python's argparse with ``allow_abbrev=False`` and no positional arguments. The rules here are those
of argparse in Python 3.11, with one difference in manner: it stops at the first problem, this goes on and collects.

- A word is an *option* if it is a flag, or a flag followed by ``=``, or else starts with a dash; but not if it is a
  dash alone, looks like a negative number (``-1``, ``-.5``; not ``-1e-5``), or holds a space.
- A flag takes as many of the words after it as it can; never an option, nothing from ``--`` on.
- What no flag takes is refused; so is everything from ``--`` on.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from bridge_args.findings import Excerpt, Finding, cut, excerpt_of
from bridge_args.megatron_lm import unknown
from bridge_args.megatron_lm.catalog import Argument, Catalog
from bridge_args.megatron_lm.converters import converter_of, expectation, words_of
from bridge_args.records import Record
from bridge_args.words import OF_A_TASK, Place, Word, as_words

# Optional packages whose arguments count as there: pretrain_gpt.py adds modelopt's when it is installed, as it is in
# NVIDIA's containers.
PRESENT: Final = frozenset({"nvidia-modelopt"})
_LOOKED_UP: Final = 50  # unknown flags for which near ones are looked for
_LONGEST_FLAG: Final = 200  # characters; the longest there is has 60

_NEGATIVE_NUMBER: Final = re.compile(r"^-\d+$|^-\d*\.\d+$")
_DASHES: Final = "\u2010\u2011\u2012\u2013\u2014\u2212"  # what word processors make of "--" and "-"
_ON: Final = frozenset({"true", "1", "yes", "on"})
_OFF: Final = frozenset({"false", "0", "no", "off"})


class Typed(Record):
    """One flag as the user wrote it.

    Attributes:
        flag: the spelling used, without ``=value``.
        index: which of the words the flag is.
        values: which of the words are its values: none for a switch, the flag's own word for ``--flag=value``.
    """

    dest: str
    flag: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    values: tuple[int, ...]
    argument: Argument

    @property
    def last(self) -> int:
        """Which of the words is the last one of this flag and its values."""
        return self.values[-1] if self.values else self.index


class Given(Record):
    """What a command line says, before defaults.

    Attributes:
        values: dest -> value, for the arguments that were typed and nothing else; enum members by name.
        typed: dest -> its last occurrence; the same keys as ``values``.
        findings: every problem, in the order of the words; Megatron-LM's parser stops if there is one.
        words: the words that were parsed; the indices in ``typed`` count in them.
        open: which of the words belong to an argument whose value is not known, and that nothing depends on.
    """

    values: dict[str, object]
    typed: dict[str, Typed]
    findings: tuple[Finding, ...]
    words: tuple[Word, ...]
    open: frozenset[int] = frozenset()

    def excerpt(self, dest: str) -> Excerpt | None:
        """The user's own words for an argument, marked; None where it was not typed."""
        typed = self.typed.get(dest)
        return excerpt_of(self.words, typed.index, typed.last) if typed else None

    def place(self, dest: str) -> Place | None:
        """Where the user wrote an argument; None where it was not typed, or not in a file."""
        typed = self.typed.get(dest)
        return self.words[typed.index].place if typed else None

    def text(self, dest: str) -> str:
        """The user's own words for an argument: ``--lr 3e-4``; empty where it was not typed."""
        typed = self.typed.get(dest)
        if typed is None:
            return ""
        return " ".join(self.words[index].text for index in sorted({typed.index, *typed.values}))


def parse(
    words: Iterable[str | Word],
    catalog: Catalog,
    *,
    versions_with: unknown.History = unknown.versions_with,
    unused: Collection[str] = (),
) -> Given:
    """What the words after the program's name say.

    Args:
        words: without launcher and program; see ``script/command.py`` for those.
        versions_with: which Megatron-LM versions have a flag; asked only about flags that ``catalog`` lacks.
        unused: arguments whose value nothing depends on; they have their default where the value is not known.

    Raises:
        TypeError: when ``words`` is one string, or holds something other than text.
    """
    return _Parser(as_words(words), catalog, versions_with, unused).run()


_ALONE: Final = re.compile(r"\$(?:[A-Za-z_]\w*|\{[A-Za-z_]\w*\})")
_OPTIONS_IN_IT: Final = re.compile(r"ARGS|OPTS|OPTIONS|FLAGS|EXTRA", re.IGNORECASE)  # in the name of a variable


class _Parser:
    """One walk over the words; ``at`` is the next word to read."""

    def __init__(
        self, words: tuple[Word, ...], catalog: Catalog, versions_with: unknown.History, unused: Collection[str] = ()
    ) -> None:
        self.words = words
        self.texts = [word.text for word in words]
        self.catalog = catalog
        self.versions_with = versions_with
        self.end = self.texts.index("--") if "--" in self.texts else len(words)  # no options from here on
        self.at = 0
        self.values: dict[str, object] = {}
        self.typed: dict[str, Typed] = {}
        self.findings: list[Finding] = []
        self.exclusive: dict[int, Typed] = {}
        self.unused = unused
        self.open: set[int] = set()
        self.unknown = 0

    def run(self) -> Given:
        previous: Typed | None = None
        while self.at < self.end:
            text = self.texts[self.at]
            argument = self._argument(text)
            if argument is not None:
                previous = self._option(argument, text, None)
                continue
            flag, equals, value = text.partition("=")
            argument = self._argument(flag) if equals else None
            if argument is not None:
                previous = self._option(argument, flag, value)
            elif text in ("-h", "--help") or (text[:2] == "-h" and self._is_option(text)):
                self._asks_for_help()
            elif self._is_option(text):
                self._unknown_flag(flag)
                previous = None
            else:
                self._stray_word(previous)
        if self.end < len(self.words):
            self._after_double_dash()
        return Given(self.values, self.typed, tuple(self.findings), self.words, frozenset(self.open))

    # Reading words ----------------------------------------------------------------------------------------------

    def _argument(self, flag: str) -> Argument | None:
        argument = self.catalog.by_flag.get(flag)
        if argument is None or (argument.requires is not None and argument.requires not in PRESENT):
            return None
        return argument

    def _is_option(self, text: str) -> bool:
        if text[:1] != "-" or text == "-":
            return False
        if self._argument(text) is not None or ("=" in text and self._argument(text.partition("=")[0]) is not None):
            return True
        if text[:2] == "-h" or text == "--help" or text.startswith("--help="):
            return True
        if _NEGATIVE_NUMBER.match(text) and not any(map(_NEGATIVE_NUMBER.match, self.catalog.by_flag)):
            return False
        return " " not in text

    def _values_ahead(self) -> int:
        """How many words from here on could be values."""
        ahead = self.at
        while ahead < self.end and not self._is_option(self.texts[ahead]):
            ahead += 1
        return ahead - self.at

    # What a flag says -------------------------------------------------------------------------------------------

    def _option(self, argument: Argument, flag: str, attached: str | None) -> Typed | None:
        """Take a flag and its values; None when they are not as the argument wants them."""
        index = self.at
        self.at += 1
        if argument.action not in ("store", "append"):
            return self._switch(argument, flag, index, attached)
        if attached is None:
            count = _count(argument.nargs, self._values_ahead())
            indices = tuple(range(self.at, self.at + count)) if count is not None else ()
            self.at += len(indices)
            if argument.nargs in ("*", "+"):
                indices = tuple(i for i in indices if not self._is_no_word(argument, i, first=i == indices[0]))
                self._tell_of_several(argument, indices)
        else:
            count = _count(argument.nargs, 1)
            indices = (index,) if count == 1 else ()
            count = count if count == 1 else None  # "=" is followed by exactly one value
        typed = Typed(argument.dest, flag, index, indices, argument)
        if count is None:
            self._missing_value(typed)
            return None
        texts = [self.texts[i] for i in indices] if attached is None else [attached]
        if attached == "--":
            # argparse takes a "--" out of the values, so that an empty list is stored, whatever the argument holds.
            if argument.nargs is None:
                self._bad_value(typed, index, attached)
                return None
            texts = []
        converted = [self._converted(typed, i, text) for i, text in zip(indices, texts, strict=False)]
        if _REFUSED in converted:
            return None
        if argument.nargs is None:
            value = converted[0]
        elif argument.nargs == "?":
            value = converted[0] if converted else argument.const
        else:
            value = converted
        if argument.action == "append":
            before: Any = self.values.get(argument.dest, self.catalog.defaults[argument.dest])
            value = [*(before or ()), value]
        return self._take(typed, value)

    def _is_no_word(self, argument: Argument, index: int, first: bool) -> bool:
        """Among many values: a variable nobody sets that is none of them, as where an option could be."""
        word = self.words[index]
        if not word.unresolved or not _ALONE.fullmatch(word.text) or argument.dest in self.unused:
            return False
        if first and argument.nargs == "+":
            return False
        if argument.type in (None, "str") and (first or not _OPTIONS_IN_IT.search(word.text)):
            return False
        message = f"{word.text} comes after the values of {argument.flags[0]}, and nobody sets it"
        remedy = _given_with(word.unresolved)
        self._say("unresolved-variable", f"{message}; it is taken as empty", index, None, remedy)
        return True

    def _tell_of_several(self, argument: Argument, indices: Sequence[int]) -> None:
        """Among many values: a variable without quotes, which a shell divides where its value has blanks."""
        for index in indices:
            word = self.words[index]
            if word.splits and word.unresolved and argument.dest not in self.unused:
                flag, remedy = argument.flags[0], _given_with(word.unresolved) or "write the value"
                message = f"{flag} {word.text} is kept as one value; bash splits what is not in quotes into words"
                self._say("unresolved-variable", message, index, None, remedy)

    def _switch(self, argument: Argument, flag: str, index: int, attached: str | None) -> Typed | None:
        typed = Typed(argument.dest, flag, index, (), argument)
        if attached is not None:
            self._say("bad-value", f"{flag} is a switch and takes no value", typed.index, typed, _bare(typed, attached))
            return None
        match argument.action:
            case "store_true":
                return self._take(typed, True)
            case "store_false":
                return self._take(typed, False)
            case "BooleanOptionalAction":
                return self._take(typed, not flag.startswith("--no-"))
        assert argument.action == "store_const", argument
        return self._take(typed, argument.const)

    def _converted(self, typed: Typed, index: int, text: str) -> Any:
        argument = typed.argument
        if argument.dest in self.unused and self.words[index].unresolved:
            self.open |= {typed.index, *typed.values}
            return self.catalog.defaults[argument.dest]
        try:
            value = converter_of(argument)(text)
        except ValueError:
            self._bad_value(typed, index, text)
            return _REFUSED
        if argument.choices is not None and value not in argument.choices:
            self._bad_value(typed, index, text)
            return _REFUSED
        return value

    def _take(self, typed: Typed, value: object) -> Typed:
        self.values[typed.dest] = value
        self.typed[typed.dest] = typed
        group = typed.argument.exclusive
        if group is not None:
            other = self.exclusive.setdefault(group, typed)
            if other.dest != typed.dest:
                self.findings.append(
                    Finding(
                        kind="conflicting-arguments",
                        message=f"{typed.flag} cannot be given together with {other.flag}",
                        remedy="keep one of the two",
                        arguments=(other.dest, typed.dest),
                        place=self.words[typed.index].place,
                        excerpt=excerpt_of(self.words, typed.index, typed.last),
                    )
                )
        return typed

    # What is wrong ----------------------------------------------------------------------------------------------

    def _say(self, kind: str, message: str, index: int, typed: Typed | None = None, remedy: str = "") -> None:
        self.findings.append(
            Finding(
                kind=kind,
                message=cut(message),
                remedy=remedy,
                arguments=(typed.dest,) if typed else (),
                place=self.words[index].place,
                excerpt=self._marked(index, typed),
            )
        )

    def _marked(self, index: int, typed: Typed | None) -> Excerpt:
        excerpt = excerpt_of(self.words, index)
        if typed and index == typed.index and self.texts[index] != typed.flag:
            return excerpt._replace(start=excerpt.start + len(typed.flag) + 1)  # behind "--flag="
        return excerpt

    def _is_gone(self, typed: Typed) -> bool:
        """An old name is refused whatever its value: another value would only be refused as well."""
        from bridge_args.megatron_lm.derive import retired

        if typed.dest not in retired.INSTEAD:
            return False
        problem = retired.gone(typed.dest)
        self._say("invalid-command-line", str(problem), typed.index, typed, problem.remedy)
        return True

    def _bad_value(self, typed: Typed, index: int, text: str) -> None:
        if self._is_gone(typed):
            return
        remedy = ""
        names = self.words[index].unresolved
        if names:
            remedy = _given_with(names) or "write the value"
            if OF_A_TASK.issuperset(names):
                remedy = "it differs in every task; write the value that all have"
            message = f"{typed.flag} needs {expectation(typed.argument)}, and {text} is not known"
            self._say("bad-value", message, index, typed, remedy)
            return
        words = words_of(typed.argument)
        if words is not None:
            near = unknown.near_flags(text, tuple(str(word) for word in words)) if len(text) <= _LONGEST_FLAG else ()
            remedy = f"did you mean {' or '.join(near)}?" if near else ""
        message = f'{typed.flag} expects {expectation(typed.argument)}, not "{text}"'
        self._say("bad-value", message, index, typed, remedy)

    def _missing_value(self, typed: Typed) -> None:
        there = len(typed.values)
        nargs = typed.argument.nargs
        attached = self.texts[typed.index] != typed.flag
        ahead = self._values_ahead() if not attached else 1
        wanted = f"{nargs} values" if isinstance(nargs, int) else "at least one value" if nargs == "+" else "a value"
        message = f"{typed.flag} expects {wanted} and has {ahead or there or 'none'}"
        remedy = ""
        follows = self.texts[self.at] if self.at < len(self.words) else ""
        if attached:
            remedy = f"write the values separately: {typed.flag} VALUE VALUE ..."
        elif nargs is None and re.match(r"-\.?\d", follows):
            remedy = f"write {typed.flag}={follows}, because a word that starts with a dash is read as an option"
            ahead = 1
        elif nargs is None and typed.argument.type == "bool":
            remedy = f"write {typed.flag} True"
        if not self._is_gone(typed):
            self._say("missing-value", message, typed.index, None, remedy)
        self.at += 0 if attached else ahead  # they were meant for this flag; no need to call them stray as well

    def _unknown_flag(self, flag: str) -> None:
        index = self.at
        self.at += 1
        self.at += self._values_ahead()  # most likely its values
        message = f"{flag} is not an argument of Megatron-LM {self.catalog.version}"
        self.unknown += 1
        few = self.unknown <= _LOOKED_UP and len(flag) <= _LONGEST_FLAG  # looking for near names takes its time
        remedy = unknown.remedy(flag, self.catalog, self.versions_with, PRESENT) if few else "leave it out"
        self._say("unknown-argument", message, index, None, remedy)

    def _asks_for_help(self) -> None:
        self._say(
            "invalid-command-line",
            f"{self.texts[self.at]} makes Megatron-LM print its arguments and stop",
            self.at,
            None,
            "leave it out",
        )
        self.at += 1

    def _stray_word(self, previous: Typed | None) -> None:
        index = self.at
        text = self.texts[index]
        self.at += 1
        if self.words[index].unresolved and text.startswith(("$", "`")):
            message = f"{text} stands where an option could be, and nobody sets it; it is taken as empty"
            self._say("unresolved-variable", message, index, None, _given_with(self.words[index].unresolved))
            return
        message, remedy = f'"{text}" belongs to no argument', ""
        behind = previous is not None and previous.last == index - 1
        if behind and previous is not None and not previous.values:
            message = f'{previous.flag} is a switch and does not take "{text}"'
            remedy = _bare(previous, text)
        elif behind and previous is not None and previous.argument.nargs is None:
            message = f'{previous.flag} takes one value; "{text}" is left over'
            remedy = "put quotes around the value if it is one"
        elif text[:1] in _DASHES and text:
            typed = "--" + text.lstrip("-" + _DASHES)
            remedy = f"write {typed}: the dash in front is not the one on the keyboard"
            self.at += self._values_ahead()
        elif text == "":
            message, remedy = "An empty string belongs to no argument", "look for a variable that is empty"
        elif text == "\\" or text.isspace():
            remedy = "a backslash continues a line only as its very last character"
        self._say("stray-word", message, index, previous if behind else None, remedy)

    def _after_double_dash(self) -> None:
        message = "Megatron-LM's parser refuses -- and everything after it"
        last = len(self.words) - 1
        self.findings.append(
            Finding(
                kind="stray-word",
                message=message,
                remedy="leave the -- out",
                place=self.words[self.end].place,
                excerpt=excerpt_of(self.words, self.end, last)
                if last - self.end < 8
                else excerpt_of(self.words, self.end),
            )
        )


_REFUSED: Final = object()


def _given_with(names: Iterable[str]) -> str:
    """How to give what is not known; empty where only a task knows it, or where it has no name."""
    names = [name for name in names if name not in OF_A_TASK]
    if not names or not all(name.isidentifier() for name in names):
        return ""
    return "give it with " + " ".join(f"--set {name}=VALUE" for name in names)


def _count(nargs: int | str | None, ahead: int) -> int | None:
    """How many of the words ahead an argument takes; None when they are too few."""
    if nargs is None:
        return 1 if ahead else None
    if isinstance(nargs, int):
        return nargs if ahead >= nargs else None
    if nargs == "?":
        return min(ahead, 1)
    return ahead if ahead or nargs == "*" else None


def _bare(typed: Typed, value: str) -> str:
    """What to write instead of a switch with a value."""
    flag, argument = typed.flag, typed.argument
    said = value.lower()
    if argument.action == "BooleanOptionalAction":
        opposite = "--" + flag.removeprefix("--no-") if flag.startswith("--no-") else "--no-" + flag.removeprefix("--")
        return f"write {flag} or {opposite} alone"
    if said in _OFF:
        return f"leave {flag} out to have it off"
    if said in _ON:
        return f"write {flag} alone"
    return f"write {flag} alone, or leave it out"
