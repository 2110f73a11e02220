"""Which words of a command line become others, so that a later Megatron-LM makes the same run of it.

A change is proposed from what is known of the versions: a flag's successor, a value written out. Then both versions'
parsers and rules read the result, and a proposal is kept only where the later one accepts it and is nearer to the run
that the earlier one makes. So a wrong proposal is not made, and what is still another value at the end is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from bridge_args.emit.releases import Value, of_run
from bridge_args.errors import UserError
from bridge_args.findings import Finding
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm import changed_environment, programs
from bridge_args.megatron_lm.catalog import Argument, Catalog
from bridge_args.megatron_lm.changed_environment import Variable
from bridge_args.megatron_lm.changed_rules import computed_otherwise
from bridge_args.megatron_lm.parse import parse
from bridge_args.megatron_lm.releases import rules_between
from bridge_args.megatron_lm.said import words_for
from bridge_args.megatron_lm.unknown import instead_of
from bridge_args.modernize import hybrid, letters, remedies, started
from bridge_args.modernize.items import Item, Proposal
from bridge_args.records import Record
from bridge_args.values import to_plain
from bridge_args.versions import number

# What a version makes of these words, as arguments of this program (None: of the one that the source starts), with
# these variables beside those of the source.
Translate = Callable[[Sequence[str], str, str | None, Mapping[str, str]], Translation]

_MOST: Final = 200  # proposals that are tried for one command line
_WORD: Final = re.compile(r"--?[A-Za-z][\w-]*|[\w.]+")


class Left(Record):
    """What is not the same run any more, and why it cannot be mended here.

    Attributes:
        argument: or the name of a value that Megatron-LM computes.
        why: a sentence.
    """

    argument: str
    before: Any
    after: Any
    why: str


class Plan(Record):
    """What becomes of one command line.

    Attributes:
        before, after: versions of Megatron-LM.
        items: the command line, in its order; ``Item.is_changed`` says which of them differ.
        front: what stands before it: launcher and program, and variables set there.
        variables: those that the source sets elsewhere and that change, as words ``NAME=value``.
        left: values that a run reads and that are others.
        refused: what the later version refuses still.
        said_otherwise: arguments that have other values on purpose, since others say now what they said.
        compared: how many values were compared.
        values: of all variables that change.
        told: of variables that mean something else, and that no change keeps as they were.
    """

    before: str
    after: str
    items: tuple[Item, ...]
    front: tuple[Item, ...]
    variables: tuple[Item, ...]
    left: tuple[Left, ...]
    refused: tuple[Finding, ...]
    said_otherwise: frozenset[str]
    compared: int
    values: Mapping[str, str]
    told: tuple[str, ...]

    @property
    def argv(self) -> list[str]:
        return words_of(self.items)

    @property
    def changed(self) -> tuple[Item, ...]:
        return tuple(item for item in (*self.variables, *self.front, *self.items) if item.is_changed)

    @property
    def to_start(self) -> str:
        """The program that it is for now, where nothing in front of it names one; else empty."""
        is_hybrid = any(item.dest == "hybrid_layer_pattern" and item.is_changed for item in self.items)
        return programs.HYBRID if is_hybrid and not any(item.is_changed for item in self.front[-1:]) else ""

    @property
    def is_same_run(self) -> bool:
        """Does the later version make the same run of it, as far as its rules are known?"""
        return not self.left and not self.refused


def words_of(items: Sequence[Item]) -> list[str]:
    return [word for item in items for word in item.words]


def plan(
    argv: Sequence[str],
    translate: Translate,
    before: str,
    after: str,
    front: Sequence[str] = (),
    to_hybrid: bool = False,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Plan:
    """Works out the words for the later version.

    Args:
        argv: the arguments of the program.
        translate: reads other words in the surroundings of these.
        before, after: versions of Megatron-LM, or checkouts.
        front: what stands before the arguments.
        to_hybrid: a GPT model becomes a hybrid one of the same layers.
        environment: variables that the source sets.

    Raises:
        UserError: the earlier version refuses the words: then there is no run to keep. Or no hybrid model is the same.
    """
    was = translate(argv, before, None, {})
    if errors := _refusals(was):
        raise UserError(f"Megatron-LM {was.versions.megatron} refuses this command line: {errors[0]}")
    search = _Search(was, translate, after, environment)
    if number(was.versions.megatron) > number(search.now.versions.megatron):
        raise UserError(f"{after} is older than {was.versions.megatron}; a command line is moved to a later version")
    items = search.later(_items(argv, was.catalog))
    if to_hybrid:
        items = search.hybrid(items)
    search.variables(items)
    return search.plan(items, started.front_of(front, was.program, search.now.program, to_hybrid))


def _refusals(t: Translation) -> list[Finding]:
    return list(of_run(t._replace(findings=()), t).refused)


def _items(argv: Sequence[str], catalog: Catalog) -> list[Item]:
    """The command line as flags with their values; words that belong to none are items of their own."""
    items: list[Item] = []
    end = list(argv).index("--") if "--" in argv else len(argv)
    starts = [at for at in range(end) if _argument(argv[at], catalog) is not None]
    for at, until in zip(starts, [*starts[1:], end], strict=False):
        argument = _argument(argv[at], catalog)
        assert argument is not None
        typed = parse(argv[at:until], catalog).typed.get(argument.dest)
        last = at + (typed.last if typed is not None else 0)
        items.append(_item(argv, range(at, last + 1), argument.dest))
    taken = {at for item in items for at in item.at}
    items += [_item(argv, range(at, at + 1), "") for at in range(len(argv)) if at not in taken]
    return sorted(items, key=lambda item: item.at)


def _item(argv: Sequence[str], at: range, dest: str) -> Item:
    words = tuple(argv[index] for index in at)
    return Item(words, words, tuple(at), dest)


def _argument(word: str, catalog: Catalog) -> Argument | None:
    return catalog.by_flag.get(word) or catalog.by_flag.get(word.partition("=")[0])


class _Search:
    """From the words as they are to the nearest ones that the later version takes."""

    def __init__(self, was: Translation, translate: Translate, after: str, environment: Mapping[str, str]) -> None:
        self.was, self.after = was, after
        self.translate, self.environment = translate, environment
        self.changed: dict[str, Variable] = {}  # variables that change, each with the rule that says to what
        self.told: list[str] = []
        self.program: str | None = None
        self.tried = 0
        self.seen: dict[tuple[str, ...], Translation] = {}
        self.said_otherwise: frozenset[str] = frozenset()
        self.now = self._read(was.words)  # of the later version, with the words as they are by now
        self.concerned = of_run(was, self.now)

    def later(self, items: list[Item]) -> list[Item]:
        """The words that the later version takes, and that mean the same to it, as far as there are such."""
        later = self.now.catalog
        if proposal := letters.with_pattern(items, self.was, self.now.versions.megatron):
            self.said_otherwise |= proposal.said_otherwise
            items = list(proposal.items)
        for at, item in enumerate(items):
            if item.words and item.dest and _argument(item.words[0], later) is None:
                items[at] = self._successor(items, at, later)
        self._look(items)
        for proposal in remedies.needed(rules_between(*self._versions()), items, self.was):
            self.said_otherwise |= proposal.said_otherwise
            items = list(proposal.items)
        self._look(items)
        tried: set[str] = set()
        while value := next((one for one in self.concerned.values if one.argument not in tried), None):
            tried.add(value.argument)
            for proposal in self._proposals(value, items):
                if self._is_better(proposal, value):
                    items = list(proposal.items)
                    break
        return items

    def _versions(self) -> tuple[str, str]:
        return self.was.versions.megatron, self.now.versions.megatron

    def hybrid(self, items: list[Item]) -> list[Item]:
        """The same model, by the program for hybrid ones."""
        self._look(items)
        items = hybrid.moved(items, self.now)
        self.program = programs.HYBRID
        self.said_otherwise |= hybrid.SAID | hybrid.FOLLOWS | hybrid.LISTS
        return items

    def variables(self, items: Sequence[Item]) -> None:
        """Values of environment variables that keep the run as it was; what no value keeps is told."""
        for rule in changed_environment.between(*self._versions()):
            if not (names := rule.concerns(self.environment, self._value)):
                continue
            before, refused = self.changed, len(self.concerned.refused)
            self.changed = {**before, **dict.fromkeys(rule.becomes, rule)}
            self._look(items)
            if rule.becomes and len(self.concerned.refused) <= refused:
                continue
            self.changed = before
            self.told += [f"{name}={self.environment[name]}: {rule.says}" for name in names]

    def _variables(self) -> dict[str, str]:
        return {name: rule.becomes[name] for name, rule in self.changed.items()}

    def _value(self, name: str) -> object:
        return self.now.args[name] if name in self.now.args else None

    def plan(self, items: Sequence[Item], front: Sequence[Item]) -> Plan:
        self._look(items)
        there, variables = started.with_variables(front, self.environment, self.changed)
        return Plan(
            *self._versions(),
            tuple(items),
            there,
            variables,
            (*(self._left(value) for value in self.concerned.values), *self._computed()),
            tuple(self.concerned.refused),
            self.said_otherwise,
            sum(name in self.now.args for name in self.was.args),
            self._variables(),
            tuple(self.told),
        )

    def _read(self, words: Sequence[str]) -> Translation:
        values = self._variables()
        key = (self.program or "", *(f"{name}={value}" for name, value in values.items()), *words)
        if key not in self.seen:
            self.seen[key] = self.translate(words, self.after, self.program, values)
        return self.seen[key]

    def _look(self, items: Sequence[Item]) -> None:
        self.now = self._read(words_of(items))
        found = of_run(self.was, self.now)
        others = tuple(value for value in found.values if value.argument not in self.said_otherwise)
        self.concerned = found._replace(values=others)

    # Flags that are gone ----------------------------------------------------------------------------------------------

    def _successor(self, items: list[Item], at: int, later: Catalog) -> Item:
        """The flag under its new name, or no words where it says nothing any more; else as it is, and refused."""
        item = items[at]
        flag, equals, value = item.words[0].partition("=")
        instead = instead_of(flag, self.was.catalog, later)
        if instead.startswith("leave it out"):
            return item.becomes((), instead.removeprefix("leave it out: "))
        if not instead.startswith("write "):
            return item
        words = instead.removeprefix("write ").split(" ")
        if not all(map(_WORD.fullmatch, words)) or words[0] not in later.by_flag:
            return item  # a sentence that only a person can follow
        new = [f"{words[0]}={value}"] if equals else [*words, *item.words[1:]]
        proposal = [*items[:at], item.becomes(tuple(new), f"{flag} is {words[0]} now"), *items[at + 1 :]]
        dest = later.by_flag[words[0]].dest
        self._look(proposal)
        wrong = [name for finding in self.concerned.refused for name in finding.arguments]
        return item if dest in wrong else proposal[at]._replace(dest=dest)

    # Values that are others -------------------------------------------------------------------------------------------

    def _proposals(self, value: Value, items: list[Item]) -> Iterator[Proposal]:
        """Command lines that may mend it, the likeliest first."""
        yield from remedies.of(value, items, self.was)
        why = value.rule.says if value.rule else f"the default of {self.now.versions.megatron} is {value.after!r}"
        for words in map(tuple, words_for(value.argument, to_plain(value.before), self.now.catalog)):
            mine = [at for at, item in enumerate(items) if item.dest == value.argument]
            if mine:
                yield Proposal((*items[: mine[-1]], items[mine[-1]].becomes(words, why), *items[mine[-1] + 1 :]))
            else:
                yield Proposal((*items, Item(words, (), (), value.argument, why)))

    def _is_better(self, proposal: Proposal, value: Value) -> bool:
        """Is this value the same then, and nothing else worse? If not, all is as before."""
        if self.tried >= _MOST:
            return False
        self.tried += 1
        before = self.now, self.concerned, self.said_otherwise
        self.said_otherwise |= proposal.said_otherwise
        self._look(proposal.items)
        wrong = {one.argument for one in self.concerned.values}
        if value.argument not in wrong and wrong <= {one.argument for one in before[1].values}:
            if len(self.concerned.refused) <= len(before[1].refused):
                return True
        self.now, self.concerned, self.said_otherwise = before
        return False

    def _computed(self) -> Iterator[Left]:
        for one in computed_otherwise(*self._versions()):
            if one.concerns(self._value):
                yield Left(one.name, one.before, one.after, one.says)

    def _left(self, value: Value) -> Left:
        why = value.rule.says if value.rule else "no argument of the later version sets it back"
        return Left(value.argument, value.before, value.after, why)
