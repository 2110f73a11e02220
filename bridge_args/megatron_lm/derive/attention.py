"""Attention: heads, positions, and its variants."""

from __future__ import annotations

from bridge_args.megatron_lm.derive.registry import (
    CORE_CONFIG,
    TRANSFORMER_CONFIG,
    VALIDATE_ARGS,
    Invalid,
    Problems,
    checks,
    derives,
    flag,
)


@derives(see=VALIDATE_ARGS)
def kv_channels(kv_channels: int | None, hidden_size: int, num_attention_heads: int) -> int:
    """Width of one head; hidden size / heads by default."""
    if kv_channels is not None:
        return kv_channels
    if hidden_size % num_attention_heads:
        raise Invalid(
            f"--hidden-size {hidden_size} cannot be divided among {num_attention_heads} attention heads",
            "choose sizes that divide, or give the width of a head with --kv-channels",
            ("hidden_size", "num_attention_heads"),
        )
    return hidden_size // num_attention_heads


@derives(see=CORE_CONFIG)
def num_query_groups(num_query_groups: int | None, group_query_attention: bool) -> int | None:
    """Key-value heads; None (as many as query heads) without --group-query-attention, whatever was typed."""
    return num_query_groups if group_query_attention else None


@derives(see=VALIDATE_ARGS)
def attention_softmax_in_fp32(attention_softmax_in_fp32: bool, apply_query_key_layer_scaling: bool) -> bool:
    """Scaling of queries and keys brings it along."""
    return attention_softmax_in_fp32 or apply_query_key_layer_scaling


@derives(see=VALIDATE_ARGS)
def position_embedding_type(position_embedding_type: str, use_rotary_position_embeddings: bool | None) -> str:
    """The old switch --use-rotary-position-embeddings means rope."""
    return "rope" if use_rotary_position_embeddings else position_embedding_type


@derives(see=VALIDATE_ARGS)
def apply_rope_fusion(apply_rope_fusion: bool, position_embedding_type: str) -> bool:
    """Only rope has a fused kernel."""
    return apply_rope_fusion and position_embedding_type == "rope"


@checks(see=TRANSFORMER_CONFIG)
def heads(
    num_attention_heads: int,
    num_query_groups: int | None,
    tensor_model_parallel_size: int,
    multi_latent_attention: bool | None,
    group_query_attention: bool,
) -> Problems:
    """Heads against tensor parallelism."""
    tensor = tensor_model_parallel_size
    if num_attention_heads % tensor:
        yield Invalid(
            f"--num-attention-heads {num_attention_heads} cannot be divided among tensor {tensor}",
            f"use a multiple of {tensor}",
            ("num_attention_heads", "tensor_model_parallel_size"),
        )
    if num_query_groups is not None and (
        num_query_groups < 1 or num_query_groups % tensor and tensor % num_query_groups
    ):
        yield Invalid(
            f"--num-query-groups {num_query_groups} is neither a multiple nor a divisor of tensor {tensor}",
            arguments=("num_query_groups", "tensor_model_parallel_size"),
        )
    if multi_latent_attention and group_query_attention:
        yield Invalid(
            "--multi-latent-attention and --group-query-attention exclude each other",
            "keep one of them",
            ("multi_latent_attention", "group_query_attention"),
        )


@checks(see=TRANSFORMER_CONFIG, until="0.16")
def groups_among_ranks(num_query_groups: int | None, tensor_model_parallel_size: int) -> Problems:
    """Key-value heads are not shared by ranks."""
    if num_query_groups is not None and num_query_groups % tensor_model_parallel_size:
        yield Invalid(
            f"--num-query-groups {num_query_groups} is not a multiple of tensor {tensor_model_parallel_size}",
            arguments=("num_query_groups", "tensor_model_parallel_size"),
        )


@checks(see=(VALIDATE_ARGS, CORE_CONFIG))
def positions(
    position_embedding_type: str,
    add_position_embedding: bool | None,
    transformer_impl: str | None,
    mrope_section: list[int] | None,
    multi_latent_attention: bool | None,
    rope_type: str | None,
) -> Problems:
    """What each kind of position embedding needs."""
    kind = position_embedding_type
    if add_position_embedding is False and kind != "rope":
        yield Invalid(
            "--no-position-embedding is no longer there",
            "use --position-embedding-type none",
            ("add_position_embedding",),
        )
    if kind == "relative" and transformer_impl != "transformer_engine":
        yield Invalid(
            f"--position-embedding-type relative needs Transformer Engine, not --transformer-impl {transformer_impl}",
            arguments=("position_embedding_type", "transformer_impl"),
        )
    if kind == "mrope" and mrope_section is None:
        yield Invalid("--position-embedding-type mrope needs --mrope-section", arguments=("position_embedding_type",))
    if rope_type not in (None, "rope") and not multi_latent_attention:
        yield Invalid(
            f"--rope-type {rope_type} is there for --multi-latent-attention only",
            "use --rope-type rope",
            ("rope_type",),
        )


@checks(see=VALIDATE_ARGS, read=("0.16", "0.17", "0.18", "0.19", "0.20"))
def multi_token_prediction(mtp_num_layers: int | None, position_embedding_type: str) -> Problems:
    """Positions that predict several tokens."""
    if mtp_num_layers and position_embedding_type not in ("rope", "none"):
        yield Invalid(
            f"multi-token prediction works with positions of type rope or none, not {position_embedding_type}",
            "add --position-embedding-type rope",
            ("mtp_num_layers", "position_embedding_type"),
        )


@checks(">=0.17", see=VALIDATE_ARGS, read=("0.17", "0.18", "0.19", "0.20"))
def fused_projections(mla_down_proj_fusion: bool | None, multi_latent_attention: bool) -> Problems:
    """Only latent attention has these projections."""
    if mla_down_proj_fusion and not multi_latent_attention:
        yield Invalid("--mla-down-proj-fusion needs --multi-latent-attention", arguments=("mla_down_proj_fusion",))


@checks(">=0.18", see=VALIDATE_ARGS, read=("0.18", "0.19", "0.20"))
def fused_loss(cross_entropy_loss_fusion: bool | None, cross_entropy_fusion_impl: str | None) -> Problems:
    """The loss of Transformer Engine is switched off."""
    if cross_entropy_loss_fusion and cross_entropy_fusion_impl == "te":
        yield Invalid(
            "--cross-entropy-fusion-impl te does not work with --cross-entropy-loss-fusion",
            "use --cross-entropy-fusion-impl native",
            ("cross_entropy_fusion_impl",),
        )


@derives(">=0.20", see=VALIDATE_ARGS, read=("0.20",))
def mtp_hsm(mtp_hsm: bool, mtp_num_layers: int | None) -> bool:
    """Hidden states are mixed of at least two layers."""
    return mtp_hsm and (mtp_num_layers or 0) >= 2


@checks(see="megatron/core/transformer/transformer_config.py::MLATransformerConfig.__post_init__")
def latent_attention(
    multi_latent_attention: bool | None,
    rotary_interleaved: bool | None,
    apply_rope_fusion: bool,
    rope_type: str | None,
    attention_output_gate: bool | None,
    cache_mla_latents: bool | None,
    heterogeneous_layers_config_path: str | None,
) -> Problems:
    """What multi-latent attention excludes."""
    if not multi_latent_attention:
        return
    for name, on in (
        ("rotary_interleaved", rotary_interleaved),
        ("attention_output_gate", attention_output_gate),
        ("heterogeneous_layers_config_path", heterogeneous_layers_config_path is not None),
    ):
        if on:
            yield Invalid(
                f"--multi-latent-attention cannot be combined with {flag(name)}",
                arguments=("multi_latent_attention", name),
            )
    if apply_rope_fusion and rope_type == "rope":
        yield Invalid(
            "--multi-latent-attention fuses positions only with --rope-type yarn",
            "add --no-rope-fusion",
            ("multi_latent_attention", "rope_type"),
        )
    if cache_mla_latents and apply_rope_fusion:
        yield Invalid(
            "--cache-mla-latents cannot be combined with fused positions",
            "add --no-rope-fusion",
            ("cache_mla_latents",),
        )


@checks(see=(VALIDATE_ARGS, TRANSFORMER_CONFIG))
def backend(attention_backend: str | None, spec: list[str] | None, batch_invariant_mode: bool | None) -> Problems:
    """Which kernel computes attention."""
    if attention_backend == "local" and (not spec or spec[0] != "local"):
        yield Invalid(
            "--attention-backend local needs --spec local",
            "choose another backend, or --transformer-impl local",
            ("attention_backend",),
        )
    if batch_invariant_mode and attention_backend != "flash":
        yield Invalid(
            f"--batch-invariant-mode needs --attention-backend flash, not {attention_backend}",
            arguments=("batch_invariant_mode", "attention_backend"),
        )


@checks(see=TRANSFORMER_CONFIG)
def layers_without_rope(no_rope_freq: int | list[int] | None, num_layers: int, flash_decode: bool | None) -> Problems:
    """Layers that know no positions."""
    if not no_rope_freq:
        return
    if flash_decode:
        yield Invalid(
            "--no-rope-freq and --flash-decode exclude each other", arguments=("no_rope_freq", "flash_decode")
        )
    if isinstance(no_rope_freq, int):
        if num_layers % no_rope_freq:
            yield Invalid(f"--no-rope-freq {no_rope_freq} does not divide --num-layers {num_layers}")
    elif len(no_rope_freq) != num_layers:
        yield Invalid(f"--no-rope-freq covers {len(no_rope_freq)} layers; --num-layers is {num_layers}")


@checks(">=0.19", see=TRANSFORMER_CONFIG)
def same_results_in_batches(
    batch_invariant_mode: bool | None,
    flash_attention_version: int | None,
    context_parallel_size: int,
    attention_dropout: float,
) -> Problems:
    """What depends on the batch."""
    for on, name, fact in (
        (flash_attention_version not in (3, 4), "flash_attention_version", "--flash-attention-version 3 or 4"),
        (context_parallel_size > 1, "context_parallel_size", "no context parallelism"),
        (attention_dropout != 0, "attention_dropout", "--attention-dropout 0"),
    ):
        if batch_invariant_mode and on:
            yield Invalid(f"--batch-invariant-mode needs {fact}", "", ("batch_invariant_mode", name))


@checks(">=0.20", see=TRANSFORMER_CONFIG)
def same_results_of_experts(
    batch_invariant_mode: bool | None,
    bf16: bool,
    num_experts: int | None,
    transformer_impl: str,
    moe_token_dispatcher_type: str,
    fp8: str | None,
    fp4: str | None,
    moe_permute_fusion: bool | None,
    moe_permute_fusion_into_hybridep: bool | None,
    moe_pad_expert_input_to_capacity: bool | None,
    moe_pad_experts_for_cuda_graph_inference: bool | None,
) -> Problems:
    """The same of formats and of experts."""
    if not batch_invariant_mode:
        return
    alltoall = moe_token_dispatcher_type == "alltoall" or transformer_impl == "inference_optimized"
    facts: list[tuple[object, str, str]] = [(not bf16, "bf16", "--bf16")]
    if num_experts:
        facts += [
            (not alltoall, "moe_token_dispatcher_type", "--moe-token-dispatcher-type alltoall"),
            (fp8, "fp8", "no --fp8-format"),
            (fp4, "fp4", "no --fp4-format"),
            (moe_permute_fusion, "moe_permute_fusion", "no --moe-permute-fusion"),
            (
                moe_permute_fusion_into_hybridep,
                "moe_permute_fusion_into_hybridep",
                "no --moe-permute-fusion-into-hybridep",
            ),
            (
                moe_pad_expert_input_to_capacity,
                "moe_pad_expert_input_to_capacity",
                "no --moe-pad-expert-input-to-capacity",
            ),
            (
                moe_pad_experts_for_cuda_graph_inference,
                "moe_pad_experts_for_cuda_graph_inference",
                "no --moe-pad-experts-for-cuda-graph-inference",
            ),
        ]
    for on, name, fact in facts:
        if on:
            yield Invalid(f"--batch-invariant-mode needs {fact}", "", ("batch_invariant_mode", name))


@checks(">=0.16", see=VALIDATE_ARGS)
def clipping_of_attention(qk_clip: bool, qk_clip_alpha: float, qk_clip_threshold: float) -> Problems:
    """Bounds of QK-clip."""
    if qk_clip and not 0 < qk_clip_alpha < 1:
        yield Invalid(f"--qk-clip-alpha must be between 0 and 1, not {qk_clip_alpha}", arguments=("qk_clip_alpha",))
    if qk_clip and qk_clip_threshold <= 0:
        yield Invalid(f"--qk-clip-threshold must be above 0, not {qk_clip_threshold}", arguments=("qk_clip_threshold",))
