"""What is known about an argument: where it exists, what becomes of it, what depends on it, and an example."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from bridge_args.bridge import schema as schemas
from bridge_args.bridge.schema import Schema
from bridge_args.mapping import table as tables
from bridge_args.mapping.convert import shown
from bridge_args.mapping.rows import FATES, Row
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.catalog import Argument, Catalog
from bridge_args.megatron_lm.derive.registry import Derivation
from bridge_args.megatron_lm.resolvers.built_in import plan
from bridge_args.records import Record
from bridge_args.values import to_plain
from bridge_args.versions import Versions

# Command lines into which an example is put: the first with which nothing is wrong is taken.
_SMALL: Final = (
    "--num-layers 4 --hidden-size 256 --num-attention-heads 8 --seq-length 128 --max-position-embeddings 128 "
    "--micro-batch-size 1 --global-batch-size 16 --train-iters 10 --lr 1e-4 --eval-interval 10 --mock-data "
    "--tokenizer-type NullTokenizer --vocab-size 1000 --bf16"
).split()
_AROUND: Final = (
    (),
    ("--num-experts", "8"),
    ("--num-experts", "8", "--expert-model-parallel-size", "2"),
    ("--tensor-model-parallel-size", "2", "--sequence-parallel"),
    ("--pipeline-model-parallel-size", "2"),
    ("--multi-latent-attention",),
    ("--use-distributed-optimizer", "--overlap-grad-reduce"),
    ("--save", "/checkpoints", "--save-interval", "10"),
    ("--group-query-attention",),
    ("--position-embedding-type", "rope"),
    ("--fp8-format", "hybrid"),
)
_RANKS: Final = 8


class Target(Record):
    """One setting an argument goes to."""

    path: str
    type: str
    required: bool
    default: Any


class Example(Record):
    """A flag as somebody may write it, and what that changes.

    Attributes:
        words: the flag and its values.
        beside: flags that it needs beside a small model.
        becomes: settings that are written because of it.
        findings: what the user is told because of it.
    """

    words: tuple[str, ...]
    beside: tuple[str, ...]
    becomes: tuple[str, ...]
    findings: tuple[str, ...]


class Facts(Record):
    """The facts about one argument.

    Attributes:
        arguments: the flags that set it, in the version asked for, else in the newest that has it.
        megatron: that version.
        having: the versions that have it.
        row: what becomes of it; None where the tables have no row for this pair of versions.
        derived: names of values that Megatron-LM works out from it.
        step: what of ours derives it, where it is derived.
        namesakes: settings of Bridge with its name, and the versions that have them; where there is no row.
    """

    name: str
    arguments: tuple[Argument, ...]
    megatron: str
    having: tuple[str, ...]
    versions: Versions
    row: Row | None
    targets: tuple[Target, ...]
    derived: tuple[str, ...]
    example: Example | None
    step: Derivation | None = None
    namesakes: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    @property
    def derived_from(self) -> tuple[str, ...]:
        """What it is derived from, beside what was typed for it; environment variables are ``env``."""
        unsaid = {"given", "program", self.name}
        return tuple(name for name in self.step.reads if name not in unsaid) if self.step else ()

    def data(self) -> dict[str, Any]:
        """The facts as JSON has them."""
        row = self.row
        return {
            "argument": self.name,
            "flags": [
                {
                    "flags": list(argument.flags),
                    "takes": takes(argument),
                    "choices": list(argument.choices) if argument.choices else None,
                    "field": argument.field,
                }
                for argument in self.arguments
            ],
            "default": to_plain(self.arguments[0].default) if self.arguments else None,
            "versions": {"megatron_lm": self.megatron, "bridge": self.versions.bridge},
            "in_megatron_lm": list(self.having),
            "fate": row.fate if row else None,
            "means": FATES[row.fate] if row else "",
            "reason": row.reason if row else "",
            "note": row.note if row else "",
            "changes": row.changes if row and row.fate in ("no_equivalent", "not_yet") else None,
            "see": list(row.see) if row else [],
            "row": row.place if row else None,
            "settings": [target._asdict() for target in self.targets],
            "as": row.conversion if row else None,
            "decided_by": list(row.sections) if row else [],
            "feeds": list(row.feeds) if row else [],
            "settings_of_its_name": {path: list(versions) for path, versions in self.namesakes.items()},
            "derived_from_it": list(self.derived),
            "derivation": {
                "function": self.step.place,
                "from": list(self.derived_from),
                "see": list(self.step.see),
            }
            if self.step
            else None,
            "example": {key: list(value) for key, value in self.example._asdict().items()} if self.example else None,
        }


def about(dest: str, versions: Versions, translate: Callable[[Sequence[str]], Translation] | None = None) -> Facts:
    """The facts about an argument.

    Args:
        dest: its name, from ``dest_of``.
        translate: how an example is translated, for ``versions``; None for no example.
    """
    having = tuple(version for version in catalogs.versions() if dest in catalogs.load(version).defaults)
    version = versions.megatron if versions.megatron in having else having[-1]
    catalog = catalogs.load(version)
    arguments = tuple(argument for argument in catalog.arguments if argument.dest == dest)
    row = tables.load(versions).rows.get(dest)
    steps = [step for step in plan(version) if isinstance(step, Derivation)]
    derived = tuple(dict.fromkeys(step.name for step in steps if dest in step.reads and step.name != dest))
    example = None
    if translate and arguments and version == versions.megatron:
        example = _example(arguments[0], catalog, translate)
    targets = tuple(_targets(row, schemas.load(versions.bridge))) if row else ()
    step = next((step for step in steps if step.name == dest), None)
    namesakes = {} if row else _namesakes(dest)
    return Facts(dest, arguments, version, having, versions, row, targets, derived, example, step, namesakes)


def _namesakes(dest: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for version in schemas.versions():
        for path in schemas.load(version).called(dest):
            found[path] = (*found.get(path, ()), version)
    return found


def dest_of(name: str, catalog: Catalog) -> str | None:
    """The argument meant by a flag or a name; None when no version has it."""
    flag = "--" + name.lstrip("-").replace("_", "-")
    for candidate in (catalog, *(catalogs.load(version) for version in reversed(catalogs.versions()))):
        for spelling in (flag, name if name.startswith("--") else f"--{name}"):
            if spelling in candidate.by_flag:
                return candidate.by_flag[spelling].dest
        if name in candidate.defaults:
            return name
    return None


def takes(argument: Argument) -> str:
    """``int``, ``switch on``, ``float, 2 values``: what stands behind the flag."""
    switches = {"store_true": "switch on", "store_false": "switch off", "BooleanOptionalAction": "switch"}
    kind = argument.type or switches.get(argument.action, "text")
    many = {"+": "one value or more", "*": "any number of values", "?": "a value or none"}
    if argument.nargs in (None, 0):
        return kind
    return f"{kind}, {many.get(str(argument.nargs), f'{argument.nargs} values')}"


def _targets(row: Row, schema: Schema) -> Iterator[Target]:
    for path in row.to:
        section = path.partition(".")[0]
        for name in schema.sections[section].classes:
            field = schema.find(path, {section: name})
            if field:
                yield Target(path, field.type, field.required, field.default)
                break


def _example(argument: Argument, catalog: Catalog, translate: Callable[[Sequence[str]], Translation]) -> Example | None:
    """The flag in a small command line, beside what it needs; None where no example here is without an error."""
    flag = argument.flags[0]
    best: Example | None = None
    for values in probes(argument):
        words = (flag, *values)
        for beside in _AROUND:
            if flag in beside:
                continue
            small = [word for word in _SMALL if not (argument.nargs and word == "--mock-data" and _is_path(argument))]
            base = [*_without(small, flag, catalog), *beside]
            made = translate([*base, *words])
            if made.errors:
                continue
            before = translate(base)
            known = {assignment.path: assignment.value for assignment in before.assignments}
            becomes = tuple(
                f"{assignment.path} = {shown(assignment.value)}"
                for assignment in made.assignments
                if assignment.path not in known or known[assignment.path] != assignment.value
            )
            told = {finding.message for finding in before.findings}
            findings = tuple(finding.message for finding in made.findings if finding.message not in told)
            example = Example(words, beside, becomes, findings)
            ignored = {name for one in made.findings if one.kind == "ignored-by-megatron" for name in one.arguments}
            if becomes and argument.dest not in ignored:
                return example
            best = best or example
    return best


def _without(words: Sequence[str], flag: str, catalog: Catalog) -> list[str]:
    """The words without what sets the same argument as the flag."""
    dest, kept, dropping = catalog.by_flag[flag].dest, [], False
    for word in words:
        if word.startswith("--"):
            found = catalog.by_flag.get(word)
            dropping = found is not None and found.dest == dest
        if not dropping:
            kept.append(word)
    return kept


def probes(argument: Argument) -> Iterator[tuple[str, ...]]:
    """Values that somebody may write, most telling first."""
    if argument.action in ("store_true", "store_false", "BooleanOptionalAction", "store_const") or argument.nargs == 0:
        yield ()
        return
    if argument.choices or argument.members:
        offered = [str(choice) for choice in (*(argument.choices or ()), *(argument.members or ()))]
        single = [choice for choice in offered if choice != str(argument.default)][:3] or offered[:1]
    elif argument.type == "int":
        default = argument.default if isinstance(argument.default, int) else None
        single = [str(default * 2) if default and default > 0 else "2", "1", "64"]
    elif argument.type == "float":
        single = [
            repr(argument.default / 2) if isinstance(argument.default, float) and argument.default else "0.1",
            "1e-5",
        ]
    elif argument.type is None:
        single = ["/path/to/it"] if _is_path(argument) else ["name"]
    else:
        single = ["2", "0.1", "1"]
    count = argument.nargs if isinstance(argument.nargs, int) else 1
    for value in single:
        yield (value,) * count


def _is_path(argument: Argument) -> bool:
    words = argument.dest.split("_")
    return any(word in words for word in ("path", "dir", "file", "save", "load", "checkpoint"))


def defaults_differ(facts: Facts) -> Mapping[str, Any]:
    """Path to Bridge's default, for the settings whose default is not Megatron-LM's."""
    if not facts.arguments or facts.row is None or facts.row.conversion:
        return {}
    own = to_plain(facts.arguments[0].default)
    return {t.path: t.default for t in facts.targets if not t.required and t.default != own}
