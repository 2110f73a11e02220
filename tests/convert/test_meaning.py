"""Two configurations of Megatron's that the same weights fit: are they the same model?"""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bridge_args.convert import meaning

DENSE: dict[str, Any] = dict(
    num_layers=4, hidden_size=64, num_attention_heads=4, position_embedding_type="rope", rotary_base=10000
)
LATENT = DENSE | dict(multi_latent_attention=True, num_moe_experts=4, rotary_scaling_factor=1.0, mscale_all_dim=1.0)


def differences(base: dict[str, Any], one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return meaning.differences(SimpleNamespace(**base | one), SimpleNamespace(**base | other))


SAME: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    (DENSE, {}, {"num_query_groups": 4, "kv_channels": 16, "ffn_hidden_size": 256, "use_mup": False}),
    (DENSE, {"window_attn_skip_freq": 2}, {}),
    (
        DENSE,
        {"window_size": (8, 0), "window_attn_skip_freq": 2},
        {"window_size": [8, 0], "window_attn_skip_freq": [1, 0, 1, 0]},
    ),
    (DENSE, {"window_size": (8, 0), "window_attn_skip_freq": [1, 1, 1, 1]}, {"window_size": [8, 0]}),
    (DENSE, {"no_rope_freq": 4}, {"no_rope_freq": [0, 0, 0, 1]}),
    (DENSE, {"no_rope_freq": [0, 0, 0, 0]}, {}),
    (DENSE | {"num_moe_experts": 4}, {"moe_router_num_groups": 1, "moe_router_group_topk": 1}, {}),
    (LATENT, {}, {"mscale_all_dim": 0.0, "mscale": 1.0, "rope_type": "rope", "beta_fast": 32}),
]
OTHER: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    (DENSE, {"seq_len_interpolation_factor": 4.0}, {}, "seq_len_interpolation_factor 4.0, and config.json means none"),
    (DENSE, {"no_rope_freq": 2}, {}, "no_rope_freq"),
    (DENSE, {"window_size": (8, 0), "window_attn_skip_freq": 2}, {"window_size": (8, 0)}, "window_attn_skip_freq"),
    (DENSE, {"use_mup": True}, {}, "use_mup True"),
    (DENSE | {"num_moe_experts": 4}, {"moe_mlp_glu_interleave_size": 32}, {}, "moe_mlp_glu_interleave_size 32"),
    (
        DENSE | {"num_moe_experts": 4},
        {"moe_router_num_groups": 2, "moe_router_group_topk": 1},
        {},
        "moe_router_num_groups 2",
    ),
    (LATENT, {"rotary_scaling_factor": 40.0}, {}, "rotary_scaling_factor 40.0, and config.json means none"),
    (LATENT | {"rotary_scaling_factor": 40.0}, {"mscale_all_dim": 0.0}, {}, "mscale_all_dim"),
]


@pytest.mark.parametrize(("base", "one", "other"), SAME)
def test_said_in_other_words(base: dict[str, Any], one: dict[str, Any], other: dict[str, Any]) -> None:
    assert differences(base, one, other) == differences(base, other, one) == []


@pytest.mark.parametrize(("base", "one", "other", "said"), OTHER)
def test_another_model(base: dict[str, Any], one: dict[str, Any], other: dict[str, Any], said: str) -> None:
    found = differences(base, one, other)
    assert any(said in line for line in found) and differences(base, other, one)


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


class Gemma3Model(SimpleNamespace):
    pass


@pytest.mark.parametrize(
    ("rope", "provider", "taken"),
    [
        (None, {}, True),
        ({"rope_type": "default", "rope_theta": 10000.0}, {}, True),
        ({"type": "linear", "factor": 1.0}, {}, True),
        ({"type": "linear", "factor": 4.0}, {}, False),
        ({"rope_type": "linear", "factor": 4.0}, {"seq_len_interpolation_factor": 4}, True),
        ({"rope_type": "dynamic", "factor": 2.0}, {}, False),
        ({"rope_type": "longrope", "long_factor": [1.0]}, {}, False),
        ({"rope_type": "os.system"}, {}, False),
        (LLAMA3 | {"original_max_position_embeddings": 8192}, {"rope_scaling": True, "rope_scaling_factor": 8.0}, True),
        (LLAMA3 | {"original_max_position_embeddings": 64}, {"rope_scaling": True, "rope_scaling_factor": 8.0}, False),
        (LLAMA3, {"rope_scaling": False, "rope_scaling_factor": 8.0}, False),
        ({"rope_type": "yarn", "factor": 32.0}, {"yarn_rotary_scaling_factor": 32.0}, True),
        ({"rope_type": "yarn", "factor": 16.0}, {"yarn_rotary_scaling_factor": 32.0}, False),
        ({"type": "yarn", "factor": 40}, {"multi_latent_attention": True, "rotary_scaling_factor": 40.0}, True),
        ({"type": "yarn", "factor": 40}, {}, False),
        ({"full": {"rope_type": "linear", "factor": 8.0}, "sliding": {"rope_type": "default"}}, {}, False),
        (["no mapping"], {}, True),
    ],
)
@pytest.mark.parametrize("name", ["rope_scaling", "rope_parameters"])
def test_stretched_positions_that_bridge_leaves_out(
    name: str, rope: Any, provider: dict[str, Any], taken: bool
) -> None:
    for said in ({name: rope}, {"text_config": {name: rope}}):
        found = meaning.left_out(said, SimpleNamespace(**provider))
        assert len(found) == (not taken) and all("the installed Bridge leaves out" in reason for reason in found)


def test_gemma_3_stretches_its_own() -> None:
    said = {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0}}}
    assert meaning.left_out(said, Gemma3Model(rope_scaling_factor=8.0)) == []
    assert len(meaning.left_out(said, Gemma3Model(rope_scaling_factor=1.0))) == 1


@pytest.mark.parametrize(
    ("said", "provider", "same"),
    [
        ({"model_type": "qwen3_moe"}, {"moe_router_pre_softmax": True}, True),
        ({"model_type": "qwen3_moe"}, {"moe_router_pre_softmax": False}, False),
        ({"model_type": "qwen3_moe", "norm_topk_prob": True}, {"moe_router_pre_softmax": False}, True),
        ({"model_type": "olmoe", "norm_topk_prob": True}, {"moe_router_pre_softmax": True}, False),
        ({"model_type": "glm4_moe"}, {"moe_router_score_function": "sigmoid"}, True),
        ({"model_type": "glm4_moe", "norm_topk_prob": False}, {"moe_router_score_function": "sigmoid"}, False),
        ({"model_type": "deepseek_v3"}, {"moe_router_score_function": "sigmoid", "moe_router_topk": 1}, False),
        ({"model_type": "deepseek_v2", "norm_topk_prob": True}, {"moe_router_pre_softmax": True}, True),
        ({"model_type": "qwen3_moe"}, {"num_moe_experts": None}, True),
        ({"model_type": ["qwen3_moe"]}, {}, True),
    ],
)
def test_shares_of_experts_that_add_up_to_one(said: dict[str, Any], provider: dict[str, Any], same: bool) -> None:
    usual = {"num_moe_experts": 4, "moe_router_topk": 2, "moe_router_score_function": "softmax"}
    of_moe = SimpleNamespace(**usual | provider)
    for config in (said, {"text_config": said}):
        found = meaning.left_out(config, of_moe)
        assert len(found) == (not same) and all("norm_topk_prob" in reason for reason in found)


@pytest.mark.parametrize("kind", meaning.NORMALIZING)
def test_models_that_look_at_norm_topk_prob(kind: str) -> None:
    """Transformers itself is asked."""
    transformers = pytest.importorskip("transformers")
    config = transformers.CONFIG_MAPPING[kind]
    folder = Path(inspect.getfile(config)).parent
    assert any("norm_topk_prob" in file.read_text(encoding="utf-8") for file in folder.glob("modeling_*.py"))
    assert config().norm_topk_prob is meaning.NORMALIZING[kind]
