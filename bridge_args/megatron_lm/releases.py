"""What another version of Megatron-LM does with the same command line, as its parser and our rules say it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from bridge_args.megatron_lm import changed_environment
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.changed_environment import Variable
from bridge_args.megatron_lm.changed_rules import RULES, Computed, Rule, computed_otherwise
from bridge_args.megatron_lm.parse import PRESENT
from bridge_args.megatron_lm.unknown import instead_of
from bridge_args.records import Record
from bridge_args.wording import listed

# What of an argument a row, a derivation or a user's command line may rest on.
_COMPARED: Final = ("default", "type", "choices", "members", "nargs", "action", "const", "requires")


class Difference(Record):
    """An argument that two versions have, and that is not the same in both.

    Attributes:
        argument: its name in the later one.
        before: its name in the other one, which has the same flag.
        differs: ``flags``, ``default``, ... to the old and the new.
    """

    argument: str
    before: str
    differs: Mapping[str, tuple[Any, Any]]


class Gone(Record):
    """A flag that the other version refuses, and what to write there; empty where nobody knows."""

    flag: str
    instead: str

    @property
    def renamed(self) -> str:
        """The flag that takes the same values under another name; empty where none does."""
        words = self.instead.split()
        return words[1] if len(words) == 2 and words[0] == "write" else ""


class Default(Record):
    """An argument with another default."""

    argument: str
    flags: tuple[str, ...]
    before: Any
    after: Any


class Taken(Record):
    """An argument whose flags take other values: what is so now, in half a sentence."""

    argument: str
    flags: tuple[str, ...]
    what: str


class Between(Record):
    """What differs between two versions.

    Attributes:
        before, after: the versions.
        added: flags that are new, and no other name of one there was.
        spelled: new flags that mean what an older one of the same argument means, which is beside them.
        gone: flags that the later version refuses.
        defaults: see ``Default``.
        taken: see ``Taken``.
        rules: the same words mean something else.
        variables: environment variables that do, to the later version.
        computed: what the later version computes in another way while all arguments are the same.
    """

    before: str
    after: str
    added: tuple[str, ...]
    spelled: Mapping[str, str]
    gone: tuple[Gone, ...]
    defaults: tuple[Default, ...]
    taken: tuple[Taken, ...]
    rules: tuple[Rule, ...]
    variables: tuple[Variable, ...]
    computed: tuple[Computed, ...]


def between(before: Catalog, after: Catalog) -> Between:
    """What differs between two versions, in whichever order they came out."""
    gone = tuple(Gone(flag, instead_of(flag, before, after)) for flag in before.by_flag if flag not in after.by_flag)
    others = dict(_spelled(before, after)) | dict.fromkeys((one.renamed for one in gone), "")
    found = tuple(differences(before, after))
    return Between(
        before.version,
        after.version,
        tuple(flag for flag in after.by_flag if flag not in before.by_flag and flag not in others),
        {flag: other for flag, other in others.items() if other},
        gone,
        tuple(_defaults(found, before, after)),
        tuple(_taken(found, after)),
        rules_between(before.version, after.version),
        changed_environment.between(before.version, after.version),
        computed_otherwise(before.version, after.version),
    )


def _spelled(before: Catalog, after: Catalog) -> Iterator[tuple[str, str]]:
    """New flags that mean what an older one of the same argument means, and that one."""
    known = _names_before(before, after)
    for flag, argument in after.by_flag.items():
        if flag not in before.by_flag and argument.dest in known:
            older = [one for one in before.arguments if one.dest == known[argument.dest]]
            alike = [one for one in older if one.action == argument.action]
            if alike:
                yield flag, alike[0].flags[0]


def rules_between(before: str, after: str) -> tuple[Rule, ...]:
    """The rules of which one of the two versions has the old meaning, and the other one the new."""
    return tuple(rule for rule in RULES if rule.holds(before) != rule.holds(after))


def differences(before: Catalog, after: Catalog) -> Iterator[Difference]:
    """The arguments that both have, and that are not the same."""
    for name, earlier in _names_before(before, after).items():
        old, new = _facts(before, earlier), _facts(after, name)
        differs = {what: (old[what], new[what]) for what in new if old[what] != new[what]}
        if differs:
            yield Difference(name, earlier, differs)


def _names_before(before: Catalog, after: Catalog) -> dict[str, str]:
    """The arguments that both have: by their name, or by a flag where the name is another one."""
    names: dict[str, str] = {}
    for argument in after.arguments:
        name = argument.dest
        if name in before.defaults:
            names[name] = name
            continue
        by_flag = [before.by_flag[flag].dest for flag in argument.flags if flag in before.by_flag]
        if by_flag and by_flag[0] not in after.defaults:
            names.setdefault(name, by_flag[0])
    return names


def _facts(catalog: Catalog, name: str) -> dict[str, Any]:
    arguments = [argument for argument in catalog.arguments if argument.dest == name]
    facts = {what: _together(getattr(argument, what) for argument in arguments) for what in _COMPARED}
    return {"flags": catalog.flags_of(name), **facts, "default": catalog.defaults[name]}


def _together(values: Iterator[Any]) -> Any:
    found: list[Any] = []
    found += (value for value in values if value not in found)
    return found[0] if len(found) == 1 else found


def _defaults(found: tuple[Difference, ...], before: Catalog, after: Catalog) -> Iterator[Default]:
    """Of an argument that takes another name, what a flag sets may be the opposite: then nothing is said."""
    for one in found:
        old, new = one.differs.get("default", (None, None))
        if (is_nothing(old) and is_nothing(new)) or (one.before != one.argument and "action" in one.differs):
            continue
        yield Default(one.argument, after.flags_of(one.argument), old, new)


def is_nothing(value: object) -> bool:
    """Is it a value that nobody has chosen: None, off, no text, no list, a choice called none? A number is not."""
    return value is None or value is False or value in ("", "none", [], ())


# What is said of another way to take values; nothing where a command line cannot tell.


def _taken(found: tuple[Difference, ...], after: Catalog) -> Iterator[Taken]:
    for one in found:
        said = tuple(filter(None, (say(one.differs) for say in _SAID)))
        if said:
            yield Taken(one.argument, after.flags_of(one.argument), "; ".join(said))


def _values(differs: Mapping[str, tuple[Any, Any]]) -> str:
    old, new = (
        tuple(
            dict.fromkeys(
                str(value) for what in ("choices", "members") for value in (differs.get(what, (None, None))[at] or ())
            )
        )
        for at in (0, 1)
    )
    if not old and not new:
        return ""
    if not new:
        return "any text"
    if not old:
        return f"only {listed(new)}"
    added, gone = [value for value in new if value not in old], [value for value in old if value not in new]
    gone = [value for value in gone if value != "None"]  # which no command line says
    parts = [f"also {listed(added)}" if added else "", f"no longer {listed(gone)}" if gone else ""]
    return "; ".join(filter(None, parts))


def _number_of(differs: Mapping[str, tuple[Any, Any]]) -> str:
    new = differs.get("nargs", (None, None))[1]
    if "nargs" not in differs:
        return ""
    return {None: "one value", "+": "one value or more", "*": "any number of values"}.get(new, f"{new} values")


def _kind(differs: Mapping[str, tuple[Any, Any]]) -> str:
    old, new = differs.get("action", (None, None))
    if old == "store" or new == "store":
        return "no value" if old == "store" else "a value"
    return ""


def _type(differs: Mapping[str, tuple[Any, Any]]) -> str:
    old, new = (value if value in ("int", "float") else None for value in differs.get("type", (None, None)))
    if old == new or "action" in differs:
        return ""
    return {"int": "only whole numbers", "float": "any number"}.get(new or "", "any text")


def _package(differs: Mapping[str, tuple[Any, Any]]) -> str:
    old, new = (None if value in PRESENT else value for value in differs.get("requires", (None, None)))
    if old == new:
        return ""
    return f"refused unless {new} is installed" if new else f"accepted without {old} too"


_SAID: Final[tuple[Callable[[Mapping[str, tuple[Any, Any]]], str], ...]] = (_values, _number_of, _kind, _type, _package)
