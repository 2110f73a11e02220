"""``--yaml-cfg``: a file with all arguments by name, those of the model and of its division in sections of their own.

Megatron-LM calls the feature experimental. The file takes the place of the command line: nothing is parsed, defaults
are not filled in, and other checks are made (``megatron/training/yaml_arguments.py``). Here it becomes the command line
that says the same; what the file leaves out keeps the command line's default, and what no flag says is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bridge_args.findings import Finding
from bridge_args.megatron_lm.catalog import Argument, Catalog
from bridge_args.megatron_lm.converters import converter_of
from bridge_args.source.yaml.model_args import Words, parts_of
from bridge_args.source.yaml.nodes import Mapping, Node, Scalar, Sequence, entries
from bridge_args.words import Place, Word

SECTIONS: Final = ("language_model", "model_parallel")

# Settings that the functions core_transformer_config_from_yaml and validate_yaml make or replace themselves.
_REPLACED: Final = frozenset(
    "gated_linear_unit deallocate_pipeline_outputs batch_p2p_comm pipeline_dtype variable_seq_lengths "
    "virtual_pipeline_model_parallel_size params_dtype cpu_offloading".split()
)
# Arguments that building the model from a file does not read; the section language_model says it instead.
_NOT_READ: Final = frozenset("swiglu squared_relu openai_gelu group_query_attention local_rank yaml_cfg".split())
_ACTIVATIONS: Final = {"swiglu": "--swiglu", "squaredrelu": "--squared-relu", "gelu": None}
_RENAMED: Final = {"num_moe_experts": "num_experts"}
_ON: Final = frozenset(("true", "yes", "on"))
_OFF: Final = frozenset(("false", "no", "off"))

# Settings without a flag, and what Megatron Core has (read in 0.16) when nobody sets them (TransformerConfig).
_WITHOUT_FLAG: Final = {
    "memory_efficient_layer_norm": "false",
    "moe_token_dropping": "false",
    "enable_autocast": "false",
    "batch_p2p_sync": "true",
    "cpu_offloading_activations": "true",
    "cpu_offloading_weights": "false",
    "tp_comm_atomic_ag": "false",
    "tp_comm_atomic_rs": "false",
    "use_ring_exchange_p2p": "false",
    "bias_activation_fusion": "false",
}


def command_of(root: Mapping, catalog: Catalog) -> Words:
    """The command line that says what a ``--yaml-cfg`` file says, to the Megatron-LM whose arguments these are.

    Raises:
        YamlProblem: when a value is neither a word nor a list of words.
    """
    words: list[Word] = []
    findings: list[Finding] = []
    unsaid: dict[str, Place] = {}
    seen: dict[str, Place] = {}
    model: dict[str, str] = {}
    for section, key, value in _settings(root):
        name = _RENAMED.get(key.text, key.text)
        if key.text in seen:
            message = f"{key.text} is also at {seen[key.text]}; Megatron-LM refuses a setting in two sections"
            findings.append(Finding("conflicting-arguments", message, "remove one of them", (name,), key.place))
        seen.setdefault(key.text, key.place)
        if section and isinstance(value, Scalar):
            model[key.text] = value.text
        if name in _REPLACED or (not section and name in _NOT_READ):
            continue
        said = _special(key, value)
        if said is None:
            said = _flag(catalog, key, name, value)
        if said is None:
            unsaid[f"{key.text}: {_shown(value)}"] = key.place
        else:
            words += said
    words += _with_gelu(model, seen)
    if unsaid:
        message = f"no flag of Megatron-LM {catalog.version} says {', '.join(unsaid)}"
        findings.append(
            Finding("not-read", message, "the command line's own value is used", place=[*unsaid.values()][0])
        )
    message = "a --yaml-cfg file is read as the command line that says the same; what it leaves out keeps its default"
    findings.append(Finding("launcher", message, place=root.place))
    return Words(tuple(words), tuple(findings))


def words_of_settings(settings: Mapping, catalog: Catalog) -> Words:
    """The words that give arguments these values, by the names that Megatron-LM stores them under.

    Raises:
        YamlProblem: as ``command_of``.
    """
    words: list[Word] = []
    findings: list[Finding] = []
    for key, value in entries(settings):
        said = _flag(catalog, key, key.text, value)
        if said is None:
            message = f"no flag of Megatron-LM {catalog.version} says {key.text}: {_shown(value)}"
            findings.append(Finding("not-read", message, "the command line's own value is used", place=key.place))
        else:
            words += said
    return Words(tuple(words), tuple(findings))


def _settings(root: Mapping) -> Iterator[tuple[str, Scalar, Node]]:
    """Every setting with its section; the top of the file is the section ""."""
    for key, value in entries(root):
        if key.text in SECTIONS and isinstance(value, Mapping):
            for inner, setting in entries(value):
                yield key.text, inner, setting
        else:
            yield "", key, value


def _special(key: Scalar, value: Node) -> list[Word] | None:
    """Settings of the model that flags say in other words; None for all others."""
    if not isinstance(value, Scalar):
        return None
    text, null = value.text, value.tag == "null"
    match key.text:
        case "activation_func" if text in _ACTIVATIONS:
            flag = _ACTIVATIONS[text]
            return [Word(flag, key.place)] if flag else []
        case "num_query_groups":
            group = [Word("--group-query-attention", key.place), Word("--num-query-groups", key.place)]
            return [] if null else [*group, Word(text, value.place)]
        case "persist_layer_norm":
            return [Word("--no-persist-layer-norm", key.place)] if text.lower() in _OFF else []
        case "init_method" if text == "xavier_uniform":
            return [Word("--init-method-xavier-uniform", key.place)]
        case "data_path":
            parts = [Word(part, value.place) for part in text.split()]
            return [] if null else [Word("--data-path", key.place), *parts]
    return None


def _with_gelu(model: dict[str, str], places: dict[str, Place]) -> list[Word]:
    """GELU with biases is not fused, without them where ``bias_activation_fusion`` says so; a flag's default is to."""
    if model.get("activation_func") != "gelu":
        return []
    fused = model.get("add_bias_linear", "").lower() in _OFF and model.get("bias_activation_fusion", "").lower() in _ON
    return [] if fused else [Word("--no-bias-gelu-fusion", places["activation_func"])]


def _flag(catalog: Catalog, key: Scalar, name: str, value: Node) -> list[Word] | None:
    """The words that give an argument its value, none where that is the default; None where no flag can."""
    arguments = [argument for argument in catalog.arguments if argument.dest == name]
    null = isinstance(value, Scalar) and value.tag == "null"
    if not arguments:
        as_without = isinstance(value, Scalar) and value.text.lower() == _WITHOUT_FLAG.get(name)
        return [] if null or as_without else None
    default = catalog.defaults[name]
    if null:
        return [] if default is None or default is False else None
    switches = [argument for argument in arguments if argument.action not in ("store", "append")]
    if switches and isinstance(value, Scalar):
        wanted = {**dict.fromkeys(_ON, True), **dict.fromkeys(_OFF, False)}.get(value.text.lower())
        if wanted is None or wanted == default:
            return [] if wanted == default else None
        flag = next((flag for argument in switches for flag in argument.flags if _sets(argument, flag) == wanted), None)
        return [Word(flag, key.place)] if flag else None
    parts = [part.text for part in parts_of(value)]
    if _is_default(arguments[0], value, parts, default):
        return []
    return [Word(arguments[0].flags[0], key.place), *(Word(part.text, part.place) for part in parts_of(value))]


def _sets(argument: Argument, flag: str) -> bool | None:
    """What a switch sets its argument to."""
    match argument.action:
        case "store_true":
            return True
        case "store_false":
            return False
        case "BooleanOptionalAction":
            return not flag.startswith("--no-")
    return argument.const if isinstance(argument.const, bool) else None


def _is_default(argument: Argument, value: Node, parts: list[str], default: object) -> bool:
    try:
        converted = [converter_of(argument)(part) for part in parts]
    except ValueError:
        return False  # parsing says what is wrong with it
    return bool(converted == default if isinstance(value, Sequence) or argument.nargs else converted[0] == default)


def _shown(value: Node) -> str:
    return value.text if isinstance(value, Scalar) else "[...]"
