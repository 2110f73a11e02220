"""The class of the model section, and what only one class has."""

from __future__ import annotations

from typing import Any, Final

from bridge_args.bridge.names import name_of
from bridge_args.bridge.schema import Schema
from bridge_args.mapping.sections.layer_spec import named_by
from bridge_args.mapping.sections.registry import Lost, Rejected, builder
from bridge_args.megatron_lm.programs import HYBRID_MODELS
from bridge_args.versions import number


@builder(writes=("model._target_", "model.deallocate_pipeline_outputs"))
def model_class(multi_latent_attention: bool, program: str, schema: Schema) -> dict[str, Any]:
    """GPT, GPT with latent attention, or hybrid. Megatron-LM always frees a stage's output once it is sent.

    See megatron/training/arguments.py core_transformer_config_from_args.
    """
    gpt, latent = (name_of(role, schema.version) for role in ("GPT model", "model with latent attention"))
    decided: dict[str, Any] = {"model._target_": gpt, "model.deallocate_pipeline_outputs": True}
    if program in HYBRID_MODELS:
        decided["model._target_"] = name_of("hybrid model", schema.version)
        if multi_latent_attention:
            decided["multi_latent_attention"] = Rejected(
                "Bridge's hybrid model has no latent attention; leave out --multi-latent-attention, and + and D in the "
                "pattern of layers."
            )
    elif multi_latent_attention and latent:
        decided["model._target_"] = latent
    elif multi_latent_attention:
        decided["multi_latent_attention"] = Lost(
            f"Bridge {schema.version} has no general model class with latent attention; use Bridge 0.3 or later.",
            "model",
        )
    return decided


@builder(
    if_there=(
        "model.q_lora_rank",
        "model.kv_lora_rank",
        "model.qk_head_dim",
        "model.qk_pos_emb_head_dim",
        "model.v_head_dim",
        "model.rotary_scaling_factor",
        "model.mscale",
        "model.mscale_all_dim",
        "model.cache_mla_latents",
        "model.rope_type",
    ),
    takes={"model.q_lora_rank": type(None)},  # queries are then made without the middle step
    absent={"cache_mla_latents": False},
)
def latent_attention(
    multi_latent_attention: bool,
    q_lora_rank: int | None,
    kv_lora_rank: int,
    qk_head_dim: int,
    qk_pos_emb_head_dim: int,
    v_head_dim: int,
    rope_type: str | None,
    rotary_scaling_factor: float,
    mscale: float,
    mscale_all_dim: float,
    cache_mla_latents: bool,
    program: str,
    schema: Schema,
) -> dict[str, Any]:
    """Settings that only the class with latent attention has; Megatron-LM reads them only with it.

    See megatron/core/transformer/transformer_config.py MLATransformerConfig.
    """
    there = name_of("model with latent attention", schema.version)
    if not multi_latent_attention or program in HYBRID_MODELS or not there:
        return {}
    decided: dict[str, Any] = {
        "model.q_lora_rank": q_lora_rank,
        "model.kv_lora_rank": kv_lora_rank,
        "model.qk_head_dim": qk_head_dim,
        "model.qk_pos_emb_head_dim": qk_pos_emb_head_dim,
        "model.v_head_dim": v_head_dim,
        "model.rotary_scaling_factor": rotary_scaling_factor,
        "model.mscale": mscale,
        "model.mscale_all_dim": mscale_all_dim,
        "model.cache_mla_latents": cache_mla_latents,
    }
    if rope_type is not None:
        decided["model.rope_type"] = rope_type
    return decided


@builder(
    writes=("model.hybrid_attention_ratio", "model.hybrid_mlp_ratio", "model.hybrid_override_pattern"),
    if_there=(
        "model.hybrid_layer_pattern",
        "model.is_hybrid_model",
        "model.mamba_stack_spec",
        "model.hybrid_stack_spec",
    ),
    absent={"hybrid_attention_ratio": 0.0, "hybrid_mlp_ratio": 0.0},
)
def hybrid(
    hybrid_attention_ratio: float,
    hybrid_mlp_ratio: float,
    hybrid_override_pattern: str | None,
    hybrid_layer_pattern: str | None,
    virtual_pipeline_model_parallel_size: int | None,
    spec: list[str] | None,
    program: str,
    schema: Schema,
) -> dict[str, Any]:
    """Settings that only the hybrid class has; ``pretrain_gpt.py`` reads none of them.

    See hybrid_builders.py hybrid_builder (mamba_builders.py mamba_builder before 0.18), and
    megatron/training/arguments.py core_transformer_config_from_args, where a pattern of 0.17 or later makes the
    configuration one of a hybrid model.
    """
    if program not in HYBRID_MODELS:
        if hybrid_layer_pattern is None:
            return {}
        return {"hybrid_layer_pattern": Lost(f"{program} builds no layers from it; start pretrain_hybrid.py.", "model")}
    provider = schema.classes[name_of("hybrid model", schema.version)]
    decided: dict[str, Any] = {
        "model.hybrid_attention_ratio": hybrid_attention_ratio,
        "model.hybrid_mlp_ratio": hybrid_mlp_ratio,
    }
    if hybrid_layer_pattern is None:
        decided["model.hybrid_override_pattern"] = hybrid_override_pattern
    else:
        decided |= _pattern(hybrid_layer_pattern, virtual_pipeline_model_parallel_size, schema)
    if spec and ".".join(map(str, spec)) not in _USUAL_LAYERS:
        layers = "hybrid_stack_spec" if "hybrid_stack_spec" in provider else "mamba_stack_spec"
        decided |= named_by(spec, f"model.{layers}")
    return decided


# Two names of one specification, which Bridge's hybrid class takes where none is given.
_USUAL_LAYERS: Final = (
    "megatron.core.models.mamba.mamba_layer_specs.mamba_stack_spec",
    "megatron.core.models.hybrid.hybrid_layer_specs.hybrid_stack_spec",
)
# Letters and marks that came with a version of Megatron Core, which each Bridge is built on.
_NEWER: Final = {"0.17": "G|/", "0.18": "D", "0.19": "+"}


def _pattern(pattern: str, virtual: int | None, schema: Schema) -> dict[str, Any]:
    """The pattern of Megatron-LM 0.17 or later, under the name that Bridge's class has for it.

    See megatron/bridge/models/hybrid/hybrid_provider.py HybridModelProvider.provide, which has no virtual stages, and
    megatron/core/ssm/mamba_hybrid_layer_allocation.py Symbols.
    """
    provider = schema.classes[name_of("hybrid model", schema.version)]
    name = "hybrid_layer_pattern" if "hybrid_layer_pattern" in provider else "hybrid_override_pattern"
    decided: dict[str, Any] = {f"model.{name}": pattern, "model.is_hybrid_model": True}
    newer = "".join(marks for core, marks in _NEWER.items() if number(core) > number(schema.core))
    if unknown := [letter for letter in newer if letter in pattern]:
        decided["hybrid_layer_pattern"] = Rejected(
            f"Bridge {schema.version} is built on Megatron Core {schema.core}, whose patterns have no "
            f"{' or '.join(unknown)}; use a later Bridge."
        )
    elif virtual is not None:
        decided["hybrid_layer_pattern"] = Rejected(
            "Bridge's hybrid models have no virtual pipeline stages; divide the pattern by | into as many segments as "
            "there are pipeline stages, or by none."
        )
    return decided


@builder(
    if_there=(
        "model.yarn_rotary_scaling_factor",
        "model.yarn_original_max_position_embeddings",
        "model.yarn_beta_fast",
        "model.yarn_beta_slow",
        "model.yarn_mscale",
        "model.yarn_mscale_all_dim",
        "model.yarn_correction_range_round_to_int",
    ),
    when="megatron >=0.19",
)
def yarn(
    position_embedding_type: str,
    multi_latent_attention: bool,
    rotary_scaling_factor: float,
    mscale: float,
    mscale_all_dim: float,
    yarn_original_max_position_embeddings: int | None,
    yarn_beta_fast: float | None,
    yarn_beta_slow: float | None,
    yarn_correction_range_round_to_int: bool | None,
    program: str,
    schema: Schema,
) -> dict[str, Any]:
    """YaRN without latent attention, with the numbers that Megatron-LM takes where none is given.

    See megatron/training/argument_utils.py _apply_yarn_config_from_args.
    """
    if position_embedding_type != "yarn" or multi_latent_attention:
        return {}
    if program in HYBRID_MODELS:
        return {"position_embedding_type": Rejected("Bridge's hybrid model has no YaRN; use rope.")}
    wanted = {
        "rotary_scaling_factor": rotary_scaling_factor,
        "original_max_position_embeddings": _or(yarn_original_max_position_embeddings, 4096),
        "beta_fast": _or(yarn_beta_fast, 32.0),
        "beta_slow": _or(yarn_beta_slow, 1.0),
        "mscale": mscale,
        "mscale_all_dim": mscale_all_dim,
        "correction_range_round_to_int": _or(yarn_correction_range_round_to_int, True),
    }
    decided = {f"model.yarn_{name}": value for name, value in wanted.items() if schema.find(f"model.yarn_{name}")}
    if not decided:
        return {"position_embedding_type": Lost(f"Bridge {schema.version} has no settings for YaRN; use Bridge 0.4.")}
    return decided


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


@builder(writes=("model.rope_scaling", "model.rope_scaling_factor"))
def rope(use_rope_scaling: bool, program: str) -> dict[str, Any]:
    """Llama 3.1's scaling of rotary positions, by the factor that Megatron Core's GPT model has by default.

    Megatron-LM does not hand --rope-scaling-factor on (gpt_builders.py gpt_builder); hybrid models have no scaling.
    """
    if not use_rope_scaling or program in HYBRID_MODELS:
        return {}
    return {"model.rope_scaling": True, "model.rope_scaling_factor": 8.0}


@builder()
def positions(max_position_embeddings: int, seq_length: int, position_embedding_type: str) -> dict[str, Any]:
    """The table of learned positions, which Bridge makes as long as a sequence.

    See gpt_builders.py gpt_builder, and megatron/bridge/models/gpt_provider.py GPTModelProvider.provide.
    """
    if position_embedding_type == "learned_absolute" and max_position_embeddings != seq_length:
        return {
            "max_position_embeddings": Lost(
                f"Bridge learns one position per token of a sequence, {seq_length}, and cannot have "
                f"{max_position_embeddings}; weights and random numbers differ. "
                f"Use --max-position-embeddings {seq_length}."
            )
        }
    return {}


@builder(when="bridge <0.5")
def determinism(deterministic_mode: bool, attention_backend: str) -> dict[str, Any]:
    """Bridge before 0.5 counts flash attention as not deterministic; Megatron-LM refuses only its old switch.

    See megatron/bridge/training/config.py ConfigContainer._validate_and_apply_deterministic_mode.
    """
    if deterministic_mode and attention_backend == "flash":
        return {
            "attention_backend": Rejected(
                "Bridge before 0.5 does not run flash attention in deterministic mode; choose --attention-backend "
                "fused."
            )
        }
    return {}


@builder(
    writes=("model.init_model_with_meta_device",),
    absent={
        "init_model_with_meta_device": False,
        "use_custom_fsdp": False,
        "use_megatron_fsdp": False,
        "use_torch_fsdp2": False,
    },
)
def meta_device(
    init_model_with_meta_device: bool, use_custom_fsdp: bool, use_megatron_fsdp: bool, use_torch_fsdp2: bool
) -> dict[str, Any]:
    """Weights without storage, which in Bridge only sharded data parallelism gives storage to.

    See megatron/training/training.py get_model, and megatron/bridge/models/model_provider.py get_model.
    """
    sharded = use_megatron_fsdp or use_custom_fsdp or use_torch_fsdp2  # the second is the first's name before 0.14
    decided: dict[str, Any] = {"model.init_model_with_meta_device": init_model_with_meta_device and sharded}
    if init_model_with_meta_device and not sharded:
        decided["init_model_with_meta_device"] = Lost(
            "Bridge gives such weights storage only with --use-megatron-fsdp; the model is made on the GPU instead."
        )
    return decided


@builder(
    if_there=("model.tensor_parallel_num_weight_shards", "model.expert_tensor_parallel_num_weight_shards"),
    when="megatron >=0.19",
)
def weight_shards(
    tensor_parallel_num_weight_shards: int,
    expert_tensor_parallel_num_weight_shards: int,
    tensor_model_parallel_size: int,
    expert_tensor_parallel_size: int,
    schema: Schema,
) -> dict[str, Any]:
    """Shards of a weight; Bridge too has as many as ranks share a tensor, where nothing is said.

    See megatron/core/model_parallel_config.py resolve_tensor_parallel_weight_shards.
    """
    decided: dict[str, Any] = {}
    for name, shards, ranks in (
        ("tensor_parallel_num_weight_shards", tensor_parallel_num_weight_shards, tensor_model_parallel_size),
        (
            "expert_tensor_parallel_num_weight_shards",
            expert_tensor_parallel_num_weight_shards,
            expert_tensor_parallel_size,
        ),
    ):
        if shards == ranks:
            continue
        if schema.find(f"model.{name}"):
            decided[f"model.{name}"] = shards
        else:
            decided[name] = Lost(f"Bridge {schema.version} has no setting for it; Bridge 0.6 has.")
    return decided


@builder(
    if_there=("model.moe_flex_dispatcher_num_sms", "model.moe_deepep_num_sms", "model.moe_hybridep_num_sms"),
    absent={"moe_flex_dispatcher_num_sms": None, "moe_flex_dispatcher_backend": "deepep"},
    when=("bridge >=0.6", "megatron >=0.17"),
)
def multiprocessors(
    moe_deepep_num_sms: int | None,
    moe_hybridep_num_sms: int | None,
    moe_flex_dispatcher_num_sms: int | None,
    moe_token_dispatcher_type: str,
    moe_flex_dispatcher_backend: str,
    schema: Schema,
) -> dict[str, Any]:
    """How much of a GPU sends tokens to experts, by the one setting of Bridge 0.6 or by that of the backend.

    Nothing else than the flex dispatcher reads it, and Bridge 0.6 refuses two numbers. See
    megatron/core/transformer/transformer_config.py TransformerConfig.__post_init__.
    """
    if moe_token_dispatcher_type != "flex":
        return {}
    own = {"deepep": moe_deepep_num_sms, "hybridep": moe_hybridep_num_sms}
    number = moe_flex_dispatcher_num_sms or own.get(moe_flex_dispatcher_backend)
    if number is None:
        return {}
    for name in ("flex_dispatcher", moe_flex_dispatcher_backend):
        if schema.find(f"model.moe_{name}_num_sms"):
            return {f"model.moe_{name}_num_sms": number}
    return {"moe_flex_dispatcher_num_sms": Lost("Bridge has no setting for this backend.", "speed")}


@builder(
    when="bridge >=0.6",
    absent={"cuda_graph_modules": (), "cuda_graph_scope": (), "inference_cuda_graph_scope": "none"},
)
def local_graphs(
    cuda_graph_impl: str,
    cuda_graph_modules: list[str] | None,
    cuda_graph_scope: list[str] | None,
    inference_cuda_graph_scope: str,
) -> dict[str, Any]:
    """Bridge since 0.6 has its own graphs of a whole iteration only, beside those of layers for inference.

    See megatron/bridge/utils/cuda_graph.py validate_cuda_graph_configuration.
    """
    named = {*(cuda_graph_modules or ()), *(cuda_graph_scope or ())}
    of_inference = not named and inference_cuda_graph_scope in ("layer", "block")
    if cuda_graph_impl != "local" or "full_iteration" in named or of_inference:
        return {}
    return {
        "cuda_graph_impl": Rejected(
            "Bridge since 0.6 captures only whole iterations with local graphs; choose --cuda-graph-impl "
            "transformer_engine for parts of layers."
        )
    }


@builder(writes=("model.cuda_graph_impl",), absent={"external_cuda_graph": False}, when="megatron <0.15")
def cuda_graphs(enable_cuda_graph: bool, external_cuda_graph: bool) -> dict[str, Any]:
    """Who captures graphs, in the words that came with Megatron-LM 0.15.

    See megatron/training/arguments.py validate_args.
    """
    return {"model.cuda_graph_impl": _GRAPHS[external_cuda_graph, enable_cuda_graph]}


_GRAPHS: Final = {
    (False, False): "none",
    (False, True): "local",
    (True, False): "transformer_engine",
    (True, True): "none",  # Megatron-LM refuses both
}
