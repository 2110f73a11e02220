"""A GPT model as a hybrid one: ``--num-layers 2`` as ``--hybrid-layer-pattern '*-*-'`` of ``pretrain_hybrid.py``.

Each GPT layer is two letters: attention, then a feed-forward layer or experts. Where the two programs would not train
the same numbers, that is a reason against it, and all reasons are told.
Verify: docs/user-guide/hybrid-model-migration.md and megatron/core/models/hybrid/hybrid_layer_allocation.py of 0.19.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from bridge_args.errors import UserError
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm.derive.pipeline import stages_of
from bridge_args.megatron_lm.programs import GPT, HYBRID
from bridge_args.modernize.items import Item
from bridge_args.versions import number

SINCE: Final = "0.19"  # whose stack is the default, and whose parser has all letters

# What the pattern says now.
SAID: Final = frozenset(
    (
        "num_layers moe_layer_freq mtp_num_layers num_layers_per_virtual_pipeline_stage "
        "num_virtual_stages_per_pipeline_rank pipeline_model_parallel_layout decoder_first_pipeline_num_layers "
        "decoder_last_pipeline_num_layers"
    ).split()
)
# What Megatron-LM makes of it: other values on purpose.
FOLLOWS: Final = frozenset("hybrid_layer_pattern is_hybrid_model virtual_pipeline_model_parallel_size".split())
# What a checkpoint says under other names.
ALSO: Final = frozenset(("encoder_num_layers",))
# Of a layer each: a list, or a number for every so many layers; and what it is of a layer without attention.
_OTHERWISE: Final = {"no_rope_freq": 0, "window_attn_skip_freq": 0}
LISTS: Final = frozenset((*_OTHERWISE, "recompute_num_layers"))
_AGAINST: Final = {
    "fim_data": "--fim-data: pretrain_hybrid.py has no data for filling in the middle",
    "account_for_embedding_in_pipeline_split": "--account-for-embedding-in-pipeline-split: a stage of a pattern has as "
    "many layers as it has letters",
    "account_for_loss_in_pipeline_split": "--account-for-loss-in-pipeline-split: a stage of a pattern has as many "
    "layers as it has letters",
    "spec": "--spec: a layer of one's own is none that a pattern has a letter for",
    "heterogeneous_layers_config_path": "--heterogeneous-layers-config-path: a letter means the same layer everywhere",
    "heterogeneous_layers_config_encoded_json": "--heterogeneous-layers-config-encoded-json: a letter means the same "
    "layer everywhere",
    "experimental_attention_variant": "--experimental-attention-variant: it was not tried whether the two are the same",
    "linear_attention_freq": "--linear-attention-freq: it was not tried whether the two are the same",
    "yaml_cfg": "--yaml-cfg: the file says the layers",
    "export_force_local_attention": "--export-force-local-attention: the stack has Transformer Engine's attention",
}


class NotHybrid(UserError):
    """The two would not be the same run; the message has every reason."""


def moved(items: Sequence[Item], t: Translation) -> list[Item]:
    """The command line for ``pretrain_hybrid.py``.

    Args:
        items: a command line of ``pretrain_gpt.py``.
        t: what it means to the version that it is for.

    Raises:
        NotHybrid: something speaks against it.
    """
    if reasons := list(_reasons(t)):
        raise NotHybrid(f"--to-hybrid would not keep the run the same: {'; '.join(reasons)}")
    pattern, lists = pattern_of(t), _expanded(t)
    why = "--hybrid-layer-pattern says it"
    made: list[Item] = []
    for item in items:
        if item.dest in SAID:
            item = item.becomes((), why)
        elif item.dest in lists:
            item = item.becomes((item.words[0].partition("=")[0], lists[item.dest]), "of each letter of the pattern")
        made.append(item)
    layers = f"{t.args['num_layers']} layers of two letters each"
    return [*made, Item(("--hybrid-layer-pattern", pattern), (), (), "hybrid_layer_pattern", layers)]


def _reasons(t: Translation) -> Iterator[str]:
    args = t.args
    if t.program != GPT:
        yield f"it is a command line of {t.program}"
    if number(t.versions.megatron) < number(SINCE):
        yield f"Megatron-LM {t.versions.megatron} is older than {SINCE}, whose stack of layers this is for"
    for name, why in _AGAINST.items():
        if name in args and args[name] not in (None, False, []):
            yield why
    if args["num_experts"] and not args.is_on("moe_grouped_gemm"):
        yield "experts of a pattern are always grouped, which gives other numbers; train with --moe-grouped-gemm first"
    if args["transformer_impl"] != "transformer_engine":
        yield f"--transformer-impl {args['transformer_impl']}: a pattern's layers are Transformer Engine's"
    if not isinstance(args["num_layers"], int):
        yield "the number of layers is not known"
    elif (layout := args["pipeline_model_parallel_layout"]) is not None:
        yield from _against_layout(str(layout), args["num_layers"])


def _against_layout(layout: str, layers: int) -> Iterator[str]:
    stages = stages_of(layout)
    text = "".join(stages)
    if not stages[0].startswith("E") or not stages[-1].endswith("L") or text.count("t") != layers:
        yield "--pipeline-model-parallel-layout: with a pattern the embedding is first and the loss is last"
    elif any(not stage.count("t") for stage in stages):
        yield "--pipeline-model-parallel-layout: a stage of a pattern has layers"
    elif "m" in text[: text.rindex("t")] or "m" in "".join(stages[:-1]):
        yield "--pipeline-model-parallel-layout: with a pattern the predicting layers are in the last stage"


def pattern_of(t: Translation) -> str:
    """``*-*E|*-*E/*E``: a stage between two ``|``, the predicting layers behind ``/``."""
    args = t.args
    attention = "+" if args.is_on("multi_latent_attention") else "*"
    with_experts = [bool(one) for one in _each(t, "moe_layer_freq")] if args["num_experts"] else [False] * _layers(t)
    letters = [attention + ("E" if experts else "-") for experts in with_experts]
    stages = [letters[start:end] for start, end in _stages(t)]
    depths = args["mtp_num_layers"] or 0
    return "|".join("".join(stage) for stage in stages) + f"/{letters[-1]}" * int(str(depths))


def loads_gpt(pattern: str) -> bool:
    """Does Megatron-LM take a checkpoint of the GPT model for it, and convert it while it loads it?

    Verify: megatron/core/dist_checkpointing/gpt_checkpoint_interop.py, gpt_compatible_layer_maps.
    """
    letters = set(pattern.replace("|", ""))
    return letters <= set("*-") or letters <= set("*E")


def _layers(t: Translation) -> int:
    layers = t.args["num_layers"]
    assert isinstance(layers, int)
    return layers


def _stages(t: Translation) -> list[tuple[int, int]]:
    """First layer of each stage and the one behind it, in the order data passes through them."""
    args, layers = t.args, _layers(t)
    ranks = int(str(args["pipeline_model_parallel_size"]))
    if args["pipeline_model_parallel_layout"] is not None:
        sizes = [stage.count("t") for stage in stages_of(str(args["pipeline_model_parallel_layout"]))]
    elif args["decoder_first_pipeline_num_layers"] or args["decoder_last_pipeline_num_layers"]:
        sizes = _uneven(ranks, layers, *(args[f"decoder_{end}_pipeline_num_layers"] for end in ("first", "last")))
    else:
        virtual = args["virtual_pipeline_model_parallel_size"]
        count = ranks * (virtual if isinstance(virtual, int) else 1)
        sizes = [layers // count] * count
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    return list(zip([0, *ends], ends, strict=False))


def _uneven(ranks: int, layers: int, first: Any, last: Any) -> list[int]:
    given = [size for size in (first, last) if size is not None]
    middle = ranks - len(given)
    each = (layers - sum(given)) // middle if middle else 0
    return [*([first] if first is not None else []), *([each] * middle), *([last] if last is not None else [])]


def _each(t: Translation, name: str) -> list[int]:
    """What a list or a frequency says of each layer.

    Verify: megatron/core/models/gpt/gpt_layer_specs.py, get_gpt_decoder_layer_specs, and is_layer_window_attention,
    get_moe_layer_freq of the same folder.
    """
    value, layers = t.args[name], _layers(t)
    if isinstance(value, list):
        return [int(one) for one in value]
    every = int(str(value))
    if name == "moe_layer_freq":
        return [int(layer % every == 0) for layer in range(layers)]
    if name == "no_rope_freq":
        return [int((layer + 1) % every == 0) for layer in range(layers)]
    return [int((layer + 1) % every != 0) for layer in range(layers)]  # window_attn_skip_freq


def _expanded(t: Translation) -> dict[str, str]:
    """Lists of one entry for each letter of the pattern."""
    made = {}
    for name, other in _OTHERWISE.items():
        if name in t.args and t.args[name] is not None:
            both = [entry for layer in _each(t, name) for entry in (layer, other)]
            made[name] = f"[{','.join(map(str, both))}]"
    if isinstance(count := t.args["recompute_num_layers"], int):
        made["recompute_num_layers"] = str(2 * count)
    return made


def program_of(word: str) -> str:
    """``/opt/Megatron-LM/pretrain_gpt.py``, or the module, as the program for hybrid models."""
    return word.replace(GPT, HYBRID) if word.endswith(GPT) else word.replace("pretrain_gpt", "pretrain_hybrid")


# In a checkpoint it has the first of the two names, in a model of 0.19 the second.
_PREDICTING: Final = re.compile(
    r"(?P<head>(?:.*\.)?mtp\.layers\.\d+\.)(?:transformer_layer|mtp_model_layer)\.(?P<inside>(?!layers\.).+)"
)
_OF_MLP: Final = ("mlp.", "pre_mlp_layernorm.")  # names in a layer of what its second letter stands for


def weight_of(name: str) -> str:
    """What a weight of the GPT model is called in the hybrid one; its state in the optimizer too.

    Verify: megatron/core/models/hybrid/hybrid_block.py; layer i becomes the layers 2i and 2i + 1.
    multi_token_prediction.py: the layer inside of one that predicts becomes two of them.
    """
    head, found, rest = name.partition("decoder.layers.")
    if found:
        layer, _, inside = rest.partition(".")
        return f"{head}decoder.layers.{2 * int(layer) + inside.startswith(_OF_MLP)}.{inside}"
    if predicting := _PREDICTING.fullmatch(name):
        letter = int(predicting["inside"].startswith(_OF_MLP))
        return f"{predicting['head']}mtp_model_layer.layers.{letter}.{predicting['inside']}"
    return name.replace("decoder.final_layernorm", "decoder.final_norm")
