"""Profiles of a cluster: named settings of an executor in a file of TOML, as NVIDIA's Nemotron steps have them.

``extends = "slurm_base"`` takes what another profile has; ``${oc.env:NAME,default}`` is a variable of the environment,
as OmegaConf has it. Verify: src/nemotron/steps/env/env_toml of NVIDIA-NeMo/Nemotron.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bridge_args.errors import UserError, WrongValue
from bridge_args.files import read_bytes, remember
from bridge_args.records import Record

FILE_OF: Final = "NEMOTRON_ENV_FILE"  # the variable that names the file
FILE: Final = "env.toml"  # without it, in the current folder
SHARED: Final = "{}_convert_model"  # the profile that conversions have in common, by executor
_LARGEST: Final = 1 << 20  # bytes
_DEEPEST: Final = 20  # profiles that extend one another


class Profile(Record):
    """What a file says of an executor.

    Attributes:
        name: None where no file was read.
        executor: the one it is for; None where it does not say.
        settings: the executor's, with what it extends.
    """

    name: str | None
    executor: str | None
    settings: Mapping[str, Any]


def asked(name: str | None, executor: str | None, file: str | None, env: Mapping[str, str]) -> Profile:
    """The profile of that name; without one, what conversions share on that executor, if the file has it.

    Args:
        name: of the profile.
        executor: that the user has named.
        file: that the user has named; None: the environment's, or ``env.toml``.
        env: the environment that ``${oc.env:...}`` speaks of.

    Raises:
        WrongValue: there is no such profile, or it is for another executor.
        UserError: the file cannot be read.
    """
    path = Path(file or env.get(FILE_OF) or FILE)
    if not path.is_file():
        if name or file:
            where = f"; name it with --env-file, or by the variable {FILE_OF}" if not file else ""
            raise WrongValue(f"{path}, where profiles would be, does not exist{where}")
        return Profile(None, executor, {})
    tables = _tables(path)
    name = name or (SHARED.format(executor) if executor and SHARED.format(executor) in tables else None)
    if name is None:
        return Profile(None, executor, {})
    settings = dict(_with_what_it_extends(name, tables, path))
    of = settings.pop("executor", None)
    if not isinstance(of or executor, str):
        raise WrongValue(f'{path}: the profile {name} names no executor; add executor = "slurm", or --executor slurm')
    if executor and of and executor != of:
        raise WrongValue(f"{path}: the profile {name} is for {of}, not for {executor}")
    return Profile(name, executor or of, _interpolated(settings, env, f"{path}: {name}"))


def _tables(path: Path) -> Mapping[str, Any]:
    remember(path)
    toml: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        tables = toml.loads(read_bytes(path, _LARGEST).decode("utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8
        raise UserError(f"{path}: profiles are tables of TOML, and this is no TOML: {error}") from error
    return {name: table for name, table in tables.items() if isinstance(table, dict)}


def _named_in(tables: Mapping[str, Any], name: str) -> str:
    """What a file has instead of a profile, the most alike first."""
    have = sorted(one for one, table in tables.items() if {"executor", "extends"} & table.keys())
    near = difflib.get_close_matches(name, have, 1)
    return f"; did you mean {near[0]}? It has {', '.join(have)}" if near else f"; it has {', '.join(have) or 'none'}"


def _with_what_it_extends(name: str, tables: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    chain: list[str] = []
    at: str | None = name
    while at is not None:
        if at not in tables:
            extended = f", which {chain[-1]} extends" if chain else ""
            raise WrongValue(f"{path} has no profile {at}{extended}{_named_in(tables, at)}")
        if at in chain or len(chain) == _DEEPEST:
            raise WrongValue(f"{path}: the profiles {', '.join([*chain, at])} extend one another without end")
        chain.append(at)
        at = tables[at].get("extends")
        if at is not None and not isinstance(at, str):
            raise WrongValue(f"{path}: extends of the profile {chain[-1]} is the name of one profile, not {at}")
    settings: dict[str, Any] = {}
    for one in reversed(chain):
        settings = _merged(settings, {key: value for key, value in tables[one].items() if key != "extends"})
    return settings


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables in tables are merged, everything else counts as it stands above."""
    made = dict(below)
    for key, value in above.items():
        before = made.get(key)
        made[key] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return made


def _interpolated(settings: Mapping[str, Any], env: Mapping[str, str], where: str) -> dict[str, Any]:
    """With the variables of the environment in their places; nothing else is looked up."""
    return {key: _filled(value, env, f"{where}.{key}") for key, value in settings.items()}


def _filled(value: Any, env: Mapping[str, str], where: str) -> Any:
    if isinstance(value, dict):
        return {key: _filled(one, env, f"{where}.{key}") for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, env, where) for one in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    text, rest = "", value
    while "${" in rest:
        before, _, rest = rest.partition("${")
        inside, rest = _inside(rest, where)
        kind, _, words = inside.partition(":")
        if kind.strip() != "oc.env":
            raise WrongValue(f"{where} has ${{{inside}}}; only ${{oc.env:NAME,default}} is known here")
        name, comma, default = words.partition(",")
        if (found := env.get(name.strip())) is None:
            if not comma:
                raise WrongValue(f"{where} needs the variable {name.strip()}, which is not set")
            found = _filled(default.strip(), env, where)
            found = found[1:-1] if len(found) > 1 and found[0] == found[-1] and found[0] in "'\"" else found
        text += before + found
    return text + rest


def _inside(text: str, where: str) -> tuple[str, str]:
    """What stands before the brace that ends it, and what behind."""
    depth = 1
    for at, char in enumerate(text):
        depth += 1 if char == "{" else -1 if char == "}" else 0
        if depth == 0:
            return text[:at], text[at + 1 :]
    raise WrongValue(f"{where} has ${{ without its }}")
