"""Which arguments each Megatron-LM version has; the facts are generated (``python -m bridge_args.dev catalog``)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "catalogs"


@dataclass(frozen=True, slots=True)
class Argument:
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


@dataclass(frozen=True, slots=True, eq=False)  # compared and hashed by identity: what is made from it is kept
class Catalog:
    """All arguments of ``pretrain_gpt.py`` of one Megatron-LM version.

    Attributes:
        program_defaults: what the program sets for arguments that are None after parsing.
        by_flag: every spelling to its argument.
        defaults: every dest to the value of an empty command line.
    """

    version: str
    ref: str
    commit: str
    program_defaults: dict[str, Any]
    arguments: tuple[Argument, ...]
    by_flag: dict[str, Argument] = field(repr=False)
    defaults: dict[str, Any] = field(repr=False)

    def flags_of(self, dest: str) -> tuple[str, ...]:
        """Every spelling that sets ``dest``; empty when there is none."""
        return tuple(flag for argument in self.arguments if argument.dest == dest for flag in argument.flags)


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
        raise ValueError(f"no catalog of Megatron-LM {version}; there are {', '.join(versions())}")
    return from_data(json.loads(path.read_bytes()))


def from_data(data: dict[str, Any]) -> Catalog:
    """A catalog from the mapping its JSON file holds."""
    arguments = []
    for entry in data["arguments"]:
        lists = {key: tuple(entry[key]) for key in ("flags", "choices", "members") if key in entry}
        arguments.append(Argument(**{**entry, **lists}))
    defaults: dict[str, Any] = {}
    for argument in arguments:
        defaults.setdefault(argument.dest, argument.default)  # argparse: the first flag's default stands
    return Catalog(
        version=data["version"],
        ref=data["ref"],
        commit=data["commit"],
        program_defaults=data["program_defaults"],
        arguments=tuple(arguments),
        by_flag={flag: argument for argument in arguments for flag in argument.flags},
        defaults=defaults,
    )
