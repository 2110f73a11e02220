"""What reading a script hands out: the programs it starts, in words for users, and what is not known of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from bridge_args.findings import Finding
from bridge_args.records import dataclass
from bridge_args.script.bash.names import is_name
from bridge_args.script.bash.state import Choice, Found, Frame, Hole, Shared
from bridge_args.script.bash.traced import FIRST_HOLE, Traced, is_hole, plain
from bridge_args.words import OF_A_TASK, Word

_HOLES: Final = re.compile("[\ud800-\udbff]")


@dataclass(frozen=True, slots=True)
class Started:
    """A program that a script starts.

    Attributes:
        words: what bash would pass; words that are not wholly known say so (``Word.unresolved``).
        exports: variables exported to it, as text; of those not wholly known, as bash would write them.
        when: conditions that could not be told and on which it depends, in words.
        findings: what is not known of its words.
        unknown: what is not known of its words, its exports and its folder; ``Hole.written`` is how that stands there.
        folder: where it is started, as the script says it; empty for where the script itself is started.
        sbatch: options of its job, where the script itself calls ``sbatch``.
    """

    words: tuple[Word, ...]
    exports: Mapping[str, str]
    when: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    unknown: tuple[Hole, ...] = ()
    folder: str = ""
    sbatch: tuple[str, ...] = ()
    raw: Raw | None = None


@dataclass(frozen=True, slots=True)
class Raw:
    """What a program was read from; see ``kept.py``.

    Attributes:
        holes: what the characters in its words and exports stand for, in their order.
        exports: of the outermost command that has to do with it.
        readings: in which readings of the script it was found.
        of_tasks: conditions that every task decides for itself.
    """

    found: Found
    holes: tuple[Hole, ...]
    exports: Mapping[str, Traced]
    readings: frozenset[int]
    of_tasks: frozenset[Choice]


def outermost(found: Found) -> Frame | None:
    """The outermost inner shell whose doings are its own; None where the program is started as from the script."""
    frame, chosen = found.frame, None
    while frame is not None:
        chosen = frame if frame.own else chosen
        frame = frame.outer
    return chosen


def together(started: Sequence[Started]) -> list[list[Started]]:
    """Programs in groups: those among which only a task chooses, when it runs."""
    groups: list[list[Started]] = []
    for one in started:
        group = next((group for group in groups if all(_is_alternative(one, other) for other in group)), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return groups


def same_shell(one: Started, other: Started) -> bool:
    """Are both started by the same inner shell?"""
    if one.raw is None or other.raw is None:
        return False
    frames = (outermost(one.raw.found), outermost(other.raw.found))
    if frames[0] is None or frames[1] is None:
        return False
    texts = [(_HOLES.sub("?", frame.text.text), frame.text.at) for frame in frames if frame is not None]
    return texts[0] == texts[1]


def _is_alternative(one: Started, other: Started) -> bool:
    if one.raw is None or other.raw is None or one.raw.readings & other.raw.readings or not same_shell(one, other):
        return False
    tasks = one.raw.of_tasks | other.raw.of_tasks
    met = [
        {choice: way for choice, way in some.found.choices.items() if choice not in tasks}
        for some in (one.raw, other.raw)
    ]
    return all(met[1].get(choice, way) == way for choice, way in met[0].items())


def rendered(text: Traced, shared: Shared) -> str:
    """Text as a user reads it: what is not known as bash writes it."""
    if text.known:
        return text.text
    made = []
    for index, char in enumerate(text.text):
        if not is_hole(char):
            made.append(char)
            continue
        written = shared.holes[ord(char) - FIRST_HOLE].written
        following = text.text[index + 1 : index + 2]
        if is_name(written[1:]) and (following.isalnum() or following in ("_", "[")) and following:
            written = "${" + written[1:] + "}"
        made.append(written)
    return "".join(made)


def commands(readings: Sequence[Shared]) -> Iterator[Started]:
    """The commands of all readings, those with the same words once."""
    alike: dict[tuple[int, tuple[str, ...]], list[tuple[Shared, Found]]] = {}
    numbers: dict[tuple[int, tuple[str, ...]], set[int]] = {}
    for number, shared in enumerate(readings):
        for found in shared.found:
            key = (found.at, tuple(rendered(word, shared) for word in found.words))
            alike.setdefault(key, []).append((shared, found))
            numbers.setdefault(key, set()).add(number)
    of_tasks = frozenset(choice for shared in readings for choice in shared.of_tasks)
    for key, same in alike.items():
        texts = key[1]
        shared, found = same[0]
        words = tuple(
            Word(text, shared.sources.place(word.first), _unresolved(word, shared), word.vanishes or word.splits)
            for text, word in zip(texts, found.words, strict=True)
        )
        parts = (*found.words, *found.exports.values(), found.folder)
        yield Started(
            words,
            _exports(same),
            tuple(_when(same, readings)),
            tuple(_unknown(found, shared)),
            tuple(shared.holes_in("".join(part.text for part in parts))),
            rendered(found.folder, shared),
            found.sbatch,
            Raw(found, tuple(shared.holes), _outer_exports(same), frozenset(numbers[key]), of_tasks),
        )


def ends(shared: Shared) -> Iterator[str]:
    """Where a condition leads to an ``exit``, and what the user can give."""
    for end in shared.exits:
        if end.because:
            remedy = f": {end.remedy}" if end.remedy else ""
            yield f"{shared.sources.place(end.at)}: the script ends here because {end.because}{remedy}"


def why_few(shared: Shared) -> Iterator[str]:
    for end in shared.exits:
        if not end.because:
            yield f"{shared.sources.place(end.at)}: the script ends here with `exit`"
    for name, at in shared.unread:
        yield f"{shared.sources.place(at)}: {name} is started and not read: it is not beside the script"
    for name, (at, said) in shared.required.items():
        yield f"{shared.sources.place(at)}: {_must(name, said)}; {_given(name)}"
    named = {name for end in shared.exits for name in end.names}
    for name, at in shared.assumed.items():
        if name in named:
            continue
        yield f"{shared.sources.place(at)}: ${name} is not set and read as empty; give it with --set {name}=VALUE"


def _must(name: str, said: str) -> str:
    return f"${name} must be given: {said}"


def _given(name: str) -> str:
    return "give it after the script's name" if name.isdigit() else f"give it with --set {name}=VALUE"


def _unresolved(word: Traced, shared: Shared) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for hole in shared.holes_in(word.text) for name in (hole.names or (hole.written,))))


def _exports(same: Sequence[tuple[Shared, Found]]) -> dict[str, str]:
    """What is exported in all readings alike."""
    tables = [{name: rendered(value, shared) for name, value in found.exports.items()} for shared, found in same]
    return {name: value for name, value in tables[0].items() if all(table.get(name) == value for table in tables)}


def _outer_exports(same: Sequence[tuple[Shared, Found]]) -> dict[str, Traced]:
    """The same for the outermost command, as text with holes."""
    frames = [outermost(found) for _, found in same]
    tables = [frame.exports if frame else found.exports for frame, (_, found) in zip(frames, same, strict=True)]
    texts = [
        {name: rendered(value, shared) for name, value in table.items()}
        for table, (shared, _) in zip(tables, same, strict=True)
    ]
    return {
        name: value for name, value in tables[0].items() if all(table.get(name) == texts[0][name] for table in texts)
    }


def _when(same: Sequence[tuple[Shared, Found]], readings: Sequence[Shared]) -> Iterator[str]:
    """The choices all these readings share, unless other choices lead to the same command.

    A condition is the same where it stands at the same place; its words may differ, with what was known there.
    """
    common = {(at, way) for (at, _), way in same[0][1].choices.items()}
    for _, found in same[1:]:
        common &= {(at, way) for (at, _), way in found.choices.items()}
    shared = same[0][0]
    met = {(at, about): way for (at, about), way in same[0][1].choices.items() if (at, about) not in shared.of_tasks}
    somewhere = len({id(shared) for shared, _ in same}) < len(readings)
    for (at, about), way in sorted(met.items()):
        if (at, way) not in common:
            if somewhere and not common:
                yield _one_of_several(about, shared, at)
            continue
        ways = shared.ways.get((at, about)) or next(r.ways[at, about] for r in readings if (at, about) in r.ways)
        place = shared.sources.place(at)
        yield f"`{' '.join(about.split())}`{f' (line {place.line})' if place else ''} {ways[way]}"


def _one_of_several(about: str, shared: Shared, at: int) -> str:
    place = shared.sources.place(at)
    return f"`{' '.join(about.split())}`{f' (line {place.line})' if place else ''} comes out in one of several ways"


def _unknown(found: Found, shared: Shared) -> Iterator[Finding]:
    """What is not known of a command's words, each thing once."""
    holes = shared.holes_in("".join(word.text for word in found.words))
    told = set()
    for hole in holes:
        if (hole.names and OF_A_TASK.issuperset(hole.names)) or (hole.variable and hole.variable in told):
            continue
        told.add(hole.variable)
        yield _about(hole, shared)
    for name, at in shared.assumed.items():
        if name in shared.given or any(hole.variable == name for hole in holes):
            continue
        message = f"${name} is not set by the script and read as empty"
        yield Finding("environment", message, f"give it with --set {name}=VALUE", place=shared.sources.place(at))
    for name, (at, said) in shared.required.items():
        if not any(hole.variable == name for hole in holes):
            place = shared.sources.place(at)
            yield Finding("unresolved-variable", _must(name, said), _given(name), place=place, about=f"${name}")
    for name, at in shared.overruled.items():
        message = f"the script sets {name} itself; --set {name}={shared.given[name]} has no effect there"
        yield Finding("unresolved-variable", message, place=shared.sources.place(at))
    there = {word.text for word in found.words}
    for text, at in shared.patterns.items():
        if text in there:
            message = f"bash fills in the file names that fit {rendered(plain(text), shared)}; it is kept as written"
            yield Finding("unresolved-variable", message, place=shared.sources.place(at))


def _about(hole: Hole, shared: Shared) -> Finding:
    message, remedy = _unknown_hole(hole)
    place = shared.sources.place(hole.at)
    return Finding("unresolved-variable", message, remedy, place=place, about=hole.said)


def _unknown_hole(hole: Hole) -> tuple[str, str]:
    """What is not known, and how it is given."""
    what = hole.said
    if hole.variable.isdigit():
        return f"{what} is a word given to the script; it is kept as written", "give it after the script's name"
    if hole.variable:
        message = f"{what} is used but the script does not set it; it is kept as written"
        if hole.required:
            message = f"{what} must be given: {hole.required}"
        return message, _given(hole.variable)
    remedy = " ".join(f"--set {name}=VALUE" for name in hole.names if name not in OF_A_TASK)
    if hole.kind == "expression":
        message = f"{what} is not known{' without ' + ' and '.join(hole.names) if hole.names else ''}"
    else:
        message = f"{what} is not run" + (f"; kept as {hole.written}" if hole.written != what else "")
    return message, f"give it with {remedy}" if remedy else ""
