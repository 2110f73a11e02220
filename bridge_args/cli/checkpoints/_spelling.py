"""``megatron_path=/data/run`` beside flags: the parameters of the conversion steps of NVIDIA's Nemotron, by name.

Verify: src/nemotron/steps/convert/*/step.toml and config/default.yaml of NVIDIA-NeMo/Nemotron.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bridge_args.cli.streams import say
from bridge_args.errors import WrongValue
from bridge_args.records import Record

_WORD: Final = re.compile(r"(?P<name>[a-z][a-z0-9_.]*)=(?P<value>.*)", re.DOTALL)
_TAKING: Final = ("--with",)  # whose value has a name of its own
_TRUE: Final = ("true", "True", "1", "yes", "on")
_NONE: Final = ("null", "None", "")
_FALSE: Final = ("false", "False", "0", "no", "off", *_NONE)


class Means(Record):
    """What a parameter is here.

    Attributes:
        flag: the option that it is; empty for the positional argument, None for what is always so here.
        switch: the option takes no value: it is there where the parameter is true.
        values: the option's own words for values.
        only: values that change nothing; empty: any, and the user is told why.
        why: where there is no option, the reason.
    """

    flag: str | None = None
    switch: bool = False
    values: Mapping[str, str] = MappingProxyType({})
    only: tuple[str, ...] = ()
    why: str = ""


_TRUST: Final = Means("--trust-remote-code", switch=True)
_TYPES: Final = Means("--dtype", values={"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"})
_WHOLE: Final = Means(why="a checkpoint is read and written whole, whatever its layout")
_LAYOUT: Final = dict.fromkeys(("tp", "pp", "ep", "etp", "distributed", "torchrun.nproc_per_node"), _WHOLE)
_ALWAYS_SHOWN: Final = Means(why="progress is shown on a terminal")
_STRICT: Final = Means(only=_TRUE, why="a checkpoint whose names do not all fit is not converted")
_PLACED: Final = Means(only=_NONE, why="where a model lies is not for choosing; --device cpu or cuda is")

# Action to what a parameter of its step means.
PARAMETERS: Final[dict[str, dict[str, Means]]] = {
    "import": {
        "hf_model_id": Means(""),
        "megatron_path": Means("--output"),
        "torch_dtype": _TYPES,
        "dtype": _TYPES,
        "device_map": _PLACED,
        "trust_remote_code": _TRUST,
        **_LAYOUT,
    },
    "export": {
        "megatron_path": Means(""),
        "hf_model_id": Means("--hf-model"),
        "hf_path": Means("--output"),
        "trust_remote_code": _TRUST,
        "show_progress": _ALWAYS_SHOWN,
        "strict": _STRICT,
        "distributed_save": Means(why="one process writes the files, shard by shard"),
        "save_every_n_ranks": Means(why="one process writes the files, shard by shard"),
        **_LAYOUT,
    },
    "merge-lora": {
        "backend": Means("--backend"),
        "lora_checkpoint": Means(""),
        "base_hf_path": Means("--base"),
        "output_hf_path": Means("--output"),
        "trust_remote_code": _TRUST,
        "torch_dtype": Means(only=("auto", *_NONE), why="the merged model has the types of its base"),
        "device_map": _PLACED,
        "low_cpu_mem_usage": Means(why="no more than a few tensors are ever held"),
        "safe_serialization": Means(only=_TRUE, why="weights are written as safetensors"),
        "save_tokenizer": Means(only=_TRUE, why="the tokenizer goes with the model"),
        "show_progress": _ALWAYS_SHOWN,
        "strict": _STRICT,
        "base_megatron_path": Means("--base-megatron"),
        "cpu": Means("--device", values=dict.fromkeys(_TRUE, "cpu") | dict.fromkeys(_FALSE, "auto")),
        "nproc_per_node": _WHOLE,
        **_LAYOUT,
    },
}
# The same with a base of Megatron's, for which the words have other meanings.
_OF_BRIDGE: Final[Mapping[str, Means]] = PARAMETERS["merge-lora"] | {
    "output_megatron_path": Means("--output"),
    "output_hf_path": Means("--export-hf"),
    "hf_model_id": Means("--hf-model"),
    "hf_model_path": Means("--hf-model"),
    "base_hf_path": Means("--hf-model"),
    "export_hf": Means(only=_TRUE, why="leave it out, and output_hf_path"),
}


def reworded(words: list[str]) -> list[str]:
    """The words of ``checkpoint`` with every ``name=value`` as the flag that it is.

    Raises:
        WrongValue: the action has no such parameter, or cannot do what it asks for.
    """
    action = next((word for word in words[1:] if word in PARAMETERS), None)
    if action is None:
        return words
    of_bridge = any(word.startswith("base_megatron_path=") or word == "backend=megatron_bridge" for word in words)
    known = _OF_BRIDGE if of_bridge and action == "merge-lora" else PARAMETERS[action]
    made, first = list[str](), list[str]()
    for at, word in enumerate(words):
        found = _WORD.fullmatch(word) if words[at - 1] not in _TAKING else None
        if found is None:
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
        if not means.only:
            say(f"{name}={value} changes nothing: {means.why}")
        return []
    if not means.switch:
        return [] if value in _NONE else [means.flag, means.values.get(value, value)]
    if value not in (*_TRUE, *_FALSE):
        raise WrongValue(f"{name} is true or false, not {value!r}")
    return [means.flag] if value in _TRUE else []
