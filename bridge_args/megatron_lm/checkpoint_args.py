"""What ``--use-checkpoint-args`` takes from a checkpoint, in each version: names, and who wins.

Facts only; ``source/checkpoint_args.py`` reads the checkpoint. Verify: megatron/training/checkpointing.py
load_args_from_checkpoint, and what calls it: megatron/training/initialize.py initialize_megatron, since 0.18
megatron/training/arguments.py parse_and_validate_args. ``tests/megatron_lm/test_checkpoint_args.py`` compares this
table with the function of a checkout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.records import Record
from bridge_args.versions import Versions, holds


class Take(Record):
    """Arguments that are taken in one way.

    Attributes:
        names: of the arguments.
        wins: does the checkpoint win over what was typed? Else it only says what nobody says: an argument without a
            default that was not typed.
        when: of which versions.
        only: the argument that has to be on.
        old_name: what checkpoints before version 3.0 call it; such a Take is for them only.
    """

    names: tuple[str, ...]
    wins: bool
    when: str = "megatron >=0.11"
    only: str | None = None
    old_name: str | None = None


_MODEL: Final = "use_mp_args_from_checkpoint_args"
_TOKENIZER: Final = "use_tokenizer_model_from_checkpoint_args"

TAKEN: Final = (
    Take(
        (
            *("num_layers", "hidden_size", "ffn_hidden_size", "seq_length", "num_attention_heads", "kv_channels"),
            *("max_position_embeddings", "padded_vocab_size", "ckpt_format"),
        ),
        wins=False,
    ),
    Take(
        (
            *("num_query_groups", "group_query_attention", "position_embedding_type", "add_position_embedding"),
            *("use_rotary_position_embeddings", "rotary_base", "rotary_percent", "rotary_interleaved"),
            *("add_bias_linear", "add_qkv_bias", "squared_relu", "swiglu", "untie_embeddings_and_output_weights"),
            *("apply_layernorm_1p", "normalization", "apply_query_key_layer_scaling", "attention_dropout"),
            *("hidden_dropout", "spec", "num_experts", "moe_layer_freq", "moe_ffn_hidden_size", "moe_router_topk"),
            *("moe_router_pre_softmax", "moe_grouped_gemm", "moe_shared_expert_intermediate_size", "tiktoken_pattern"),
        ),
        wins=True,
    ),
    Take(("hybrid_override_pattern", "hybrid_attention_ratio", "hybrid_mlp_ratio"), True, "megatron <0.17"),
    Take(("is_hybrid_model",), True, "megatron >=0.12, <0.17"),
    Take(("hybrid_layer_pattern",), False, "megatron >=0.17"),
    Take(("mtp_hybrid_override_pattern", "mtp_num_layers", "mtp_use_repeated_layer"), True, "megatron >=0.17"),
    Take(("mamba_state_dim", "mamba_head_dim", "mamba_num_groups"), True, "megatron >=0.12"),
    Take(("mamba_num_heads",), True, "megatron >=0.13"),
    Take(("heterogeneous_layers_config_path", "heterogeneous_layers_config_encoded_json"), True, "megatron >=0.12"),
    Take(("moe_token_dispatcher_type",), True, "megatron <0.15"),
    Take(("moe_token_dispatcher_type",), False, "megatron >=0.15"),
    Take(
        (
            *("moe_router_score_function", "moe_router_enable_expert_bias", "moe_router_topk_scaling_factor"),
            "moe_latent_size",
        ),
        True,
        "megatron >=0.16",
    ),
    Take(("moe_single_grouped_weight", "moe_single_grouped_bias"), True, "megatron >=0.18"),
    Take(("gdp_num_householder",), True, "megatron >=0.20"),
    Take(("tokenizer_type",), True, "megatron <0.16"),
    Take(("tokenizer_type",), True, "megatron >=0.16", _TOKENIZER),
    Take(("tokenizer_model",), True, only=_TOKENIZER),
    Take(("tensor_model_parallel_size",), False, only=_MODEL, old_name="model_parallel_size"),
    Take(
        (
            *("tensor_model_parallel_size", "pipeline_model_parallel_size", "virtual_pipeline_model_parallel_size"),
            "expert_model_parallel_size",
        ),
        True,
        only=_MODEL,
    ),
    Take(("num_layers_per_virtual_pipeline_stage",), False, only=_MODEL),
)
# Nothing of the model parallel sizes but the old name is taken from a checkpoint older than that.
NEW_NAMES: Final = 3.0
# Taken under a name that no argument has.
BESIDE: Final = frozenset({"padded_vocab_size"})


class Checkpoint(Record):
    """A checkpoint that arguments are taken from.

    Attributes:
        named_by: ``load`` or ``pretrained_checkpoint``.
        values: the arguments that its run has saved.
        version: of the checkpoint, by Megatron-LM's own counting.
        where: what a user calls it.
    """

    named_by: str
    values: Mapping[str, Any]
    version: float
    where: str


class Taken(Record):
    """One value from a checkpoint.

    Attributes:
        where: what a user calls the checkpoint.
        over: what was typed and is not used; ``Ellipsis`` where nothing was typed.
    """

    value: Any
    where: str
    over: Any = ...


def names() -> frozenset[str]:
    """All that any version looks for in a checkpoint."""
    saved_as = {take.old_name or name for take in TAKEN for name in take.names}
    return frozenset(saved_as | {"disable_bias_linear", "hybrid_override_pattern"})


def sources(version: str) -> tuple[str, ...]:
    """The arguments that name the checkpoints, in the order in which they are read."""
    both = holds("megatron >=0.16", Versions(version, "0"))
    return ("pretrained_checkpoint", "load") if both else ("load",)


def taken(typed: Mapping[str, Any], catalog: Catalog, checkpoints: Sequence[Checkpoint]) -> dict[str, Taken]:
    """The values that come from checkpoints, by argument.

    Args:
        typed: the arguments that were typed.
        checkpoints: in the order of ``sources``.
    """
    versions = Versions(catalog.version, "0")
    found: dict[str, Taken] = {}

    def now(name: str) -> Any:
        if name in found:
            return found[name].value
        return typed.get(name, catalog.defaults.get(name))

    for checkpoint in checkpoints:
        values = _as_read(checkpoint.values, versions)
        for name, saved_as, wins in _wanted(checkpoint.version, versions, now):
            if name not in catalog.defaults and name not in BESIDE:
                continue
            if name == "moe_ffn_hidden_size" and _no_experts(values, versions):
                value = None
            elif (value := values.get(saved_as)) is None or (not wins and now(name) is not None):
                continue
            found[name] = Taken(value, checkpoint.where, typed.get(name, ...))
    return found


def _wanted(version: float, versions: Versions, now: Any) -> Iterator[tuple[str, str, bool]]:
    """Argument, the name it is saved under, and whether the checkpoint wins."""
    for take in TAKEN:
        if not holds(take.when, versions) or (take.only is not None and not now(take.only)):
            continue
        if take.only == _MODEL and (version < NEW_NAMES) is (take.old_name is None):
            continue
        for name in take.names:
            yield name, take.old_name or name, take.wins


def _as_read(values: Mapping[str, Any], versions: Versions) -> dict[str, Any]:
    """Saved arguments of older runs, under the names that the version looks for."""
    values = dict(values)
    if "disable_bias_linear" in values:
        values["add_bias_linear"] = not values["disable_bias_linear"]
    old = values.get("hybrid_override_pattern")
    if holds("megatron >=0.17", versions) and old is not None and values.get("hybrid_layer_pattern") is None:
        values |= {"hybrid_layer_pattern": old, "num_layers": None}  # which follows from the pattern
    if holds("megatron >=0.20", versions):
        values.setdefault("gdp_num_householder", 3)
    return values


def _no_experts(values: Mapping[str, Any], versions: Versions) -> bool:
    return holds("megatron >=0.13", versions) and values.get("num_experts") is None
