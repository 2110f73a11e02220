"""What changes from one version of Megatron-LM to another, as data and for people: for all scripts, or for one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from bridge_args.findings import Finding
from bridge_args.mapping.translation import Translation
from bridge_args.mapping.unread import unmet
from bridge_args.megatron_lm.changed_environment import Variable
from bridge_args.megatron_lm.changed_rules import Computed, Rule
from bridge_args.megatron_lm.releases import Between, is_nothing, rules_between
from bridge_args.records import Record
from bridge_args.values import to_plain
from bridge_args.wording import counted

# ------------------------------------------------------------------------------------------------ for all scripts


def data(found: Between) -> dict[str, Any]:
    """The differences as JSON has them."""
    return {
        "from": found.before,
        "to": found.after,
        "gone": [{"flag": one.flag, "instead": one.instead, "renamed": one.renamed or None} for one in found.gone],
        "defaults": [{**one._asdict(), "flags": list(one.flags)} for one in found.defaults],
        "takes": [{**one._asdict(), "flags": list(one.flags)} for one in found.taken],
        "meaning": [_rule(rule) for rule in found.rules],
        "computed": [{"since": one.since, "what": one.name, "says": one.says} for one in found.computed],
        "variables": [{"since": one.since, "names": list(one.names), "says": one.says} for one in found.variables],
        "spelled": dict(found.spelled),
        "new": list(found.added),
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {"since": rule.since, "flags": list(rule.flags), "values": list(rule.values), "says": rule.says}


def text(found: Between) -> Iterator[str]:
    """The differences for a terminal: what a script breaks at comes first."""
    yield f"Megatron-LM {found.before} to {found.after}"
    yield from _lines(f"{counted(len(found.gone), 'flag')} gone", _pairs((one.flag, one.instead) for one in found.gone))
    yield from _lines("Another meaning", [f"since {rule.since}: {rule.says}" for rule in found.rules])
    yield from _lines("Computed in another way", [f"since {one.since}: {one.says}" for one in found.computed])
    yield from _lines("Environment variables", [f"since {one.since}: {one.says}" for one in found.variables])
    yield from _lines(
        f"{counted(len(found.defaults), 'default')} changed",
        _pairs((_name(one.flags, one.argument), f"{one.before!r} -> {one.after!r}") for one in found.defaults),
    )
    yield from _lines(
        f"{counted(len(found.taken), 'argument')} that {'takes' if len(found.taken) == 1 else 'take'} other values",
        _pairs((_name(one.flags, one.argument), one.what) for one in found.taken),
    )
    yield from _lines(f"{counted(len(found.spelled), 'other way')} to write a flag", _pairs(found.spelled.items()))
    yield from _lines(f"{counted(len(found.added), 'new flag')}", found.added)


def markdown(found: Between) -> Iterator[str]:
    """The same as a part of a page."""
    yield f"## {found.before} to {found.after}"
    yield ""
    yield from _listed("The same words mean something else", found.rules)
    yield from _listed("Computed in another way, while all arguments are the same", found.computed)
    yield from _listed("Environment variables", found.variables)
    yield from _table(("gone", "what to write"), [(f"`{one.flag}`", _code(one.instead)) for one in found.gone])
    yield from _table(
        ("argument", "its default was", "its default is"),
        [(f"`{_name(d.flags, d.argument)}`", f"`{d.before!r}`", f"`{d.after!r}`") for d in found.defaults],
    )
    yield from _table(
        ("argument", "what it takes now"), [(f"`{_name(one.flags, one.argument)}`", one.what) for one in found.taken]
    )
    yield from _table(("also written", "as before"), [(f"`{new}`", f"`{old}`") for new, old in found.spelled.items()])
    yield f'??? note "{counted(len(found.added), "new flag")}"'
    yield ""
    yield f"    {', '.join(f'`{flag}`' for flag in found.added)}"
    yield ""


def _listed(title: str, found: Sequence[Rule | Computed | Variable]) -> Iterator[str]:
    """What each says, as a part of a page; nothing of none."""
    if found:
        yield f"{title}:"
        yield ""
        yield from (f"- {_code(one.says)}" for one in found)
        yield ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield f"| {' | '.join(head)} |"
        yield f"|{' --- |' * len(head)}"
        yield from (f"| {' | '.join(row)} |" for row in rows)
        yield ""


def _code(sentence: str) -> str:
    """The flags in a sentence, marked as code."""
    words = []
    for word in sentence.split():
        bare = word.rstrip(".,:;")
        words.append(f"`{bare}`{word[len(bare) :]}" if bare.startswith("--") else word)
    return " ".join(words)


def _name(flags: Sequence[str], argument: str) -> str:
    """The flag that is called like the argument, else the argument, whose flag may say the opposite."""
    return next((flag for flag in flags if flag[2:].replace("-", "_") == argument), "") or (
        flags[0] if len(flags) == 1 and not flags[0].startswith(("--no-", "--disable-")) else argument
    )


def _lines(head: str, lines: Iterable[str]) -> Iterator[str]:
    lines = list(lines)
    if lines:
        yield ""
        yield head
        yield from (f"  {line}" for line in lines)


def _pairs(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    pairs = list(pairs)
    width = min(max((len(one) for one, _ in pairs), default=0), 60)
    return (f"{one:<{width}}  {other}".rstrip() for one, other in pairs)


# ------------------------------------------------------------------------------------------------ for one script


class Value(Record):
    """A value that the same words have in both versions, and that is not the same.

    Attributes:
        argument: or the name of a value that Megatron-LM computes.
        words: the user's own for it; empty where it was not typed.
        rule: the one that explains it.
    """

    argument: str
    words: str
    before: Any
    after: Any
    rule: Rule | None


class Concerned(Record):
    """What changes for one command line.

    Attributes:
        before, after: the versions.
        refused: what the later version refuses, and the other one does not.
        accepted: the other way round.
        values: what is not the same, of what a pretraining run reads.
    """

    before: str
    after: str
    refused: tuple[Finding, ...]
    accepted: tuple[Finding, ...]
    values: tuple[Value, ...]


def of_run(before: Translation, after: Translation) -> Concerned:
    """What changes for a run that was translated for two versions of Megatron-LM, of one command line or of two."""
    versions = before.versions.megatron, after.versions.megatron
    return Concerned(
        *versions,
        _only_in(after, before),
        _only_in(before, after),
        tuple(_values(before, after, rules_between(*versions))),
    )


def _only_in(one: Translation, other: Translation) -> tuple[Finding, ...]:
    there = set(map(_said, other.errors))
    return tuple(finding for finding in _refusals(one) if _said(finding) not in there)


def _refusals(t: Translation) -> Iterator[Finding]:
    """Those of Megatron-LM's: what Bridge does with the words is another question."""
    return (finding for finding in t.errors if finding.kind in _REFUSALS)


_REFUSALS: Final = (
    "unknown-argument", "stray-word", "missing-value", "bad-value", "conflicting-arguments", "invalid-command-line"
)  # fmt: skip


def _said(finding: Finding) -> tuple[object, ...]:
    """What of a refusal is the same for both versions, which list their own choices and name themselves."""
    return finding.kind, finding.arguments, finding.excerpt or finding.message


def _values(before: Translation, after: Translation, rules: Sequence[Rule]) -> Iterator[Value]:
    typed_flags = {setting.typed.flag for t in (before, after) for setting in t.args.settings.values() if setting.typed}
    refused = {name for t in (before, after) for finding in _refusals(t) for name in finding.arguments}
    for name, setting in before.args.settings.items():
        if name not in after.args or name in refused:
            continue
        old, new = to_plain(setting.value), to_plain(after.args[name])
        if old == new or (is_nothing(old) and is_nothing(new)) or _as_texts(old) == _as_texts(new):
            continue
        typed = setting.typed or after.args.settings[name].typed
        if typed is None and not any(_is_read(name, t) for t in (before, after)):
            continue
        theirs = before.words if setting.typed else after.words
        words = " ".join(theirs[index] for index in sorted({typed.index, *typed.values})) if typed else ""
        why = (rule for rule in rules if name in rule.values and not typed_flags.isdisjoint(rule.flags))
        yield Value(name, words, old, new, next(why, None))


def _as_texts(value: Any) -> Any:
    """One parser makes numbers of words that the other one keeps as texts."""
    return [str(item) for item in value] if isinstance(value, list) else str(value)


def _is_read(name: str, t: Translation) -> bool:
    """May a pretraining run read it?"""
    outcome = t.outcomes.get(name)
    if outcome is not None and outcome.fate == "not_needed" and not outcome.row.needed_for(t.args.is_on):
        return False
    return not unmet(name, t.args, t.program)


def run_data(found: Concerned) -> dict[str, Any]:
    """The same as JSON has it."""
    return {
        "from": found.before,
        "to": found.after,
        "refused": [_finding(finding) for finding in found.refused],
        "accepted": [_finding(finding) for finding in found.accepted],
        "values": [
            {**one._asdict(), "words": one.words or None, "rule": _rule(one.rule) if one.rule else None}
            for one in found.values
        ],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    place = finding.place
    return {
        "message": finding.message,
        "remedy": finding.remedy,
        "arguments": list(finding.arguments),
        "source": place.source if place else None,
        "line": place.line if place else None,
    }


def run_text(found: Concerned) -> Iterator[str]:
    """The same for a terminal."""
    yield f"Megatron-LM {found.before} to {found.after}"
    yield from _lines(f"Refused by {found.after}", (line for one in found.refused for line in str(one).splitlines()))
    yield from _lines(f"Refused by {found.before}", (line for one in found.accepted for line in str(one).splitlines()))
    rules = dict.fromkeys(one.rule for one in found.values if one.rule)
    for rule in rules:
        yield from _lines(rule.says, _pairs(map(_change, (one for one in found.values if one.rule == rule))))
    plain = [one for one in found.values if one.rule is None]
    yield from _lines("Other values", _pairs(map(_change, plain)))
    if not (found.refused or found.accepted or found.values):
        yield ""
        yield "Both take the command line, and it means the same to both."


def _change(one: Value) -> tuple[str, str]:
    return one.words or one.argument, f"{one.before!r} -> {one.after!r}"
