"""What reading a script hands out: the programs it starts, in words for users, and what is not known of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bridge_args.findings import Finding
from bridge_args.script.state import Found, Hole, Shared
from bridge_args.script.traced import FIRST_HOLE, Traced, is_hole, plain
from bridge_args.words import Word


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
        if written[1:].isidentifier() and (following.isalnum() or following in ("_", "[")) and following:
            written = "${" + written[1:] + "}"
        made.append(written)
    return "".join(made)


def commands(readings: Sequence[Shared]) -> Iterator[Started]:
    """The commands of all readings, those with the same words once."""
    alike: dict[tuple[int, tuple[str, ...]], list[tuple[Shared, Found]]] = {}
    for shared in readings:
        for found in shared.found:
            texts = tuple(rendered(word, shared) for word in found.words)
            alike.setdefault((found.at, texts), []).append((shared, found))
    for (_, texts), same in alike.items():
        shared, found = same[0]
        words = tuple(
            Word(text, shared.sources.place(word.first), _unresolved(word, shared))
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
        )


def why_few(shared: Shared) -> Iterator[str]:
    for at, _ in shared.exits:
        yield f"{shared.sources.place(at)}: the script ends here with `exit`"
    for name, at in shared.unread:
        yield f"{shared.sources.place(at)}: {name} is started and not read: it is not beside the script"
    for name, at in shared.assumed.items():
        yield f"{shared.sources.place(at)}: ${name} is not set and read as empty; give it with --set {name}=VALUE"


def _unresolved(word: Traced, shared: Shared) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for hole in shared.holes_in(word.text) for name in (hole.names or (hole.written,))))


def _exports(same: Sequence[tuple[Shared, Found]]) -> dict[str, str]:
    """What is exported in all readings alike."""
    tables = [{name: rendered(value, shared) for name, value in found.exports.items()} for shared, found in same]
    return {name: value for name, value in tables[0].items() if all(table.get(name) == value for table in tables)}


def _when(same: Sequence[tuple[Shared, Found]], readings: Sequence[Shared]) -> Iterator[str]:
    """The choices all these readings share, unless other choices lead to the same command."""
    common = set(same[0][1].choices.items())
    for _, found in same[1:]:
        common &= set(found.choices.items())
    shared = same[0][0]
    for (at, about), way in sorted(common):
        ways = shared.ways.get((at, about)) or next(r.ways[at, about] for r in readings if (at, about) in r.ways)
        place = shared.sources.place(at)
        yield f"`{' '.join(about.split())}`{f' (line {place.line})' if place else ''} {ways[way]}"


def _unknown(found: Found, shared: Shared) -> Iterator[Finding]:
    """What is not known of a command's words, each thing once."""
    holes = shared.holes_in("".join(word.text for word in found.words))
    for hole in holes:
        yield _about(hole, shared)
    for name, at in shared.assumed.items():
        if name in shared.given or any(hole.variable == name for hole in holes):
            continue
        message = f"${name} is not set by the script and read as empty"
        yield Finding("environment", message, f"give it with --set {name}=VALUE", place=shared.sources.place(at))
    for name, at in shared.overruled.items():
        message = f"the script sets {name} itself; --set {name}={shared.given[name]} has no effect there"
        yield Finding("unresolved-variable", message, place=shared.sources.place(at))
    for text, at in shared.patterns.items():
        if any(word.text == text for word in found.words):
            message = (
                f"bash fills in the file names that fit {rendered(plain(text), shared)}; it is kept as it is written"
            )
            yield Finding("unresolved-variable", message, place=shared.sources.place(at))


def _about(hole: Hole, shared: Shared) -> Finding:
    place = shared.sources.place(hole.at)
    if hole.variable.isdigit():
        message = f"{hole.written} is a word given to the script; it is kept as it is written"
        return Finding("unresolved-variable", message, "give it behind the script's name", place=place)
    if hole.variable:
        message = f"${hole.variable} is used but the script does not set it; it is kept as it is written"
        if hole.required:
            message = f"${hole.variable} must be given: {hole.required}"
        return Finding("unresolved-variable", message, f"give it with --set {hole.variable}=VALUE", place=place)
    remedy = " ".join(f"--set {name}=VALUE" for name in hole.names)
    what = hole.first_written or hole.written
    if hole.kind == "expression":
        message = f"{what} is not known{' without ' + ' and '.join(hole.names) if hole.names else ''}"
    else:
        message = f"{what} is not run" + (f"; kept as {hole.written}" if hole.written != what else "")
    return Finding("unresolved-variable", message, f"give it with {remedy}" if remedy else "", place=place)
