"""Which arguments each Megatron-LM version has; the facts are generated (``python -m bridge_args.dev catalog``)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from bridge_args.errors import WrongValue
from bridge_args.records import Record

FOLDER: Final = Path(__file__).parent / "catalogs"


class Argument(Record):
    """One ``add_argument`` call of Megatron-LM.

    Attributes:
        flags: all spellings, ``("--save-interval", "--persistent-save-interval")``.
        dest: the name under which Megatron-LM stores the value.
        action: ``store``, ``store_true``, ``store_false``, ``BooleanOptionalAction``, ... as argparse names them.
        type: name of the converter, None for plain text: ``int``, ``float``, ``moe_freq_type``, ...; ``enum`` where
            the converter looks a member up by its name.
        nargs: None, a count, ``+``, ``*`` or ``?``.
        choices: accepted values; members of an enum by name.
        enum: qualified name of the enum whose member names the values are.
        members: the names of its members where ``choices`` does not list them.
        default: the value an empty command line gives, with no environment variable set; members of an enum by name.
        group: title of the argparse group.
        field: ``Class.field`` of the dataclass the flag is generated from, if it is.
        requires: the optional package without which Megatron-LM does not have the flag.
        exclusive: the number of its mutually exclusive group; only one flag of a group may be given.
        environment: the environment variable that Megatron-LM takes the default from when it is set.
    """

    flags: tuple[str, ...]
    dest: str
    action: str = "store"
    type: str | None = None
    nargs: int | str | None = None
    choices: tuple[Any, ...] | None = None
    enum: str | None = None
    members: tuple[str, ...] | None = None
    const: Any = None
    default: Any = None
    required: bool = False
    group: str = ""
    field: str | None = None
    requires: str | None = None
    exclusive: int | None = None
    environment: str | None = None


class Catalog:
    """All arguments of ``pretrain_gpt.py`` of one Megatron-LM version; compared by identity.

    Attributes:
        program_defaults: what the program sets for arguments that are None after parsing.
        by_flag: every spelling to its argument.
        defaults: every dest to the value of an empty command line.
    """

    __slots__ = ("arguments", "by_flag", "commit", "defaults", "program_defaults", "ref", "version")

    def __init__(
        self, version: str, ref: str, commit: str, program_defaults: dict[str, Any], arguments: tuple[Argument, ...]
    ) -> None:
        self.version = version
        self.ref = ref
        self.commit = commit
        self.program_defaults = program_defaults
        self.arguments = arguments
        self.by_flag: dict[str, Argument] = {flag: argument for argument in arguments for flag in argument.flags}
        self.defaults: dict[str, Any] = {}
        for argument in arguments:
            self.defaults.setdefault(argument.dest, argument.default)  # argparse: the first flag's default stands

    def flags_of(self, dest: str) -> tuple[str, ...]:
        """Every spelling that sets ``dest``; empty when there is none."""
        return tuple(flag for argument in self.arguments if argument.dest == dest for flag in argument.flags)


@cache
def versions() -> tuple[str, ...]:
    """The versions there is a catalog for, oldest first."""
    from bridge_args.versions import number

    return tuple(sorted((path.stem for path in FOLDER.glob("*.json")), key=number))


@cache
def load(version: str) -> Catalog:
    """The catalog of a version.

    Raises:
        ValueError: when there is none, naming those there are.
    """
    path = FOLDER / f"{version}.json"
    if not path.is_file():
        raise WrongValue(f"no catalog of Megatron-LM {version}; there are {', '.join(versions())}")
    return from_data(json.loads(path.read_bytes()))


def from_data(data: dict[str, Any]) -> Catalog:
    """A catalog from the mapping its JSON file holds."""
    arguments = []
    for entry in data["arguments"]:
        lists = {key: tuple(entry[key]) for key in ("flags", "choices", "members") if key in entry}
        arguments.append(Argument(**{**entry, **lists}))
    return Catalog(data["version"], data["ref"], data["commit"], data["program_defaults"], tuple(arguments))
