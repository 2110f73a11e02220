"""Settings chosen as a whole: activation, layers, model class, precision, communication. Flags in, settings out."""

from __future__ import annotations

from typing import Any

import pytest

from bridge_args import translate
from bridge_args.bridge import schema as schemas
from bridge_args.values import Built, Partial, Symbol

PROVIDERS = "megatron.bridge.models"
BASE = """--num-layers 4 --hidden-size 64 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 32
          --micro-batch-size 1 --train-iters 10 --eval-interval 10 --lr 1e-3 --mock-data --tokenizer-type NullTokenizer
          --vocab-size 100"""
ENVIRONMENT = {"CUDA_DEVICE_MAX_CONNECTIONS": "1", "NCCL_ALGO": "Ring"}
MLA = "--multi-latent-attention --position-embedding-type rope"
HYBRID = "--spec megatron.core.models.mamba.mamba_layer_specs mamba_stack_spec"


def settings(words: str, program: str = "pretrain_gpt.py", world_size: int = 8) -> dict[str, Any]:
    """Path -> value; errors other than what Bridge refuses fail the test."""
    t = translate(f"{BASE} {words}".split(), world_size, bridge="0.3.1", env=ENVIRONMENT, program=program)
    assert [str(error) for error in t.errors] == []
    return {assignment.path: assignment.value for assignment in t.assignments}


def told(words: str, kind: str, program: str = "pretrain_gpt.py") -> list[str]:
    """The first argument of every finding of a kind."""
    t = translate(f"{BASE} {words}".split(), 8, bridge="0.3.1", env=ENVIRONMENT, program=program)
    return [finding.arguments[0] for finding in t.findings if finding.kind == kind]


@pytest.mark.parametrize(
    ("words", "function", "gated", "fused"),
    [
        pytest.param("", None, None, True, id="GELU is the default of both"),
        pytest.param("--no-bias-gelu-fusion", None, None, None, id="not fused"),
        pytest.param("--swiglu", "torch.nn.functional.silu", True, True, id="SwiGLU"),
        pytest.param("--swiglu --no-bias-swiglu-fusion", "torch.nn.functional.silu", True, None, id="SwiGLU unfused"),
        pytest.param(
            "--squared-relu --no-bias-gelu-fusion",
            "megatron.core.activations.squared_relu",
            None,
            None,
            id="ReLU squared",
        ),
        pytest.param(
            "--quick-geglu", "megatron.core.fusions.fused_bias_geglu.quick_gelu", True, True, id="gated quick GELU"
        ),
    ],
)
def test_activation(words: str, function: str | None, gated: bool | None, fused: bool | None) -> None:
    said = settings(words)
    assert said.get("model.activation_func") == (Symbol(function) if function else None)
    assert said.get("model.gated_linear_unit") is gated
    assert said.get("model.bias_activation_fusion") is fused


def block(transformer_engine: bool, qk_l2_norm: bool = False) -> Partial:
    options = {"use_transformer_engine": transformer_engine, "normalization": "LayerNorm", "qk_l2_norm": qk_l2_norm}
    return Partial("megatron.core.models.gpt.gpt_layer_specs.get_gpt_decoder_block_spec", options)


LOCAL = Symbol(f"{PROVIDERS}.gpt_provider.local_layer_spec")
EXPERTS = "--num-experts 4 --moe-token-dispatcher-type alltoall"


@pytest.mark.parametrize(
    ("words", "spec"),
    [
        pytest.param("", None, id="Transformer Engine is Bridge's default"),
        pytest.param("--transformer-impl local", LOCAL, id="local layers"),
        pytest.param(EXPERTS, block(True), id="experts"),
        pytest.param(f"{EXPERTS} --transformer-impl local", LOCAL, id="local layers, each with experts"),
        pytest.param(
            f"{EXPERTS} --transformer-impl local --moe-layer-freq 2",
            block(False),
            id="local layers, every other with experts",
        ),
        pytest.param(MLA, block(True), id="latent attention, which Bridge's default does not know"),
        pytest.param("--qk-l2-norm", block(True, qk_l2_norm=True), id="L2 norm, which Bridge's default does not know"),
        pytest.param(
            "--spec mine.layers own_spec",
            Built("megatron.core.transformer.spec_utils.import_module", {"module_path": ["mine.layers", "own_spec"]}),
            id="the user's own",
        ),
    ],
)
def test_layer_spec(words: str, spec: object) -> None:
    assert settings(words).get("model.transformer_layer_spec") == spec


@pytest.mark.parametrize(
    ("words", "program", "name"),
    [
        pytest.param("", "pretrain_gpt.py", "gpt_provider.GPTModelProvider", id="GPT"),
        pytest.param(MLA, "pretrain_gpt.py", "mla_provider.MLAModelProvider", id="latent attention"),
        pytest.param(HYBRID, "pretrain_mamba.py", "mamba.mamba_provider.MambaModelProvider", id="hybrid"),
    ],
)
def test_model_class(words: str, program: str, name: str) -> None:
    assert settings(words, program)["model._target_"] == f"{PROVIDERS}.{name}"


def test_what_only_one_class_has_is_said_only_there() -> None:
    assert settings(MLA)["model.kv_lora_rank"] == 32
    assert "model.kv_lora_rank" not in settings("--kv-lora-rank 16")
    pattern = "--hybrid-override-pattern M-M*"
    assert (
        settings(f"{HYBRID} {pattern} --is-hybrid-model", "pretrain_mamba.py")["model.hybrid_override_pattern"]
        == "M-M*"
    )


def test_precision_names_every_field_that_bridge_would_overwrite() -> None:
    said = settings("--bf16")["mixed_precision"]
    assert isinstance(said, Built)
    assert said.kwargs == {
        "bf16": True,
        "params_dtype": Symbol("torch.bfloat16"),
        "pipeline_dtype": Symbol("torch.bfloat16"),
        "fp8_recipe": "delayed",
        "num_layers_at_start_in_bf16": 1,
        "num_layers_at_end_in_bf16": 1,
    }


@pytest.mark.parametrize(
    ("words", "preset"),
    [
        pytest.param(
            "--bf16 --fp8-recipe tensorwise --num-layers-at-start-in-bf16 0 --num-layers-at-end-in-bf16 0",
            "bf16_mixed",
            id="bf16",
        ),
        pytest.param(
            "--bf16 --fp8-format hybrid --fp8-recipe tensorwise --first-last-layers-bf16 --fp8-param-gather"
            " --use-distributed-optimizer",
            "bf16_with_fp8_current_scaling_mixed",
            id="fp8 with current scaling",
        ),
    ],
)
def test_precision_is_a_preset_where_one_says_exactly_this(words: str, preset: str) -> None:
    assert settings(words)["mixed_precision"].replace("-", "_") == preset
    assert preset in schemas.load("0.3.1").presets


def test_precision_of_fp32_is_said_directly() -> None:
    said = settings("")
    assert "mixed_precision" not in said
    assert said["model.pipeline_dtype"] == Symbol("torch.float32")
    assert said["optimizer.fp8_recipe"] == "delayed"


@pytest.mark.parametrize(
    ("words", "overlapped", "batched"),
    [
        pytest.param("--pipeline-model-parallel-size 2", None, None, id="batched, as Bridge does by default"),
        pytest.param(
            "--pipeline-model-parallel-size 2 --num-layers-per-virtual-pipeline-stage 1", True, False, id="overlapped"
        ),
    ],
)
def test_pipeline_communication(words: str, overlapped: bool | None, batched: bool | None) -> None:
    said = settings(words)
    assert (said.get("model.overlap_p2p_comm"), said.get("model.batch_p2p_comm")) == (overlapped, batched)


def test_scaled_positions_have_the_factor_that_megatron_uses() -> None:
    said = settings("--position-embedding-type rope --use-rope-scaling --rope-scaling-factor 4")
    assert (said["model.rope_scaling"], said["model.rope_scaling_factor"]) == (True, 8.0)


@pytest.mark.parametrize(
    ("words", "path", "program"),
    [
        pytest.param("--spec mine layer", "model.transformer_layer_spec", "pretrain_gpt.py", id="GPT"),
        pytest.param("--spec mine layer", "model.mamba_stack_spec", "pretrain_mamba.py", id="hybrid"),
    ],
)
def test_a_specification_is_fetched_by_megatron_core(words: str, path: str, program: str) -> None:
    fetched = Built("megatron.core.transformer.spec_utils.import_module", {"module_path": ["mine", "layer"]})
    assert settings(words, program)[path] == fetched


@pytest.mark.parametrize("words", ["--spec mine", "--spec mine layer more"])
def test_a_specification_is_a_module_and_an_object(words: str) -> None:
    t = translate(f"{BASE} {words}".split(), 8, env=ENVIRONMENT)
    assert [error.remedy for error in t.errors] == ["write --spec module object"]


def test_interpolation_of_positions_is_not_handed_on() -> None:
    words = f"{BASE} --position-embedding-type rope --rotary-seq-len-interpolation-factor 4".split()
    t = translate(words, 8, megatron_lm="0.16.1", env=ENVIRONMENT)
    assert t.outcomes["rotary_seq_len_interpolation_factor"].fate == "not_needed"
    assert not [one for one in t.assignments if one.path == "model.seq_len_interpolation_factor"]
    newer = translate(words, 8, megatron_lm="0.19.0", env=ENVIRONMENT)
    assert [one.value for one in newer.assignments if one.path == "model.seq_len_interpolation_factor"] == [4]


def test_weight_decay_of_norms() -> None:
    assert settings("--apply-wd-to-qk-layernorm")["scheduler.no_weight_decay_cond_type"] == "qwen3_next"
    words = [*BASE.split(), "--apply-wd-to-qk-layernorm", "--qk-layernorm"]
    newer = translate(words, 8, megatron_lm="0.19.0", bridge="0.6.2", env=ENVIRONMENT)
    decided = {one.path: one.value for one in newer.assignments}
    assert decided["optimizer.apply_wd_to_qk_layernorm"] is True
    assert "scheduler.no_weight_decay_cond_type" not in decided
    assert newer.outcomes["apply_wd_to_qk_layernorm"].fate == "to"


PREDICTION = "--mtp-num-layers 1 --position-embedding-type rope --untie-embeddings-and-output-weights"


@pytest.mark.parametrize(
    ("words", "argument"),
    [
        pytest.param(
            "--max-position-embeddings 64", "max_position_embeddings", id="more learned positions than tokens"
        ),
        pytest.param("--init-model-with-meta-device", "init_model_with_meta_device", id="meta device without sharding"),
        pytest.param("--use-cpu-initialization", "use_cpu_initialization", id="weights made on the host"),
        pytest.param(f"{PREDICTION} --transformer-impl local", "mtp_num_layers", id="prediction with local layers"),
        pytest.param(
            f"{PREDICTION} {MLA} --pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Ettt|t|m|L",
            "mtp_num_layers",
            id="prediction in a stage of its own",
        ),
    ],
)
def test_lost(words: str, argument: str) -> None:
    assert told(words, "no-equivalent") == [argument]


def test_the_old_name_of_sharding_gives_such_weights_storage() -> None:
    words = f"{BASE} --init-model-with-meta-device --use-custom-fsdp".split()
    t = translate(words, 8, megatron_lm="0.13.1", env={})
    assert [one.value for one in t.assignments if one.path == "model.init_model_with_meta_device"] == [True]
    assert t.outcomes["init_model_with_meta_device"].fate != "no_equivalent"


def test_flash_attention_is_not_deterministic_for_bridge() -> None:
    assert told("--deterministic-mode --attention-backend flash", "bridge-rejects") == ["attention_backend"]
    assert told("--deterministic-mode --attention-backend fused", "bridge-rejects") == []
    words = [*BASE.split(), "--deterministic-mode", "--attention-backend", "flash"]
    for bridge, refused in (("0.4.2", True), ("0.5.1", False), ("0.6.2", False)):
        t = translate(words, 8, bridge=bridge, env={**ENVIRONMENT, "NCCL_ALGO": "Ring"})
        assert any(finding.kind == "bridge-rejects" for finding in t.findings) == refused
