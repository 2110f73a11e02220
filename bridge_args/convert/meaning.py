"""Do two configurations of Megatron's say the same model: one of a checkpoint, one that Bridge makes of a config.json?

Weights may fit and numbers still be others: another base of the rotary embedding, another epsilon, another activation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

# What decides which numbers a model of given weights says; not its size in a machine, its precision, how it is trained.
# Verify: megatron/core/transformer/transformer_config.py, and Bridge's gpt_provider.py.
_MEANING: Final = (
    "num_layers hidden_size ffn_hidden_size num_attention_heads num_query_groups kv_channels normalization "
    "layernorm_epsilon layernorm_zero_centered_gamma gated_linear_unit activation_func add_bias_linear add_qkv_bias "
    "qk_layernorm qk_l2_norm position_embedding_type rotary_base rotary_percent rotary_interleaved rope_scaling "
    "rope_scaling_factor share_embeddings_and_output_weights window_size softmax_type softmax_scale "
    "apply_residual_connection_post_layernorm multi_latent_attention q_lora_rank kv_lora_rank qk_head_dim "
    "qk_pos_emb_head_dim v_head_dim num_moe_experts moe_router_topk moe_ffn_hidden_size moe_layer_freq "
    "moe_shared_expert_intermediate_size moe_shared_expert_gate moe_router_score_function moe_router_pre_softmax "
    "moe_router_topk_scaling_factor moe_router_num_groups moe_router_group_topk moe_router_enable_expert_bias "
    "attn_logit_softcapping final_logit_softcapping query_pre_attn_scalar glu_linear_offset "
    "activation_func_clamp_value yarn_rotary_scaling_factor yarn_original_max_position_embeddings yarn_beta_fast "
    "yarn_beta_slow yarn_mscale yarn_mscale_all_dim rotary_base_local mtp_num_layers seq_len_interpolation_factor "
    "no_rope_freq window_attn_skip_freq attention_output_gate experimental_attention_variant linear_attention_freq "
    "moe_latent_size moe_apply_probs_on_input moe_mlp_glu_interleave_size moe_shared_expert_glu_interleave_size "
    "use_mup rope_type rotary_scaling_factor original_max_position_embeddings beta_fast beta_slow mscale mscale_all_dim"
).split()
# Of multi-latent attention. Verify: megatron/core/transformer/multi_latent_attention.py.
_LATENT: Final = frozenset(
    "rope_type rotary_scaling_factor original_max_position_embeddings beta_fast beta_slow mscale mscale_all_dim".split()
)
_OF_ROPE: Final = frozenset(
    "rotary_base rotary_percent rotary_interleaved rope_scaling rope_scaling_factor seq_len_interpolation_factor "
    "no_rope_freq".split()
)
# Every n-th layer is another: without positions, or without a window. Verify: megatron/core/transformer/
# transformer_config.py __post_init__, and utils.py is_layer_window_attention.
_LAST_OF: Final = {"no_rope_freq": 1, "window_attn_skip_freq": 0}
_GROUPS: Final = ("moe_router_num_groups", "moe_router_group_topk")
_NOT_STRETCHED: Final = (None, "default", "mrope", "proportional")  # or by the model's own code
_BY_FACTOR: Final = ("linear", "yarn", "dynamic")
_LLAMA3: Final = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192.0}
# Models of transformers' whose router looks at norm_topk_prob, and its default: config.json may leave that out.
# Verify: transformers, models/*/configuration_*.py, and modeling_*.py.
NORMALIZING: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("qwen2_moe", "qwen3_moe", "olmoe"), False),
    **dict.fromkeys(("qwen3_next", "deepseek_v3", "glm4_moe", "glm4v_moe_text"), True),
}
_OF_MOE: Final = frozenset(name for name in _MEANING if name.startswith("moe_"))


def differences(checkpoint: Any, model: Any) -> list[str]:
    """Where the two would compute otherwise, for people; empty where they are the same model.

    Args:
        checkpoint: Megatron's configuration as the checkpoint has it.
        model: as Bridge makes it of the model of Hugging Face's.
    """
    without: set[str] = set()
    if _value(checkpoint, "position_embedding_type") == _value(model, "position_embedding_type") != "rope":
        without |= _OF_ROPE
    if not _value(checkpoint, "num_moe_experts") and not _value(model, "num_moe_experts"):
        without |= _OF_MOE
    if _value(checkpoint, "moe_router_score_function") == _value(model, "moe_router_score_function") != "softmax":
        without.add("moe_router_pre_softmax")  # which only softmax looks at
    if not _value(checkpoint, "rope_scaling") and not _value(model, "rope_scaling"):
        without.add("rope_scaling_factor")
    if _value(checkpoint, "multi_latent_attention") and _value(model, "multi_latent_attention"):
        without |= {"kv_channels", "num_query_groups"}
    found = []
    for name in _MEANING:
        ours, theirs = _value(checkpoint, name), _value(model, name)
        if name.startswith("yarn_") and not hasattr(checkpoint, name):
            continue  # Bridge 0.3 does not save it; the kind of embedding is compared
        if name not in without and not _same(ours, theirs):
            found.append(f"the checkpoint has {name} {_said(ours)}, and config.json means {_said(theirs)}")
    return found


def left_out(said: Mapping[str, Any], provider: Any) -> list[str]:
    """What ``config.json`` says of stretched positions and of experts' shares, and Bridge does not take over.

    The weights fit without it.

    Verify: megatron/bridge/models/conversion/model_bridge.py hf_config_to_provider_kwargs, llama/llama_bridge.py and
    gemma/gemma3_bridge.py; megatron/core/models/common/embeddings/rotary_pos_embedding.py _apply_scaling; and
    megatron/core/transformer/moe/moe_utils.py topk_routing_with_score_function.

    Args:
        said: the configuration of Hugging Face's.
        provider: what Bridge has made of it.
    """
    inside = said.get("text_config")
    text = inside if isinstance(inside, Mapping) else said
    found = []
    if (shares := _shares(text, provider)) is not None:
        found.append(shares)
    for rope in _ropes(text):
        kind, factor = rope.get("rope_type", rope.get("type")), rope.get("factor")
        if kind in _NOT_STRETCHED or (kind in _BY_FACTOR and factor in (None, 1)):
            continue
        if not _is_taken(str(kind), rope, provider):
            told = ", ".join(f"{name} {_said(rope[name])}" for name in (*_LLAMA3, "factor") if name in rope)
            found.append(
                f"config.json stretches its positions by rope_type {_said(kind)}{f' ({told})' if told else ''}, which "
                "the installed Bridge leaves out: the same weights would say something else"
            )
    return list(dict.fromkeys(found))


def _shares(said: Mapping[str, Any], provider: Any) -> str | None:
    """Do the shares of the chosen experts add up to one in one program, and not in the other?"""
    kind = said.get("model_type")
    if not (isinstance(kind, str) and kind in NORMALIZING and _value(provider, "num_moe_experts")):
        return None
    meant = bool(said.get("norm_topk_prob", NORMALIZING[kind]))
    softmax = _value(provider, "moe_router_score_function") == "softmax"
    if meant == (
        not _value(provider, "moe_router_pre_softmax") if softmax else _value(provider, "moe_router_topk") > 1
    ):
        return None
    do = "leave the shares of a token's experts as they are" if meant else "make a token's experts share one whole"
    return (
        f"config.json means norm_topk_prob {_said(meant)}, and the routers that the installed Bridge makes of it {do}: "
        "the same weights would say something else"
    )


def _ropes(said: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """One for all layers, or one for each kind of layer."""
    for name in ("rope_scaling", "rope_parameters"):
        if isinstance(rope := said.get(name), Mapping):
            yield from [rope] if "rope_type" in rope or "type" in rope else filter(_is_mapping, rope.values())


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_taken(kind: str, rope: Mapping[str, Any], provider: Any) -> bool:
    def has(name: str) -> bool:
        value = getattr(provider, name, None)
        return isinstance(value, (int, float)) and _same(float(value), rope.get("factor"))

    if kind == "llama3":
        fixed = all(_same(value, rope.get(name, value)) for name, value in _LLAMA3.items())
        return fixed and getattr(provider, "rope_scaling", None) is True and has("rope_scaling_factor")
    if kind == "yarn":
        return has("yarn_rotary_scaling_factor") or (_is_scaled(provider) and has("rotary_scaling_factor"))
    if kind == "linear":  # Gemma 3 divides its frequencies itself
        own = type(provider).__name__.startswith("Gemma3") and has("rope_scaling_factor")
        return own or has("seq_len_interpolation_factor")
    return False


def _value(config: Any, name: str) -> Any:
    """As it counts: what is not said has the value that Megatron Core gives it."""
    value = getattr(config, name, None)
    if name == "num_query_groups" and value is None:
        return getattr(config, "num_attention_heads", None)
    if name == "kv_channels" and value is None:
        return config.hidden_size // config.num_attention_heads
    if name == "ffn_hidden_size" and value is None:
        return 4 * config.hidden_size
    if name == "moe_ffn_hidden_size" and value is None:
        return _value(config, "ffn_hidden_size")
    if name in _GROUPS and getattr(config, _GROUPS[0], None) == 1:
        return None  # one group of experts is as good as none
    if name == "moe_layer_freq":
        return _every(value, config.num_layers)
    if name == "window_attn_skip_freq" and not getattr(config, "window_size", None):
        return None
    if name in _LAST_OF:
        return _last_of(value, config.num_layers, _LAST_OF[name]) if value else None
    if name in _LATENT and not _is_scaled(config):
        return None
    if name == "softmax_scale" and value is not None and not getattr(config, "multi_latent_attention", False):
        return None if _near(value, _value(config, "kv_channels") ** -0.5) else value
    if isinstance(value, (list, tuple)):
        return list(value)
    return getattr(value, "__name__", value) if callable(value) else value


def _every(value: Any, layers: int) -> list[int]:
    if isinstance(value, (list, tuple)):
        return [int(one) for one in value]
    return [int(number % (value or 1) == 0) for number in range(layers)]


def _last_of(value: Any, layers: int, mark: int) -> list[int]:
    """Which layers are the others, by a list that marks each, or by a number: the last of so many."""
    if isinstance(value, (list, tuple)):
        return [number for number, one in enumerate(value, 1) if int(one) == mark]
    return list(range(value, layers + 1, value))


def _is_scaled(config: Any) -> bool:
    """Does multi-latent attention stretch its positions? With a factor of 1 nothing that belongs to it counts."""
    return bool(getattr(config, "multi_latent_attention", False)) and (config.rotary_scaling_factor or 1) > 1


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) or isinstance(theirs, float):
        return isinstance(ours, (int, float)) and isinstance(theirs, (int, float)) and _near(ours, theirs)
    return bool(ours == theirs) or (not ours and not theirs)


def _near(ours: float, theirs: float) -> bool:
    return abs(ours - theirs) <= 1e-9 * max(abs(ours), abs(theirs))


def _said(value: Any) -> str:
    return "none" if value is None else str(value)[:80]
