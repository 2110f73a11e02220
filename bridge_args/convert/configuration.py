"""``config.json`` of a checkpoint without a model of Hugging Face's: of architectures that its settings determine.

What is made here is not trusted: Bridge makes Megatron's configuration of it again, and that is compared with the
checkpoint's (``meaning``) before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bridge_args.convert.megatron import Megatron

_DTYPES: Final = {"bf16": "bfloat16", "fp16": "float16"}
# Constants of Megatron Core. Verify: megatron/core/models/common/embeddings/rotary_pos_embedding.py, _apply_scaling.
_LLAMA3: Final = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
_ROUTING: Final = "moe_router_num_groups moe_router_group_topk moe_router_topk_scaling_factor".split()


def of_checkpoint(source: Megatron, tokens: int | None = None) -> tuple[dict[str, Any] | None, list[str]]:
    """The configuration, or why the checkpoint determines none.

    Args:
        tokens: of the vocabulary; None: as many as the embedding has rows.
    """
    model = source.model
    reasons = _against(model)
    if reasons or source.rows is None:
        reasons = reasons or ["its embedding was not found"]
        return None, [
            f"no config.json can be made of the checkpoint, name one with --hf-model: {reason}" for reason in reasons
        ]
    said = _common(model, tokens or source.rows)
    if model.get("multi_latent_attention"):
        return said | _deepseek(model), []
    if model.get("num_moe_experts"):
        return said | _qwen3_moe(model), []
    return said | _dense(model), []


def _against(model: Mapping[str, Any]) -> list[str]:
    """What none of the architectures has that are made here."""
    found = []
    expected: dict[str, tuple[Any, ...]] = {
        "normalization": ("RMSNorm",),
        "gated_linear_unit": (True,),
        "position_embedding_type": ("rope",),
        "add_bias_linear": (False,),
        "layernorm_zero_centered_gamma": (False, None),
        "rotary_interleaved": (False, None),
        "rotary_percent": (1.0, None),
        "apply_residual_connection_post_layernorm": (False, None),
        "softmax_type": ("vanilla", None),
        "activation_func_clamp_value": (None,),
        "glu_linear_offset": (0.0, None),
        "heterogeneous_block_specs": (False, None),
        "is_hybrid_model": (False, None),
        "hybrid_layer_pattern": (None,),
        "qk_l2_norm": (False, None),
        "mtp_num_layers": (None, 0),
        "seq_len_interpolation_factor": (None,),
        "no_rope_freq": (None,),
        "softmax_scale": (None,),
        "moe_latent_size": (None,),
    }
    for name, values in expected.items():
        if name in model and model[name] not in values:
            found.append(f"{name} is {str(model[name])[:60]}, and models that are made here have {values[0]}")
    if (activation := _target(model.get("activation_func"))) != "torch.nn.functional.silu":
        found.append(f"the activation is {activation or 'not known'}, and models that are made here have silu")
    kinds = [
        what
        for what, there in (
            ("a bias of query, key and value", model.get("add_qkv_bias")),
            ("a norm of query and key", model.get("qk_layernorm") and not model.get("multi_latent_attention")),
            ("a window of attention", model.get("window_size")),
        )
        if there
    ]
    if len(kinds) > 1:
        found.append(f"no architecture that is made here has {' and '.join(kinds)}")
    if model.get("num_moe_experts") and not model.get("multi_latent_attention"):
        found += _against_experts(model)
    if model.get("multi_latent_attention") and not model.get("num_moe_experts"):
        found.append("multi-latent attention without experts is no DeepSeek-V2 or V3")
    return found


def _against_experts(model: Mapping[str, Any]) -> list[str]:
    if not model.get("qk_layernorm"):
        return ["experts without a norm of query and key are those of Mixtral, which Bridge does not convert"]
    found = []
    if model.get("moe_shared_expert_intermediate_size"):
        found.append("it has a shared expert, and Qwen3-MoE has none")
    if model.get("moe_router_score_function") not in ("softmax", None) or any(model.get(name) for name in _ROUTING):
        found.append("its router is not that of Qwen3-MoE: softmax, no groups, no factor")
    if model.get("moe_layer_freq") not in (1, None) and set(_every(model)) != {1}:
        found.append("some of its layers have no experts, and those of Qwen3-MoE that are made here all have")
    return found


def _common(model: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    heads = model["num_attention_heads"]
    hidden = model["hidden_size"]
    said = {
        "hidden_size": hidden,
        "intermediate_size": model.get("ffn_hidden_size") or 4 * hidden,
        "num_hidden_layers": model["num_layers"],
        "num_attention_heads": heads,
        "num_key_value_heads": model.get("num_query_groups") or heads,
        "max_position_embeddings": model.get("max_position_embeddings") or model["seq_length"],
        "rms_norm_eps": model.get("layernorm_epsilon", 1e-5),
        "rope_theta": float(model.get("rotary_base") or 10000),
        "hidden_act": "silu",
        "attention_dropout": model.get("attention_dropout") or 0.0,
        "initializer_range": model.get("init_method_std") or 0.02,
        "tie_word_embeddings": bool(model.get("share_embeddings_and_output_weights")),
        "vocab_size": tokens,
        "torch_dtype": next((dtype for name, dtype in _DTYPES.items() if model.get(name)), "float32"),
        "bos_token_id": None,
        "eos_token_id": None,
    }
    if model.get("rope_scaling"):
        factor = float(model.get("rope_scaling_factor") or 8.0)
        said["rope_scaling"] = {"rope_type": "llama3", "factor": factor, **_LLAMA3}
    return said


def _dense(model: Mapping[str, Any]) -> dict[str, Any]:
    width = model.get("kv_channels") or model["hidden_size"] // model["num_attention_heads"]
    if model.get("qk_layernorm"):
        return _kind("qwen3", "Qwen3ForCausalLM", head_dim=width, attention_bias=False, use_sliding_window=False)
    if model.get("add_qkv_bias"):
        return _kind("qwen2", "Qwen2ForCausalLM", use_sliding_window=False)
    if window := model.get("window_size"):
        return _kind("mistral", "MistralForCausalLM", head_dim=width, sliding_window=window[0] + 1)
    return _kind("llama", "LlamaForCausalLM", head_dim=width, attention_bias=False, mlp_bias=False)


def _qwen3_moe(model: Mapping[str, Any]) -> dict[str, Any]:
    return _kind(
        "qwen3_moe",
        "Qwen3MoeForCausalLM",
        head_dim=model.get("kv_channels") or model["hidden_size"] // model["num_attention_heads"],
        attention_bias=False,
        use_sliding_window=False,
        decoder_sparse_step=1,
        mlp_only_layers=[],
        num_experts=model["num_moe_experts"],
        num_experts_per_tok=model["moe_router_topk"],
        moe_intermediate_size=model.get("moe_ffn_hidden_size") or model["ffn_hidden_size"],
        norm_topk_prob=not model.get("moe_router_pre_softmax"),
        router_aux_loss_coef=_first(model.get("moe_aux_loss_coeff")),
    )


def _deepseek(model: Mapping[str, Any]) -> dict[str, Any]:
    sigmoid = model.get("moe_router_score_function") == "sigmoid"
    layers = _every(model)
    width = model.get("moe_ffn_hidden_size") or model["ffn_hidden_size"]
    said: dict[str, Any] = {
        "q_lora_rank": model.get("q_lora_rank"),
        "kv_lora_rank": model["kv_lora_rank"],
        "qk_nope_head_dim": model["qk_head_dim"],
        "qk_rope_head_dim": model["qk_pos_emb_head_dim"],
        "v_head_dim": model["v_head_dim"],
        "n_routed_experts": model["num_moe_experts"],
        "n_shared_experts": (model.get("moe_shared_expert_intermediate_size") or 0) // width,
        "num_experts_per_tok": model["moe_router_topk"],
        "moe_intermediate_size": width,
        "first_k_dense_replace": layers.index(1) if 1 in layers else len(layers),
        "moe_layer_freq": 1,
        "n_group": model.get("moe_router_num_groups") or 1,
        "topk_group": model.get("moe_router_group_topk") or 1,
        "routed_scaling_factor": model.get("moe_router_topk_scaling_factor") or 1.0,
        "norm_topk_prob": sigmoid or not model.get("moe_router_pre_softmax"),
        "scoring_func": "sigmoid" if sigmoid else "softmax",
        "topk_method": "noaux_tc" if sigmoid else "greedy",
        "num_nextn_predict_layers": 0,
        "attention_bias": False,
    }
    if model.get("rotary_scaling_factor") not in (None, 1, 1.0):
        said["rope_scaling"] = {
            "type": "yarn",
            "factor": model["rotary_scaling_factor"],
            "original_max_position_embeddings": model.get("original_max_position_embeddings", 4096),
            "beta_fast": model.get("beta_fast", 32),
            "beta_slow": model.get("beta_slow", 1),
            "mscale": model.get("mscale", 1.0),
            "mscale_all_dim": model.get("mscale_all_dim", 0.0),
        }
    kind = ("deepseek_v3", "DeepseekV3ForCausalLM") if sigmoid else ("deepseek_v2", "DeepseekV2ForCausalLM")
    return said | _kind(*kind)


def _kind(model_type: str, architecture: str, **said: Any) -> dict[str, Any]:
    return {"model_type": model_type, "architectures": [architecture], **said}


def _every(model: Mapping[str, Any]) -> list[int]:
    """Which layers have experts."""
    value = model.get("moe_layer_freq") or 1
    if isinstance(value, list):
        return [int(one) for one in value]
    return [int(number % int(value) == 0) for number in range(model["num_layers"])]


def _first(value: Any) -> float:
    return float(value[0] if isinstance(value, list) and value else value or 0.0)


def _target(value: Any) -> str | None:
    named = value.get("_target_") if isinstance(value, Mapping) else value
    return str(named) if named else None
