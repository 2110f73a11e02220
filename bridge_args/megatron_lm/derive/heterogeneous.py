"""Layers that differ from each other, described by a Hugging Face configuration."""

from __future__ import annotations

from bridge_args.files import json_of
from bridge_args.megatron_lm.derive.registry import Invalid, Problems, checks, flag


@checks(see="megatron/training/arguments.py::validate_model_config_args_from_heterogeneous_config")
def heterogeneous_layers(
    heterogeneous_layers_config_encoded_json: str | None,
    swiglu: bool,
    normalization: str,
    group_query_attention: bool,
    position_embedding_type: str,
    rotary_percent: float,
    use_rope_scaling: bool | None,
    use_rotary_position_embeddings: bool | None,
    num_layers: int,
    hidden_size: int,
    num_attention_heads: int,
    untie_embeddings_and_output_weights: bool,
    rotary_base: int,
    rope_scaling_factor: float | None,
    num_query_groups: int | None,
) -> Problems:
    """The description against the other arguments.

    A file named by --heterogeneous-layers-config-path is not read here.
    """
    if heterogeneous_layers_config_encoded_json is None:
        return
    concerned = ("heterogeneous_layers_config_encoded_json",)
    try:
        layers = json_of(heterogeneous_layers_config_encoded_json)
        groups = {block["attention"]["n_heads_in_group"] for block in layers["block_configs"]} - {None}
        expected = {
            "num_layers": (num_layers, layers["num_hidden_layers"]),
            "hidden_size": (hidden_size, layers["hidden_size"]),
            "num_attention_heads": (num_attention_heads, layers["num_attention_heads"]),
            "untie_embeddings_and_output_weights": (
                untie_embeddings_and_output_weights,
                not layers["tie_word_embeddings"],
            ),
            "rotary_base": (rotary_base, layers["rope_theta"]),
            "rope_scaling_factor": (rope_scaling_factor, layers["rope_scaling"]["factor"]),
            "num_query_groups": (num_query_groups, layers["num_attention_heads"] // max(groups)),
            "swiglu": (swiglu, True),
            "normalization": (normalization, "RMSNorm"),
            "group_query_attention": (group_query_attention, True),
            "position_embedding_type": (position_embedding_type, "rope"),
            "rotary_percent": (rotary_percent, 1.0),
            "use_rope_scaling": (use_rope_scaling, True),
            "use_rotary_position_embeddings": (use_rotary_position_embeddings, True),
        }
        activation = layers["hidden_act"]
    except (ValueError, KeyError, TypeError, ArithmeticError) as problem:
        why = (
            str(problem)[:200] if isinstance(problem, ValueError) else f"{type(problem).__name__}: {str(problem)[:100]}"
        )
        yield Invalid(f"the description of heterogeneous layers cannot be read: {why}", arguments=concerned)
        return
    if activation != "silu":
        yield Invalid(f"heterogeneous layers have the activation silu, not {activation}", arguments=concerned)
    if len(groups) > 1:
        yield Invalid("heterogeneous layers have one number of heads in a group, not several", arguments=concerned)
    for name, (value, wanted) in expected.items():
        if value != wanted:
            yield Invalid(
                f"{flag(name)} is {value}, but the description of heterogeneous layers has {wanted}",
                arguments=(name, *concerned),
            )
