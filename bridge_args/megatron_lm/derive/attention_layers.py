"""What layers of attention, norms and positions stop at when they are built, or at the first step.

``validate_args`` lets it pass. The facts are Megatron Core's, so Bridge stops at the same place.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge_args.megatron_lm.derive.registry import Problems, checks, flag, later
from bridge_args.megatron_lm.programs import HYBRID_MODELS

SPECS = "models/gpt/gpt_layer_specs.py"
ENGINE = "extensions/transformer_engine.py TEDotProductAttention.__init__"
VARIANTS = "models/gpt/experimental_attention_variant_module_specs.py"


@checks(see="megatron/core/transformer/attention.py::SelfAttention.get_query_key_value_tensors")
def groups_of_heads(num_attention_heads: int, num_query_groups: int | None, use_legacy_models: bool | None) -> Problems:
    """Query heads of each key-value head."""
    groups = num_query_groups
    if groups and groups > 0 and num_attention_heads % groups and not use_legacy_models:
        yield later(
            f"--num-attention-heads {num_attention_heads} cannot be divided among --num-query-groups {groups}: "
            "the first step stops",
            f"use a multiple of {groups}, or a divisor of {num_attention_heads} as the number of groups",
            ("num_query_groups", "num_attention_heads"),
            "transformer/attention.py SelfAttention.get_query_key_value_tensors",
        )


@checks(
    see=("megatron/core/utils.py::divide", "megatron/core/tensor_parallel/mappings.py::_reduce_scatter_along_first_dim")
)
def divided_sizes(
    ffn_hidden_size: int,
    tensor_model_parallel_size: int,
    sequence_parallel: bool,
    seq_length: int,
    context_parallel_size: int,
) -> Problems:
    """Feed-forward layers and sequences among tensor-parallel ranks."""
    tensor = tensor_model_parallel_size
    if ffn_hidden_size % tensor:
        yield later(
            f"--ffn-hidden-size {ffn_hidden_size} cannot be divided among tensor {tensor}",
            f"use a multiple of {tensor}",
            ("ffn_hidden_size", "tensor_model_parallel_size"),
            "utils.py divide",
        )
    part = seq_length // context_parallel_size
    if sequence_parallel and part % tensor:
        yield later(
            f"sequence parallelism cannot divide the {part} tokens of a rank among tensor {tensor}: "
            "the first step stops",
            f"use a --seq-length that is a multiple of {tensor * context_parallel_size}",
            ("seq_length", "tensor_model_parallel_size", "sequence_parallel"),
            "tensor_parallel/mappings.py _reduce_scatter_along_first_dim",
        )


@checks(see="megatron/core/transformer/torch_norm.py::WrappedTorchNorm.__new__")
def norms_of_local_layers(
    transformer_impl: str | None,
    normalization: str,
    spec: list[str] | None,
    no_persist_layer_norm: bool | None,
    sequence_parallel: bool,
    layernorm_zero_centered_gamma: bool | None,
    use_legacy_models: bool | None,
    program: str,
) -> Problems:
    """Local layers have PyTorch's RMSNorm."""
    if transformer_impl != "local" or normalization != "RMSNorm" or spec or use_legacy_models:
        return
    if program in HYBRID_MODELS:
        return
    for on, name, remedy in (
        (not no_persist_layer_norm, "no_persist_layer_norm", "add --no-persist-layer-norm, or use Transformer Engine"),
        (sequence_parallel, "sequence_parallel", "leave out --sequence-parallel, or use Transformer Engine"),
        (
            layernorm_zero_centered_gamma,
            "layernorm_zero_centered_gamma",
            "leave out --apply-layernorm-1p, or use Transformer Engine",
        ),
    ):
        if on:
            said = "the persistent kernel" if name == "no_persist_layer_norm" else flag(name)
            yield later(
                f"--transformer-impl local --normalization RMSNorm is PyTorch's norm, which does not have {said}: "
                "the model cannot be built",
                remedy,
                ("normalization", "transformer_impl", name),
                "transformer/torch_norm.py WrappedTorchNorm.__new__",
            )


@checks(see="megatron/core/transformer/dot_product_attention.py::DotProductAttention.__init__")
def local_attention(
    transformer_impl: str | None, context_parallel_size: int, spec: list[str] | None, program: str
) -> Problems:
    """Attention without Transformer Engine."""
    if transformer_impl == "local" and context_parallel_size > 1 and not spec and program == "pretrain_gpt.py":
        yield later(
            "--transformer-impl local has no context parallelism: the model cannot be built",
            "use --transformer-impl transformer_engine",
            ("context_parallel_size", "transformer_impl"),
            "transformer/dot_product_attention.py DotProductAttention.__init__",
        )


@checks(see="megatron/core/extensions/transformer_engine.py::TEDotProductAttention.__init__")
def variables_of_attention(
    transformer_impl: str | None,
    apply_query_key_layer_scaling: bool,
    spec: list[str] | None,
    env: Mapping[str, str],
) -> Problems:
    """Environment variables that have to say the same as the arguments."""
    if transformer_impl != "transformer_engine" or spec:
        return
    scaling = env.get("NVTE_APPLY_QK_LAYER_SCALING", "0")
    if apply_query_key_layer_scaling != (scaling != "0"):
        yield later(
            f"{'with' if apply_query_key_layer_scaling else 'without'} --apply-query-key-layer-scaling Transformer "
            f"Engine wants NVTE_APPLY_QK_LAYER_SCALING={int(apply_query_key_layer_scaling)} in the environment",
            "",
            ("apply_query_key_layer_scaling",),
            ENGINE,
            variable="" if "NVTE_APPLY_QK_LAYER_SCALING" in env else "NVTE_APPLY_QK_LAYER_SCALING",
            export=f"NVTE_APPLY_QK_LAYER_SCALING={int(apply_query_key_layer_scaling)}",
        )


@checks(see="megatron/core/extensions/transformer_engine.py::TEDotProductAttention.__init__", until="0.19")
def variable_of_determinism(
    transformer_impl: str | None, deterministic_mode: bool | None, spec: list[str] | None, env: Mapping[str, str]
) -> Problems:
    """A variable that has to say the same as --deterministic-mode, up to where Megatron-LM sets it."""
    if transformer_impl != "transformer_engine" or spec:
        return
    if deterministic_mode and env.get("NVTE_ALLOW_NONDETERMINISTIC_ALGO", "1") != "0":
        yield later(
            "--deterministic-mode with Transformer Engine needs NVTE_ALLOW_NONDETERMINISTIC_ALGO=0 in the environment",
            "",
            ("deterministic_mode",),
            ENGINE,
            variable="" if "NVTE_ALLOW_NONDETERMINISTIC_ALGO" in env else "NVTE_ALLOW_NONDETERMINISTIC_ALGO",
            export="NVTE_ALLOW_NONDETERMINISTIC_ALGO=0",
        )


# What --attention-backend sets NVTE_FLASH_ATTN, NVTE_FUSED_ATTN and NVTE_UNFUSED_ATTN to
_KERNELS = {"auto": "111", "flash": "100", "fused": "010", "unfused": "001", "local": "000"}


@checks(
    ">=0.11",
    see="megatron/core/models/common/language_module/language_module.py::LanguageModule._set_attention_backend",
)
def variables_of_backends(attention_backend: str | None, env: Mapping[str, str]) -> Problems:
    """The old variables for kernels of attention may not say another thing."""
    names = ("NVTE_FLASH_ATTN", "NVTE_FUSED_ATTN", "NVTE_UNFUSED_ATTN")
    wanted = dict(zip(names, _KERNELS.get(attention_backend or "", ""), strict=False))
    other = [f"{name}={env[name]}" for name, value in wanted.items() if env.get(name, value) != value]
    if other:
        kernel = next((kind for kind, kernels in _KERNELS.items() if kernels == _asked(env, names)), "")
        remedy = f", and say --attention-backend {kernel}" if kernel not in ("", "auto", "local") else ""
        yield later(
            f"{' and '.join(other)} in the environment contradicts --attention-backend {attention_backend}: "
            "the model cannot be built",
            f"unset {', '.join(names)}{remedy}",
            ("attention_backend",),
            "models/common/language_module/language_module.py LanguageModule._set_attention_backend",
        )


@checks(
    ">=0.19",
    see="megatron/core/models/common/language_module/language_module.py::LanguageModule._set_attention_backend",
)
def variables_of_flash_attention(flash_attention_version: int | None, env: Mapping[str, str]) -> Problems:
    """The variables for versions of FlashAttention may not say another thing."""
    for version in (2, 3, 4):
        name = f"NVTE_FLASH_ATTN_V{version}"
        if flash_attention_version not in (None, version) and env.get(name, "0") != "0":
            yield later(
                f"{name}={env[name]} in the environment contradicts --flash-attention-version "
                f"{flash_attention_version}: the model cannot be built",
                f"unset {name}",
                ("flash_attention_version",),
                "models/common/language_module/language_module.py LanguageModule._set_attention_backend",
            )


def _asked(env: Mapping[str, str], names: tuple[str, ...]) -> str:
    """What the variables ask for; a kernel that none is said about may be used."""
    return "".join(env.get(name, "1") for name in names)


@checks(
    see=(
        "megatron/core/models/common/embeddings/rotary_pos_embedding.py::MultimodalRotaryEmbedding.forward",
        "megatron/core/models/common/embeddings/rope_utils.py::_apply_rotary_pos_emb_bshd",
    )
)
def positions_of_layers(
    position_embedding_type: str,
    multi_latent_attention: bool | None,
    kv_channels: int,
    rotary_percent: float,
    program: str,
) -> Problems:
    """Positions that are turned."""
    if multi_latent_attention:
        return
    if position_embedding_type == "mrope" and program == "pretrain_gpt.py":
        yield later(
            "--position-embedding-type mrope needs positions in three dimensions, and this program has them in one: "
            "the first step stops",
            "use --position-embedding-type rope",
            ("position_embedding_type",),
            "models/common/embeddings/rotary_pos_embedding.py MultimodalRotaryEmbedding.forward",
        )
    turned = kv_channels if rotary_percent >= 1 else int(kv_channels * rotary_percent)
    if position_embedding_type == "rope" and turned % 2 and turned >= kv_channels:
        yield later(
            f"rotary positions turn pairs, and a head has {kv_channels} channels: the first step stops",
            "use an even --kv-channels",
            ("kv_channels", "position_embedding_type"),
            "models/common/embeddings/rope_utils.py _apply_rotary_pos_emb_bshd",
        )


@checks(
    see=(
        "megatron/core/models/gpt/gpt_layer_specs.py::get_gpt_layer_with_transformer_engine_spec",
        "megatron/core/models/gpt/gpt_layer_specs.py::get_gpt_layer_local_spec",
        "megatron/core/transformer/multi_latent_attention.py::MultiLatentAttention.forward",
    )
)
def latent_layers(
    multi_latent_attention: bool | None,
    qk_l2_norm: bool | None,
    cache_mla_latents: bool | None,
    skip_train: bool | None,
    program: str,
) -> Problems:
    """What layers of latent attention lack."""
    if not multi_latent_attention or program != "pretrain_gpt.py":
        return
    if qk_l2_norm:
        yield later(
            "--multi-latent-attention has no L2 norms: the model cannot be built",
            "leave out --qk-l2-norm, or use --qk-layernorm",
            ("qk_l2_norm", "multi_latent_attention"),
            SPECS,
        )
    if cache_mla_latents and not skip_train:
        yield later(
            "--cache-mla-latents is for inference: the first step stops",
            "leave it out",
            ("cache_mla_latents",),
            "transformer/multi_latent_attention.py MultiLatentAttention.forward",
        )


_PROVIDER = "megatron/core/models/gpt/experimental_attention_variant_module_specs.py::_get_backend_spec_provider"
_VARIANT = (
    "megatron/core/models/gpt/experimental_attention_variant_module_specs.py::"
    "get_experimental_attention_variant_module_spec"
)
_SPARSE = "megatron/core/models/gpt/experimental_attention_variant_module_specs.py::get_dsa_module_spec_for_backend"


@checks(">=0.16", see=_PROVIDER)
def layers_of_variants(
    experimental_attention_variant: str | None,
    transformer_impl: str | None,
    spec: list[str] | None,
    program: str,
) -> Problems:
    """Sparse attention and gated delta net."""
    variant = experimental_attention_variant
    if variant is None or spec or program != "pretrain_gpt.py":
        return
    said = f"--experimental-attention-variant {variant}"
    if transformer_impl != "transformer_engine":
        yield later(
            f"{said} needs Transformer Engine, not --transformer-impl {transformer_impl}: the model cannot be built",
            "use --transformer-impl transformer_engine",
            ("experimental_attention_variant", "transformer_impl"),
            f"{VARIANTS} _get_backend_spec_provider",
        )


@checks(">=0.16", see=_VARIANT, until="0.18")
def layers_of_sparse_attention(
    experimental_attention_variant: str | None, transformer_impl: str | None, spec: list[str] | None, program: str
) -> Problems:
    """Sparse attention without layers."""
    if experimental_attention_variant != "dsa" or spec or program != "pretrain_gpt.py":
        return
    if transformer_impl == "transformer_engine":
        yield later(
            "--experimental-attention-variant dsa has no layers in this version: the model cannot be built",
            "leave it out",
            ("experimental_attention_variant",),
            f"{VARIANTS} get_experimental_attention_variant_module_spec",
        )


@checks(">=0.18", see=_SPARSE, read=("0.18", "0.19", "0.20"))
def layers_of_sparse_latent_attention(
    experimental_attention_variant: str | None,
    multi_latent_attention: bool,
    qk_l2_norm: bool,
    spec: list[str] | None,
    program: str,
) -> Problems:
    """Sparse attention is one of latent attention."""
    if experimental_attention_variant != "dsa" or spec or program != "pretrain_gpt.py":
        return
    for on, name, fact in (
        (not multi_latent_attention, "multi_latent_attention", "--multi-latent-attention"),
        (qk_l2_norm, "qk_l2_norm", "no --qk-l2-norm"),
    ):
        if on:
            yield later(
                f"--experimental-attention-variant dsa needs {fact}: the model cannot be built",
                "",
                ("experimental_attention_variant", name),
                f"{VARIANTS} get_dsa_module_spec_for_backend",
            )


@checks(">=0.16", see="megatron/core/optimizer/qk_clip.py::clip_qk")
def clipping(qk_clip: bool, bf16: bool, fp16: bool, transformer_impl: str | None) -> Problems:
    """Clipped queries and keys."""
    if qk_clip and not (bf16 or fp16):
        yield later(
            "--qk-clip looks for the layers inside a model in bf16 or fp16: the first step stops",
            "add --bf16",
            ("qk_clip",),
            "optimizer/qk_clip.py clip_qk",
        )


@checks(see="megatron/core/transformer/multi_token_prediction.py::MultiTokenPredictionLayer._checkpointed_forward")
def predicted_layers(
    mtp_num_layers: int | None,
    recompute_granularity: str | None,
    recompute_method: str | None,
    recompute_num_layers: int | None,
) -> Problems:
    """Multi-token prediction computed again."""
    if mtp_num_layers and recompute_granularity == "full" and recompute_method == "uniform":
        if recompute_num_layers not in (None, 1):
            yield later(
                f"layers of multi-token prediction are computed again one by one, not {recompute_num_layers} at a "
                "time: the first step stops",
                "use --recompute-num-layers 1",
                ("recompute_num_layers", "mtp_num_layers"),
                "transformer/multi_token_prediction.py MultiTokenPredictionLayer._checkpointed_forward",
            )


@checks(
    see=(
        "megatron/core/models/common/embeddings/language_model_embedding.py::LanguageModelEmbedding.__init__",
        "megatron/core/transformer/dot_product_attention.py::DotProductAttention.__init__",
        "megatron/core/tensor_parallel/layers.py::_initialize_affine_weight_gpu",
    )
)
def chances(hidden_dropout: float, attention_dropout: float, init_method_std: float) -> Problems:
    """Shares that are dropped, and spreads."""
    for name, share in (("hidden_dropout", hidden_dropout), ("attention_dropout", attention_dropout)):
        if not 0 <= share <= 1:
            yield later(
                f"{flag(name)} must be from 0 to 1, not {share}",
                "",
                (name,),
                "models/common/embeddings/language_model_embedding.py LanguageModelEmbedding.__init__"
                if name == "hidden_dropout"
                else "transformer/dot_product_attention.py DotProductAttention",
            )
    if init_method_std < 0:
        yield later(
            f"--init-method-std must be at least 0, not {init_method_std}",
            "",
            ("init_method_std",),
            "tensor_parallel/layers.py _initialize_affine_weight_gpu",
        )
