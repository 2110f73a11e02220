"""Other words in a command, where an inner shell starts it: ``srun bash -c 'export RANK=$SLURM_PROCID; python …'``.

What such a shell sets, asks and decides is its own: every task has other values, a container other programs. So its
text stays as the user wrote it, and only the words that change are changed in it, where they are written.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from bridge_args.records import Record
from bridge_args.script.bash import grammar
from bridge_args.script.bash import syntax as s
from bridge_args.script.bash.budget import Budget
from bridge_args.script.bash.names import is_name
from bridge_args.script.bash.started import Started, outermost
from bridge_args.script.bash.state import Frame, Hole, Spot
from bridge_args.script.bash.traced import FIRST_HOLE, Traced, is_hole, joined, plain
from bridge_args.script.programs import ELSEWHERE, SHELLS
from bridge_args.words import Place

Edits = Mapping[int, Sequence[str]]  # which of a command's words -> what stands there instead

_ASSIGNED: Final = re.compile(r"(?a)[A-Za-z_]\w*=")
_HOLES: Final = re.compile("[\ud800-\udbff]")


class NotChanged(ValueError):
    """Where a word cannot be changed without changing more than it."""

    def __init__(self, what: str, place: Place | None) -> None:
        super().__init__(what)
        self.what = what
        self.place = place


class Outer(Record):
    """A command as the outermost shell has it.

    Attributes:
        words: characters of ``holes`` stand in them for what is not known.
        front: how many of them stand before the user's arguments, or before the text of an inner shell.
        exports, folder: of the shell that starts it.
    """

    words: tuple[str, ...]
    front: int
    exports: Mapping[str, str]
    folder: str
    holes: Mapping[str, Hole]


def changed(all_of: Sequence[tuple[Started, Edits]], front: int) -> Outer:
    """A command with other words in it, and with it what the same inner shell may start instead.

    Args:
        all_of: the command first; words are counted as in ``Started.words``.
        front: how many words stand before the user's arguments.

    Raises:
        NotChanged: a word that cannot be changed alone.
    """
    started, edits = all_of[0]
    raw = started.raw
    assert raw is not None
    base = outermost(raw.found)
    if base is None:
        words = list(raw.found.words)
        texts = [
            [plain(text) for text in edits[index]] if index in edits else [words[index]] for index in range(len(words))
        ]
        before = sum(len(some) for some in texts[:front])
        outer, folder = [one for some in texts for one in some], raw.found.folder
    else:
        spans = _Spans(raw.holes, base)
        for one, its_edits in all_of:
            assert one.raw is not None
            spans.put(one, its_edits)
        words = [*base.prefix, *spans.words()]
        outer, folder = words, base.folder
        before = len(base.prefix) + base.at
    assigned = next((i for i, word in enumerate(outer) if not _ASSIGNED.match(word.text)), 0)
    holes = {chr(FIRST_HOLE + index): hole for index, hole in enumerate(raw.holes)}
    return Outer(
        tuple(word.text for word in outer[assigned:]),
        max(before - assigned, 0),
        {name: value.text for name, value in raw.exports.items()},
        folder.text,
        holes,
    )


def elsewhere(started: Started) -> bool:
    """Is it started where other programs are than here?"""
    chain = _chain(started.raw.found.frame) if started.raw else []
    names = {word.text.rsplit("/", 1)[-1] for frame in chain for word in frame.words[: frame.at]}
    return bool(names & ELSEWHERE)


class _Spans:
    """What stands where in the texts of the inner shells of one outermost command, after some words have changed."""

    def __init__(self, holes: Sequence[Hole], base: Frame) -> None:
        self.holes = holes
        self.base = base
        self.frames: dict[tuple[object, ...], Frame] = {}
        self.spans: dict[tuple[object, ...], dict[tuple[int, int], Traced]] = {}
        self.outer: dict[int, list[Traced]] = {}  # words of the base's command

    def put(self, started: Started, edits: Edits) -> None:
        raw = started.raw
        assert raw is not None
        chain = _chain(raw.found.frame)
        chain = chain[next(i for i, frame in enumerate(chain) if frame.own) :]
        passed = [len(chain[0].prefix)]
        for frame in chain:
            passed.append(passed[-1] + frame.passed)
        for level, frame in enumerate(chain, start=1):
            if frame.written:  # nobody writes the file now
                key = _key(level, frame)
                self.frames[key] = frame
                self.spans.setdefault(key, {})
        whole: dict[int, dict[int, list[Traced]]] = {}
        for index, texts in edits.items():
            level = max(i for i, before in enumerate(passed) if index >= before)
            put_there = self._put(started, chain, level, index - passed[level], list(map(plain, texts)))
            if put_there is not None:
                whole.setdefault(put_there, {})[index - passed[put_there]] = list(map(plain, texts))
        for level, its_edits in whole.items():
            self._put_whole(started, chain, level, its_edits)

    def words(self) -> list[Traced]:
        """The words of the outermost command."""
        while self.spans:
            key = max(self.spans, key=lambda key: int(str(key[0])))
            frame, spans = self.frames.pop(key), self.spans.pop(key)
            self._text_changed(frame, _with(frame.text, spans))
        made: list[Traced] = []
        for index, word in enumerate(self.base.words):
            made += self.outer.get(index, [word])
        return [*made, *self.outer.get(len(self.base.words), [])]

    # Where a word is written ------------------------------------------------------------------------------------

    def _put(self, started: Started, chain: Sequence[Frame], level: int, index: int, texts: list[Traced]) -> int | None:
        """Puts words in the place of one; else the level whose command has to be written anew."""
        if level == 0:
            self.outer[index] = texts
            return None
        frame, words, spots = chain[level - 1], *_command(started, chain, level)
        word = words[index]
        span = _written(_aligned(spots[0], len(words) - index), word, frame)
        if span is None and word.first >= 0:
            calls = [made for spot in spots[1:] for made in spot.made]
            span = next(filter(None, (_written(made, word, frame, exactly=True) for made in calls)), None)
        if span is not None:
            self._set(frame, level, span, joined((_quoted(text, frame.number, self.holes) for text in texts), " "))
            return None
        outside = frame.words
        for at in range(frame.at + 1, len(outside)):
            if word.first >= 0 and (outside[at].text, outside[at].at) == (word.text, word.at):
                return self._put(started, chain, level - 1, at, texts)
        return level

    def _put_whole(
        self, started: Started, chain: Sequence[Frame], level: int, edits: Mapping[int, list[Traced]]
    ) -> None:
        """All words of a command, as they are known, in the place of those that are written."""
        frame, words, spots = chain[level - 1], *_command(started, chain, level)
        new = [one for index, word in enumerate(words) for one in edits.get(index, [word])]
        new = new[next((i for i, word in enumerate(words) if not _ASSIGNED.match(word.text)), 0) :]
        text = joined((_quoted(word, frame.number, self.holes) for word in new), " ")
        for spot in spots:
            if spot is not spots[0] and not _only_evaluates(spot):
                break
            skipped = _skipped(spot, words)
            spans = [_written(made, None, frame) for made in spot.made[skipped:]]
            if spans and all(span is not None for span in spans):
                for index, span in enumerate(spans):
                    assert span is not None
                    self._set(frame, level, span, text if index == 0 else Traced())
                return
        name = words[-1].text if not words else words[0].text
        message = (
            f"the words of {name} are made elsewhere than in the shell that starts it, and cannot be changed there"
        )
        raise NotChanged(message, started.words[0].place)

    def _set(self, frame: Frame, level: int, span: tuple[int, int], text: Traced) -> None:
        key = _key(level, frame)
        self.frames[key] = frame
        before = self.spans.setdefault(key, {}).setdefault(span, text)
        if before.text != text.text:
            message = "the same words stand for other ones from time to time, and cannot be changed alike"
            raise NotChanged(message, None)

    # A text in the command that starts its shell ----------------------------------------------------------------

    def _text_changed(self, frame: Frame, text: Traced) -> None:
        edits = _with_text(frame, text)
        if frame.outer is None or not frame.outer.own:
            self.outer.update(edits)
            return
        outer = frame.outer
        level = len([one for one in _chain(outer) if one.own])
        for index, texts in edits.items():
            at = min(index, len(frame.words) - 1)
            span = _written(_aligned(frame.spots[0], len(frame.words) - at), frame.words[at], outer)
            if span is None:
                raise NotChanged("the text of an inner shell is made elsewhere than where it is started", None)
            written = joined((_quoted(word, outer.number, self.holes) for word in texts), " ")
            if index > at:
                written = outer.text[slice(*span)] + plain(" ") + written
            self._set(outer, level, span, written)


def _key(level: int, frame: Frame) -> tuple[object, ...]:
    """The same for one shell in several readings of the script."""
    return level, _HOLES.sub("?", frame.text.text), frame.text.at


def _chain(frame: Frame | None) -> list[Frame]:
    """The inner shells, outermost first."""
    made: list[Frame] = []
    while frame is not None:
        made.insert(0, frame)
        frame = frame.outer
    return made


def _command(started: Started, chain: Sequence[Frame], level: int) -> tuple[Sequence[Traced], Sequence[Spot]]:
    """The command of a level, and where it is written: that which starts the next shell, or the last of all."""
    if level < len(chain):
        return chain[level].words, chain[level].spots
    assert started.raw is not None
    found = started.raw.found
    before = len(chain[-1].prefix) + chain[-1].passed
    return found.words[before:], found.spots


def _aligned(spot: Spot, from_the_end: int) -> tuple[s.ShellWord, tuple[Traced, ...]] | None:
    """The written word that one of the command's words comes from, counted from the end."""
    for word, made in reversed(spot.made):
        if from_the_end <= len(made):
            return word, made
        from_the_end -= len(made)
    return None


def _written(
    made: tuple[s.ShellWord, tuple[Traced, ...]] | None, word: Traced | None, frame: Frame, exactly: bool = False
) -> tuple[int, int] | None:
    """Where in the text of the shell a word is written that bash makes one word of."""
    if made is None or (word is not None and (len(made[1]) != 1 or made[1][0].text != word.text)):
        return None
    if exactly and word is not None and made[1][0].at != word.at:
        return None
    start, end = made[0].start, made[0].start + len(made[0].written)
    if start < 0 or frame.text.text[start:end] != made[0].written or frame.text.at[start : start + 1] != (made[0].at,):
        return None
    return start, end


def _skipped(spot: Spot, words: Sequence[Traced]) -> int:
    """How many written words come before the command's own: ``exec``, ``command``."""
    if not spot.made or not spot.made[0][1] or spot.made[0][1][0].text == "eval":
        return 0
    there = [one.text for _, made in spot.made for one in made]
    program = [word.text for word in words if not _ASSIGNED.match(word.text)]
    left = len(there) - len(program)
    count = 0
    while count < len(spot.made) and left > 0:
        left -= len(spot.made[count][1])
        count += 1
    return count


def _only_evaluates(spot: Spot) -> bool:
    """``eval "$COMMAND"``, and nothing but one command in it."""
    words = [one for _, made in spot.made for one in made]
    if not words or words[0].text != "eval":
        return False
    body, problem = grammar.read(joined(words[1:], " "), Budget())
    items = [item for line in body.lines for item in line.items]
    only = items[0].first.commands if len(items) == 1 and not items[0].rest else ()
    return problem is None and len(only) == 1 and isinstance(only[0], s.Simple) and not only[0].redirects


def _with(text: Traced, spans: Mapping[tuple[int, int], Traced]) -> Traced:
    pieces, at = [], 0
    for (start, end), new in sorted(spans.items()):
        pieces += [text[at:start], new]
        at = end
    return joined([*pieces, text[at:]])


def _with_text(frame: Frame, text: Traced) -> dict[int, list[Traced]]:
    """The words of the outer command that start the same shell with another text."""
    at, words = frame.at, frame.words
    if frame.kind == "text":
        return {at: [text]}
    if frame.kind == "remote":
        if at >= len(words):
            return {at: [text]}
        return {at: [text], **{index: [] for index in range(at + 1, len(words))}}
    if frame.kind == "file":
        text = _without_a_file(text)
        shell = [] if frame.passed < at else [plain(word) for word in _interpreter(text.text)]
        return {at: [*shell, plain("-c"), text, words[at]]}
    options = at
    while options + 1 < len(words) and words[options + 1].text[:1] in ("-", "+") and words[options].text != "--":
        options += 1
    edits: dict[int, list[Traced]] = {
        index: [] for index in range(at + 1, options + 1) if words[index].text in ("-s", "--", "-")
    }
    edits[options] = [*edits.get(options, [words[options]]), plain("-c"), text, words[at]]
    return edits


def _without_a_file(text: Traced) -> Traced:
    """A text that is no file any more: what it calls itself is ``$0``."""
    spans = {
        (found.start(), found.end()): plain(found.group(1) + "0")
        for found in re.finditer(r"(\$\{?)BASH_SOURCE(\[0\])?", text.text)
    }
    return _with(text, spans)


def _interpreter(text: str) -> list[str]:
    """What the first line of a script says reads it."""
    words = text.partition("\n")[0][2:].split() if text.startswith("#!") else []
    if words and words[0].rsplit("/", 1)[-1] == "env":
        words = [word for word in words[1:] if word != "-S"]
    return words if words and words[0].rsplit("/", 1)[-1] in SHELLS else ["bash"]


def _quoted(word: Traced, shell: int, holes: Sequence[Hole]) -> Traced:
    """A word for an inner shell, which fills in what it meets itself; what outer shells do stays to be filled in."""
    met = {char: ord(char) - FIRST_HOLE for char in word.text if is_hole(char)}
    own = [char for char, index in met.items() if index < len(holes) and holes[index].shell == shell]
    if not own:
        text = word.text if word.known else _HOLES.sub("x", word.text)
        if shlex.quote(text) == text:
            return word
        return plain("'" + word.text.replace("'", "'\"'\"'") + "'")
    made = '"'
    for char in word.text:
        if char in own:
            written = holes[ord(char) - FIRST_HOLE].written
            made += "${" + written[1:] + "}" if is_name(written[1:]) else written
        else:
            made += "\\" + char if char in '"$`\\' else char
    return plain(made + '"')
