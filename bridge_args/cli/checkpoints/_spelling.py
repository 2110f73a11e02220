"""``megatron_path=/data/run`` beside flags: the parameters of the conversion steps of NVIDIA's Nemotron, by name.

Verify: src/nemotron/steps/convert/*/step.toml and config/default.yaml of NVIDIA-NeMo/Nemotron.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from bridge_args.bridge.choices import near
from bridge_args.cli import checkpoints
from bridge_args.cli.checkpoints import _elsewhere
from bridge_args.cli.streams import say
from bridge_args.errors import WrongValue
from bridge_args.records import Record

# As Hydra has it: + and ++ add, quotes hold a text together.
_WORD: Final = re.compile(r"\+{0,2}(?P<name>[A-Za-z][A-Za-z0-9_.-]*)=(?P<value>.*)", re.DOTALL)
_QUOTED: Final = re.compile(r"(['\"])(.*)\1", re.DOTALL)
_OF_PROFILE: Final = "run.env."  # of the executor, beside the profile
_TRUE: Final = ("true", "1", "yes", "on")
_NONE: Final = ("null", "none", "~", "")
_FALSE: Final = ("false", "0", "no", "off", *_NONE)


class Means(Record):
    """What a parameter is here.

    Attributes:
        flag: the option that it is; empty for the positional argument, None for what is always so here.
        switch: the option takes no value: it is there where the parameter is true.
        values: the option's own words for values, by what was typed in small letters.
        only: values that change nothing, in small letters; empty: any, and the user is told why.
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
_OURS: Final = Means(why="the command brings the program that converts")
_LAYOUT: Final = {
    **dict.fromkeys(("tp", "pp", "ep", "etp", "distributed", "torchrun.nproc_per_node"), _WHOLE),
    "script.path": _OURS,
}
_FOR_BRIDGE: Final = Means(why="it is for the backend megatron_bridge")
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
        "backend": Means("--backend", values={one: one for one in ("auto", "hf_peft", "megatron_bridge")}),
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
        "pretrained": Means("--base-megatron"),
        **dict.fromkeys(("hf_model_id", "hf_model_path", "output_megatron_path", "export_hf", "debug"), _FOR_BRIDGE),
        "upstream_script": _OURS,
        "cpu": Means("--device", values=dict.fromkeys(_TRUE, "cpu") | dict.fromkeys(_FALSE, "auto")),
        **dict.fromkeys(("nproc_per_node", "gpus_per_node"), _WHOLE),
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
    "export_hf": Means(only=(*_TRUE, *_FALSE)),
    "debug": Means(why="what stops a merge is told anyway"),
}
_EXPORTING: Final = ("--export-hf", "--hf-model")


def reworded(words: list[str]) -> list[str]:
    """The words of ``checkpoint`` with every ``name=value`` as the flag that it is.

    The value of an option stays what it is, and so does a path that is written as one (``./lr=0.1``).

    Raises:
        WrongValue: the action has no such parameter, cannot do what it asks for, or is told two things.
    """
    action = next((word for word in words[1:] if word in checkpoints.NAMES), "")
    if action not in PARAMETERS or not any(map(_WORD.fullmatch, words)):
        return words
    at = words.index(action, 1) + 1
    typed = list(_typed(words[at:], _options(action)))
    known: Mapping[str, Means] = PARAMETERS[action]
    given = {name: value for name, value, _ in typed if name}
    if action == "merge-lora" and _is_of_bridge(given, words):
        known = _for_bridge(given)
    made, first, said = list[str](), list[str](), _Said(_options(action))
    for name, value, plain in typed:
        if name is None:
            said.option(plain)
            made += plain
        elif name.startswith(_OF_PROFILE):
            made += ["--with", f"{name.removeprefix(_OF_PROFILE)}={value}"]
        elif (means := known.get(name)) is None:
            raise WrongValue(f"{_unknown(action, name, known)}; a folder that is called so is ./{plain[0]}")
        elif new := said.parameter(f"{name}={value}", means, _words(name, value, means)):
            *flags, value = new
            made += new if flags or means.switch else []
            first += [] if flags or means.switch else [value]
    return [*words[:at], *first, *made]


def _unknown(action: str, name: str, known: Mapping[str, Means]) -> str:
    meant = near(name, known)
    return f"{action} has no parameter {name}{meant}{' It' if meant else '; it'} has {', '.join(sorted(known))}"


def _options(action: str) -> Mapping[str, argparse.Action]:
    """Those of an action, by their flags."""
    parser = argparse.ArgumentParser(add_help=False)
    checkpoints.load(action).add_options(parser)
    _elsewhere.add(parser)
    return {flag: option for option in parser._actions for flag in option.option_strings}


def _typed(words: list[str], options: Mapping[str, argparse.Action]) -> Iterator[tuple[str | None, str, list[str]]]:
    """Parameters with name and value, everything else without a name; the words themselves."""
    rest = iter(words)
    for word in rest:
        option = options.get(word)
        if option is not None and option.nargs is None:
            yield None, "", [word, *filter(None, [next(rest, "")])]
        elif found := _WORD.fullmatch(word):
            quoted = _QUOTED.fullmatch(found["value"])
            yield found["name"], quoted[2] if quoted else found["value"], [word]
        else:
            yield None, "", [word]


def _is_of_bridge(given: Mapping[str, str], words: list[str]) -> bool:
    backend, base = given.get("backend", "").lower(), False
    for at, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag == "--backend":
            backend = value if equals else "".join(words[at + 1 : at + 2])
        base = base or flag == "--base-megatron"
    if backend in ("hf_peft", "megatron_bridge"):
        return backend == "megatron_bridge"
    return base or any(given.get(name, "").lower() not in _NONE for name in ("base_megatron_path", "pretrained"))


def _for_bridge(given: Mapping[str, str]) -> Mapping[str, Means]:
    """What the parameters mean with a base of Megatron's, where the result is exported or not.

    Raises:
        WrongValue: it is to be exported to nowhere.
    """
    exported = given.get("export_hf", "").lower()
    if exported in _TRUE and given.get("output_hf_path", "").lower() in _NONE:
        raise WrongValue(f"export_hf={given['export_hf']} needs the folder that is to be made: output_hf_path=OUT")
    if "export_hf" not in given or exported not in _FALSE:
        return _OF_BRIDGE
    unused = Means(why="export_hf is false")
    return {name: unused if means.flag in _EXPORTING else means for name, means in _OF_BRIDGE.items()}


class _Said:
    """What was said of every option, so that none is told two things."""

    def __init__(self, options: Mapping[str, argparse.Action]) -> None:
        self._options = options
        self._values: dict[str, tuple[str, list[str]]] = {}

    def option(self, words: list[str]) -> None:
        """
        Raises:
            WrongValue: a parameter said it otherwise.
        """
        flag, equals, value = words[0].partition("=")
        if (option := self._options.get(flag)) is not None and flag != "--with":
            self._note(option.dest, " ".join(words), [value] if equals else words[1:])
        elif not flag.startswith("-"):
            self._note("", words[0], words)

    def parameter(self, typed: str, means: Means, words: list[str]) -> list[str]:
        """The words; none where the same has been said.

        Raises:
            WrongValue: it was said otherwise.
        """
        if means.flag is None or not words and not means.switch:
            return words
        key = self._options[means.flag].dest if means.flag else ""
        value = words[-1:] if not means.switch else ([] if words else ["false"])
        return words if self._note(key, typed, value) else []

    def _note(self, key: str, typed: str, value: list[str]) -> bool:
        before, same = self._values.setdefault(key, (typed, value))
        if same != value and "=" in typed + before:
            raise WrongValue(f"{before} and {typed} say two things; keep one of them")
        return before is typed


def _words(name: str, value: str, means: Means) -> list[str]:
    small = value.lower()
    if means.flag is None:
        if means.only and small not in means.only:
            raise WrongValue(f"{name}={value} cannot be had here: {means.why or 'it is true or false'}")
        if not means.only and small not in _NONE:
            say(f"{name}={value} changes nothing: {means.why}")
        return []
    if not means.switch:
        return [] if small in _NONE else [*filter(None, [means.flag]), means.values.get(small, value)]
    if small not in (*_TRUE, *_FALSE):
        raise WrongValue(f"{name} is true or false, not {value!r}")
    return [means.flag] if small in _TRUE else []
