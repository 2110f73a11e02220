"""An object that NeMo keeps as a pickle beside ``io.json``: what it holds, with nothing imported or called."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from bridge_args.checkpoint.unpickle import Kinds, Refused, Thing, load_object
from bridge_args.source.nemo2.objects import Given, Made, Nemo2Problem, symbol
from bridge_args.words import Place

_NEMO: Final[Kinds] = (
    (re.compile(r"^nemo\.(lightning|collections)(\.(?!os\b|sys\b)\w+)*$"), re.compile(r"^[A-Za-z]\w*$")),
)
_PRECISION: Final = "MegatronMixedPrecision"
# Fields of its dtype_config, and the keyword that sets each; of those of one name only the others differ.
_KEYWORDS: Final = {
    "loss_scale": "fp16_loss_scale",
    "initial_loss_scale": "fp16_initial_loss_scale",
    "min_loss_scale": "fp16_min_loss_scale",
    "loss_scale_window": "fp16_loss_scale_window",
    "hysteresis": "fp16_hysteresis",
}
_COMPUTED: Final = ("fp32", "fp16", "bf16", "fp8_param")  # from the precision; from fp8_param_gather


def read_pickle(file: Path, target: str) -> Made:
    """The object of that class that a file holds.

    Raises:
        Nemo2Problem: it cannot be read, or names what no such object needs.
    """
    try:
        thing = load_object(file, _NEMO)
    except Refused as refusal:
        raise Nemo2Problem(str(refusal).replace("checkpoint of Megatron-LM", "configuration of NeMo")) from None
    except OSError as error:
        raise Nemo2Problem(f"{file} cannot be read: {error.strerror or error}; io.json refers to it") from error
    if not isinstance(thing, Thing) or thing.path != target:
        raise Nemo2Problem(f"{file} holds no {target}, as io.json says")
    state = thing.state if isinstance(thing.state, dict) else {}
    place = Place(str(file), 1)
    if thing.path.endswith(f".{_PRECISION}"):
        state = _precision(state)
    given = {name: Given(value, f"{name}: {value}", place) for name, value in _plain_fields(state).items()}
    return Made(target, given, place, complete=True)


def _precision(state: dict[Any, Any]) -> dict[str, Any]:
    """The keywords that lead to what the object holds: it keeps what it made of them."""
    held = state.get("dtype_config")
    made = held.state if isinstance(held, Thing) and isinstance(held.state, dict) else {}
    said = {"precision": state.get("precision")}
    return {
        **said,
        **{_KEYWORDS.get(str(name), str(name)): value for name, value in made.items() if name not in _COMPUTED},
    }


def _plain_fields(state: dict[Any, Any]) -> dict[str, Any]:
    fields = {}
    for name, value in state.items():
        if isinstance(value, type) and issubclass(value, Thing):
            value = symbol(value.path)
        elif isinstance(value, Thing):
            value = symbol(value.path)
        if isinstance(name, str) and name.isidentifier() and not name.startswith("_") and _is_plain(value):
            fields[name] = value
    return fields


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) < 1000 and all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str)) or value.__class__.__name__ == "Symbol"
