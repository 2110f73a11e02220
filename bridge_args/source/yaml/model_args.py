"""``MODEL_ARGS``: a mapping of flags to values, as Megatron-LM's functional tests and the MoE model zoo write it.

Each has a program that makes words of it, and their rules differ:

- the functional tests' (``tests/functional_tests/shell_test_utils/_run_training.sh``; files with ``TEST_TYPE``): a flag
  with ``true`` stands alone, one with ``""`` is left out, every other value is a word even when it is ``false``; what
  is in brackets are several words; ``xargs`` and then bash read quotes and backslashes;
- the model zoo's (``sbatch_benchmarking.sh``; all other files): a flag with ``false`` is left out, one with ``true`` or
  ``""`` stands alone, and values are split where they hold spaces, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping as Table
from typing import Final

from bridge_args.findings import Finding
from bridge_args.records import Record
from bridge_args.script.read import read_script
from bridge_args.source.yaml.nodes import Mapping, Node, Scalar, Sequence, YamlProblem, entries
from bridge_args.words import Place, Word

_VARIABLE: Final = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./,:=+%@-]*")  # bash passes such a word as it stands
_IN_ROUND: Final = re.compile(r"\([^)]+\)")
_IN_SQUARE: Final = re.compile(r"\[[^]]+\]")
_BARE_SPECIAL: Final = re.compile(r"(?<!\\)[|()]")
_PATTERN: Final = re.compile(r"(?<!\\)[*?\[]")
_NO_WORDS: Final = re.compile(r"^(?!\").*(?:(?<!\\)[;&<>]|(?:^|\s)#)")  # outside quotes, in ARRAY=(...)
_MARK: Final = "words"  # stands for the program in the text that is given to the shell's reader


class Words(Record):
    """The words a mapping stands for, and what is not known of them."""

    words: tuple[Word, ...]
    findings: tuple[Finding, ...]


def words_of(mapping: Mapping, variables: Table[str, str], *, as_tests: bool) -> Words:
    """The command line that a mapping of flags stands for.

    Args:
        variables: what ``$NAME`` stands for; others stay as they are written, and are named in the findings.
        as_tests: by the rules of Megatron-LM's functional tests.

    Raises:
        YamlProblem: when a key is not a flag.
    """
    pairs = entries(mapping)
    for key, _ in pairs:
        if not key.text.startswith("-"):
            raise YamlProblem(f"{key.place}: {key.text} is not a flag of Megatron-LM; flags start with --", 0)
    made = _as_tests(pairs, variables) if as_tests else _as_written(pairs, variables)
    return made._replace(findings=(*_repeated(mapping), *made.findings))


def _repeated(mapping: Mapping) -> Iterator[Finding]:
    first: dict[str, Place] = {}
    for key, _ in mapping.pairs:
        if key.text in first and key.tag != "merge":
            message = f"{key.text} is also in line {first[key.text].line}; the last one counts"
            yield Finding("ignored-by-megatron", message, place=key.place)
        first.setdefault(key.text, key.place)


def parts_of(value: Node) -> list[Scalar]:
    """A value as the scalars it is made of.

    Raises:
        YamlProblem: for a mapping, or lists inside lists.
    """
    parts: list[Scalar] = []
    for part in value.items if isinstance(value, Sequence) else [value]:
        if not isinstance(part, Scalar):
            raise YamlProblem(f"{part.place}: a value is a word or a list of words")
        parts.append(part)
    return parts


# ---------------------------------------------------------------- the functional tests


def _as_tests(pairs: list[tuple[Scalar, Node]], variables: Table[str, str]) -> Words:
    words: list[Word] = []
    findings: list[Finding] = []
    lines: list[str] = []  # for the shell's reader; line n is the value of ...
    targets: list[tuple[int, Scalar]] = []  # ... the word behind this index, at this place
    for key, value in pairs:
        parts = parts_of(value)
        if not parts or (isinstance(value, Scalar) and value.text == "" and value.tag == "str"):
            continue
        words.append(Word(key.text, key.place))
        if isinstance(value, Sequence):
            words += [Word(text, part.place) for part in parts for text in part.text.split()]
            continue
        if "\n" in parts[0].text.rstrip("\n"):
            findings.append(_unreadable(parts[0].place, f"{key.text} has a value of several lines"))
            continue
        text = _by_xargs(parts[0].text)
        if text is None:
            findings.append(_unreadable(parts[0].place, f"{key.text} has an open quote, which xargs refuses"))
        elif text in ("true", ""):
            pass
        elif _PLAIN.fullmatch(text):
            words.append(Word(text, parts[0].place))
        elif _NO_WORDS.search(line := _for_eval(text)):
            findings.append(_unreadable(parts[0].place, f"bash does not take the value of {key.text} for words"))
        else:
            lines.append(f"{_MARK} {line}")
            targets.append((len(words), parts[0]))
    if lines:
        found = _by_bash(lines, [part.place for _, part in targets], variables)
        for (index, part), made in reversed(list(zip(targets, found.words, strict=True))):
            if made is None:
                flag = words[index - 1].text
                findings.append(_unreadable(part.place, f"bash does not take the value of {flag} for words"))
            else:
                words[index:index] = made
        findings += found.findings
    return Words(tuple(words), tuple(findings))


def _by_xargs(text: str) -> str | None:
    """What ``echo "$text" | xargs`` prints: quotes and backslashes read, spaces single; None where a quote is open."""
    made: list[str] = []
    word: str | None = None
    quote, at = "", 0
    while at < len(text):
        char = text[at]
        at += 1
        if quote:
            word, quote = (word, "") if char == quote else ((word or "") + char, quote)
        elif char in "'\"":
            quote, word = char, word or ""
        elif char == "\\":
            word = (word or "") + text[at : at + 1]  # before the end of the line, nothing
            at += 1
        elif char in " \t\n":
            made += [] if word is None else [word]
            word = None
        else:
            word = (word or "") + char
    made += [] if word is None else [word]
    return None if quote else " ".join(made)


def _for_eval(text: str) -> str:
    """A value as the runner writes it into the text that bash evaluates.

    From 0.17 on, what holds ``|``, ``(`` or ``)`` is quoted there; before, files had backslashes in front of them.
    Characters of file name patterns are quoted here: no file is called like the value of a flag.
    """
    if _IN_ROUND.fullmatch(text):
        return f'"{text}"'
    if _IN_SQUARE.fullmatch(text):
        return _PATTERN.sub(r"\\\g<0>", text[1:-1])
    if " " in text or _BARE_SPECIAL.search(text):
        return f'"{text}"'
    return _PATTERN.sub(r"\\\g<0>", text)


class _Read(Record):
    words: list[list[Word] | None]  # for each line; None where it is no simple command
    findings: list[Finding]


def _by_bash(lines: list[str], places: list[Place], variables: Table[str, str]) -> _Read:
    """Every line read as bash would, with the places of the values they come from."""
    script = read_script("\n".join(lines), places[0].source, variables)
    words: list[list[Word] | None] = [None] * len(lines)
    for command in script.commands:
        first = command.words[0]
        if first.text == _MARK and first.place is not None:
            at = first.place.line - 1
            words[at] = [word._replace(place=places[at], splits=False) for word in command.words[1:]]
    told = [*script.findings, *(finding for command in script.commands for finding in command.findings)]
    findings = []
    for finding in dict.fromkeys(told):
        place = places[finding.place.line - 1] if finding.place else None
        findings.append(finding._replace(place=place, message=finding.message.replace("the script", "the file")))
    seen: dict[str, Finding] = {}
    for finding in findings:
        seen.setdefault(finding.message, finding)  # a variable is named once
    return _Read(words, list(seen.values()))


def _unreadable(place: Place, what: str) -> Finding:
    return Finding("unreadable-source", what, "put the command line after -- instead", place=place)


# ---------------------------------------------------------------- the model zoo


def _as_written(pairs: list[tuple[Scalar, Node]], variables: Table[str, str]) -> Words:
    words: list[Word] = []
    findings: dict[str, Finding] = {}
    for key, value in pairs:
        parts = parts_of(value)
        if isinstance(value, Scalar) and value.text.lower() == "false":
            continue
        words.append(Word(key.text, key.place))
        if isinstance(value, Scalar) and (value.tag == "null" or value.text.lower() == "true"):
            continue
        for part in parts:
            for text in _split(part.text):
                made, names = filled_in(text, variables)
                words.append(Word(made, part.place, names))
                for name in names:
                    findings.setdefault(name, _unknown(name, part.place))
    return Words(tuple(words), tuple(findings.values()))


def _split(text: str) -> Iterator[str]:
    """Words between spaces; one that is in quotes as a whole is meant without them."""
    for word in text.split():
        quoted = len(word) > 1 and word[0] == word[-1] and word[0] in "'\""
        yield word[1:-1] if quoted else word


def filled_in(text: str, variables: Table[str, str]) -> tuple[str, tuple[str, ...]]:
    """``$NAME`` and ``${NAME}`` replaced where they are known, as envsubst does; and the names of the others."""
    unknown: dict[str, None] = {}

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in variables:
            unknown[name] = None
        return variables.get(name, match[0])

    return _VARIABLE.sub(value, text), tuple(unknown)


def _unknown(name: str, place: Place) -> Finding:
    message = f"${name} is used but the file does not set it; it is kept as written"
    return Finding("unresolved-variable", message, f"give it with --set {name}=VALUE", place=place)
