"""Changed words in the file where the user wrote them; everything else in it stays, byte for byte.

Where a word stands is known from reading the file. How words are added or taken out there depends on what is around
them: a line of their own, a backslash at its end, quotes, an array, YAML. So there are several ways, and after each
the file is read again: the way is right if exactly the words that are meant come out. If none is, nothing is guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from bridge_args.modernize.items import Item
from bridge_args.modernize.plan import words_of
from bridge_args.records import Record
from bridge_args.words import Place, Word

# The files by their names -> the words of each of their commands as they are read; None where they are not read.
Read = Callable[[Mapping[str, str]], Sequence[tuple[Word, ...]] | None]

_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|$)")
_PLAIN: Final = re.compile(r"[\w@%+=:,./-]+")
_VARIABLE: Final = re.compile(r"(?:[ \t]|\\\r?\n)+(?:\$(?:\w+|\{\w+\})|\"\$(?:\w+|\{\w+\})\")(?![^\s\"')])")
_VARIABLES: Final = re.compile(rf"(?:{_VARIABLE.pattern})+")
_BARE: Final = re.compile(r"[\w@%+=:,./*?\[\]-]+")
_YAML: Final = re.compile(r"[ \t]*[\"']?--[\w-]+[\"']?:")
_WORD_OF_YAML: Final = re.compile(r"(?:--?|/)?[A-Za-z_][\w./=-]*")
_NO_TEXT: Final = ("true", "false", "yes", "no", "on", "off", "y", "n", "null")
_ANCHORS: Final = 12  # places where words may be added


class Span(Record):
    """A part of a file."""

    file: str
    start: int
    end: int


class NotDone(Record):
    """A change that is left to the user.

    Attributes:
        place: where its words are written, as far as that is known.
    """

    item: Item
    place: Place | None


class Edited(Record):
    """What became of the files.

    Attributes:
        texts: all of them, by name.
        not_done: changes whose words are made elsewhere than where they could be changed.
    """

    texts: Mapping[str, str]
    not_done: tuple[NotDone, ...]


def edited(texts: Mapping[str, str], commands: Sequence[Sequence[Item]], read: Read) -> Edited:
    """Puts the changed items where the user wrote them.

    Args:
        texts: the files that words may stand in, by the names that places have.
        commands: each command line of the files, whole and in its order; they may share their words.
        read: reads the commands from such files.
    """
    work = _Work(texts, commands, read)
    for number, items in enumerate(commands):
        for index, item in enumerate(items):
            if item.is_changed and not work.is_done(number, index):
                work.change(number, index)
    return Edited(work.texts, tuple(work.missing))


class _Work:
    """The files by now, and what each command should be read as."""

    def __init__(self, texts: Mapping[str, str], commands: Sequence[Sequence[Item]], read: Read) -> None:
        self.texts, self.commands, self.read = texts, commands, read
        self.done = [[item._replace(words=item.was) for item in items] for items in commands]
        self.order = [list(range(len(items))) for items in commands]  # in which they are read: added ones may move
        self.missing: list[NotDone] = []

    def is_done(self, number: int, index: int) -> bool:
        return self.done[number][index].words == self.commands[number][index].words

    def change(self, number: int, index: int) -> None:
        """One item of one command, and with it the same item of others that have its words from the same place."""
        item = self.commands[number][index]
        before = self.read(self.texts) or [()] * len(self.commands)
        here = [self.done[number][at] for at in self.order[number]]
        place = self.order[number].index(index)
        for candidate in _candidates(self.texts, here, place, item, before[number]):
            found = self.read(candidate)
            if found is None or len(found) != len(self.commands):
                continue
            wanted = [self._with(other, item, only=index if other == number else None) for other in range(len(found))]
            made: list[tuple[list[Item], list[int]] | None] = []
            for other, words in enumerate(found):
                texts = [word.text for word in words]
                order = _order(wanted[other], self.done[other], self.order[other], texts)
                if order is not None:
                    made.append((wanted[other], order))
                elif other != number and texts == words_of([self.done[other][at] for at in self.order[other]]):
                    made.append((self.done[other], self.order[other]))
                else:
                    made.append(None)
            if all(one is not None for one in made):
                self.texts = candidate
                self.done = [one[0] for one in made if one is not None]
                self.order = [one[1] for one in made if one is not None]
                return
        self.missing.append(NotDone(item, _place_of(here, place, item, before[number])))

    def _with(self, number: int, item: Item, only: int | None) -> list[Item]:
        """What a command is with this change; of another command, where the same is planned there."""
        return [
            new if (at == only if only is not None else (new.was, new.words) == (item.was, item.words)) else now
            for at, (now, new) in enumerate(zip(self.done[number], self.commands[number], strict=True))
        ]


def _order(
    wanted: Sequence[Item], before: Sequence[Item], order: Sequence[int], texts: Sequence[str]
) -> list[int] | None:
    """In which order these items are read as these words; one that was added may stand between any two others."""
    if words_of([wanted[at] for at in order]) == texts:
        return list(order)
    added = [at for at, (new, old) in enumerate(zip(wanted, before, strict=True)) if new.words and not old.words]
    for one in added:
        others = [at for at in order if at != one]
        for place in range(len(others) + 1):
            moved = [*others[:place], one, *others[place:]]
            if words_of([wanted[at] for at in moved]) == texts:
                return moved
    return None


def _place_of(items: Sequence[Item], index: int, new: Item, words: Sequence[Word]) -> Place | None:
    """Of the first word that becomes another one; of an added one, of the last word there is."""
    old = items[index].words
    at = len(words_of(items[:index]))
    if old and len(old) == len(new.words):
        at += next(number for number, pair in enumerate(zip(old, new.words, strict=True)) if pair[0] != pair[1])
    here = words[at : at + 1] if old else words[-1:]
    return here[0].place if here else None


# Ways to change a file ------------------------------------------------------------------------------------------------


def _candidates(
    texts: Mapping[str, str], items: Sequence[Item], index: int, item: Item, words: Sequence[Word]
) -> Iterator[Mapping[str, str]]:
    at = len(words_of(items[:index]))
    here = words[at : at + len(item.was)]
    if not item.was:
        for said in _ways_to_say(item.words):
            yield from _added(texts, items, item.words, words, said)
        return
    there = spans_of(texts, here)
    if not item.words and (whole := _with_variables(texts, here)) is not None:
        for cut in _cuts(texts, [whole]):
            yield _with(texts, [(span, "") for span in cut])
    if not there:
        return
    if not item.words:
        for cut in _cuts(texts, there):
            yield _with(texts, [(span, "") for span in cut])
        return
    if len(item.words) == len(item.was):
        pairs = [(span, new) for span, old, new in zip(there, item.was, item.words, strict=True) if old != new]
        if any(not _PLAIN.fullmatch(new) and _with_quotes(texts, span) == span for span, new in pairs):
            yield _with(texts, [(span, _quoted(new)) for span, new in pairs])
        yield _with(texts, pairs)
    # Another number of words: the first one's place takes them all.
    for new in _ways_to_say(item.words):
        for cut in _cuts(texts, there[1:]) if there[1:] else [[]]:
            yield _with(texts, [(there[0], new), *((span, "") for span in cut)])
    if len(item.was) > 1 and len(item.words) == 2:  # a flag and one value, which quotes hold together now
        whole = Span(there[0].file, there[1].start, there[-1].end)
        yield _with(texts, [(there[0], item.words[0]), (whole, item.words[1])])


def _with_variables(texts: Mapping[str, str], words: Sequence[Word]) -> Span | None:
    """A flag with its values where those are variables: ``--num-layers "$LAYERS"``; where that is set is left alone."""
    flag = span_of(texts, words[0]) if len(words) > 1 else None
    if flag is None:
        return None
    values = _VARIABLES.match(texts[flag.file], flag.end)
    if values is None or len(_VARIABLE.findall(values.group())) != len(words) - 1:
        return None
    return Span(flag.file, flag.start, values.end())


def spans_of(texts: Mapping[str, str], words: Sequence[Word]) -> list[Span]:
    """Those of all words; none where one of them is not written as it is."""
    found = [span for word in words if (span := span_of(texts, word)) is not None]
    return found if len(found) == len(words) else []


def span_of(texts: Mapping[str, str], word: Word) -> Span | None:
    """Where a word stands letter by letter; None where it is written in another way, or made of parts."""
    place = word.place
    if place is None or place.source not in texts or not word.text:
        return None
    text = texts[place.source]
    lines = [found.start() for found in _LINE.finditer(text)]
    if not 1 <= place.line <= len(lines):
        return None
    begin = lines[place.line - 1]
    start = begin + place.column - 1
    if not text.startswith(word.text, start):  # in a text of YAML a column does not count what the text is indented by
        line = _LINE.match(text, begin)
        found = line.group() if line else ""
        indent = len(found) - len(found.lstrip(" "))
        moved = next((at for at in range(start + indent, start, -1) if _stands_at(text, word.text, at)), -1)
        if found.count(word.text) == 1:
            moved = begin + found.find(word.text)
        start = moved
    return Span(place.source, start, start + len(word.text)) if start >= begin else None


def _stands_at(text: str, word: str, at: int) -> bool:
    """As a word of its own?"""
    around = text[at - 1 : at] + text[at + len(word) : at + len(word) + 1]
    return text.startswith(word, at) and not re.search(r"[\w./-]", around)


def _cuts(texts: Mapping[str, str], spans: Sequence[Span]) -> Iterator[list[Span]]:
    """What is taken out with the words, so that no empty line, quotes or blanks stay behind; several ways."""
    groups = _together(texts, [_with_quotes(texts, span) for span in spans])
    whole = [_whole_lines(texts, group) for group in groups]
    if all(span is not None for span in whole):
        lines = [span for span in whole if span is not None]
        yield [_up_to_line_before(texts, span) for span in lines]
        yield lines
    yield [_with_blanks(texts, group, before=True) for group in groups]
    yield [_with_blanks(texts, group, before=False) for group in groups]
    yield [_line_of(texts, group) for group in groups]
    yield [_with_comma(texts, group) for group in groups]
    plain = _together(texts, list(spans))
    yield [_with_blanks(texts, group, before=False) for group in plain]
    yield [_with_blanks(texts, group, before=True) for group in plain]


def _with_quotes(texts: Mapping[str, str], span: Span) -> Span:
    text = texts[span.file]
    before, after = text[span.start - 1 : span.start], text[span.end : span.end + 1]
    if before and before == after and before in "'\"":
        dollar = before == "'" and text[: span.start - 1].endswith("$")  # $'...'
        return Span(span.file, span.start - 1 - dollar, span.end + 1)
    return span


def _together(texts: Mapping[str, str], spans: Sequence[Span]) -> list[Span]:
    """Neighbours with nothing but blanks, or a continued line, between them are one."""
    made: list[Span] = []
    for span in spans:
        if made and made[-1].file == span.file and made[-1].end <= span.start:
            between = texts[span.file][made[-1].end : span.start]
            if re.fullmatch(r"[ \t]*(?:\\\r?\n[ \t]*)*", between):
                made[-1] = Span(span.file, made[-1].start, span.end)
                continue
        made.append(span)
    return made


def _line_of(texts: Mapping[str, str], span: Span) -> Span:
    """All lines that it stands on, with their ends."""
    text = texts[span.file]
    start = max(text.rfind("\n", 0, span.start), text.rfind("\r", 0, span.start)) + 1
    end = _LINE.match(text, span.end)
    return Span(span.file, start, end.end() if end else len(text))


def _whole_lines(texts: Mapping[str, str], span: Span) -> Span | None:
    """The lines, where nothing else is on them."""
    line, text = _line_of(texts, span), texts[span.file]
    rest = text[line.start : span.start] + text[span.end : line.end]
    return line if re.fullmatch(r"[ \t]*\\?[ \t]*(?:\r\n|\r|\n)?", rest) else None


def _up_to_line_before(texts: Mapping[str, str], line: Span) -> Span:
    """The last line of a command: the backslash of the line before goes, its end stays."""
    text = texts[line.file]
    if _continues(text, line.end):
        return line
    before = re.search(r"[ \t]*\\[ \t]*(?:\r\n|\r|\n)$", text[: line.start])
    if before is None:
        return line
    end = re.search(r"(?:\r\n|\r|\n)?$", text[line.start : line.end])
    return Span(line.file, before.start(), line.start + (end.start() if end else line.end - line.start))


def _with_blanks(texts: Mapping[str, str], span: Span, before: bool) -> Span:
    text, start, end = texts[span.file], span.start, span.end
    if before:
        while start > 0 and text[start - 1] in " \t":
            start -= 1
        if start > 0 and text[start - 1] not in "\r\n":
            return Span(span.file, start, end)
        start = span.start
    while end < len(text) and text[end] in " \t":
        end += 1
    return Span(span.file, start, end)


def _with_comma(texts: Mapping[str, str], span: Span) -> Span:
    """An item of a list in brackets, with the comma behind it, or before it where it is the last."""
    text = texts[span.file]
    if behind := re.match(r"[ \t]*,[ \t]*", text[span.end :]):
        return Span(span.file, span.start, span.end + behind.end())
    before = re.search(r",[ \t]*$", text[: span.start])
    return Span(span.file, before.start() if before else span.start, span.end)


def _added(
    texts: Mapping[str, str], items: Sequence[Item], new: Sequence[str], words: Sequence[Word], said: str
) -> Iterator[Mapping[str, str]]:
    """Behind the last flag that stands somewhere as it is, in the way in which that one is written; or the program."""
    at = 0
    anchors: list[list[Span]] = []
    for item in items:
        if item.words and item.dest:
            if spans := spans_of(texts, words[at : at + len(item.words)]):
                anchors.append(spans)
        at += len(item.words)

    main = next(iter(texts))
    latest = anchors[: -_ANCHORS - 1 : -1]
    for anchor in sorted((_anchor(texts, spans) for spans in latest), key=lambda one: one.rank(main)):
        text, last = texts[anchor.last.file], anchor.last
        if anchor.is_yaml:
            yield from _added_to_yaml(texts, anchor, new)
        if anchor.ends and (anchor.begins or anchor.continued):
            line = f"{anchor.newline}{anchor.indent}{said}"
            ways = [(last.end, f" \\{line}"), (last.end, line)]
            if not anchor.continued:
                ways.reverse()
            if anchor.tail.startswith("#"):  # which belongs to what stands before it
                end = _line_of(texts, last).end
                ways.insert(0, (end, f"{anchor.indent}{said}{anchor.newline}" if text[end - 1] in "\r\n" else line))
            yield from (_with(texts, [(Span(last.file, at, at), way)]) for at, way in ways)
        yield _with(texts, [(Span(last.file, last.end, last.end), f" {said}")])
        yield _with(texts, [(Span(last.file, anchor.inside, anchor.inside), f" {said}")])
        if not anchor.is_yaml:
            yield from _added_to_yaml(texts, anchor, new)
    front = next((number for number, item in enumerate(items) if item.dest), 0)
    for span in spans_of(texts, words[front - 1 : front]) if front else ():
        end = _with_quotes(texts, span).end
        yield _with(texts, [(Span(span.file, end, end), f" {said}")])


class _Anchor(Record):
    """A flag with its values, behind which others may come.

    Attributes:
        last: its last word, with quotes.
        inside: where that ends within its quotes.
        indent, newline: of its line.
        tail: what follows on its line.
        begins, ends: is it the first on its line, and the last?
        continued: does its line go on behind a backslash, or the line before it?
        is_yaml: is it the key of a mapping?
    """

    last: Span
    inside: int
    indent: str
    newline: str
    tail: str
    begins: bool
    ends: bool
    continued: bool
    is_yaml: bool

    def rank(self, main: str) -> tuple[bool, bool, bool]:
        """The likelier, the less."""
        return self.last.file != main, not self.ends, not self.begins


def _anchor(texts: Mapping[str, str], spans: Sequence[Span]) -> _Anchor:
    first, last = _with_quotes(texts, spans[0]), _with_quotes(texts, spans[-1])
    text = texts[last.file]
    line, end = _line_of(texts, first), _line_of(texts, last).end
    tail = text[last.end : end].strip()
    newline = re.search(r"(?:\r\n|\r|\n)$", text[line.start : end])
    indent = re.match(r"[ \t]*", text[line.start : first.start])
    return _Anchor(
        last,
        spans[-1].end,
        indent.group() if indent else "",
        newline.group() if newline else "\n",
        tail,
        begins=not text[line.start : first.start].strip(),
        ends=not tail or tail[0] in "\\#)\"'",
        continued=tail.startswith("\\") or _continues(text, line.start),
        is_yaml=_YAML.match(text, line.start) is not None,
    )


def _continues(text: str, start: int) -> bool:
    """Does the line before end with a backslash?"""
    return re.search(r"\\[ \t]*(?:\r\n|\r|\n)$", text[:start]) is not None


def _added_to_yaml(texts: Mapping[str, str], anchor: _Anchor, new: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """``--flag: value`` on a line of its own, or items of a list, which may stand in brackets."""
    file, end = anchor.last.file, _line_of(texts, anchor.last).end
    closed = "" if texts[file][:end].endswith(("\n", "\r")) else anchor.newline
    value = "true" if len(new) == 1 else " ".join(new[1:])
    items = anchor.newline.join(f"{anchor.indent}- {_text_of_yaml(word)}" for word in new)
    in_brackets = "".join(f", {_as_quoted(texts, anchor.last, word)}" for word in new)
    yield _with(texts, [(Span(file, anchor.last.end, anchor.last.end), in_brackets)])
    for said in (f"{anchor.indent}{new[0]}: {value}", f"{anchor.indent}{new[0]}: {json.dumps(value)}", items):
        yield _with(texts, [(Span(file, end, end), f"{closed}{said}{anchor.newline}")])


def _as_quoted(texts: Mapping[str, str], like: Span, word: str) -> str:
    """A word in the quotes in which another one stands."""
    quote = texts[like.file][like.start]
    if quote == "'":
        return "'" + word.replace("'", "''") + "'"
    return json.dumps(word) if quote == '"' else _text_of_yaml(word)


def _text_of_yaml(word: str) -> str:
    """A word that YAML reads as a text: in quotes where it might be a number, a switch or a sign of YAML's own."""
    return word if _WORD_OF_YAML.fullmatch(word) and word.lower() not in _NO_TEXT else json.dumps(word)


def _with(texts: Mapping[str, str], changes: Sequence[tuple[Span, str]]) -> Mapping[str, str]:
    made = dict(texts)
    for span, new in sorted(changes, key=lambda change: change[0], reverse=True):
        text = made[span.file]
        made[span.file] = text[: span.start] + new + text[span.end :]
    return made


def _ways_to_say(words: Sequence[str]) -> Iterator[str]:
    """In single quotes; in double ones or behind backslashes, within others; without any, where a word is data."""
    bare = (_with_backslashes, str) if all(map(_BARE.fullmatch, words)) else ()
    ways = (_quoted, _quoted_otherwise, *bare)
    yield from dict.fromkeys(" ".join(map(way, words)) for way in ways)


def _quoted(word: str) -> str:
    return word if _PLAIN.fullmatch(word) else "'" + word.replace("'", "'\\''") + "'"


def _quoted_otherwise(word: str) -> str:
    return word if _PLAIN.fullmatch(word) else '"' + re.sub(r'([\\"$`])', r"\\\1", word) + '"'


def _with_backslashes(word: str) -> str:
    return re.sub(r"([*?\[\]])", r"\\\1", word)
