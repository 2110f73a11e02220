"""``megatron_path=/data/run`` beside flags: the parameters of the conversion steps of NVIDIA's Nemotron, by name.

Verify: src/nemotron/steps/convert/*/step.toml and config/default.yaml of NVIDIA-NeMo/Nemotron.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from bridge_args.errors import WrongValue
from bridge_args.records import Record

_WORD: Final = re.compile(r"(?P<name>[a-z][a-z0-9_.]*)=(?P<value>.*)", re.DOTALL)
_TRUE, _FALSE = ("true", "True", "1", "yes", "on"), ("false", "False", "0", "no", "off", "null", "None", "")


class Means(Record):
    """What a parameter is here.

    Attributes:
        flag: the option that it is; empty for the positional argument.
        switch: the option takes no value: it is there where the parameter is true; for ``--no-…`` where it is false.
        only: values that change nothing here; any other one is refused, for the reason.
        why: the reason.
    """

    flag: str | None = None
    switch: bool = False
    only: tuple[str, ...] = ()
    why: str = ""


def _only(why: str, *values: str) -> Means:
    return Means(None, False, values, why)


_ONE_PROCESS: Final = "the checkpoint is read and written whole, whatever its layout"
_TRUST: Final = Means("--trust-remote-code", switch=True)
_TYPES: Final = Means("--dtype")
_SIZES: Final = {name: _only(_ONE_PROCESS) for name in ("tp", "pp", "ep", "etp", "distributed")}
_TORCHRUN: Final = {"torchrun.nproc_per_node": _only(_ONE_PROCESS), "nproc_per_node": _only(_ONE_PROCESS)}

# Action to what a parameter of its step means.
PARAMETERS: Final[Mapping[str, Mapping[str, Means]]] = {}


def reworded(words: list[str]) -> list[str]:
    """The words of ``checkpoint`` with every ``name=value`` as the flag that it is.

    Raises:
        WrongValue: the action has no such parameter, or does something else than it asks for.
    """
    action = next((word for word in words[1:] if word in PARAMETERS), None)
    if action is None:
        return words
    known, made, first = PARAMETERS[action], list[str](), []
    for at, word in enumerate(words):
        found = _WORD.fullmatch(word)
        if found is None or words[at - 1] == "--with" or "--" in words[:at]:
            made.append(word)
        elif (means := known.get(found["name"])) is None:
            raise WrongValue(f"{action} has no parameter {found['name']}; it has {', '.join(sorted(known))}")
        elif means.flag == "":
            first.append(found["value"])
        else:
            made += _words(found["name"], found["value"], means)
    at = made.index(action) + 1
    return [*made[:at], *first, *made[at:]]


def _words(name: str, value: str, means: Means) -> list[str]:
    if means.flag is None:
        if means.only and value not in means.only:
            raise WrongValue(f"{name}={value} cannot be had here: {means.why}")
        return []
    if not means.switch:
        return [] if value in ("null", "None", "") else [means.flag, value]
    if value not in (*_TRUE, *_FALSE):
        raise WrongValue(f"{name} is true or false, not {value!r}")
    return [means.flag] if (value in _TRUE) != means.flag.startswith("--no-") else []
